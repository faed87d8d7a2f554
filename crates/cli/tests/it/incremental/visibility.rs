//! The trap of incrementals that follow the log: an update clears a bit of the visibility map, and
//! its record does not name the map's page.

use walbrook_testkit::{Cluster, Until, installations};

use crate::support::Scene;

/// INSERT and VACUUM, a backup, UPDATE, a backup: the second restores to a map that knows of the
/// update. On every server that has `pg_visibility`; the first minor releases of 17 and 18 are the ones
/// whose own incremental backups restore to a map that does not.
#[test]
fn the_visibility_map_is_never_stale() {
    let mut tried = 0;
    for installation in installations() {
        if !installation.has_contrib("pg_visibility") {
            println!("SKIPPED: {installation} has no pg_visibility");
            continue;
        }
        tried += 1;
        let scene = Scene::new();
        let mut builder = Cluster::builder(installation).config("autovacuum", "off");
        if installation.major() >= 17 {
            builder = builder.config("summarize_wal", "on");
        }
        let cluster = builder.start().unwrap();
        let sql = "CREATE EXTENSION pg_visibility; CREATE TABLE t (n int, s text);
                   INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 50000) g;
                   VACUUM (FREEZE) t";
        cluster.psql_ok("postgres", sql).unwrap();
        let changes = if installation.major() >= 17 { "wal-summaries" } else { "sum" };
        let args = ["--source", "sql", "--changes", changes];
        scene.backup(&cluster, &args);
        cluster.psql_ok("postgres", "UPDATE t SET s = 'y' WHERE n % 10 = 0").unwrap();
        let record = scene.backup(&cluster, &args);
        assert_eq!(record["source"]["changes"]["by"], changes);
        let directory = scene.restore("restored", &[]);
        let restored = scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
        let wrong = "SELECT (SELECT count(*) FROM pg_check_visible('t')) || ' ' ||
                     (SELECT count(*) FROM pg_check_frozen('t'))";
        assert_eq!(restored.psql("postgres", wrong).unwrap(), "0 0", "{installation}");
    }
    assert!(tried > 0, "no server has pg_visibility");
}
