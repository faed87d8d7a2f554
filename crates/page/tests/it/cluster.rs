//! A stopped cluster with pages of many kinds.

use walbrook_testkit::{Cluster, Installation, StopMode};

/// Heap, TOAST, every index type of core, FSM, VM, sequences, an unlogged table's init fork.
const CONTENT: &str = "
    CREATE TABLE t AS SELECT n, md5(n::text) AS s, point(n, n) AS p, ARRAY[n, n + 1] AS a
        FROM generate_series(1, 20000) AS n;
    CREATE INDEX ON t USING btree (n);
    CREATE INDEX ON t USING hash (s);
    CREATE INDEX ON t USING gist (p);
    CREATE INDEX ON t USING spgist (p);
    CREATE INDEX ON t USING gin (a);
    CREATE INDEX ON t USING brin (n);
    DELETE FROM t WHERE n % 3 = 0;
    CREATE TABLE big AS SELECT string_agg(md5(n::text), '') AS s FROM generate_series(1, 5000) AS n;
    CREATE SEQUENCE q;
    SELECT nextval('q');
    CREATE UNLOGGED TABLE u AS SELECT n FROM generate_series(1, 1000) AS n;
    CREATE INDEX ON u (n);
    CREATE TABLE wide (n int);
    INSERT INTO wide SELECT generate_series(1, 3000000);
";

pub(crate) fn stopped(installation: &Installation, checksums: bool) -> Cluster {
    let mut cluster = Cluster::builder(installation)
        .data_checksums(checksums)
        .config("track_commit_timestamp", "on")
        .config("max_connections", "37")
        .config("wal_level", "logical")
        .start()
        .unwrap();
    cluster.psql_ok("postgres", CONTENT).unwrap();
    cluster.psql_ok("postgres", "VACUUM t").unwrap();
    cluster.stop(StopMode::Fast).unwrap();
    cluster
}
