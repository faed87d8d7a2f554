//! WAL with something of everything, made once for each kind of cluster.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use walbrook_testkit::{Cluster, Installation, StopMode, majors};
use walbrook_types::{Lsn, WalFileName, WalSegmentSize};

use crate::waldump::{self, Line};
use crate::workload;

/// The whole WAL of a cluster that is gone, and what `pg_waldump` said of it.
pub(crate) struct Wal {
    pub(crate) major: u32,
    pub(crate) size: WalSegmentSize,
    pub(crate) system_id: String,
    /// All segments in use, in order.
    pub(crate) segments: Vec<(WalFileName, Bytes)>,
    pub(crate) lines: Vec<Line>,
    /// By resource manager and operation: how many records, the length of all without images, and
    /// that of the images.
    pub(crate) stats: BTreeMap<String, (u64, u64, u64)>,
}

impl Wal {
    pub(crate) fn start(&self) -> Lsn {
        self.segments[0].0.segment_number(self.size).unwrap().start(self.size)
    }

    pub(crate) fn read(&self) -> Vec<u8> {
        self.segments.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }
}

const SCHEMA: &str = "
    CREATE TABLE t (n int PRIMARY KEY, s text);
    INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 5000) AS n;
    CREATE INDEX ON t USING gin (string_to_array(s, 'a'));
    CREATE INDEX ON t USING hash (s);
    SELECT pg_create_restore_point('before lunch');
    UPDATE t SET s = s || 'x' WHERE n % 7 = 0;
    DELETE FROM t WHERE n % 11 = 0;
    BEGIN; INSERT INTO t VALUES (100001, 'gone'); ROLLBACK;
    CREATE DATABASE walled;
    CREATE SEQUENCE q; SELECT nextval('q');
    CREATE TABLE dropped AS SELECT n FROM generate_series(1, 2000) AS n;
    DROP TABLE dropped;
    TRUNCATE t;
    INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 5000) AS n;
";

/// Statements that psql sends as transactions of their own.
const TRANSACTIONS: &str = "
    BEGIN; INSERT INTO t VALUES (200001, 'two'); SAVEPOINT a; INSERT INTO t VALUES (200002, 'sub');
    PREPARE TRANSACTION 'walbrook one';
    BEGIN; INSERT INTO t VALUES (200003, 'three'); CREATE TABLE never (n int);
    PREPARE TRANSACTION 'walbrook two';
    COMMIT PREPARED 'walbrook one';
    ROLLBACK PREPARED 'walbrook two';
    -- A commit record with thousands of subtransactions, several pages long.
    DO $$ BEGIN FOR n IN 300000..304000 LOOP
        BEGIN INSERT INTO t VALUES (n, 'many'); EXCEPTION WHEN unique_violation THEN NULL; END;
    END LOOP; END $$;
    -- Records of several pages, and longer than the smallest segment.
    SELECT pg_logical_emit_message(true, 'long', repeat('x', 50000));
    SELECT pg_logical_emit_message(false, 'longer', repeat('y', 2500000));
    SELECT pg_create_restore_point('évening');
    SELECT pg_switch_wal();
    INSERT INTO t VALUES (400001, 'behind the switch');
    SELECT pg_switch_wal();
    SELECT pg_create_restore_point(repeat('n', 62));
    CHECKPOINT;
    UPDATE t SET s = s || 'y' WHERE n % 5 = 0;
";

fn make(installation: &Installation, mib: u32) -> Wal {
    let mut cluster = Cluster::builder(installation)
        .wal_segsize_mb(mib)
        .config("max_prepared_transactions", "5")
        .config("wal_level", "logical")
        .config("wal_keep_size", "4GB")
        .config("max_wal_size", "4GB")
        .config("min_wal_size", if mib > 16 { "256MB" } else { "80MB" })
        .config("track_commit_timestamp", "on")
        .config("wal_log_hints", if mib == 16 { "on" } else { "off" })
        .config("wal_compression", if mib == 1 { "pglz" } else { "off" })
        .start()
        .unwrap();
    let pgbench = |args: &[&str]| {
        let output = cluster.command("pgbench").args(args).arg("postgres").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    cluster.psql_ok("postgres", SCHEMA).unwrap();
    pgbench(&["-i", "-s", "2", "-q"]);
    pgbench(&["-c", "3", "-t", "400", "-n"]);
    if mib == 16 {
        workload::run(&cluster);
    }
    cluster.psql_ok("postgres", TRANSACTIONS).unwrap();
    pgbench(&["-c", "3", "-t", "100", "-n"]);
    cluster.stop(StopMode::Fast).unwrap();
    read(&cluster, installation.major(), mib)
}

/// The WAL of a cluster that was stopped.
pub(crate) fn read(cluster: &Cluster, major: u32, mib: u32) -> Wal {
    let size = WalSegmentSize::new(u64::from(mib) << 20).unwrap();
    let mut segments: Vec<_> = fs::read_dir(cluster.wal_dir())
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name: WalFileName = path.file_name()?.to_str()?.parse().ok()?;
            let WalFileName::Segment { .. } = name else { return None };
            let bytes = Bytes::from(fs::read(path).unwrap());
            // Others were made in advance and not used yet.
            (bytes[0] != 0).then_some((name, bytes))
        })
        .collect();
    segments.sort();
    let start = segments[0].0.segment_number(size).unwrap().start(size);
    let lines = waldump::dump(cluster, start);
    let stats = waldump::stats(cluster, start);
    let output = cluster.command("pg_controldata").arg(cluster.data_dir()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("Database system identifier")).unwrap();
    let system_id = line.split_whitespace().last().unwrap().to_owned();
    Wal { major, size, system_id, segments, lines, stats }
}

/// Calls `test` with the WAL of every major version, in segments of each of these sizes in MiB.
/// Each is made once and shared by all tests. The largest segments, which are mostly empty, are made
/// with the newest version only.
pub(crate) fn each(sizes: &[u32], mut test: impl FnMut(&Wal)) {
    type Made = HashMap<(u32, u32), Arc<Wal>>;
    static MADE: LazyLock<Mutex<Made>> = LazyLock::new(Mutex::default);
    for installation in majors() {
        for mib in sizes {
            if *mib > 16 && installation.major() != majors().last().unwrap().major() {
                continue;
            }
            // Held while one is made: the others want it too. A test that failed is no reason
            // for the rest to.
            let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let key = (installation.major(), *mib);
            let wal = made.entry(key).or_insert_with(|| Arc::new(make(installation, *mib))).clone();
            drop(made);
            test(&wal);
        }
    }
}
