//! A cluster with one of everything, and what it holds at a moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walbrook_testkit::{Background, Cluster, Fingerprint, fingerprint_all, sequences};

use crate::support::{Scene, log_tail};

/// The database that the load and most objects are in, made from a template through the WAL.
pub(crate) const APP: &str = "app";
/// A second database, made from the same template by copying files.
pub(crate) const OTHER: &str = "other";

/// What [`fill`] makes in the database `app`.
const OBJECTS: &str = "
    CREATE TABLE spaced (id int PRIMARY KEY USING INDEX TABLESPACE space, body text)
        TABLESPACE space;
    INSERT INTO spaced SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 5000) g;
    CREATE INDEX spaced_body ON spaced (md5(body)) TABLESPACE space;
    CREATE TABLE wide (id int PRIMARY KEY, body text);
    ALTER TABLE wide ALTER body SET STORAGE EXTERNAL;
    INSERT INTO wide SELECT g, repeat(md5(g::text), 1000) FROM generate_series(1, 50) g;
    SELECT lo_from_bytea(0, decode(repeat(md5(g::text), g * 500), 'hex'))
        FROM generate_series(1, 4) g;
    CREATE UNLOGGED TABLE fleeting (n int PRIMARY KEY);
    INSERT INTO fleeting SELECT generate_series(1, 1000);
    CREATE SEQUENCE numbers;
    SELECT nextval('numbers') FROM generate_series(1, 5);
    CREATE MATERIALIZED VIEW summary AS SELECT id % 10 AS digit, count(*) FROM spaced GROUP BY 1;
    CREATE TABLE marks (name text PRIMARY KEY, number bigint DEFAULT nextval('numbers'));
    DELETE FROM spaced WHERE id % 7 = 0;
";

/// Fills a new cluster: two databases, one by each strategy of CREATE DATABASE, a tablespace
/// with tables and indexes, TOAST, large objects, a sequence, a materialized view, an unlogged
/// table, free-space and visibility maps, and pgbench's tables.
pub(crate) fn fill(cluster: &Cluster) {
    let space = cluster.make_dir("space").unwrap();
    let run = |database: &str, sql: &str| cluster.psql_ok(database, sql).unwrap();
    run("postgres", &format!("CREATE TABLESPACE space LOCATION '{}'", space.display()));
    run("postgres", "CREATE DATABASE mould");
    run("mould", "CREATE TABLE cast_iron AS SELECT g AS n FROM generate_series(1, 2000) g");
    run("postgres", "CREATE DATABASE app TEMPLATE mould STRATEGY wal_log");
    run("postgres", "CREATE DATABASE other TEMPLATE mould STRATEGY file_copy");
    run(APP, OBJECTS);
    run(
        OTHER,
        "CREATE TABLE elsewhere AS SELECT g AS n, g::text AS t FROM generate_series(1, 999) g",
    );
    cluster.pgbench_init(APP, 1).unwrap();
    // Makes the maps, and lets go of the rows that were deleted.
    run(APP, "VACUUM (ANALYZE)");
}

/// A session that keeps a temporary table, until this is dropped.
pub(crate) fn hold_temporary_table(cluster: &Cluster) -> Background {
    let sql = "CREATE TEMP TABLE passing AS SELECT generate_series(1, 10000) AS n";
    let args = ["-X", "-d", APP, "-c", sql, "-c", "SELECT pg_sleep(3600)"];
    let session = cluster.background("psql", &args).unwrap();
    let there = "SELECT count(*) FROM pg_class WHERE relname = 'passing'";
    walbrook_testkit::wait_for("the temporary table", std::time::Duration::from_secs(60), || {
        cluster.psql(APP, there).is_ok_and(|n| n == "1")
    })
    .unwrap_or_else(|e| panic!("{e}: {}", session.output()));
    session
}

