//! "Who deleted my rows, and where do I restore to?"

use serde_json::Value;
use walbrook_testkit::{Cluster, Installation, Until, wait_for};

use super::{newest, oldest};
use crate::support::Scene;

const APP: &str = "app";

/// Tables with rows, one with long values that lie in its TOAST table.
const TABLES: &str = "
    CREATE TABLE orders (n int PRIMARY KEY, state text);
    CREATE TABLE items (n int PRIMARY KEY, price int);
    CREATE TABLE customers (n int PRIMARY KEY, name text);
    CREATE TABLE journal (n int PRIMARY KEY, entry text);
    CREATE TABLE \"Odd name\" (n int);
    ALTER TABLE journal ALTER entry SET STORAGE external;
    INSERT INTO orders SELECT n, 'new' FROM generate_series(1, 5000) AS n;
    INSERT INTO items SELECT n, n FROM generate_series(1, 5000) AS n;
    INSERT INTO customers SELECT n, md5(n::text) FROM generate_series(1, 700) AS n;
    INSERT INTO journal SELECT n, repeat(md5(n::text), 100) FROM generate_series(1, 400) AS n;
    INSERT INTO \"Odd name\" SELECT generate_series(1, 10);
    VACUUM FULL items;
";

/// What goes on all the time: a transaction a line.
fn small(from: u32, to: u32) -> String {
    let one = |n: u32| match n % 5 {
        0 => format!("INSERT INTO orders VALUES ({}, 'more');\n", 10_000 + n),
        1 => format!("UPDATE items SET price = price + 1 WHERE n = {n};\n"),
        2 => format!("UPDATE orders SET state = 'sent' WHERE n = {};\n", 3_000 + n),
        3 => format!("DELETE FROM items WHERE n = {};\n", 4_000 + n % 1000),
        _ => format!("INSERT INTO \"Odd name\" VALUES ({n});\n"),
    };
    (from..to).map(one).collect()
}

/// Counts of all tables.
const COUNTS: &str = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM items), \
     (SELECT count(*) FROM customers), (SELECT count(*) FROM journal)";

/// The transactions that did the damage, with the counts before each.
struct Damage {
    deleted: (String, String),
    nested: (String, String),
    truncated: (String, String),
    prepared: (String, String),
    aborted: String,
}

fn do_damage(cluster: &Cluster) -> Damage {
    let run = |sql: &str| cluster.psql(APP, sql).unwrap();
    // The last line is what the last statement prints.
    let with_xid = |before: &str, sql: &str, end: &str| {
        let text = run(&format!("BEGIN; {before} SELECT txid_current(); {sql} {end};"));
        text.lines().last().unwrap().to_owned()
    };
    run(&small(0, 250));
    let before = run(COUNTS);
    let deleted = with_xid("", "DELETE FROM orders WHERE n <= 2000;", "COMMIT");
    let deleted = (deleted, before);
    run(&small(250, 400));
    let before = run(COUNTS);
    let nested = "DELETE FROM items WHERE n <= 100; \
        SAVEPOINT a; DELETE FROM items WHERE n BETWEEN 101 AND 200; \
        SAVEPOINT b; DELETE FROM items WHERE n BETWEEN 201 AND 300; RELEASE b; RELEASE a; \
        SAVEPOINT c; DELETE FROM items WHERE n BETWEEN 301 AND 900; ROLLBACK TO c;";
    let nested = (with_xid("", nested, "COMMIT"), before);
    run(&small(400, 600));
    let before = run(COUNTS);
    let truncated = (with_xid("", "TRUNCATE customers;", "COMMIT"), before);
    run(&small(600, 700));
    let aborted = with_xid("", "DELETE FROM orders;", "ROLLBACK");
    let prepared = with_xid("", "DELETE FROM journal WHERE n <= 150;", "PREPARE TRANSACTION 'p1'");
    run(&small(700, 850));
    let before = run(COUNTS);
    run("COMMIT PREPARED 'p1'");
    let prepared = (prepared, before);
    run(&small(850, 1000));
    run("VACUUM FULL orders");
    Damage { deleted, nested, truncated, prepared, aborted }
}

