//! Servers that refuse, and servers that go away.

use std::time::Duration;

use walbrook_testkit::{Cluster, StopMode, majors, wait_for};

use crate::refused::{refused, tree};
use crate::support::{Scene, ran};

const PASSWORD: &str = "right-horse-battery";
const WRONG: &str = "wrong-horse-staple";

#[test]
fn a_server_that_refuses() {
    let scene = Scene::new();
    let newest = majors().pop().unwrap();
    let hba = "host replication good,plain 127.0.0.1/32 scram-sha-256\n";
    let mut cluster = Cluster::builder(newest).tcp().hba(hba).start().unwrap();
    let roles = format!(
        "CREATE ROLE good LOGIN REPLICATION PASSWORD '{PASSWORD}';
         CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}';
         CREATE ROLE unlisted LOGIN REPLICATION PASSWORD '{PASSWORD}';"
    );
    cluster.psql_ok("postgres", &roles).unwrap();
    let port = cluster.port();
    let before = tree(&scene.path(""));
    let backup = |dsn: &str, password: &str| {
        let mut command = scene.command("walbrook-backup", &["-vvv", "-d", dsn]);
        command.env("PGPASSWORD", password).stdin(std::process::Stdio::null());
        ran(command.output().unwrap())
    };
    let as_user = |user: &str| format!("host=127.0.0.1 port={port} user={user}");
    let place = format!("127.0.0.1:{port}");
    for (user, password, words) in [
        ("good", WRONG, &[place.as_str(), "password authentication failed", "good"][..]),
        ("nobody", PASSWORD, &[&place, "nobody"]),
        ("plain", PASSWORD, &["ALTER ROLE", "plain", "REPLICATION"]),
        ("unlisted", PASSWORD, &["pg_hba.conf", "replication", "unlisted", "reload"]),
    ] {
        let told = refused(backup(&as_user(user), password), 1, words);
        assert!(!told.contains(PASSWORD) && !told.contains(WRONG), "{user}: {told}");
    }
    // In the connection string itself, in both its forms.
    for dsn in [
        format!("host=127.0.0.1 port={port} user=good password={WRONG}"),
        format!("postgresql://good:{WRONG}@127.0.0.1:{port}/postgres"),
        format!("postgresql://good:{WRONG}@127.0.0.1:1/postgres"),
        format!("postgresql://good:{WRONG}@127.0.0.1:{port}/postgres?sslmode=verify-full"),
        format!("postgresql://good:{WRONG}@127.0.0.1:{port}/postgres?sslmod=require"),
        format!("host=127.0.0.1 password='{WRONG} user=good"),
    ] {
        let mut command = scene.command("walbrook-backup", &["-vvv", "-d", &dsn]);
        let ran = ran(command.output().unwrap());
        assert!(matches!(ran.code, Some(1 | 2)), "{ran:?}");
        assert!(!ran.stderr.contains(WRONG), "{dsn}: {}", ran.stderr);
    }
    assert_eq!(tree(&scene.path("")), before, "no repository for a server that refuses");

    // All that was wrong is put right.
    refused(backup(&as_user("good"), ""), 1, &["password"]);
    backup(&as_user("good"), PASSWORD).expect(0);
    let kept = tree(&scene.repo());
    cluster.stop(StopMode::Immediate).unwrap();
    refused(backup(&as_user("good"), PASSWORD), 1, &[&place, "refused"]);
    assert_eq!(tree(&scene.repo()), kept);
}

#[test]
fn a_server_that_dies_during_the_backup() {
    dies_during_the_backup(
        "replication",
        "SELECT count(*) FROM pg_stat_progress_basebackup WHERE backup_streamed > 2000000",
    );
    dies_during_the_backup(
        "sql",
        "SELECT count(*) FROM pg_stat_activity
         WHERE query LIKE 'COPY%pg_read_binary_file%' AND pid <> pg_backend_pid() LIMIT 1",
    );
}

/// `query` says `1` when a backup from this source is under way.
fn dies_during_the_backup(source: &str, query: &str) {
    let scene = Scene::new();
    let newest = majors().pop().unwrap();
    let mut cluster = Cluster::builder(newest).start().unwrap();
    let conninfo = cluster.conninfo();
    let args = ["-d", &conninfo, "--max-rate", "1M", "--jobs", "1", "--source", source];
    let mut command = scene.command("walbrook-backup", &args);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    let under_way = || cluster.psql("postgres", query).is_ok_and(|count| count == "1");
    wait_for("the backup to be under way", Duration::from_secs(60), under_way).unwrap();
    cluster.stop(StopMode::Kill).unwrap();
    let ran = ran(child.wait_with_output().unwrap());
    refused(ran, 1, &["connection to", cluster.socket_dir().to_str().unwrap()]);
    let none = scene.ok("walbrook-list", &[]);
    assert!(none.stderr.contains("there are no backups"), "{}", none.stderr);
    refused(scene.try_restore("restored", &[]), 1, &["has no backup"]);

    cluster.start_again().unwrap();
    scene.backup(&cluster, &[]);
    let backups = scene.list()["backups"].as_array().unwrap().len();
    assert_eq!(backups, 1, "the one that died is none");
    let directory = scene.restore("restored", &[]);
    scene.adopt(&cluster, &directory).start().unwrap();
}
