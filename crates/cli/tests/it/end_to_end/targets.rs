//! From a server as `initdb` leaves it to every kind of recovery target.

use std::path::Path;

use walbrook_testkit::{Cluster, Installation, StopMode, Until};

use super::data::{self, APP, Contents, Moment};
use super::{for_each_major, oracles};
use crate::support::Scene;

for_each_major!(stock_configuration, every_target);

/// Nothing is set up on the server: the backup brings the WAL that it needs by itself. The role
/// may replicate and nothing else.
fn stock_configuration(installation: &Installation) {
    let scene = Scene::new();
    // As `initdb` leaves it, with checksums on versions where that is not the default.
    let cluster = Cluster::builder(installation).stock().data_checksums(true).start().unwrap();
    data::fill(&cluster);
    cluster.psql_ok("postgres", "CREATE ROLE keeper LOGIN REPLICATION").unwrap();
    let conninfo = cluster.conninfo().replace("user=postgres", "user=keeper");
    let _session = data::hold_temporary_table(&cluster);
    let files = data::unlogged_and_temporary(&cluster);

    let load = cluster.pgbench_background(APP, 2).unwrap();
    data::let_it_run(&cluster, &load);
    let before = data::transactions(&cluster);
    let busy = scene.backup_of(&conninfo, &[]);
    assert_eq!(busy["source"]["wal"], "stream");
    assert_eq!(busy["source"]["from_standby"], false);
    assert_eq!(busy["server"]["data_checksums"], true);
    assert_eq!(busy["damage"]["pages"], 0);
    data::let_it_run(&cluster, &load);
    load.stop().unwrap();
    let after = data::transactions(&cluster);

    let quiet_contents = Contents::of(&cluster);
    let quiet = scene.backup_of(&conninfo, &["--no-create"]);
    let expected = quiet_contents.objects();
    assert!(expected > 20, "{expected} objects are compared");

    // The backup under load: a moment between transactions, at or after the backup's end.
    let id = busy["id"].as_str().unwrap();
    let directory =
        data::restore(&scene, &cluster, "busy", &["--backup", id, "--target", "immediate"]);
    data::assert_fit(&directory, &files);
    let mut restored = scene.adopt(&cluster, &directory).until(Until::Paused).start().unwrap();
    oracles::check_balance(&restored);
    let there = data::transactions(&restored);
    assert!((before..=after).contains(&there), "{before} <= {there} <= {after}");
    assert!(there > before, "the load did not run during the backup: {there}");
    restored.psql_ok("postgres", "SELECT pg_wal_replay_resume()").unwrap();
    wait_promoted(&restored);
    oracles::check_relations(&restored);
    oracles::check_pages(&mut restored);
    drop(restored);

    // The quiet one: exactly what there was.
    let id = quiet["id"].as_str().unwrap();
    let directory = data::restore(&scene, &cluster, "quiet", &["--backup", id]);
    data::assert_fit(&directory, &files);
    let mut restored = scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
    quiet_contents.assert_in(&restored, "the quiet backup");
    let unlogged = restored.psql(APP, "SELECT count(*) FROM fleeting").unwrap();
    assert_eq!(unlogged, "0", "unlogged tables are empty after recovery");
    oracles::check_relations(&restored);
    oracles::check_pages(&mut restored);
}

/// The server archives; load runs before the moment that is wanted, and damage is done after it.
fn every_target(installation: &Installation) {
    let scene = Scene::new();
    let mut cluster = Cluster::builder(installation)
        .data_checksums(true)
        .config("track_commit_timestamp", "on")
        .config("max_prepared_transactions", "5")
        .start()
        .unwrap();
    data::fill(&cluster);
    let prepare = "CREATE TABLE agreed (n int); BEGIN; INSERT INTO agreed VALUES (1); \
                   PREPARE TRANSACTION 'held'";
    cluster.psql_ok(APP, prepare).unwrap();
    // The first backup of a server makes the repository; then it starts to archive.
    scene.backup(&cluster, &[]);
    let archive = scene.archive_command();
    let settings = [("archive_mode", "on"), ("archive_command", archive.as_str())];
    cluster.append_config(&settings).unwrap();
    cluster.restart(StopMode::Fast).unwrap();

    let load = cluster.pgbench_background(APP, 2).unwrap();
    data::let_it_run(&cluster, &load);
    let backup = scene.backup(&cluster, &["--wal", "archive"]);
    assert_eq!(backup["source"]["wal"], "archive");
    data::let_it_run(&cluster, &load);
    load.stop().unwrap();
    // What replay has to make again: databases by both strategies.
    let create = "CREATE DATABASE late_log TEMPLATE mould STRATEGY wal_log; \
                  CREATE DATABASE late_copy TEMPLATE mould STRATEGY file_copy";
    cluster.psql_ok("postgres", create).unwrap();

    let moment = Moment::take(&cluster, "before the accident");
    data::lose_data(&cluster);
    cluster.psql_ok(APP, "COMMIT PREPARED 'held'").unwrap();
    let load = cluster.pgbench_background(APP, 2).unwrap();
    data::let_it_run(&cluster, &load);
    load.stop().unwrap();
    let last = Contents::of(&cluster);
    scene.archive_now(&cluster);

    let story = Story { scene: &scene, original: &cluster, backup: backup["id"].as_str().unwrap() };
    story.latest(&last);
    story.immediate();
    story.writable("time", &["--target-time", &moment.time], &moment.contents);
    story.paused("lsn", &["--target-lsn", &moment.lsn], &moment.contents);
    story.paused("xid", &["--target-xid", &moment.xid], &moment.contents);
    story.writable("name", &["--target-name", &moment.name], &moment.contents);
    let exclusive = |flag, value| [flag, value, "--target-exclusive"];
    let time = exclusive("--target-time", moment.time.as_str());
    story.paused("time-exclusive", &time, &moment.before);
    let lsn = exclusive("--target-lsn", moment.lsn.as_str());
    story.writable("lsn-exclusive", &lsn, &moment.contents);
    let xid = exclusive("--target-xid", moment.xid.as_str());
    story.writable("xid-exclusive", &xid, &moment.before);
    story.shut_down(&moment);
}

