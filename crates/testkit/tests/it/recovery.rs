use std::time::Duration;

use walbrook_testkit::{
    Cluster, ErrorKind, Installation, TempDir, Until, majors, start_restored, wait_for,
};

/// A cluster that archives by `cp`, and a base backup of it.
fn archiving(installation: &Installation, place: &TempDir) -> Cluster {
    let archive = place.subdir("archive").unwrap();
    let cluster = Cluster::builder(installation)
        .wal_segsize_mb(1)
        .config("archive_mode", "on")
        .config("archive_command", format!("cp %p '{}/%f'", archive.display()))
        .start()
        .unwrap();
    cluster.psql_ok("postgres", "CREATE TABLE t (n int)").unwrap();
    let base = place.subdir("restored").unwrap();
    let mut tool = cluster.command("pg_basebackup");
    let output = tool.args(["-X", "none", "-c", "fast", "-D"]).arg(&base).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(base.join("recovery.signal"), "").unwrap();

    cluster
        .psql_ok("postgres", "INSERT INTO t VALUES (1); SELECT pg_create_restore_point('here')")
        .unwrap();
    cluster.psql_ok("postgres", "INSERT INTO t VALUES (2)").unwrap();
    let last = cluster.switch_wal().unwrap();
    wait_for("archive", Duration::from_secs(30), || archive.join(&last).exists()).unwrap();
    cluster
}

#[test]
fn a_restored_directory_reaches_its_target() {
    for installation in majors() {
        let place = TempDir::new().unwrap();
        let source = archiving(installation, &place);
        let data_dir = place.path().join("restored");
        let fetch = format!("cp '{}/%f' %p", place.path().join("archive").display());

        let restored = Cluster::adopt(installation, &data_dir)
            .config("restore_command", &fetch)
            .config("recovery_target_name", "here")
            .until(Until::Paused)
            .start()
            .unwrap();
        assert_eq!(restored.psql("postgres", "SELECT sum(n) FROM t").unwrap(), "1");
        drop(restored);
        assert!(data_dir.join("PG_VERSION").exists(), "adopted directories stay");

        let settings = [("restore_command", &*fetch), ("archive_mode", "off")];
        let restored = start_restored(installation, &data_dir, &settings).unwrap();
        assert_eq!(restored.psql("postgres", "SELECT sum(n) FROM t").unwrap(), "3");
        assert_eq!(restored.psql("postgres", "SELECT pg_is_in_recovery()").unwrap(), "f");
        assert_eq!(source.psql("postgres", "SELECT sum(n) FROM t").unwrap(), "3");
    }
}

#[test]
fn a_target_that_is_never_reached_is_an_error_with_the_log() {
    let installation = majors()[0];
    let place = TempDir::new().unwrap();
    let _source = archiving(installation, &place);
    let fetch = format!("cp '{}/%f' %p", place.path().join("archive").display());
    let error = Cluster::adopt(installation, place.path().join("restored"))
        .config("restore_command", &fetch)
        .config("recovery_target_name", "nowhere")
        .start()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert!(
        error.to_string().contains("recovery ended before configured recovery target was reached"),
        "{error}"
    );
}

#[test]
fn shutdown_at_the_target() {
    let installation = majors()[0];
    let place = TempDir::new().unwrap();
    let _source = archiving(installation, &place);
    let fetch = format!("cp '{}/%f' %p", place.path().join("archive").display());
    let ended = Cluster::adopt(installation, place.path().join("restored"))
        .config("restore_command", &fetch)
        .config("recovery_target_name", "here")
        .config("recovery_target_action", "shutdown")
        .until(Until::ShutDown)
        .start()
        .unwrap();
    assert_eq!(ended.pid(), None);
}

#[test]
fn standby_follows_and_is_promoted() {
    let primary = Cluster::builder(majors()[0]).start().unwrap();
    let space = primary.make_dir("space").unwrap();
    primary
        .psql_ok("postgres", &format!("CREATE TABLESPACE s LOCATION '{}'", space.display()))
        .unwrap();
    primary.psql_ok("postgres", "CREATE TABLE t (n int) TABLESPACE s").unwrap();
    let standby = primary.create_standby().unwrap();
    primary.psql_ok("postgres", "INSERT INTO t VALUES (7)").unwrap();
    wait_for("replay", Duration::from_secs(30), || {
        standby.psql("postgres", "SELECT n FROM t").is_ok_and(|n| n == "7")
    })
    .unwrap();
    standby.promote().unwrap();
    standby.psql_ok("postgres", "INSERT INTO t VALUES (8)").unwrap();
}

#[test]
fn pgbench_runs_behind_a_test() {
    let cluster = Cluster::builder(majors()[0]).start().unwrap();
    cluster.pgbench_init("postgres", 1).unwrap();
    let load = cluster.pgbench_background("postgres", 2).unwrap();
    let count = || cluster.psql("postgres", "SELECT count(*) FROM pgbench_history").unwrap();
    wait_for("load", Duration::from_secs(30), || count() != "0").unwrap();
    let pid = load.pid();
    drop(load);
    assert!(!walbrook_testkit::alive(pid));

    let broken = cluster.pgbench_background("absent", 1).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let error = broken.stop().unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
}
