//! Incremental backups of a server that does everything while they are taken.

use std::thread;
use std::time::Duration;

use walbrook_testkit::{Cluster, Installation, Until, wait_for};

use super::workload;
use crate::end_to_end::{data, installed, newest, oracles};
use crate::support::Scene;

#[test]
fn everything_happens_meanwhile_on_15() {
    installed(15).into_iter().for_each(under_load);
}

#[test]
fn everything_happens_meanwhile_on_18() {
    installed(18).into_iter().for_each(under_load);
}

/// Files come, go, grow, shrink and move between the list and the reading of it. What such a backup
/// restores to is sound as soon as it is consistent.
fn under_load(installation: &Installation) {
    let scene = Scene::new();
    let mut builder = Cluster::builder(installation)
        .data_checksums(true)
        .config("max_wal_size", "4GB")
        .config("wal_keep_size", "2GB");
    if installation.major() >= 17 {
        builder = builder.config("summarize_wal", "on");
    }
    let cluster = builder.start().unwrap();
    data::fill(&cluster);
    workload::begin(&cluster);
    let load = cluster.pgbench_background(data::APP, 2).unwrap();
    let by = if installation.major() >= 17 { "wal-summaries" } else { "sum" };
    scene.backup(&cluster, &[]);
    for round in 0..3 {
        thread::scope(|scope| {
            scope.spawn(|| {
                workload::statements(&cluster, round);
                workload::recreate(&cluster, round + 1);
            });
            // As many as fit beside the work: each begins somewhere else in it.
            // The last one is restored: each has its turn.
            let mut sources = vec!["sql", "local"];
            sources.extend((installation.major() >= 17).then_some("replication"));
            let turn = round as usize % sources.len();
            sources.rotate_left(turn);
            for source in sources {
                let directory = cluster.data_dir().to_str().unwrap();
                let mut args = vec!["--changes", by, "--source", source];
                if source == "local" {
                    args.extend(["--pgdata", directory]);
                }
                let record = scene.backup(&cluster, &args);
                assert_eq!(record["damage"]["pages"], 0, "{}", record["damage"]);
            }
        });
        let name = format!("restored-{round}");
        let target = ["--target", "immediate", "--target-action", "promote"];
        let directory = data::restore(&scene, &cluster, &name, &target);
        let mut restored =
            scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
        check_balance(&restored);
        oracles::check_relations(&restored);
        oracles::check_pages(&mut restored);
    }
    load.stop().unwrap();
}

/// Replay copies a moved database from where it was: whoever backed it up meanwhile has to know.
#[test]
fn a_database_that_moves_meanwhile_is_warned_of() {
    let scene = Scene::new();
    let cluster = Cluster::builder(newest()).start().unwrap();
    let space = cluster.make_dir("space").unwrap();
    let sql = format!("CREATE TABLESPACE space LOCATION '{}'", space.display());
    cluster.psql_ok("postgres", &sql).unwrap();
    cluster.psql_ok("postgres", "CREATE DATABASE moves").unwrap();
    let conninfo = cluster.conninfo();
    let args = ["-d", &conninfo, "--source", "sql", "--max-rate", "6M"];
    let ran = thread::scope(|scope| {
        let backup = scope.spawn(|| scene.run("walbrook-backup", &args));
        let reads = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'COPY%read_binary%' \
                     AND pid <> pg_backend_pid()";
        let begun = || cluster.psql("postgres", reads).is_ok_and(|row| row == "t");
        wait_for("the backup", Duration::from_secs(60), begun).unwrap();
        cluster.psql_ok("postgres", "ALTER DATABASE moves SET TABLESPACE space").unwrap();
        backup.join().unwrap().expect(0)
    });
    assert!(ran.stderr.contains("was moved to another tablespace"), "{}", ran.stderr);
}

/// pgbench's sums agree, but for the accounts that the workload adds 1 to, all or none at a time.
#[track_caller]
fn check_balance(restored: &Cluster) {
    let sql = "SELECT b.s = t.s AND b.s = h.s AND (a.s - b.s) % 101 = 0, a.s, b.s, t.s, h.s FROM
        (SELECT sum(abalance) s FROM pgbench_accounts) a, (SELECT sum(bbalance) s FROM pgbench_branches) b,
        (SELECT sum(tbalance) s FROM pgbench_tellers) t, (SELECT sum(delta) s FROM pgbench_history) h";
    let found = restored.psql(data::APP, sql).unwrap();
    assert!(found.starts_with("t|"), "{found}");
}
