//! `walbrook` itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{command, ran, run};

#[test]
fn it_lists_the_commands() {
    let help = run("walbrook", &["--help"]);
    assert_eq!(help.code, Some(0));
    for name in ["backup", "list", "restore", "push", "fetch", "wal"] {
        let line = help.stdout.lines().find(|line| line.trim_start().starts_with(name));
        assert!(line.is_some_and(|line| !line.contains("not installed")), "{}", help.stdout);
    }
    let nothing = run("walbrook", &[]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(2), ""));
}

#[test]
fn it_runs_them_with_their_exit_codes() {
    let version = run("walbrook", &["backup", "--version"]);
    assert!(version.stdout.starts_with("walbrook-backup "), "{}", version.stdout);
    assert!(run("walbrook", &["help", "restore"]).stdout.contains("--pgdata"));
    assert_eq!(run("walbrook", &["list"]).code, Some(2));
    assert_eq!(run("walbrook", &["fetch"]).code, Some(200));
}

#[test]
fn nothing_that_fetch_may_be_written_as_ends_recovery() {
    assert_eq!(run("walbrook", &["ftch", "%f", "%p"]).code, Some(127));
    assert_eq!(run("walbrook", &["--repo", "/x", "fetch", "%f", "%p"]).code, Some(200));
    assert_eq!(run("walbrook", &["../fetch"]).code, Some(127));
}

#[test]
fn it_runs_what_others_made() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("walbrook-hello");
    fs::write(&program, "#!/bin/sh\necho hello \"$@\"\nexit 7\n").unwrap();
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let hello = |args: &[&str]| ran(command("walbrook", args).env("PATH", &path).output().unwrap());
    assert_eq!(hello(&["hello"]).code, Some(127), "it can't be executed yet");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = hello(&["hello", "a b", "-c"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(7), "hello a b -c\n"));
    assert!(hello(&["--help"]).stdout.contains("\n  hello\n"));
}
