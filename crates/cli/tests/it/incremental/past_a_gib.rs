//! A relation that grows past 1 GiB, into a second file, between two backups, and shrinks back.

use std::time::Instant;

use serde_json::Value;
use walbrook_testkit::{Cluster, Installation};

use super::{compare, lsn};
use crate::end_to_end::installed;
use crate::support::Scene;

/// Pages in a relation's file: `RELSEG_SIZE`.
const SEGMENT: u64 = 131_072;

#[test]
#[ignore = "two minutes, 10 GB written: cargo test -p walbrook-cli --test it past_a_gib -- --ignored"]
fn past_a_gib_and_back_on_15() {
    installed(15).into_iter().for_each(past_a_gib_and_back);
}

#[test]
#[ignore = "two minutes, 10 GB written: cargo test -p walbrook-cli --test it past_a_gib -- --ignored"]
fn past_a_gib_and_back_on_18() {
    installed(18).into_iter().for_each(past_a_gib_and_back);
}

fn past_a_gib_and_back(installation: &Installation) {
    let scene = Scene::new();
    let cluster = Cluster::builder(installation)
        .data_checksums(true)
        .config("autovacuum", "off")
        .config("max_wal_size", "4GB")
        // The summaries of segments that are not archived are made of these.
        .config("wal_keep_size", "2GB")
        .start()
        .unwrap();
    let begun = Instant::now();
    // A row to a page, and little to log.
    let create = "CREATE TABLE big (n int, x text) WITH (fillfactor = 10);
                  ALTER TABLE big ALTER x SET STORAGE PLAIN";
    cluster.psql_ok("postgres", create).unwrap();
    let insert = |from: u64, to: u64| {
        format!(
            "INSERT INTO big SELECT n, repeat('x', 700) FROM generate_series({from}, {to}) n;
             VACUUM (FREEZE) big"
        )
    };
    let file = cluster.psql("postgres", "SELECT pg_relation_filepath('big')").unwrap();
    let pages = |segment: &str| {
        let path = cluster.data_dir().join(format!("{file}{segment}"));
        std::fs::metadata(path).map_or(0, |metadata| metadata.len() / 8192)
    };
    let work = |sql: &str| cluster.psql_ok("postgres", &format!("{sql}; CHECKPOINT")).unwrap();
    work(&insert(1, SEGMENT - 500));
    assert_eq!((pages(""), pages(".1")), (SEGMENT - 500, 0));
    let mut base = scene.backup(&cluster, &["--source", "sql"]);
    println!("full: {:?}", begun.elapsed());

    for (what, sql, expected) in [
        ("grown", insert(SEGMENT - 499, SEGMENT + 700), (SEGMENT, 700)),
        (
            "shrunk",
            format!("DELETE FROM big WHERE n > {}; VACUUM big", SEGMENT - 300),
            (SEGMENT - 300, 0),
        ),
        ("grown again", insert(SEGMENT - 299, SEGMENT + 200), (SEGMENT, 200)),
        (
            "cut to its second file",
            format!("DELETE FROM big WHERE n > {}; VACUUM big", SEGMENT + 9),
            (SEGMENT, 9),
        ),
    ] {
        work(&sql);
        assert_eq!((pages(""), pages(".1")), expected, "{what}");
        let [by_log, _] = ["sum", "hash"].map(|by| back_up(&scene, &cluster, &base, by, what));
        base = by_log;
        println!("{what}: {:?}", begun.elapsed());
    }
    work("TRUNCATE big");
    back_up(&scene, &cluster, &base, "sum", "truncated");
    println!("truncated: {:?}", begun.elapsed());
}

/// Backs up by one way, restores, and compares every file.
fn back_up(scene: &Scene, cluster: &Cluster, base: &Value, changes: &str, what: &str) -> Value {
    let what = &format!("{what}, by {changes}");
    let base = base["id"].as_str().unwrap();
    let record = scene.backup(cluster, &["--source", "sql", "--changes", changes, "--base", base]);
    assert_eq!(record["source"]["changes"]["by"], changes, "{what}: {}", record["source"]);
    let size = |which: &str| record["size"][which].as_u64().unwrap();
    // Nothing but what has changed, and a page has hardly more than zeros.
    assert!(size("stored_bytes") < 1 << 20, "{what}: {}", record["size"]);
    let id = record["id"].as_str().unwrap();
    let directory = scene.restore(id, &["--backup", id, "--target", "immediate"]);
    compare::files(cluster, &directory, what, lsn(&record["span"]["start_lsn"]));
    std::fs::remove_dir_all(directory).unwrap();
    record
}
