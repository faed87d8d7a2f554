//! The server's own incremental backup over the replication protocol, and what it gets wrong: stale
//! visibility maps, and tables that vacuum truncated and that grew again.

use std::path::{Path, PathBuf};

use walbrook_testkit::{Cluster, Until};

use crate::end_to_end::{installed, oracles};
use crate::support::{Scene, output};

/// What a table has, in which order ever.
const CONTENTS: &str = "SELECT string_agg(t, ' ') FROM (
    SELECT 'seen ' || count(*) || ' ' || sum(n) AS t FROM seen
    UNION ALL SELECT 'grown ' || count(*) || ' ' || sum(n) FROM grown) x";

const MAPS: &str = "SELECT (SELECT count(*) FROM pg_check_visible('seen')) || ' ' ||
    (SELECT count(*) FROM pg_check_frozen('seen'))";

/// The same history by `pg_basebackup --incremental` and `pg_combinebackup`, and by Walbrook, whose base
/// came by SQL. The server's own programs restore to other rows than there were.
#[test]
fn what_the_server_gets_wrong_comes_whole() {
    let Some(installation) = installed(17).filter(|found| found.has_contrib("pg_visibility"))
    else {
        println!("SKIPPED: no PostgreSQL 17 with pg_visibility");
        return;
    };
    let scene = Scene::new();
    let cluster = Cluster::builder(installation)
        .config("autovacuum", "off")
        .config("summarize_wal", "on")
        .config("log_replication_commands", "on")
        .start()
        .unwrap();
    let run = |sql: &str| cluster.psql_ok("postgres", sql).unwrap();
    run("CREATE EXTENSION pg_visibility;
         CREATE TABLE seen (n int, s text);
         INSERT INTO seen SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g;
         CREATE TABLE grown (n int, s text);
         INSERT INTO grown SELECT g, repeat('x', 500) FROM generate_series(1, 3000) g;
         VACUUM (FREEZE) seen, grown");
    scene.backup(&cluster, &["--source", "sql"]);
    let full = base_backup(&cluster, None);

    run("UPDATE seen SET s = 'y' WHERE n % 10 = 0; DELETE FROM grown WHERE n > 150");
    run("VACUUM grown");
    // More pages than it fills, which are zeros that no record names.
    let rows = cluster.make_dir("rows").unwrap().join("rows");
    let lines = (10_001..12_101).map(|n| format!("{n}\t{}\n", "y".repeat(380)));
    std::fs::write(&rows, lines.collect::<String>()).unwrap();
    run(&format!("COPY grown FROM '{}'", rows.display()));
    let contents = cluster.psql("postgres", CONTENTS).unwrap();
    let record = scene.backup(&cluster, &["--source", "replication"]);
    let changes = &record["source"]["changes"];
    assert_eq!(changes["by"], "wal-summaries", "{changes}");
    // The truncation was in no summary before the checkpoint of the first attempt.
    let log = cluster.log();
    assert_eq!(log.matches("command: UPLOAD_MANIFEST").count(), 2, "{log}");
    assert!(log.contains("INCREMENTAL true"), "{log}");
    let incremental = base_backup(&cluster, Some(&full));

    let directory = scene.restore("restored", &[]);
    oracles::verify_backup(&cluster, &directory);
    let restored = scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
    assert_eq!(restored.psql("postgres", CONTENTS).unwrap(), contents);
    assert_eq!(restored.psql("postgres", MAPS).unwrap(), "0 0");
    drop(restored);

    let combined = scene.path("combined");
    let mut combine = cluster.command("pg_combinebackup");
    combine.args(["--no-sync", "-o"]).args([&combined, &full, &incremental]);
    output(combine).expect(0);
    let theirs = Cluster::adopt(installation, &combined).until(Until::Promoted).start().unwrap();
    // Should a later minor release get these right, this is no oracle any more; ours still are.
    assert_ne!(theirs.psql("postgres", CONTENTS).unwrap(), contents, "{installation}");
    assert_ne!(theirs.psql("postgres", MAPS).unwrap(), "0 0", "{installation}");
    drop(theirs);

    summaries_that_are_gone(&scene, &cluster);
}

/// Without all of its summaries the server refuses: every page is copied, or it is an error.
fn summaries_that_are_gone(scene: &Scene, cluster: &Cluster) {
    for summary in std::fs::read_dir(cluster.data_dir().join("pg_wal/summaries")).unwrap() {
        std::fs::remove_file(summary.unwrap().path()).unwrap();
    }
    let dsn = cluster.conninfo();
    let args = ["-d", &dsn, "--source", "replication", "--output", "json", "--changes"];
    let forced = scene.run("walbrook-backup", &[&args[..], &["wal-summaries"]].concat()).expect(1);
    assert!(forced.stderr.contains("WAL summaries are required"), "{}", forced.stderr);
    let auto = scene.ok("walbrook-backup", &[&args[..], &["auto"]].concat());
    assert!(auto.stderr.contains("copying every page"), "{}", auto.stderr);
    let record: serde_json::Value = serde_json::from_str(&auto.stdout).unwrap();
    let changes = &record["source"]["changes"];
    assert_eq!(changes["by"], "hash", "{changes}");
    let reason = changes["reason"].as_str().unwrap();
    assert!(reason.contains("WAL summaries are required"), "{reason}");
    // Nothing that is not stored already but what a server writes by itself.
    let stored = record["size"]["stored_bytes"].as_u64().unwrap();
    assert!(stored < 1 << 20, "{stored}");
}

fn base_backup(cluster: &Cluster, before: Option<&Path>) -> PathBuf {
    let name = if before.is_some() { "incremental" } else { "full" };
    let target = cluster.make_dir(name).unwrap().join("data");
    let mut command = cluster.command("pg_basebackup");
    command.args(["-c", "fast", "-X", "fetch", "--no-sync", "-D"]).arg(&target);
    if let Some(before) = before {
        command.arg("--incremental").arg(before.join("backup_manifest"));
    }
    output(command).expect(0);
    target
}
