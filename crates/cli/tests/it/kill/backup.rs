//! `walbrook-backup`.

use std::fs;

use walbrook_testkit::{Cluster, majors};

use super::audit::Audit;
use super::rounds::Rounds;
use crate::support::Scene;

#[test]
fn a_killed_backup() {
    let scene = Scene::new();
    let newest = majors().pop().unwrap();
    let cluster = Cluster::builder(newest).start().unwrap();
    let fill = "CREATE TABLE t AS SELECT n, md5(n::text) AS x FROM generate_series(1, 100000) n";
    cluster.psql_ok("postgres", fill).unwrap();
    let conninfo = cluster.conninfo();
    let args = ["-d", conninfo.as_str()];

    let mut rounds = Rounds::measure("walbrook-backup", || scene.command("walbrook-backup", &args));
    let repo = scene.repo();
    let mut audit = Audit::of(&repo);
    let mut backups = audit.check(&scene);
    assert_eq!(backups.len(), 4);
    let (mut unseen, mut seen) = (0, 0);
    loop {
        // Every third round makes a repository of its own, and dies doing so.
        let fresh =
            |round: u32| round.is_multiple_of(3).then(|| scene.path(&format!("repo-{round}")));
        let Some((round, killed)) = rounds.kill_next(|round| {
            let mut command = scene.command("walbrook-backup", &args);
            if let Some(repo) = fresh(round) {
                command.env("WALBROOK_REPO", repo);
            }
            command
        }) else {
            break;
        };
        if let Some(repo) = fresh(round) {
            let mut audit = Audit::of(&repo);
            let first = audit.check(&scene);
            let second = [args[0], args[1], "--repo", repo.to_str().unwrap()];
            let id = scene.again(round, "walbrook-backup", &second).stdout;
            let all = audit.check(&scene);
            assert!(all.len() == first.len() + 1 && all.contains(&id.trim().to_owned()));
            fs::remove_dir_all(repo).unwrap();
        } else {
            let after = audit.check(&scene);
            // It is there whole or not at all; when it ended by itself, it is there.
            let new = after.len() - backups.len();
            assert!(new <= 1 && (killed || new == 1), "round {round}: {new} new backups");
            (unseen, seen) = (unseen + 1 - new, seen + new);
            backups = after;
            let id = scene.again(round, "walbrook-backup", &args).stdout;
            let after = audit.check(&scene);
            assert!(after.len() == backups.len() + 1 && after.contains(&id.trim().to_owned()));
            backups = after;
        }
        cluster.psql_ok("postgres", "UPDATE t SET x = n::text WHERE n % 100 = 0").unwrap();
        rounds.passed();
    }
    println!("kill: walbrook-backup: {unseen} left no backup, {seen} a whole one");
    rounds.finish();
    restore_some(&scene, &cluster, &backups);
}

/// What was listed all along is restored at last, and started: the first, the last, and some.
fn restore_some(scene: &Scene, cluster: &Cluster, backups: &[String]) {
    for (number, id) in backups.iter().step_by((backups.len() / 4).max(1)).enumerate() {
        let name = format!("restored-{number}");
        let directory = scene.restore(&name, &["--backup", id, "--target", "immediate"]);
        let restored = scene.adopt(cluster, &directory).start().unwrap();
        let count = restored.psql("postgres", "SELECT count(*) FROM t").unwrap();
        assert_eq!(count, "100000", "{id}");
        drop(restored);
        fs::remove_dir_all(directory).unwrap();
    }
}
