//! The configuration file, as far as it can be seen from outside.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{command, ran, run};

#[test]
fn flags_win_over_the_environment_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("walbrook.toml");
    fs::write(&file, "repo = '/nonexistent/of-file'\n").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let list = |args: &[&str], variable: Option<&str>| {
        let mut command = command("walbrook-list", &[&config, args].concat());
        command.envs(variable.map(|value| ("WALBROOK_REPO", value)));
        ran(command.output().unwrap()).stderr
    };
    assert!(list(&[], None).contains("/nonexistent/of-file"));
    assert!(list(&[], Some("/nonexistent/of-variable")).contains("/nonexistent/of-variable"));
    assert!(list(&[], Some("")).contains("/nonexistent/of-file"), "set to nothing is not set");
    let flag = list(&["--repo", "/nonexistent/of-flag"], Some("/nonexistent/of-variable"));
    assert!(flag.contains("/nonexistent/of-flag"), "{flag}");
}

#[test]
fn the_user_s_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("walbrook")).unwrap();
    fs::write(dir.path().join("walbrook/walbrook.toml"), "repo = '/nonexistent/found'").unwrap();
    let mut command = command("walbrook-list", &[]);
    let list = ran(command.env("XDG_CONFIG_HOME", dir.path()).output().unwrap());
    assert!(list.stderr.contains("/nonexistent/found"), "{}", list.stderr);
}

#[test]
fn faults_name_file_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.toml");
    let path = file.to_str().unwrap();
    for (name, args) in [
        ("walbrook-list", &[][..]),
        ("walbrook-fetch", &["000000010000000000000001", "x", "--standby"][..]),
    ] {
        let code = Some(if name == "walbrook-list" { 2 } else { 200 });
        fs::write(&file, "rpo = '/x'").unwrap();
        let unknown = run(name, &[args, &["--config", path]].concat());
        assert_eq!(unknown.code, code, "{}", unknown.stderr);
        assert!(unknown.stderr.contains(path) && unknown.stderr.contains("unknown key rpo"));
    }
    fs::write(&file, "repo = '/x'\n[clusters.prod]\njobs = 'many'").unwrap();
    let args = ["--config", path, "-d", "host=/nonexistent", "--cluster"];
    let wrong = run("walbrook-backup", &[&args[..], &["prod"]].concat());
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.contains(path) && wrong.stderr.contains("jobs: "), "{}", wrong.stderr);
    let other = run("walbrook-backup", &[&args[..], &["other"]].concat());
    assert_eq!(other.code, Some(1), "another cluster's section does not count: {}", other.stderr);

    let missing = run("walbrook-list", &["--config", "/nonexistent/w.toml"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("/nonexistent/w.toml"), "{}", missing.stderr);
}

#[test]
fn secrets_that_everybody_can_read_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.toml");
    let repo = "repo = 's3://b/p?endpoint=http://127.0.0.1:1&max_retries=0'\n";
    let secret = "[repo-options]\naccess_key_id = 'k'\nsecret_access_key = 'hunter2'\n";
    for (text, mode, warns) in [
        (format!("{repo}{secret}"), 0o644, true),
        (format!("{repo}{secret}"), 0o640, false),
        (repo.to_owned(), 0o644, false),
    ] {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let list = run("walbrook-list", &["--config", file.to_str().unwrap()]);
        assert_eq!(list.code, Some(1), "{}", list.stderr);
        let warned = list.stderr.contains("every user can read secret_access_key");
        assert_eq!(warned, warns, "{mode:o}: {}", list.stderr);
        assert!(!list.stderr.contains("hunter2"));
    }
}
