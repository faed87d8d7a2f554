//! `show` and `stats` beside `pg_waldump`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use walbrook_testkit::{Cluster, StopMode};

use super::{newest, waldump};
use crate::support::{Ran, Scene};

/// A bit of everything, in transactions of their own.
const WORK: &str = "
    CREATE TABLE t (n int PRIMARY KEY, s text);
    INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 4000) AS n;
    CREATE INDEX ON t USING gin (string_to_array(s, 'a'));
    UPDATE t SET s = s || 'x' WHERE n % 7 = 0;
    DELETE FROM t WHERE n % 11 = 0;
    BEGIN; INSERT INTO t VALUES (100001, 'gone'); ROLLBACK;
    BEGIN; INSERT INTO t VALUES (100002, 'a'); SAVEPOINT s; INSERT INTO t VALUES (100003, 'b');
    RELEASE s; COMMIT;
    BEGIN; INSERT INTO t VALUES (100004, 'two'); PREPARE TRANSACTION 'one';
    COMMIT PREPARED 'one';
    CREATE DATABASE copied STRATEGY file_copy;
    DROP DATABASE copied;
    CHECKPOINT;
    VACUUM t;
    SELECT pg_create_restore_point('before lunch');
    SELECT pg_switch_wal();
    UPDATE t SET s = s || 'y' WHERE n % 3 = 0;
    TRUNCATE t;
    SELECT pg_logical_emit_message(true, 'long', repeat('x', 50000));
    SELECT pg_switch_wal();
    INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 1000) AS n;
";

#[test]
fn records_and_statistics_are_those_of_pg_waldump() {
    let scene = Scene::new();
    let builder = Cluster::builder(newest())
        .data_checksums(true)
        .config("max_prepared_transactions", "5")
        .config("wal_consistency_checking", "gin");
    let mut cluster = scene.archiving(builder).start().unwrap();
    scene.backup(&cluster, &[]);
    // Nothing is removed from pg_wal before it is compared.
    let keep = [("wal_keep_size", "1GB")];
    cluster.append_config(&keep).unwrap();
    scene.start_archiving(&cluster);
    cluster.switch_wal().unwrap();
    let file = "SELECT pg_walfile_name(pg_current_wal_lsn())";
    let first = cluster.psql("postgres", &format!("CREATE TABLE mark (); {file}")).unwrap();
    cluster.psql_ok("postgres", WORK).unwrap();
    let node = "SELECT '1663/' || (SELECT oid FROM pg_database WHERE datname = 'postgres') || '/' \
                || pg_relation_filenode('t')";
    let relation = cluster.psql("postgres", node).unwrap();
    let last = scene.archive_now(&cluster);
    cluster.stop(StopMode::Fast).unwrap();

    let lines = waldump::output(&cluster, &first, &[]);
    let expected: Vec<Value> = lines.iter().filter_map(|line| waldump::record(line)).collect();
    assert!(expected.len() > 5_000, "{} records", expected.len());
    let blocks = |record: &Value| record["blocks"].as_array().unwrap().clone();
    let any = |key: &str| expected.iter().flat_map(blocks).any(|block| block[key] == true);
    assert!(any("fpi") && any("apply"), "there are images");

    // A directory, to its end.
    let dir = cluster.wal_dir();
    let show = |args: &[&str]| show(&scene, &dir, &first, args);
    let ours = show(&["--output", "json"]);
    let ours: Vec<Value> = ours.stdout.lines().map(waldump::common).collect();
    assert_same(&ours, &expected);

    // Text: the same up to the operation's name, and the same block references.
    let ours = show(&[]);
    assert_eq!(ours.stdout.lines().count(), lines.len());
    for (ours, theirs) in ours.stdout.lines().zip(&lines) {
        assert_eq!(waldump::record(ours), waldump::record(theirs));
        let head = theirs.find(", desc: ").unwrap();
        assert_eq!(ours[..head], theirs[..head]);
    }

    // The repository, decompressed, up to the last segment that was archived.
    let args = ["show", "--from", &first, "--to", &last, "--output", "json"];
    let ours = scene.ok("walbrook-wal", &args);
    let ours: Vec<Value> = ours.stdout.lines().map(waldump::common).collect();
    let size = 16 << 20;
    let end = (u64::from_str_radix(&last[16..], 16).unwrap() + 1) * size;
    let lsn = |record: &Value| {
        u64::from_str_radix(record["lsn"].as_str().unwrap().split_once('/').unwrap().1, 16).unwrap()
    };
    let archived: Vec<Value> = expected.iter().filter(|r| lsn(r) < end).cloned().collect();
    assert_same(&ours, &archived);

    // Single files, in any order.
    let files: Vec<_> = [&last, &first].map(|name| dir.join(name)).into_iter().collect();
    let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    if first != last {
        let args = [&["show", "--output", "json", "--skip-missing"], &files[..]].concat();
        let ours = scene.ok("walbrook-wal", &args).stdout.lines().count();
        assert!(ours > 0 && ours < expected.len(), "{ours} of {}", expected.len());
    }

    // The filters.
    for (ours, theirs) in [
        (&["--rmgr", "heap", "--rmgr", "Btree"][..], &["-r", "Heap", "-r", "Btree"][..]),
        (&["--relation", &relation], &["-R", &relation]),
        (&["--relation", &relation, "--block", "3"], &["-R", &relation, "-B", "3"]),
        (&["--fork", "vm"], &["-F", "vm"]),
        (&["--fullpage"], &["-w"]),
        (&["--limit", "17"], &["-n", "17"]),
    ] {
        let theirs = waldump::output(&cluster, &first, theirs);
        let expected: Vec<Value> = theirs.iter().filter_map(|l| waldump::record(l)).collect();
        let ran = show(&[ours, &["--output", "json"]].concat());
        let found: Vec<Value> = ran.stdout.lines().map(waldump::common).collect();
        assert!(!expected.is_empty(), "{ours:?}");
        assert_same(&found, &expected);
    }

    statistics(&scene, &cluster, &first);
    changes(&scene, &cluster, &first, &expected);
}

