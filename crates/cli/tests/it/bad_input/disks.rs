//! Disks that are full: small ones, of memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use walbrook_testkit::{Cluster, give_to_server, majors};

use crate::refused::{assert_nothing_in, refused};
use crate::support::Scene;

/// A file system of memory in a scene, unmounted on drop.
struct Mount(PathBuf);

impl Mount {
    /// Nothing where mounting is not allowed.
    fn new(path: PathBuf, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=755");
        let args = ["-t", "tmpfs", "-o", options.as_str(), "tmpfs"];
        if !run("mount", &args, &path) {
            println!("skipped: mounting a file system takes root");
            return None;
        }
        give_to_server(&path).unwrap();
        Some(Self(path))
    }

    fn enlarge(&self) {
        assert!(run("mount", &["-o", "remount,size=400m"], &self.0));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[], &self.0);
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let out = Command::new(program).args(arguments).arg(path).output();
    out.is_ok_and(|out| out.status.success())
}

#[test]
fn a_full_repository() {
    let scene = Scene::new();
    let newest = majors().pop().unwrap();
    let cluster = Cluster::builder(newest).start().unwrap();
    let Some(mount) = Mount::new(scene.subdir("small"), "1m") else { return };
    let repo = mount.0.join("repo");
    let at = ["--repo", repo.to_str().unwrap()];
    let conninfo = cluster.conninfo();
    let backup = [&["-d", &conninfo][..], &at].concat();
    refused(scene.run("walbrook-backup", &backup), 1, &["pack-", "repo", "free or add space"]);
    let none = scene.ok("walbrook-list", &at);
    assert!(none.stderr.contains("there are no backups"), "{}", none.stderr);

    // WAL that does not fit is not archived, and what is there stays as it is.
    let noise = "SELECT pg_logical_emit_message(false, 'x', string_agg(gen_random_uuid()::text, '')) \
                 FROM generate_series(1, 200000)";
    cluster.psql_ok("postgres", noise).unwrap();
    let segment = cluster.switch_wal().unwrap();
    let file = cluster.wal_dir().join(&segment);
    let push = [&[file.to_str().unwrap()][..], &at].concat();
    refused(scene.run("walbrook-push", &push), 1, &[&segment, "free or add space"]);

    mount.enlarge();
    scene.ok("walbrook-push", &push);
    scene.ok("walbrook-backup", &backup);
    let directory = scene.restore("restored", &at);
    scene.adopt(&cluster, &directory).start().unwrap();
}

#[test]
fn a_full_target() {
    let scene = Scene::new();
    let newest = majors().pop().unwrap();
    let cluster = Cluster::builder(newest).start().unwrap();
    scene.backup(&cluster, &[]);
    let Some(mount) = Mount::new(scene.subdir("small"), "9m") else { return };
    let into = |args: &[&str]| scene.try_restore("small/restored", args);
    refused(into(&[]), 1, &["small/restored", "can't be written", "No space left on device"]);
    assert_nothing_in(&mount.0.join("restored"));

    // A file of WAL: the destination does not appear.
    fs::write(mount.0.join("ballast"), vec![1; 8 << 20]).unwrap();
    let wal = scene.list()["backups"][0]["span"]["first_segment"].clone();
    let destination = mount.0.join("RECOVERYXLOG");
    let fetch = [wal.as_str().unwrap(), destination.to_str().unwrap(), "--retry-for", "0"];
    refused(scene.run("walbrook-fetch", &fetch), 200, &["RECOVERYXLOG", "No space left on device"]);
    assert!(!destination.exists() && fs::read_dir(&mount.0).unwrap().count() == 2);

    mount.enlarge();
    scene.ok("walbrook-fetch", &fetch);
    into(&[]).expect(0);
    scene.adopt(&cluster, &mount.0.join("restored")).start().unwrap();
}
