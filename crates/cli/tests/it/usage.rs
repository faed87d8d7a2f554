//! Exit codes and messages that need no server.

use crate::support::{command, ran, run};

const ALL: [&str; 7] = [
    "walbrook-backup",
    "walbrook-expire",
    "walbrook-push",
    "walbrook-fetch",
    "walbrook-list",
    "walbrook-restore",
    "walbrook-wal",
];

fn usage_code(name: &str) -> Option<i32> {
    Some(if name == "walbrook-fetch" { 200 } else { 2 })
}

/// The positional arguments and required flags of a command.
fn required(name: &str) -> &'static [&'static str] {
    match name {
        "walbrook-push" => &["pg_wal/000000010000000000000001"],
        "walbrook-fetch" => &["000000010000000000000001", "pg_wal/RECOVERYXLOG"],
        "walbrook-restore" => &["--pgdata", "/nonexistent/restored"],
        "walbrook-wal" => &["gaps"],
        "walbrook-expire" => &["--daily", "1"],
        _ => &[],
    }
}

fn with<'a>(name: &str, args: &[&'a str]) -> Vec<&'a str> {
    [required(name), args].concat()
}

#[test]
fn help_and_version_of_each() {
    for name in ALL {
        let help = run(name, &["--help"]);
        assert_eq!(help.code, Some(0), "{name}");
        for expected in ["Example", "Exit codes", "WALBROOK_REPO", "--repo-option"] {
            assert!(help.stdout.contains(expected), "{name} --help has no {expected}");
        }
        let version = run(name, &["--version"]);
        assert_eq!(version.code, Some(0));
        assert_eq!(version.stdout, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn usage_errors_of_each() {
    for name in ALL {
        let unknown = run(name, &with(name, &["--no-such-flag"]));
        assert_eq!(unknown.code, usage_code(name), "{name}: {}", unknown.stderr);
        assert_eq!(unknown.stdout, "");

        let nowhere = run(name, required(name));
        assert_eq!(nowhere.code, usage_code(name), "{name}: {}", nowhere.stderr);
        assert!(nowhere.stderr.starts_with(&format!("{name}: error: no repository is given")));
        assert!(nowhere.stderr.contains("WALBROOK_REPO"), "{}", nowhere.stderr);

        for (url, expected) in [
            ("sftp://host/x", "its scheme is unknown"),
            ("relative/path", "neither an absolute path nor a URL"),
            ("s3://bucket/x?regoin=eu", "did you mean region?"),
            ("/srv/x", "they take no options"),
        ] {
            let option: &[&str] =
                if url == "/srv/x" { &["--repo-option", "fsync=off"] } else { &[] };
            let wrong = run(name, &with(name, &[&["--repo", url], option].concat()));
            assert_eq!(wrong.code, usage_code(name), "{name} {url}: {}", wrong.stderr);
            assert!(wrong.stderr.contains(expected), "{name} {url}: {}", wrong.stderr);
        }
    }
}

#[test]
fn a_repository_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let repo = ["--repo", missing.to_str().unwrap()];
    // A WAL file is there, so that it is the repository that push complains about.
    std::fs::create_dir_all(dir.path().join("pg_wal")).unwrap();
    std::fs::write(dir.path().join("pg_wal/000000010000000000000001"), b"x").unwrap();
    let target = dir.path().join("restored");
    for (name, code) in [
        ("walbrook-push", 1),
        ("walbrook-fetch", 200),
        ("walbrook-list", 1),
        ("walbrook-expire", 1),
        ("walbrook-restore", 1),
        ("walbrook-wal", 1),
    ] {
        let mut args = with(name, &repo);
        if name == "walbrook-fetch" {
            args.extend(["--retry-for", "0"]);
        }
        if name == "walbrook-restore" {
            args[1] = target.to_str().unwrap();
        }
        let run = ran(command(name, &args).current_dir(&dir).output().unwrap());
        assert_eq!(run.code, Some(code), "{name}: {}", run.stderr);
        assert!(run.stderr.starts_with(&format!("{name}: error: ")), "{}", run.stderr);
        assert!(run.stderr.contains(repo[1]), "{name} names the repository: {}", run.stderr);
        assert!(run.stdout.is_empty() && !target.exists() && !missing.exists());
    }
    let standby = [required("walbrook-fetch"), &repo, &["--standby", "--retry-for", "0"]].concat();
    assert_eq!(run("walbrook-fetch", &standby).code, Some(1), "trouble of a standby");
    let typo = [required("walbrook-fetch"), &repo, &["--standby", "--retry-for", "soon"]].concat();
    assert_eq!(run("walbrook-fetch", &typo).code, Some(200), "usage, standby or not");
}

#[test]
fn restore_takes_one_target_that_makes_sense() {
    let restore = |args: &[&str]| {
        run(
            "walbrook-restore",
            &with("walbrook-restore", &[&["--repo", "/nonexistent"], args].concat()),
        )
    };
    for args in [
        &["--target-time", "2026-11-22 04:00:00+00", "--target-lsn", "0/1"][..],
        &["--target", "immediate", "--target-name", "x"],
        &["--target-time", "yesterday"],
        &["--target-lsn", "0-1"],
        &["--target-xid", "1"],
        &["--target-timeline", "0"],
        &["--target-action", "stop"],
        &["--target-exclusive"],
        &["--target-action", "pause"],
        &["--standby", "--target", "immediate"],
        &["--backup", "newest"],
        &["--tablespace-map", "/a"],
        &["--restore-command", "cp /x/%f ."],
        &["--restore-command", "cp /x/%f %p\n"],
    ] {
        let refused = restore(args);
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.stderr);
    }
    let time = restore(&["--target-time", "yesterday"]).stderr;
    assert!(time.contains("2026-11-22 04:00:00"), "shows what is accepted: {time}");
}

#[test]
fn backup_refuses_values_before_it_connects() {
    for args in [
        &["--compression", "zstd:99"][..],
        &["--max-rate", "1"],
        &["--wal-timeout", "soon"],
        &["--jobs", "0"],
        &["--label", "two\nlines"],
        &["--annotate", "novalue"],
        &["--annotate", "a=1", "--annotate", "a=2"],
        &["-d", "hots=db1"],
        &["--expire"],
        &["--daily", "1"],
        &["--expire", "--window", "7"],
        &["-d", "host=/nonexistent sslmode=sometimes"],
    ] {
        let refused = run("walbrook-backup", &[&["--repo", "/nonexistent/repo"], args].concat());
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.stderr);
    }
}

