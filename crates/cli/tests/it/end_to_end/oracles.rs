//! PostgreSQL's own tools, which judge what Walbrook restored.

use std::path::Path;
use std::process::Command;

use walbrook_testkit::{Cluster, StopMode};

use super::data::APP;
use crate::support::{log_tail, output};

#[track_caller]
fn judge(cluster: &Cluster, command: Command) {
    let text = format!("{command:?}");
    let ran = output(command);
    assert_eq!(
        ran.code,
        Some(0),
        "{}: {text}\n{}\n{}\n--- server log ---\n{}",
        cluster.installation(),
        ran.stderr,
        ran.stdout,
        log_tail(cluster)
    );
}

/// `pg_verifybackup` of a restored directory that no server has run on: every file of the
/// server's own manifest is there with its size and its checksum, and none besides. Without the
/// WAL, which is in the repository.
#[track_caller]
pub(crate) fn verify_backup(original: &Cluster, directory: &Path) {
    let mut command = original.command("pg_verifybackup");
    command.arg("--no-parse-wal").arg(directory);
    judge(original, command);
}

/// `pg_amcheck` of every database: tables, their TOAST, and that every row is in every index; and
/// `pg_visibility` for the maps. The server must be writable, for the extensions are made in it.
#[track_caller]
pub(crate) fn check_relations(cluster: &Cluster) {
    let installation = cluster.installation();
    if installation.has_contrib("amcheck") {
        let mut command = cluster.command("pg_amcheck");
        command.args(["--all", "--install-missing", "--heapallindexed", "--parent-check"]);
        judge(cluster, command);
    } else {
        println!("SKIPPED: amcheck, which {installation} does not have");
    }
    if installation.has_contrib("pg_visibility") {
        let sql = "CREATE EXTENSION pg_visibility;
             SELECT count(*) FROM pg_class c, LATERAL (
                 SELECT 1 FROM pg_check_visible(c.oid) UNION ALL SELECT 1 FROM pg_check_frozen(c.oid)
             ) wrong WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence = 'p'";
        let wrong = cluster.psql(APP, sql).unwrap();
        assert_eq!(wrong, "0", "{installation}: rows that the visibility map is wrong about");
    } else {
        println!("SKIPPED: pg_visibility, which {installation} does not have");
    }
}

/// Stops the server and checks the checksum of every page by `pg_checksums`.
#[track_caller]
pub(crate) fn check_pages(cluster: &mut Cluster) {
    if cluster.pid().is_some() {
        cluster.stop(StopMode::Fast).unwrap();
    }
    let mut command = cluster.command("pg_checksums");
    command.arg("--check").arg("-D").arg(cluster.data_dir());
    judge(cluster, command);
}

/// pgbench's invariant, which holds at every moment between transactions: each adds one amount
/// to an account, a teller and a branch, and notes it.
#[track_caller]
pub(crate) fn check_balance(cluster: &Cluster) {
    let sql = "SELECT sum(abalance), (SELECT sum(tbalance) FROM pgbench_tellers),
               (SELECT sum(bbalance) FROM pgbench_branches),
               (SELECT coalesce(sum(delta), 0) FROM pgbench_history) FROM pgbench_accounts";
    let sums = cluster.query_rows(APP, sql).unwrap().remove(0);
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}\n{}", log_tail(cluster));
}