/// How many transactions the load has committed.
pub(crate) fn transactions(cluster: &Cluster) -> u64 {
    cluster.psql(APP, "SELECT count(*) FROM pgbench_history").unwrap().parse().unwrap()
}

/// Waits until the load has committed some more.
#[track_caller]
pub(crate) fn let_it_run(cluster: &Cluster, load: &Background) {
    let before = transactions(cluster);
    let more = || transactions(cluster) > before + 50;
    if let Err(error) =
        walbrook_testkit::wait_for("the load", std::time::Duration::from_secs(120), more)
    {
        panic!("{error}: {}\n--- server log ---\n{}", load.output(), log_tail(cluster));
    }
}

/// What every database of a cluster holds.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    rows: BTreeMap<String, Fingerprint>,
    sequences: BTreeMap<String, i64>,
}

impl Contents {
    pub(crate) fn of(cluster: &Cluster) -> Contents {
        let rows = fingerprint_all(cluster)
            .unwrap_or_else(|e| panic!("{e}\n--- server log ---\n{}", log_tail(cluster)));
        let mut all = BTreeMap::new();
        for database in rows.keys().filter(|name| !name.is_empty()) {
            for (name, value) in sequences(cluster, database).unwrap() {
                all.insert(format!("{database}: {name}"), value);
            }
        }
        Contents { rows, sequences: all }
    }

    /// Fails unless the cluster holds exactly this. Its sequences may be ahead, never behind: 32
    /// values are logged in advance (`SEQ_LOG_VALS` in `commands/sequence.c`), and the value that
    /// an excluded transaction took is not given back.
    #[track_caller]
    pub(crate) fn assert_in(&self, cluster: &Cluster, what: &str) {
        let found = Contents::of(cluster);
        let names = |contents: &Contents| contents.rows.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(self), "{what}: databases");
        for (database, expected) in &self.rows {
            let found = &found.rows[database];
            let differing: Vec<_> = expected
                .keys()
                .chain(found.keys())
                .filter(|name| expected.get(*name) != found.get(*name))
                .map(|name| (name, expected.get(name), found.get(name)))
                .collect();
            assert!(
                differing.is_empty(),
                "{what}: database {database:?} differs (name, expected, found): {differing:?}\n\
                 --- server log ---\n{}",
                log_tail(cluster)
            );
        }
        for (name, expected) in &self.sequences {
            let found = found.sequences.get(name).copied();
            assert!(
                found.is_some_and(|found| (*expected..=expected + 33).contains(&found)),
                "{what}: sequence {name}: expected {expected} or up to 33 more, found {found:?}"
            );
        }
    }

    /// How many objects of all databases are compared.
    pub(crate) fn objects(&self) -> usize {
        self.rows.values().map(BTreeMap::len).sum()
    }
}

/// A moment in a cluster's life, with all that a recovery target can call it.
pub(crate) struct Moment {
    /// The restore point that is made right after it.
    pub(crate) name: String,
    /// The transaction that it ends with.
    pub(crate) xid: String,
    /// When exactly that transaction committed, by the server's clock.
    pub(crate) time: String,
    /// The position right behind it.
    pub(crate) lsn: String,
    /// What there was just before that transaction.
    pub(crate) before: Contents,
    /// What there was just after it.
    pub(crate) contents: Contents,
}

