use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use walbrook_testkit::{Cluster, Installation, Until, wait_for};

use crate::end_to_end::data::Contents;
use crate::end_to_end::{installed, oracles};
use crate::support::Scene;

#[test]
fn in_the_midst_of_a_backup_on_15() {
    installed(15).into_iter().for_each(in_the_midst_of_a_backup);
}

#[test]
fn in_the_midst_of_a_backup_on_18() {
    installed(18).into_iter().for_each(in_the_midst_of_a_backup);
}

/// A standby is promoted while it is backed up: there is no backup. The next one, of the promoted
/// server, has the one before the promotion for its base. The next standby is one of that server.
fn in_the_midst_of_a_backup(installation: &Installation) {
    let scene = Scene::new();
    let mut server = Cluster::builder(installation)
        .data_checksums(true)
        .wal_segsize_mb(1)
        .config("autovacuum", "off")
        .config("wal_keep_size", "500MB")
        .start()
        .unwrap();
    let rows = "CREATE TABLE t AS SELECT n, md5(n::text) AS x FROM generate_series(1, 20000) n;
                CREATE INDEX ON t (n)";
    server.psql_ok("postgres", rows).unwrap();
    // Before the base: what was written since then is in its pg_wal.
    let mut standby = server.create_standby().unwrap();
    let mut base = scene.backup(&server, &["--source", "sql"]);
    for (number, source) in ["sql", "replication", "local"].into_iter().enumerate() {
        catch_up(&standby, &server);
        let mut args = vec!["--source", source];
        let directory = standby.data_dir().to_str().unwrap().to_owned();
        if source == "local" {
            args.extend(["--pgdata", &directory]);
        }
        let stderr = promote_meanwhile(&scene, &standby, &args);
        assert!(stderr.contains("promoted") && stderr.contains("again"), "{source}: {stderr}");
        assert_eq!(scene.list()["backups"].as_array().map(Vec::len), Some(number + 1));

        server = standby;
        standby = server.create_standby().unwrap();
        let work = "UPDATE t SET x = upper(x) WHERE n % 500 = 0; CHECKPOINT";
        server.psql_ok("postgres", work).unwrap();
        let contents = Contents::of(&server);
        let record = scene.backup(&server, &args);
        assert_eq!(record["base"], base["id"], "{source}");
        assert_eq!(record["span"]["timeline"], number + 2);
        assert_eq!(record["source"]["from_standby"], false);
        if source != "replication" {
            // The log is known from the base to this backup, across the promotion.
            assert_eq!(record["source"]["changes"]["by"], "sum", "{}", record["source"]["changes"]);
        }
        let id = record["id"].as_str().unwrap();
        let target = ["--target", "immediate", "--target-action", "promote"];
        let directory = scene.restore(source, &[&["--backup", id], &target[..]].concat());
        // Not byte by byte: where a page is free, a standby may have other remains than its primary.
        let mut restored = scene.adopt(&server, &directory).until(Until::Promoted).start().unwrap();
        contents.assert_in(&restored, source);
        oracles::check_pages(&mut restored);
        drop(restored);
        fs::remove_dir_all(directory).unwrap();
        base = record;
    }
}

/// Waits until a standby has replayed all that its primary has written.
#[track_caller]
fn catch_up(standby: &Cluster, primary: &Cluster) {
    let all = primary.psql("postgres", "SELECT pg_current_wal_flush_lsn()").unwrap();
    let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{all}'");
    let there = || standby.psql("postgres", &sql).is_ok_and(|row| row == "t");
    wait_for("the standby", Duration::from_secs(60), there).unwrap();
}

/// Promotes the standby as soon as a backup of it copies; tells what that backup said when it
/// failed.
#[track_caller]
fn promote_meanwhile(scene: &Scene, standby: &Cluster, args: &[&str]) -> String {
    let conninfo = standby.conninfo();
    let slow = ["-v", "-d", &conninfo, "--max-rate", "4M"];
    let mut command = scene.command("walbrook-backup", &[&slow, args].concat());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("copying") {
        assert!(stderr.read_line(&mut text).unwrap() > 0, "{text}");
    }
    standby.promote().unwrap();
    stderr.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{text}");
    text
}
