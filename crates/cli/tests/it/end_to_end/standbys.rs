//! Standbys: restored ones that follow the repository, and one as the source of a backup.

use std::time::Duration;

use walbrook_testkit::{Cluster, Installation, Until, wait_for};

use super::data::{self, APP, Contents};
use super::{for_each_major, oracles};
use crate::support::{Scene, log_tail};

for_each_major!(a_standby_follows_the_repository, a_standby_is_backed_up);

#[track_caller]
fn wait_for_mark(standby: &Cluster, name: &str) {
    let sql = format!("SELECT count(*) FROM marks WHERE name = '{name}'");
    let there = || standby.psql(APP, &sql).is_ok_and(|count| count == "1");
    if let Err(error) = wait_for(name, Duration::from_secs(120), there) {
        panic!("{error}\n--- server log ---\n{}", log_tail(standby));
    }
}

fn a_standby_follows_the_repository(installation: &Installation) {
    let scene = Scene::new();
    let config = Cluster::builder(installation).data_checksums(true);
    let primary = scene.archiving(config).start().unwrap();
    data::fill(&primary);
    scene.backup(&primary, &[]);
    scene.start_archiving(&primary);
    let directory = data::restore(&scene, &primary, "standby", &["--standby"]);
    assert!(directory.join("standby.signal").exists());
    assert!(!directory.join("recovery.signal").exists());

    let standby = scene
        .adopt(&primary, &directory)
        .config("wal_retrieve_retry_interval", "200ms")
        .until(Until::Connectable)
        .start()
        .unwrap();
    for name in ["first", "second"] {
        // Nothing comes but by the repository: it has no primary_conninfo.
        let insert = format!("INSERT INTO marks (name) VALUES ('{name}')");
        primary.psql_ok(APP, &insert).unwrap();
        let contents = Contents::of(&primary);
        scene.archive_now(&primary);
        wait_for_mark(&standby, name);
        contents.assert_in(&standby, name);
    }
    assert_eq!(standby.psql("postgres", "SELECT pg_is_in_recovery()").unwrap(), "t");
    let contents = Contents::of(&primary);
    standby.promote().unwrap();
    contents.assert_in(&standby, "promoted");
    standby.psql_ok(APP, "INSERT INTO marks (name) VALUES ('writable')").unwrap();
    oracles::check_relations(&standby);
}

fn a_standby_is_backed_up(installation: &Installation) {
    let scene = Scene::new();
    let primary = Cluster::builder(installation)
        .data_checksums(true)
        // The last segment ends soon: a standby can't end one itself.
        .wal_segsize_mb(1)
        .config("wal_keep_size", "200MB")
        .start()
        .unwrap();
    data::fill(&primary);
    let standby = primary.create_standby().unwrap();
    let load = primary.pgbench_background(APP, 2).unwrap();
    data::let_it_run(&standby, &load);
    let record = scene.backup(&standby, &[]);
    load.stop().unwrap();
    assert_eq!(record["source"]["from_standby"], true);
    assert_eq!(record["source"]["wal"], "stream");
    // Its tablespaces are where the standby has them.
    let directory = data::restore(&scene, &standby, "restored", &[]);
    // PostgreSQL copies the standby's own signal file, and would obey it.
    assert!(!directory.join("standby.signal").exists());
    let mut restored = scene.adopt(&primary, &directory).until(Until::Promoted).start().unwrap();
    oracles::check_balance(&restored);
    assert!(data::transactions(&restored) > 0);
    oracles::check_relations(&restored);
    oracles::check_pages(&mut restored);
}