struct Story<'a> {
    scene: &'a Scene,
    original: &'a Cluster,
    backup: &'a str,
}

impl Story<'_> {
    fn restore(&self, name: &str, args: &[&str]) -> std::path::PathBuf {
        let args = [args, &["--backup", self.backup]].concat();
        data::restore(self.scene, self.original, name, &args)
    }

    fn start(&self, directory: &Path, until: Until) -> Cluster {
        self.scene.adopt(self.original, directory).until(until).start().unwrap()
    }

    /// Without `--backup`, for the newest is chosen by itself.
    fn latest(&self, expected: &Contents) {
        let directory = data::restore(self.scene, self.original, "latest", &[]);
        let mut restored = self.start(&directory, Until::Promoted);
        expected.assert_in(&restored, "latest");
        oracles::check_relations(&restored);
        oracles::check_pages(&mut restored);
        done(restored, &directory);
    }

    fn immediate(&self) {
        let directory = self.restore("immediate", &["--target", "immediate"]);
        let restored = self.start(&directory, Until::Paused);
        oracles::check_balance(&restored);
        done(restored, &directory);
    }

    /// A target with the action `promote`.
    fn writable(&self, name: &str, target: &[&str], expected: &Contents) {
        let directory = self.restore(name, &[target, &["--target-action", "promote"]].concat());
        let restored = self.start(&directory, Until::Promoted);
        expected.assert_in(&restored, name);
        oracles::check_balance(&restored);
        let held = restored.psql(APP, "SELECT gid FROM pg_prepared_xacts").unwrap();
        assert_eq!(held, "held", "{name}: the prepared transaction");
        let commit = "COMMIT PREPARED 'held'; SELECT n FROM agreed";
        assert_eq!(restored.psql(APP, commit).unwrap(), "1", "{name}");
        done(restored, &directory);
    }

    /// A target with PostgreSQL's own action, which is to pause.
    fn paused(&self, name: &str, target: &[&str], expected: &Contents) {
        let directory = self.restore(name, target);
        let restored = self.start(&directory, Until::Paused);
        expected.assert_in(&restored, name);
        restored.psql_ok("postgres", "SELECT pg_wal_replay_resume()").unwrap();
        wait_promoted(&restored);
        restored.psql_ok(APP, "INSERT INTO marks (name) VALUES ('writable')").unwrap();
        done(restored, &directory);
    }

    /// A target with the action `shutdown`: the server ends there, and goes on from there.
    fn shut_down(&self, moment: &Moment) {
        let target = ["--target-name", &moment.name, "--target-action", "shutdown"];
        let directory = self.restore("shutdown", &target);
        let mut restored = self.start(&directory, Until::ShutDown);
        oracles::check_pages(&mut restored);
        drop(restored);
        let restored = self
            .scene
            .adopt(self.original, &directory)
            .config("recovery_target_action", "promote")
            .until(Until::Promoted)
            .start()
            .unwrap();
        moment.contents.assert_in(&restored, "shutdown");
        done(restored, &directory);
    }
}

fn wait_promoted(cluster: &Cluster) {
    let promoted =
        || cluster.psql("postgres", "SELECT pg_is_in_recovery()").is_ok_and(|row| row == "f");
    let patience = std::time::Duration::from_secs(120);
    if let Err(error) = walbrook_testkit::wait_for("the promotion", patience, promoted) {
        panic!("{error}\n--- server log ---\n{}", crate::support::log_tail(cluster));
    }
}

/// Stops the server and makes room for the next one.
fn done(cluster: Cluster, directory: &Path) {
    drop(cluster);
    std::fs::remove_dir_all(directory).unwrap();
}
