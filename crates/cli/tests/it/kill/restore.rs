//! `walbrook-restore`.

use std::fs;
use std::path::Path;

use walbrook_testkit::{Cluster, majors};

use super::audit::Audit;
use super::rounds::Rounds;
use crate::support::{Scene, ran};

const QUERY: &str = "SELECT count(*), sum(n), (SELECT count(*) FROM s) FROM t";

#[test]
fn a_killed_restore() {
    let scene = Scene::new();
    let newest = majors().pop().unwrap();
    let cluster = Cluster::builder(newest).start().unwrap();
    let space = scene.subdir("space");
    let fill = format!(
        "CREATE TABLESPACE space LOCATION '{}';
         CREATE TABLE t AS SELECT n, md5(n::text) AS x FROM generate_series(1, 200000) n;
         CREATE TABLE s TABLESPACE space AS SELECT n FROM generate_series(1, 1000) n;",
        space.display()
    );
    cluster.psql_ok("postgres", &fill).unwrap();
    let expected = cluster.psql("postgres", QUERY).unwrap();
    scene.backup(&cluster, &[]);
    let mut audit = Audit::of(&scene.repo());
    let backups = audit.check(&scene);

    let (directory, moved) = (scene.path("restored"), scene.path("space-restored"));
    let map = format!("{}={}", space.display(), moved.display());
    let args = ["--pgdata", directory.to_str().unwrap(), "--tablespace-map", &map];
    let clear = || {
        for path in [&directory, &moved].into_iter().filter(|path| path.exists()) {
            fs::remove_dir_all(path).unwrap();
        }
    };
    let mut rounds = Rounds::measure("walbrook-restore", || {
        clear();
        scene.command("walbrook-restore", &args)
    });
    clear();
    while let Some((round, killed)) = rounds.kill_next(|_| scene.command("walbrook-restore", &args))
    {
        assert_eq!(audit.check(&scene), backups);
        if directory.join("global/pg_control").exists() {
            // It died when all was done and durable, or after its end: what is there is whole.
            println!("round {round}: killed: {killed}, and complete");
        } else {
            assert!(killed, "round {round}: it ended by itself, without pg_control");
            assert_does_not_start(&scene, &cluster, &directory);
            scene.again(round, "walbrook-restore", &args);
        }
        let restored = scene.adopt(&cluster, &directory).start().unwrap();
        assert_eq!(restored.psql("postgres", QUERY).unwrap(), expected, "round {round}");
        drop(restored);
        clear();
        rounds.passed();
    }
    rounds.finish();
}

/// PostgreSQL itself must refuse what an unfinished restore has left.
fn assert_does_not_start(scene: &Scene, cluster: &Cluster, directory: &Path) {
    let mut start = cluster.command("pg_ctl");
    start.arg("-D").arg(directory).args(["-w", "-t", "20", "-l"]).arg(scene.path("server.log"));
    start.arg("-o").arg(format!("-c listen_addresses='' -k '{}'", scene.path("").display()));
    start.arg("start");
    let started = ran(start.output().unwrap());
    assert_eq!(started.code, Some(1), "a half of a restore was started: {}", started.stderr);
    assert!(!directory.join("postmaster.pid").exists());
}
