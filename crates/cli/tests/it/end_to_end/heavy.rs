//! A relation of more than one segment file, under load all the time.

use std::path::Path;

use walbrook_testkit::{Cluster, Installation, Until};

use super::data::{self, APP, Moment};
use super::{installed, oracles};
use crate::support::Scene;

/// One row a page, as each is plain and wide: 131 072 pages make a segment file of 1 GiB.
const BIG: &str = "
    CREATE TABLE big (id int PRIMARY KEY, body text);
    ALTER TABLE big ALTER body SET STORAGE PLAIN;
    INSERT INTO big SELECT g, repeat(md5(g::text), 200) FROM generate_series(1, 140000) g;
    VACUUM big;
";

#[test]
#[ignore = "GBs are written for what 18 shows: cargo test -p walbrook-cli --test it heavy -- --ignored"]
fn a_relation_of_two_segment_files_on_15() {
    installed(15).into_iter().for_each(a_relation_of_two_segment_files);
}

#[test]
fn a_relation_of_two_segment_files_on_18() {
    installed(18).into_iter().for_each(a_relation_of_two_segment_files);
}

fn a_relation_of_two_segment_files(installation: &Installation) {
    let scene = Scene::new();
    let mut config = Cluster::builder(installation)
        .data_checksums(true)
        .config("track_commit_timestamp", "on")
        .config("max_wal_size", "4GB");
    let has_summaries = installation.major() >= 17;
    if has_summaries {
        config = config.config("summarize_wal", "on");
    }
    let cluster = scene.archiving(config).start().unwrap();
    data::fill(&cluster);
    cluster.psql_ok(APP, BIG).unwrap();
    let path = cluster.psql(APP, "SELECT pg_relation_filepath('big')").unwrap();
    let second = format!("{path}.1");
    assert!(cluster.data_dir().join(&second).exists(), "{second}");

    let load = cluster.pgbench_background(APP, 2).unwrap();
    let changes = "UPDATE big SET body = repeat(md5(random()::text), 200) \
                   WHERE id IN (:low, :high);";
    let script = scene.path("changes.sql");
    let variables = "\\set low random(1, 1000)\n\\set high random(139000, 140000)\n";
    std::fs::write(&script, format!("{variables}{changes}")).unwrap();
    let script = script.to_str().unwrap();
    let args = ["-n", "-T", "3600", "-R", "50", "-f", script, APP];
    let more_load = cluster.background("pgbench", &args).unwrap();
    data::let_it_run(&cluster, &load);
    // The first backup streams its WAL, for nothing is archived; the second waits for it.
    let first = scene.backup(&cluster, &[]);
    assert_eq!(first["source"]["wal"], "stream");
    assert!(first["size"]["database_bytes"].as_u64().unwrap() > 1 << 30, "{}", first["size"]);
    scene.start_archiving(&cluster);
    data::let_it_run(&cluster, &load);
    scene.archive_now(&cluster);
    let second_backup = scene.backup(&cluster, &["--wal", "archive"]);
    let by = if has_summaries { "wal-summaries" } else { "sum" };
    let changes = &second_backup["source"]["changes"];
    assert_eq!(changes["by"], by, "{changes}");
    data::let_it_run(&cluster, &load);
    load.stop().unwrap();
    more_load.stop().unwrap();

    let moment = Moment::take(&cluster, "heavy");
    let damage =
        "UPDATE big SET body = 'lost' WHERE id % 1000 = 0; DELETE FROM big WHERE id > 130000";
    cluster.psql_ok(APP, damage).unwrap();
    data::lose_data(&cluster);
    scene.archive_now(&cluster);
    let target = ["--target-time", &moment.time, "--target-action", "promote"];
    // From the newest backup, and from the first through all the WAL since.
    for backup in [None, first["id"].as_str()] {
        let name = if backup.is_some() { "first" } else { "newest" };
        let choice: Vec<&str> = backup.into_iter().flat_map(|id| ["--backup", id]).collect();
        let directory = data::restore(&scene, &cluster, name, &[&target[..], &choice].concat());
        assert!(directory.join(&second).exists(), "{second}");
        let restored = scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
        moment.contents.assert_in(&restored, name);
        oracles::check_balance(&restored);
        judge_and_go(restored, &directory);
    }
    assert_ne!(first["id"], second_backup["id"]);
}

fn judge_and_go(mut restored: Cluster, directory: &Path) {
    oracles::check_relations(&restored);
    oracles::check_pages(&mut restored);
    drop(restored);
    std::fs::remove_dir_all(directory).unwrap();
}
