//! Repositories of other clusters, and places that are none.

use std::fs;

use walbrook_testkit::{Cluster, majors};

use crate::refused::{assert_nothing_in, refused, tree};
use crate::support::{Scene, ran};

#[test]
fn the_repository_of_another_cluster() {
    let scene = Scene::new();
    let newest = majors().pop().unwrap();
    let own = Cluster::builder(newest).start().unwrap();
    let other = Cluster::builder(newest).start().unwrap();
    scene.backup(&own, &[]);
    let kept = tree(&scene.repo());
    let id = |cluster: &Cluster| {
        let query = "SELECT system_identifier FROM pg_control_system()";
        cluster.psql("postgres", query).unwrap()
    };
    let (own_id, other_id) = (id(&own), id(&other));
    let stranger = [own_id.as_str(), other_id.as_str(), "belongs to system", "--new-system"];

    let conninfo = other.conninfo();
    refused(scene.run("walbrook-backup", &["-d", &conninfo]), 1, &stranger);
    let segment = other.switch_wal().unwrap();
    let file = other.wal_dir().join(&segment);
    let push =
        |args: &[&str]| scene.run("walbrook-push", &[&[file.to_str().unwrap()], args].concat());
    refused(push(&[]), 1, &stranger);
    // Even when told otherwise: the segment itself says whose it is.
    let insisted = push(&["--system-id", &own_id]);
    refused(insisted, 1, &[&segment, "was written by system", &other_id, "--cluster"]);
    refused(push(&["--cluster", "none"]), 1, &["there is no cluster \"none\"", "--cluster"]);

    // A server that recovers from the wrong archive must not take what is there for its own.
    let destination = scene.path("RECOVERYXLOG");
    let args = [segment.as_str(), destination.to_str().unwrap(), "--retry-for", "0"];
    let fetch = |args: &[&str]| {
        let mut command = scene.command("walbrook-fetch", args);
        ran(command.current_dir(other.data_dir()).output().unwrap())
    };
    refused(fetch(&args), 200, &stranger[..3]);
    let unknown = [&args[..], &["--cluster", "none"]].concat();
    refused(fetch(&unknown), 200, &["belongs to", "none"][1..]);
    assert!(!destination.exists());
    refused(scene.try_restore("restored", &["--cluster", "none"]), 1, &["\"none\"", "--cluster"]);
    assert_nothing_in(&scene.path("restored"));
    refused(scene.run("walbrook-list", &["--cluster", "none"]), 1, &["\"none\"", Scene::CLUSTER]);
    assert_eq!(tree(&scene.repo()), kept, "nothing was written for a stranger");
}

#[test]
fn a_place_that_is_no_repository() {
    let scene = Scene::new();
    let newest = majors().pop().unwrap();
    let cluster = Cluster::builder(newest).start().unwrap();
    let conninfo = cluster.conninfo();
    let segment = cluster.switch_wal().unwrap();
    let file = cluster.wal_dir().join(&segment);
    let before = tree(&scene.path(""));
    let repo = scene.repo();
    let place = repo.to_str().unwrap();
    let none = [place, "there is no Walbrook repository"];
    refused(scene.run("walbrook-backup", &["-d", &conninfo, "--no-create"]), 1, &none);
    refused(scene.run("walbrook-push", &[file.to_str().unwrap()]), 1, &none);
    for (url, words) in [
        ("ftp://host/backups", &["ftp", "scheme"][..]),
        ("backups", &["backups"]),
        ("s3://bucket/x?regoin=eu", &["regoin", "region"]),
        ("file:///backups?compress=yes", &["compress"]),
    ] {
        let args = ["-d", &conninfo, "--repo", url];
        refused(scene.run("walbrook-backup", &args), 2, words);
    }
    // Names that would lead elsewhere.
    for name in ["../x", "a/b", "", ".hidden", "a b", "walbrook.json", &"x".repeat(65)] {
        let run = scene.run("walbrook-backup", &["-d", &conninfo, "--cluster", name]);
        match name {
            // Empty is as good as not given.
            "" => continue,
            _ => assert!(matches!(run.code, Some(1 | 2)), "{name:?}: {run:?}"),
        }
        assert!(run.stderr.contains("is not allowed"), "{name:?}: {}", run.stderr);
        let _ = fs::remove_dir_all(&repo);
    }
    assert_eq!(tree(&scene.path("")), before);
}