/// Every block that a record is about changed, but for free space maps and what lies behind a limit.
fn changes(scene: &Scene, cluster: &Cluster, first: &str, records: &[Value]) {
    let dir = cluster.wal_dir();
    let base = ["changes", "--dir", dir.to_str().unwrap(), "--from", first];
    let ran = scene.ok("walbrook-wal", &[&base[..], &["--output", "json"]].concat());
    let mut changed = BTreeSet::new();
    let mut limits = BTreeMap::new();
    let key = |v: &Value| ["spc", "db", "rel", "fork"].map(|key| v[key].to_string());
    for line in ran.stdout.lines() {
        let fork: Value = serde_json::from_str(line).unwrap();
        let mut count = 0;
        for run in fork["blocks"].as_array().unwrap() {
            let (first, last) = (run[0].as_u64().unwrap(), run[1].as_u64().unwrap());
            count += last - first + 1;
            changed.extend((first..=last).map(|block| (key(&fork), block)));
        }
        assert_eq!(fork["changed"], count);
        if let Some(limit) = fork["limit_block"].as_u64() {
            limits.insert(key(&fork), limit);
        }
    }
    let blocks = records.iter().flat_map(|record| record["blocks"].as_array().unwrap());
    let referred: BTreeSet<_> = blocks
        .filter(|block| block["fork"] != "fsm")
        .map(|block| (key(block), block["blk"].as_u64().unwrap()))
        .collect();
    assert!(changed.len() > 20 && !limits.is_empty());
    assert!(changed.is_subset(&referred), "{:?}", changed.difference(&referred).next());
    for (fork, block) in referred.difference(&changed) {
        assert!(limits.get(fork).is_some_and(|limit| block >= limit), "{fork:?} {block}");
    }
    let summary = scene.ok("walbrook-wal", &[&base[..], &["--summary"]].concat()).stdout;
    let total = format!("{} blocks of ", changed.len());
    assert!(summary.lines().last().unwrap().starts_with(&total), "{total}: {summary}");
}

fn show(scene: &Scene, dir: &Path, first: &str, args: &[&str]) -> Ran {
    let base = ["show", "--dir", dir.to_str().unwrap(), "--from", first];
    scene.ok("walbrook-wal", &[&base, args].concat())
}

/// Line for line, but for resource managers that do not occur, which ours leaves out.
fn statistics(scene: &Scene, cluster: &Cluster, first: &str) {
    let dir = cluster.wal_dir();
    let base = ["stats", "--dir", dir.to_str().unwrap(), "--from", first];
    for (ours, theirs) in [(&[][..], "--stats"), (&["--by", "record"][..], "--stats=record")] {
        let theirs = waldump::output(cluster, first, &[theirs]);
        let occurs = |line: &&str| {
            let mut words = line.split_whitespace();
            !(words.nth(1) == Some("0") && words.next() == Some("("))
        };
        let theirs: Vec<&str> = theirs.iter().map(String::as_str).filter(occurs).collect();
        let ran = scene.ok("walbrook-wal", &[&base[..], ours].concat());
        let ours: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(ours, theirs);
    }
    let json = scene.ok("walbrook-wal", &[&base[..], &["--output", "json"]].concat());
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let sum: u64 =
        json["rows"].as_array().unwrap().iter().map(|r| r["count"].as_u64().unwrap()).sum();
    assert_eq!(json["total"]["count"], sum);
}

#[track_caller]
fn assert_same(ours: &[Value], theirs: &[Value]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}
