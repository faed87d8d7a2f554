//! Ways that will not do are passed over, and the record says why.

use serde_json::Value;
use walbrook_testkit::{Cluster, Until};

use crate::end_to_end::newest;
use crate::support::Scene;

#[track_caller]
fn assert_changes(record: &Value, by: &str, reasons: &[&str]) {
    let changes = &record["source"]["changes"];
    assert_eq!(changes["by"], by, "{changes}");
    let reason = changes["reason"].as_str().unwrap();
    for words in reasons {
        assert!(reason.contains(words), "{words:?} is not in {reason:?}");
    }
}

/// A server as it comes: it makes no summaries, and its WAL is in the repository only as far as backups
/// have streamed it.
#[test]
fn what_is_not_proven_is_passed_over() {
    let scene = Scene::new();
    let builder = Cluster::builder(newest()).config("autovacuum", "off");
    let cluster = builder.config("summarize_wal", "off").start().unwrap();
    // Large enough that reading a few segments of WAL is the cheaper way.
    let sql = "CREATE TABLE t (n int, s text); ALTER TABLE t ALTER s SET STORAGE PLAIN;
               INSERT INTO t SELECT g, repeat('x', 1800) FROM generate_series(1, 60000) g";
    cluster.psql_ok("postgres", sql).unwrap();
    // Otherwise whoever reads the rows first changes, and logs, all pages.
    cluster.psql_ok("postgres", "VACUUM t").unwrap();
    let full = scene.backup(&cluster, &[]);
    assert_eq!(full["source"]["changes"], Value::Null);

    let update = |rows: u32| {
        let sql = format!("UPDATE t SET s = 'round {rows}' WHERE n < {rows}");
        cluster.psql_ok("postgres", &sql).unwrap();
    };
    update(100);
    let no_summaries = "wal-summaries will not do: the server makes no WAL summaries";
    let record = scene.backup(&cluster, &[]);
    assert_changes(&record, "sum", &[no_summaries]);

    // The segment that the next map would begin with is recycled.
    update(200);
    for _ in 0..2 {
        cluster.switch_wal().unwrap();
        cluster.psql_ok("postgres", "CHECKPOINT").unwrap();
        update(300);
    }
    let args = ["-d", &cluster.conninfo(), "--changes", "wal-summaries"];
    let refused = scene.run("walbrook-backup", &args).expect(1);
    assert!(refused.stderr.contains("summarize_wal is off"), "{}", refused.stderr);
    let record = scene.backup(&cluster, &[]);
    assert_changes(
        &record,
        "hash",
        &[no_summaries, "sum will not do: ", "is not in the repository"],
    );

    let directory = scene.restore("restored", &[]);
    let restored = scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
    let rows = "SELECT count(*), sum(hashtext(s)) FROM t";
    let expected = cluster.psql("postgres", rows).unwrap();
    assert_eq!(restored.psql("postgres", rows).unwrap(), expected);
}
