//! Something of everything that changes files, in an order of its own each time.

use walbrook_testkit::Cluster;

use crate::end_to_end::data::APP;

/// What is done in the database `app`; each is a round's work or part of it.
const STATEMENTS: &[&str] = &[
    "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 997 = 3",
    "INSERT INTO grows SELECT g, repeat(md5(g::text), 6) FROM generate_series(1, 4000) g",
    "DELETE FROM grows WHERE id > 1500; VACUUM grows",
    "VACUUM FULL grows",
    "TRUNCATE cycles; INSERT INTO cycles SELECT g FROM generate_series(1, 3000) g",
    "VACUUM (FREEZE) pgbench_accounts",
    "CREATE INDEX ON grows USING gin (string_to_array(body, 'a'))",
    "CREATE INDEX ON grows USING hash (body)",
    "CREATE INDEX ON grows USING gist (point(id, id))",
    "CREATE INDEX ON grows USING spgist (body)",
    "CREATE INDEX ON grows USING brin (id)",
    "REINDEX TABLE pgbench_branches",
    "UPDATE spaced SET body = 'short' WHERE id % 50 = 1",
    "ALTER TABLE moving SET TABLESPACE space",
    "ALTER TABLE moving SET TABLESPACE pg_default",
    "ALTER TABLE unsafe SET LOGGED",
    "ALTER TABLE unsafe SET UNLOGGED; INSERT INTO unsafe SELECT generate_series(1, 500)",
    "REFRESH MATERIALIZED VIEW summary",
    "SELECT nextval('numbers') FROM generate_series(1, 40)",
    "CLUSTER moving USING moving_pkey",
    "BEGIN; INSERT INTO cycles SELECT generate_series(1, 9000); ROLLBACK; VACUUM cycles",
    "CREATE TABLE IF NOT EXISTS passing AS SELECT g AS n FROM generate_series(1, 2000) g",
    "DROP TABLE IF EXISTS passing",
    "SELECT lo_from_bytea(0, decode(repeat(md5('x'), 3000), 'hex'))",
    "ANALYZE",
    "SELECT count(*) FROM grows",
];

/// Makes what the statements work on.
pub(super) fn begin(cluster: &Cluster) {
    let sql = "CREATE TABLE grows (id int, body text);
               INSERT INTO grows SELECT g, repeat(md5(g::text), 6) FROM generate_series(1, 5000) g;
               CREATE TABLE cycles (n int);
               CREATE TABLE moving (n int PRIMARY KEY);
               INSERT INTO moving SELECT generate_series(1, 5000);
               CREATE UNLOGGED TABLE unsafe (n int);
               INSERT INTO unsafe SELECT generate_series(1, 3000)";
    cluster.psql_ok(APP, sql).unwrap();
    // Every file that a later backup finds in its base should have had time to be there.
    recreate(cluster, 0);
}

/// The work before a round's backups.
pub(super) fn round(cluster: &Cluster, round: u64) {
    statements(cluster, round);
    if round > 0 {
        recreate(cluster, round);
        move_databases(cluster, round);
    }
}

/// Two thirds of the statements, in an order that is the round's own.
pub(super) fn statements(cluster: &Cluster, round: u64) {
    let mut state = 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(round + 7);
    let mut left: Vec<&str> = STATEMENTS.to_vec();
    let mut done = Vec::new();
    while left.len() > STATEMENTS.len() / 3 {
        // Knuth's MMIX generator: the order is the same in every run.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 33) as usize % left.len();
        done.push(left.swap_remove(at));
    }
    let sql = done.join(";\n");
    cluster.psql_ok(APP, &sql).unwrap_or_else(|e| panic!("{e}\n{sql}"));
}

/// Databases that come and go; one is dropped and made anew under its old OID, with files of the
/// same names as before and pages that are older than any base.
pub(super) fn recreate(cluster: &Cluster, round: u64) {
    let run = |database: &str, sql: &str| {
        cluster.psql_ok(database, sql).unwrap_or_else(|e| panic!("{e}\n{sql}"));
    };
    let strategy = if round.is_multiple_of(2) { "file_copy" } else { "wal_log" };
    run("postgres", "DROP DATABASE IF EXISTS again");
    run("postgres", "CREATE DATABASE again TEMPLATE mould OID = 900000 STRATEGY file_copy");
    // Before the first base it differs from its template, after it is the template's again.
    if round == 0 {
        run("again", "UPDATE cast_iron SET n = -n; CREATE TABLE more AS SELECT 1 AS n");
    }
    run("postgres", &format!("CREATE DATABASE made{round} TEMPLATE mould STRATEGY {strategy}"));
    run(&format!("made{round}"), "UPDATE cast_iron SET n = n + 1 WHERE n % 100 = 5");
}

/// Databases that move between tablespaces, which nothing may back up meanwhile: replay copies from a
/// directory that may be gone when its files are read, and PostgreSQL's own backups lose them as well.
fn move_databases(cluster: &Cluster, round: u64) {
    let run = |database: &str, sql: &str| {
        cluster.psql_ok(database, sql).unwrap_or_else(|e| panic!("{e}\n{sql}"));
    };
    match round {
        1 => run("postgres", "ALTER DATABASE made0 SET TABLESPACE space"),
        2 => run("postgres", "ALTER DATABASE made0 SET TABLESPACE pg_default; DROP DATABASE made1"),
        3 => {
            let path = cluster.make_dir("second").unwrap();
            run("postgres", &format!("CREATE TABLESPACE second LOCATION '{}'", path.display()));
            run(
                "made3",
                "CREATE TABLE there TABLESPACE second AS SELECT generate_series(1, 999) n",
            );
        }
        4 => {
            run("made3", "DROP TABLE there");
            run("postgres", "DROP TABLESPACE second; DROP DATABASE made3");
        }
        5 => {
            // Under the name of one that is gone, with another number.
            let path = cluster.make_dir("third").unwrap();
            run("postgres", &format!("CREATE TABLESPACE second LOCATION '{}'", path.display()));
            let copy = "CREATE DATABASE placed TEMPLATE mould TABLESPACE second STRATEGY file_copy";
            run("postgres", copy);
            run("placed", "DELETE FROM cast_iron WHERE n % 3 = 0; VACUUM cast_iron");
        }
        _ => {}
    }
}
