//! What a signal does to an operation that hangs.

use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::command;

/// Runs a command against a store that takes a request and never answers; sends a signal then.
fn signalled(name: &str, args: &[&str], signal: &str) -> (Option<i32>, String) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let repo = format!("s3://b/p?endpoint=http://{address}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("pg_wal")).unwrap();
    std::fs::write(dir.path().join("pg_wal/000000010000000000000001"), b"x").unwrap();
    let mut child = command(name, args)
        .args(["--repo", &repo])
        .env("AWS_ACCESS_KEY_ID", "k")
        .env("AWS_SECRET_ACCESS_KEY", "s")
        .current_dir(&dir)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It hangs now, and watches for signals: the request is there.
    silent.set_nonblocking(true).unwrap();
    let mut connection = loop {
        match silent.accept() {
            Ok((connection, _)) => break connection,
            Err(_) => assert!(child.try_wait().unwrap().is_none(), "{name} ended by itself"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    connection.set_nonblocking(false).unwrap();
    connection.read_exact(&mut [0; 4]).unwrap();
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap().code(), stderr)
}

#[test]
fn an_interrupted_command_says_so_and_fails() {
    for signal in ["-TERM", "-INT"] {
        let (code, stderr) = signalled("walbrook-list", &[], signal);
        assert_eq!((code, stderr.as_str()), (Some(1), "walbrook-list: error: interrupted\n"));
    }
    let (code, _) = signalled("walbrook-push", &["pg_wal/000000010000000000000001"], "-TERM");
    assert_eq!(code, Some(1));
}

#[test]
fn an_interrupted_fetch_does_not_look_like_the_end_of_the_archive() {
    let args = ["000000010000000000000001", "pg_wal/RECOVERYXLOG"];
    assert_eq!(signalled("walbrook-fetch", &args, "-TERM").0, Some(200));
    let standby = [args[0], args[1], "--standby"];
    assert_eq!(signalled("walbrook-fetch", &standby, "-INT").0, Some(200));
}