impl Moment {
    /// Marks a moment by a transaction of its own. Nothing else may write meanwhile, and the
    /// server must have `track_commit_timestamp`.
    pub(crate) fn take(cluster: &Cluster, name: &str) -> Moment {
        // A quiet backup can be had for times a second past its checkpoint, whose time is known in
        // whole seconds only: an older one would be restored to an earlier moment.
        let past_the_checkpoint = "SELECT pg_sleep(greatest(0, extract(epoch FROM checkpoint_time \
            + interval '1 second' - clock_timestamp()))) FROM pg_control_checkpoint()";
        cluster.psql_ok("postgres", past_the_checkpoint).unwrap();
        let before = Contents::of(cluster);
        let insert = format!(
            "INSERT INTO marks (name) VALUES ('{name}') RETURNING pg_current_xact_id()::xid"
        );
        let xid = cluster.psql(APP, &insert).unwrap();
        let utc = "SET timezone = 'UTC'";
        let time = cluster
            .psql(APP, &format!("{utc}; SELECT pg_xact_commit_timestamp('{xid}'::xid)"))
            .unwrap();
        let contents = Contents::of(cluster);
        let lsn = cluster.current_lsn().unwrap();
        cluster.psql_ok("postgres", &format!("SELECT pg_create_restore_point('{name}')")).unwrap();
        Moment { name: name.into(), xid, time, lsn, before, contents }
    }
}

/// Damages after a moment what a restore to it has to bring back.
pub(crate) fn lose_data(cluster: &Cluster) {
    let sql = "DELETE FROM pgbench_accounts WHERE aid % 2 = 0; TRUNCATE spaced; DROP TABLE wide;
               SELECT lo_unlink(oid) FROM pg_largeobject_metadata; DROP SEQUENCE numbers CASCADE;
               REFRESH MATERIALIZED VIEW summary";
    cluster.psql_ok(APP, sql).unwrap();
    cluster.psql_ok("postgres", "DROP DATABASE other").unwrap();
}

/// The arguments that put every tablespace of a cluster beside the restore `name`.
pub(crate) fn mapped(cluster: &Cluster, scene: &Scene, name: &str) -> Vec<String> {
    let query = "SELECT oid, pg_tablespace_location(oid) FROM pg_tablespace \
                 WHERE pg_tablespace_location(oid) <> ''";
    let mut args = Vec::new();
    for row in cluster.query_rows("postgres", query).unwrap() {
        let new = scene.path(&format!("{name}.tablespace-{}", row[0]));
        args.extend(["--tablespace-map".to_owned(), format!("{}={}", row[1], new.display())]);
    }
    args
}

/// [`Scene::restore`] with every tablespace of the original moved.
#[track_caller]
pub(crate) fn restore(scene: &Scene, original: &Cluster, name: &str, args: &[&str]) -> PathBuf {
    let mapped = mapped(original, scene, name);
    let args: Vec<&str> = args.iter().copied().chain(mapped.iter().map(String::as_str)).collect();
    let directory = scene.restore(name, &args);
    super::oracles::verify_backup(original, &directory);
    directory
}

/// Paths of the unlogged table and of the session's temporary table, relative to the data
/// directory.
pub(crate) fn unlogged_and_temporary(cluster: &Cluster) -> [String; 2] {
    let path = |table: &str| {
        let sql =
            format!("SELECT pg_relation_filepath(oid) FROM pg_class WHERE relname = '{table}'");
        let path = cluster.psql(APP, &sql).unwrap();
        assert!(cluster.data_dir().join(&path).exists(), "{path}");
        path
    };
    [path("fleeting"), path("passing")]
}

/// Fails unless the restored directory, which no server has run on, has what it must and lacks
/// what it must not have.
#[track_caller]
pub(crate) fn assert_fit(directory: &Path, [unlogged, temporary]: &[String; 2]) {
    let there = |path: &str| directory.join(path).exists();
    assert!(there(&format!("{unlogged}_init")), "{unlogged}_init");
    for absent in [unlogged, temporary, "postmaster.pid", "postmaster.opts", "standby.signal"] {
        assert!(!there(absent), "{absent} was restored");
    }
    for present in ["recovery.signal", "backup_label", "backup_manifest", "global/pg_control"] {
        assert!(there(present), "{present} is missing");
    }
    for empty in ["pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_stat_tmp"] {
        let entries = std::fs::read_dir(directory.join(empty)).unwrap().count();
        assert_eq!(entries, 0, "{empty} is not empty");
    }
}
