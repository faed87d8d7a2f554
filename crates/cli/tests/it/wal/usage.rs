//! What needs no server.

use crate::support::{command, ran, run};

#[test]
fn each_command_has_help() {
    for name in ["show", "stats", "changes", "gaps", "find"] {
        let help = run("walbrook-wal", &[name, "--help"]);
        assert_eq!(help.code, Some(0), "{name}");
        for expected in ["Example", "Exit codes", "--repo-option", "--output"] {
            assert!(help.stdout.contains(expected), "{name} --help has no {expected}");
        }
    }
}

#[test]
fn the_names_of_resource_managers() {
    let list = run("walbrook-wal", &["show", "--rmgr=list"]).expect(0);
    let names: Vec<&str> = list.stdout.lines().collect();
    assert_eq!((names.len(), names[1], names[21]), (22, "Transaction", "LogicalMessage"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let gone = command("walbrook-wal", &["show", "--rmgr=list"]).stdout(writer).output().unwrap();
    assert_eq!(ran(gone).code, Some(0), "a reader that went away is no error");
}

#[test]
fn what_makes_no_sense() {
    for args in [
        &["show", "--rmgr", "Heep", "--dir", "/x"][..],
        &["show", "--fork", "tail", "--dir", "/x"],
        &["show", "--relation", "1663/5", "--dir", "/x"],
        &["show", "--relation", "app.orders", "--dir", "/x"],
        &["show", "--dir", "/x", "/y"],
        &["show", "--dir", "/x", "--from", "00000001.history"],
        &["stats", "--dir", "/x", "--timeline", "0"],
        &["stats", "--dir", "/x", "--from-time", "yesterday"],
        &["find", "--dir", "/x", "--sort", "rows"],
        &["find", "--dir", "/x", "--relation", "app.orders"],
        &["find", "--dir", "/x", "-d", "hots=db1"],
        &["find"],
        &[],
    ] {
        let refused = run("walbrook-wal", args);
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.stderr);
    }
    let named = run("walbrook-wal", &["find", "--dir", "/x", "--relation", "app.orders"]);
    assert!(named.stderr.contains("--dsn"), "{}", named.stderr);
}

#[test]
fn what_is_not_there_and_what_is_no_wal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let empty = run("walbrook-wal", &["show", "--dir", path]).expect(1);
    assert!(empty.stderr.contains("no WAL segments"), "{}", empty.stderr);
    let missing = run("walbrook-wal", &["stats", "--dir", "/nonexistent/wal"]).expect(1);
    assert!(missing.stderr.contains("/nonexistent/wal"), "{}", missing.stderr);
    let file = dir.path().join("000000010000000000000001");
    std::fs::write(&file, [7; 9000]).unwrap();
    for args in [&["show", "--dir", path][..], &["show", file.to_str().unwrap()]] {
        let strange = run("walbrook-wal", args).expect(1);
        assert!(strange.stderr.contains("is no WAL segment"), "{}", strange.stderr);
    }
}
