//! Sources that will not do, and what is said then.

use walbrook_testkit::{Cluster, StopMode};

use super::{KEEPER, make_keeper};
use crate::end_to_end::newest;
use crate::support::Scene;

#[test]
fn a_missing_grant_is_named_and_passed_over() {
    let scene = Scene::new();
    let cluster = Cluster::builder(newest()).start().unwrap();
    make_keeper(&scene, &cluster);
    let conninfo = cluster.conninfo().replace("user=postgres", &format!("user={KEEPER}"));
    let function = "pg_catalog.pg_stat_file(text, boolean)";
    let revoke = format!("REVOKE EXECUTE ON FUNCTION {function} FROM {KEEPER}");
    cluster.psql_ok("postgres", &revoke).unwrap();

    let missing = format!("GRANT EXECUTE ON FUNCTION {function} TO \"{KEEPER}\";");
    let backup = |args: &[&str]| {
        let args = [&["-d", &conninfo, "--output", "json"], args].concat();
        scene.run("walbrook-backup", &args)
    };
    let refused = backup(&["--source", "sql"]).expect(1);
    assert!(refused.stderr.contains(&missing), "{}", refused.stderr);
    assert!(!refused.stderr.contains("pg_ls_dir"), "it was granted: {}", refused.stderr);
    assert!(!scene.repo().exists());

    let fallen_back = backup(&[]).expect(0);
    assert!(fallen_back.stderr.contains(&missing), "{}", fallen_back.stderr);
    let record: serde_json::Value = serde_json::from_str(&fallen_back.stdout).unwrap();
    assert_eq!(record["source"]["kind"], "replication");
    assert!(record["source"]["reason"].as_str().unwrap().contains(&missing));

    // Without either nothing can be had, and both ways out are told.
    cluster.psql_ok("postgres", &format!("ALTER ROLE {KEEPER} NOREPLICATION")).unwrap();
    let refused = backup(&[]).expect(1);
    for words in [missing.as_str(), "ALTER ROLE", "REPLICATION"] {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    // The grants alone are enough where the server archives.
    cluster.psql_ok("postgres", &missing).unwrap();
    let refused = backup(&["--source", "sql"]).expect(1);
    assert!(refused.stderr.contains("REPLICATION"), "{}", refused.stderr);
}

#[test]
fn the_grants_are_enough_where_the_server_archives() {
    let scene = Scene::new();
    let cluster = scene.archiving(Cluster::builder(newest())).start().unwrap();
    make_keeper(&scene, &cluster);
    scene.backup(&cluster, &["--source", "sql"]);
    scene.start_archiving(&cluster);
    cluster.psql_ok("postgres", &format!("ALTER ROLE {KEEPER} NOREPLICATION")).unwrap();
    scene.archive_now(&cluster);
    let conninfo = cluster.conninfo().replace("user=postgres", &format!("user={KEEPER}"));
    // It ends the segment itself: pg_backup_stop does.
    let record = scene.backup_of(&conninfo, &["--wal", "archive"]);
    assert_eq!(
        (&record["source"]["kind"], &record["source"]["wal"]),
        (&"sql".into(), &"archive".into())
    );
}

#[test]
fn a_directory_that_is_not_the_servers() {
    let scene = Scene::new();
    let mut cluster = Cluster::builder(newest()).start().unwrap();
    let mut other = Cluster::builder(newest()).start().unwrap();
    let backup = |cluster: &Cluster, directory: &std::path::Path| {
        let args = ["-d", &cluster.conninfo(), "--pgdata", directory.to_str().unwrap()];
        scene.run("walbrook-backup", &args)
    };
    let refused = backup(&cluster, other.data_dir()).expect(1);
    assert!(refused.stderr.contains("system identifier"), "{}", refused.stderr);

    // A copy of the very directory, with all that is in it.
    let copy = scene.subdir("copy");
    let copied = std::process::Command::new("cp")
        .args(["-a".as_ref(), cluster.data_dir().join(".").as_os_str(), copy.as_os_str()])
        .status()
        .unwrap();
    assert!(copied.success());
    let refused = backup(&cluster, &copy).expect(1);
    assert!(refused.stderr.contains("last checkpoint"), "{}", refused.stderr);
    std::fs::remove_file(copy.join("postmaster.pid")).unwrap();
    let refused = backup(&cluster, &copy).expect(1);
    assert!(refused.stderr.contains("no server runs on it"), "{}", refused.stderr);

    let args = ["-d", &cluster.conninfo(), "--source", "local"];
    let refused = scene.run("walbrook-backup", &args).expect(1);
    assert!(refused.stderr.contains("--pgdata"), "{}", refused.stderr);
    backup(&cluster, cluster.data_dir()).expect(0);
    cluster.stop(StopMode::Fast).unwrap();
    other.stop(StopMode::Fast).unwrap();
}