#[test]
fn expire_refuses_what_makes_no_sense() {
    let id = "20261122T034512Z-1f3a9c04";
    for args in [
        &[][..],
        &["--even-last", "--daily", "1"],
        &["--backup", "newest"],
        &["--daily", "1", "--grace", "soon"],
        &["--daily", "1", "--now", "tomorrow"],
        &["--daily", "1", "--time-zone", "Mars/Olympus"],
        &["--dry-run", "--simulate", "1y", "--daily", "1"],
    ] {
        let refused = run("walbrook-expire", &[&["--repo", "/nonexistent/repo"], args].concat());
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.stderr);
    }
    for args in
        [&["--pin", id, "--unpin", id][..], &["--until", "2027-01-01 00:00Z"], &["--pin", "x"]]
    {
        let refused = run("walbrook-list", &[&["--repo", "/nonexistent/repo"], args].concat());
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.stderr);
    }
}

#[test]
fn a_server_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repo");
    let dsn = format!("host={} user=u", dir.path().display());
    let down = run("walbrook-backup", &["--repo", repo.to_str().unwrap(), "-d", &dsn]);
    assert_eq!(down.code, Some(1), "{}", down.stderr);
    assert!(down.stderr.contains(".s.PGSQL.5432"), "names the socket: {}", down.stderr);
    assert!(!repo.exists(), "nothing is created for a server that is not there");
}

#[test]
fn secrets_on_the_command_line_are_warned_of_and_not_shown() {
    let args = ["--repo", "s3://b/p?endpoint=http://127.0.0.1:1&max_retries=0"];
    let option = ["--repo-option", "access_key_id=k", "--repo-option", "secret_access_key=hunter2"];
    let run_ = run("walbrook-list", &[&args[..], &option].concat());
    assert_eq!(run_.code, Some(1), "{}", run_.stderr);
    assert!(run_.stderr.contains("warning: --repo-option secret_access_key=…"), "{}", run_.stderr);
    assert!(!run_.stderr.contains("hunter2"), "{}", run_.stderr);
    let dsn = run("walbrook-backup", &["--repo", "/x", "-d", "host=/nonexistent password=hunter2"]);
    assert!(dsn.stderr.contains("--dsn has a password"), "{}", dsn.stderr);
    assert!(!dsn.stderr.contains("hunter2"), "{}", dsn.stderr);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    for name in ["walbrook", "walbrook-fetch", "walbrook-backup"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = ran(command(name, &["--help"]).stdout(writer).output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{name}");
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = ran(command("walbrook", &["--help"]).stdout(full).output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("could not write the result"), "{}", ran.stderr);
}
