//! Targets that can't be reached, and WAL that is missing.

use std::fs;

use walbrook_testkit::{Cluster, majors};

use crate::refused::{assert_nothing_in, refused};
use crate::support::Scene;

#[test]
fn targets_out_of_reach() {
    let scene = Scene::new();
    let newest = majors().pop().unwrap();
    let cluster = scene.archiving(Cluster::builder(newest)).start().unwrap();
    // The record of a backup has whole seconds.
    let early = cluster.psql("postgres", "SELECT now() - interval '2 s'").unwrap();
    let before = cluster.current_lsn().unwrap();
    cluster.psql_ok("postgres", "CREATE TABLE t (n int); CHECKPOINT").unwrap();
    let record = scene.backup(&cluster, &[]);
    scene.start_archiving(&cluster);
    let id = record["id"].as_str().unwrap();
    let mut segments = Vec::new();
    for n in 0..4 {
        let insert = format!("INSERT INTO t VALUES ({n}); SELECT pg_create_restore_point('p{n}')");
        cluster.psql_ok("postgres", &insert).unwrap();
        segments.push(scene.archive_now(&cluster));
    }
    let last = cluster.current_lsn().unwrap();
    let xid = "SELECT (pg_current_xact_id()::text::bigint % 4294967296 + 1000)::text";
    let xid = cluster.psql("postgres", xid).unwrap();
    let refuses = |args: &[&str], words: &[&str]| {
        for dry in [&[][..], &["--dry-run"]] {
            refused(scene.try_restore("restored", &[args, dry].concat()), 1, words);
            assert_nothing_in(&scene.path("restored"));
        }
    };
    let stop = record["span"]["stop_lsn"].as_str().unwrap();
    refuses(&["--target-time", "2001-01-01 00:00:00+00"], &["2001-01-01", "before", id]);
    refuses(&["--target-time", &early], &["before the end of", id, "earliest time"]);
    refuses(&["--target-lsn", &before], &[&before, "before the end of", stop]);
    refuses(&["--target-time", "2101-01-01 00:00:00+00"], &["after the end of the WAL", "latest"]);
    refuses(&["--target-lsn", "FF/0"], &["FF/0", "after the end of the WAL", "latest"]);
    refuses(&["--target-lsn", &last], &["after the end of the WAL"]);
    refuses(&["--target-xid", &xid], &["transaction", &xid, id]);
    refuses(&["--target-name", "nowhere"], &["\"nowhere\"", id]);
    refuses(&["--target-timeline", "7"], &["00000007.history"]);

    // In the middle: what lies before can be had, what lies behind can't.
    let system = scene.list()["system"]["system_identifier"].clone();
    let system = system.as_str().map_or_else(|| system.to_string(), str::to_owned);
    let object = |segment: &str| {
        let folder = format!("prod/wal/{system}/{}/{}", &segment[..8], &segment[8..16]);
        scene.repo().join(folder).join(segment)
    };
    fs::rename(object(&segments[2]), scene.path("gone")).unwrap();
    refuses(&["--target-name", "p3"], &["\"p3\"", id]);
    let gaps = scene.list()["gaps"].clone();
    assert_eq!(gaps[0]["first"], segments[2].as_str(), "{gaps}");
    scene.try_restore("restored", &["--target-name", "p1", "--dry-run"]).expect(0);
    fs::rename(scene.path("gone"), object(&segments[2])).unwrap();
    scene.try_restore("restored", &["--target-name", "p3", "--dry-run"]).expect(0);

    // What the backup itself needs.
    let needed = record["span"]["last_segment"].as_str().unwrap();
    fs::remove_file(object(needed)).unwrap();
    refuses(&[], &[id, needed, "not in the repository", "walbrook-list"]);
    assert_eq!(scene.list()["backups"][0]["restorable"], false);
}
