use std::time::Duration;

use serde_json::{Value, json};
use walbrook_testkit::{Cluster, wait_for};

use super::{PACK, Running, cluster, compare, size};
use crate::support::Scene;

/// The connection that a backup by SQL begins and ends with: the first of all.
const FIRST: &str = "pid = (SELECT pid FROM pg_stat_activity WHERE application_name = \
    'walbrook-backup' AND backend_type = 'client backend' ORDER BY backend_start LIMIT 1)";

/// Those that read files by SQL.
pub(super) const LANES: &str = "query LIKE 'COPY%pg_read_binary_file%'";

/// The one that sends files by the replication protocol.
const BASE_BACKUP: &str = "pid IN (SELECT pid FROM pg_stat_replication WHERE state = 'backup')";

/// The one that sends WAL.
const WAL: &str = "pid IN (SELECT pid FROM pg_stat_replication WHERE state = 'streaming')";

pub(super) const LOST: &str = "take the backup again: it goes on from what this one stored";

/// A connection that reads is opened again; any other that is lost fails the backup, clearly, and
/// what was stored until then is used by the next one.
#[test]
fn connections_are_lost() {
    let scene = Scene::new();
    let cluster = cluster();
    let full = |source| ["--full", "--source", source];
    let mut dead = Vec::new();
    for (source, lost, message) in [
        ("sql", FIRST, "the connection that began the backup"),
        ("replication", BASE_BACKUP, LOST),
        ("sql", WAL, LOST),
    ] {
        let args = [&full(source)[..], &["--no-resume"]].concat();
        let mut running = Running::begin(&scene, &cluster, &args);
        terminate(&cluster, lost);
        let ran = running.end().expect(1);
        assert!(ran.stderr.contains(message), "{source}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
        dead.push(running.left(&scene));
        assert_eq!(scene.list()["backups"], json!([]));
    }
    // In the order of their identifiers.
    dead.sort();

    let mut running =
        Running::start(&scene, &cluster, &[&full("sql")[..], &["--output", "json"]].concat());
    terminate(&cluster, LANES);
    let ran = running.end().expect(0);
    assert!(ran.stderr.contains("connecting again"), "{}", ran.stderr);
    assert!(ran.stderr.contains("continued what was interrupted"), "{}", ran.stderr);
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(record["resumes"], json!(dead));
    assert!(size(&record, "resumed_bytes") > PACK / 2, "{}", record["size"]);
    compare(&scene, &cluster, &record);
}

/// Ends the connections for which this holds, at least one.
#[track_caller]
fn terminate(cluster: &Cluster, which: &str) {
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE pid <> pg_backend_pid() AND {which}"
    );
    let ended = || cluster.psql("postgres", &sql).unwrap() != "0";
    wait_for(which, Duration::from_secs(30), ended).unwrap();
}