fn find(scene: &Scene, args: &[&str]) -> Value {
    let ran = scene.ok("walbrook-wal", &[&["find", "--output", "json"], args].concat());
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn found_and_undone_on_the_newest() {
    found_and_undone(newest(), true);
}

#[test]
fn found_and_undone_on_the_oldest() {
    if oldest().major() != newest().major() {
        found_and_undone(oldest(), false);
    }
}

fn found_and_undone(installation: &Installation, thoroughly: bool) {
    let scene = Scene::new();
    let builder = Cluster::builder(installation)
        .data_checksums(true)
        .config("max_prepared_transactions", "5")
        .config("autovacuum", "off");
    let cluster = scene.archiving(builder).start().unwrap();
    cluster.psql_ok("postgres", "CREATE DATABASE app").unwrap();
    cluster.psql_ok(APP, TABLES).unwrap();
    scene.backup(&cluster, &[]);
    scene.start_archiving(&cluster);
    scene.archive_now(&cluster);

    let now =
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'";
    let from = cluster.psql("postgres", now).unwrap();
    let damage = do_damage(&cluster);
    let to = cluster.psql("postgres", now).unwrap();
    // Not in the range.
    cluster.psql_ok(APP, "DELETE FROM orders WHERE n <= 4000").unwrap();
    scene.archive_now(&cluster);

    let conninfo = cluster.conninfo_for("postgres");
    let in_app = cluster.conninfo_for(APP);
    let range = ["--from-time", &from, "--to-time", &to];
    let named = [&range[..], &["-d", &in_app]].concat();

    // By damage: what is emptied first, then by rows deleted.
    let found = find(&scene, &named);
    let xid = |n: usize| found["transactions"][n]["xid"].to_string();
    let expected = [&damage.truncated, &damage.deleted, &damage.nested, &damage.prepared];
    for (n, (expected, _)) in expected.iter().enumerate() {
        assert_eq!(&xid(n), expected, "{n}: {found:#}");
    }
    // With 1,000 small ones, and one that only writes a table anew.
    assert_eq!(found["matched"], 1000 + 4 + 1);
    let relation = |n: usize| &found["transactions"][n]["relations"][0];
    for (n, name, count, key) in [
        (0, "customers", 0, "deleted"),
        (1, "orders", 2000, "deleted"),
        (2, "items", 300, "deleted"),
        (3, "journal", 150, "deleted"),
    ] {
        let relation = relation(n);
        assert_eq!((&relation["name"], &relation[key]), (&name.into(), &count.into()), "{found:#}");
        assert_eq!((&relation["database"], &relation["schema"]), (&"app".into(), &"public".into()));
        assert_eq!(found["transactions"][n]["complete"], true, "{found:#}");
        assert_eq!(found["transactions"][n]["relations"].as_array().unwrap().len(), 1, "{found:#}");
    }
    assert_eq!(relation(0)["truncated"], true);
    assert_eq!(found["transactions"][2]["subtransactions"], 2);
    assert_eq!(found["transactions"][3]["gid"], "p1");
    // The rows of its TOAST table, four for each, are told apart.
    assert_eq!(found["transactions"][3]["others"]["deleted"], 150 * 2, "{found:#}");
    let rewritten = |t: &Value| t["relations"][0]["rewritten"] == true;
    assert!(!found["transactions"].as_array().unwrap().iter().take(4).any(rewritten));

    // By relation, by count, aborted ones, another database's connection, numbers.
    let orders = [&named[..], &["--relation", "orders", "--min-deletes", "100"]].concat();
    let found = find(&scene, &orders);
    assert_eq!(
        (&found["matched"], &found["transactions"][0]["deleted"]),
        (&1.into(), &2000.into())
    );
    let aborted = find(&scene, &[&orders[..], &["--aborted", "--sort", "time"]].concat());
    assert_eq!(aborted["matched"], 2);
    assert_eq!(aborted["transactions"][1]["xid"].to_string(), damage.aborted);
    assert_eq!(aborted["transactions"][1]["state"], "aborted");
    let other = find(&scene, &[&range[..], &["-d", &conninfo, "--min-deletes", "2000"]].concat());
    assert_eq!(other["transactions"][0]["relations"][0]["name"], "orders");
    let truncates = find(&scene, &[&named[..], &["--sort", "truncates", "--limit", "1"]].concat());
    assert_eq!(truncates["transactions"][0]["xid"].to_string(), damage.truncated.0);
    let numbers = find(&scene, &[&range[..], &["--sort", "deletes", "--limit", "1"]].concat());
    let numbers = &numbers["transactions"][0];
    assert_eq!(
        (&numbers["deleted"], &numbers["relations"][0]["name"]),
        (&2000.into(), &Value::Null)
    );
    assert_eq!(numbers["xid"].to_string(), damage.deleted.0);
    // A directory has the same transactions.
    let dir = cluster.wal_dir();
    let args = ["--dir", dir.to_str().unwrap(), "--xid", &damage.deleted.0];
    assert_eq!(find(&scene, &args)["transactions"][0]["deleted"], 2000);

    // The command that is printed gets the rows back.
    undo(&scene, &cluster, &named, &damage.deleted, "--target-xid", "deleted");
    if thoroughly {
        undo(&scene, &cluster, &named, &damage.truncated, "--target-lsn", "truncated");
        undo(&scene, &cluster, &named, &damage.prepared, "--target-xid", "prepared");
    }
}

/// Runs the command line that `find` prints for a transaction, and counts the rows.
fn undo(
    scene: &Scene,
    cluster: &Cluster,
    named: &[&str],
    (xid, counts): &(String, String),
    flag: &str,
    name: &str,
) {
    let directory = scene.path(name);
    let args = ["find", "--xid", xid, "--pgdata", directory.to_str().unwrap()];
    let ran = scene.ok("walbrook-wal", &[&args, named].concat());
    let is_it = |line: &&str| line.starts_with("  walbrook-restore ") && line.contains(flag);
    let line = ran.stdout.lines().find(is_it).unwrap_or_else(|| panic!("{}", ran.stdout));
    assert!(line.ends_with("--target-exclusive"), "one timeline needs no more: {line}");
    scene.shell(line).expect(0);
    let restored = scene.adopt(cluster, &directory).until(Until::Paused).start().unwrap();
    if name == "truncated" {
        // The transaction is still under way there, and its table locked; recovery's end aborts it.
        assert!(ran.stdout.contains("pg_wal_replay_resume()"), "{}", ran.stdout);
        restored.psql_ok("postgres", "SELECT pg_wal_replay_resume()").unwrap();
        let promoted =
            || restored.psql("postgres", "SELECT pg_is_in_recovery()").is_ok_and(|row| row == "f");
        wait_for("the promotion", std::time::Duration::from_secs(120), promoted).unwrap();
    }
    assert_eq!(&restored.psql(APP, COUNTS).unwrap(), counts, "{name}: {line}");
    drop(restored);
    std::fs::remove_dir_all(&directory).unwrap();
}
