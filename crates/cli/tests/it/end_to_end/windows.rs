//! What `walbrook-list` promises can be had, and what it does not promise is refused.

use serde_json::Value;
use walbrook_testkit::{Cluster, StopMode, Until};

use super::data::{self, APP, Contents, Moment};
use super::newest;
use crate::support::Scene;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

/// A position some bytes further, or before.
fn moved(lsn: &str, by: i64) -> String {
    let (high, low) = lsn.split_once('/').unwrap();
    let half = |text| i64::from_str_radix(text, 16).unwrap();
    let position = (half(high) << 32) + half(low) + by;
    format!("{:X}/{:X}", position >> 32, position & 0xFFFF_FFFF)
}

#[test]
fn the_ends_of_a_window_can_be_had_and_nothing_beyond() {
    let scene = Scene::new();
    let config = Cluster::builder(newest()).config("track_commit_timestamp", "on");
    let cluster = scene.archiving(config).start().unwrap();
    data::fill(&cluster);
    let backup = scene.backup(&cluster, &["--label", "the one", "--annotate", "why=test"]);
    scene.start_archiving(&cluster);
    let moment = Moment::take(&cluster, "middle");
    cluster.psql_ok(APP, "DELETE FROM pgbench_accounts WHERE aid < 100").unwrap();
    let last = Moment::take(&cluster, "last");
    scene.archive_now(&cluster);
    let end = Contents::of(&cluster);

    let system = scene.list();
    assert_eq!(system["backups"].as_array().map(Vec::len), Some(1), "{system}");
    let listed = &system["backups"][0];
    assert_eq!(listed["restorable"], true);
    for key in ["id", "label", "annotations", "span", "size", "server"] {
        assert_eq!(listed[key], backup[key], "{key}");
    }
    assert_eq!((text(listed, "label"), text(&listed["annotations"], "why")), ("the one", "test"));
    assert_eq!(system["gaps"], Value::Array(Vec::new()));
    let windows = system["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 1, "{system}");
    let window = &windows[0];
    assert_eq!(window["from_lsn"], backup["span"]["stop_lsn"]);
    let query =
        format!("SELECT '{}'::timestamptz = '{}'::timestamptz", text(window, "to_time"), last.time);
    assert_eq!(cluster.psql("postgres", &query).unwrap(), "t", "{window}, last {}", last.time);

    let (to_time, from_lsn) = (text(window, "to_time"), text(window, "from_lsn"));
    let promote = ["--target-action", "promote"];
    let check = |name: &str, target: [&str; 2], expected: Option<&Contents>| {
        let args = [&target[..], &promote].concat();
        let directory = data::restore(&scene, &cluster, name, &args);
        let restored = scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
        if let Some(expected) = expected {
            expected.assert_in(&restored, name);
        }
        drop(restored);
        std::fs::remove_dir_all(directory).unwrap();
    };
    check("from-time", ["--target-time", text(window, "from_time")], None);
    check("from-lsn", ["--target-lsn", from_lsn], None);
    check("middle", ["--target-time", &moment.time], Some(&moment.contents));
    // The very last transaction: exclusively, for inclusively no later one would end recovery.
    let args = ["--target-time", to_time, "--target-exclusive", "--target-action", "promote"];
    let directory = data::restore(&scene, &cluster, "to-time", &args);
    let restored = scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
    last.before.assert_in(&restored, "to-time");
    drop(restored);
    let directory = data::restore(&scene, &cluster, "to-xid", &["--target-xid", &last.xid]);
    let restored = scene.adopt(&cluster, &directory).until(Until::Paused).start().unwrap();
    end.assert_in(&restored, "to-xid");

    let refused = |target: [&str; 2], says: &str| {
        let ran = scene.try_restore("refused", &target).expect(1);
        assert!(ran.stderr.contains(says), "{target:?}: {}", ran.stderr);
        assert!(!scene.path("refused").exists(), "{target:?}: nothing is written");
    };
    let earlier = format!("SELECT '{}'::timestamptz - interval '1 s'", text(window, "from_time"));
    let earlier = cluster.psql("postgres", &earlier).unwrap();
    let later = cluster.psql("postgres", "SELECT now() + interval '1 h'").unwrap();
    refused(["--target-time", &earlier], "is before the end of backup");
    refused(["--target-time", &later], "is after the end of the WAL");
    refused(["--target-lsn", &moved(from_lsn, -8)], "is before the end of backup");
    refused(["--target-lsn", text(window, "to_lsn")], "is after the end of the WAL");
    refused(["--target-xid", "1000000"], "is not in the WAL");
    refused(["--target-name", "never made"], "is not in the WAL");
    refused(["--target-timeline", "7"], "7");
}

#[test]
fn a_gap_ends_a_window_and_the_next_backup_begins_another() {
    let scene = Scene::new();
    let mut cluster = scene.archiving(Cluster::builder(newest())).start().unwrap();
    data::fill(&cluster);
    let first = scene.backup(&cluster, &[]);
    scene.start_archiving(&cluster);
    cluster.psql_ok(APP, "INSERT INTO marks (name) VALUES ('before the gap')").unwrap();
    let before_gap = Contents::of(&cluster);
    scene.archive_now(&cluster);

    // Somebody sets a command that keeps nothing.
    cluster.append_config(&[("archive_command", "true")]).unwrap();
    cluster.restart(StopMode::Fast).unwrap();
    cluster.psql_ok(APP, "INSERT INTO marks (name) VALUES ('in the gap')").unwrap();
    let lost = scene.archive_now(&cluster);
    cluster.append_config(&[("archive_command", &scene.archive_command())]).unwrap();
    cluster.restart(StopMode::Fast).unwrap();
    cluster.psql_ok(APP, "SELECT pg_create_restore_point('behind the gap')").unwrap();
    scene.archive_now(&cluster);

    let gap = scene.list()["gaps"][0].clone();
    assert_eq!(text(&gap, "last"), lost, "{gap}");
    let target = ["--target-name", "behind the gap"];
    let refused = scene.try_restore("refused", &target).expect(1);
    assert!(!scene.path("refused").exists(), "{}", refused.stderr);

    let second = scene.backup(&cluster, &[]);
    cluster.psql_ok(APP, "INSERT INTO marks (name) VALUES ('after')").unwrap();
    let after = Contents::of(&cluster);
    scene.archive_now(&cluster);
    let system = scene.list();
    let windows: Vec<_> = system["windows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|window| (window["first_backup"].clone(), window["last_backup"].clone()))
        .collect();
    let (one, two) = (first["id"].clone(), second["id"].clone());
    assert_eq!(windows, [(one.clone(), one.clone()), (two.clone(), two)], "{system}");

    let check = |name: &str, args: &[&str], expected: &Contents| {
        let directory = data::restore(&scene, &cluster, name, args);
        let restored = scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
        expected.assert_in(&restored, name);
    };
    check("latest", &[], &after);
    check("first", &["--backup", one.as_str().unwrap()], &before_gap);
}
