//! Backups that are killed, or lose a connection, in the middle of copying: nothing is committed,
//! and the next backup continues them. And one during which earlier ones are removed.

mod connections;
mod cut;
mod expired;
mod killed;
mod proxy;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;
use walbrook_testkit::{Cluster, wait_for};

use crate::end_to_end::newest;
use crate::incremental;
use crate::support::{Ran, Scene, ran};

/// Packs are stored when they have 32 MiB: with content that is not compressed, a cluster of little
/// more than twice that has stored one long before it is copied, at this rate.
const SLOW: [&str; 4] = ["--compression", "none", "--max-rate", "48M"];

/// What one pack has of files at least.
const PACK: u64 = 31 << 20;

/// A cluster that has a table of some 60 MB in the database `postgres`.
fn cluster() -> Cluster {
    let cluster = Cluster::builder(newest())
        .data_checksums(true)
        .config("autovacuum", "off")
        .config("max_wal_size", "4GB")
        // Where the archive lacks segments they are read from here.
        .config("wal_keep_size", "2GB")
        .start()
        .unwrap();
    let fill = "CREATE TABLE filler AS
                    SELECT n, repeat(md5(n::text), 30) AS x FROM generate_series(1, 56000) n;
                VACUUM (FREEZE) filler; CHECKPOINT";
    cluster.psql_ok("postgres", fill).unwrap();
    cluster
}

/// A backup under way. It is killed when this is dropped.
struct Running {
    child: Option<Child>,
    /// The folders of unfinished backups that there were before.
    before: Vec<PathBuf>,
}

impl Running {
    /// Begins a backup that is slow.
    fn start(scene: &Scene, cluster: &Cluster, args: &[&str]) -> Running {
        let conninfo = cluster.conninfo();
        let mut command =
            scene.command("walbrook-backup", &[&["-v", "-d", &conninfo], &SLOW[..], args].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { before: unfinished(scene), child: Some(command.spawn().unwrap()) }
    }

    /// Begins a backup that is slow, and waits until it has stored its first pack.
    fn begin(scene: &Scene, cluster: &Cluster, args: &[&str]) -> Running {
        let running = Running::start(scene, cluster, args);
        let stored = || running.folder(scene).is_some_and(|f| f.join("pack-0000000").exists());
        wait_for("the first pack", Duration::from_secs(60), stored).unwrap();
        running
    }

    /// The folder of what is unfinished of it. Identifiers tell the order only to the second.
    fn folder(&self, scene: &Scene) -> Option<PathBuf> {
        unfinished(scene).into_iter().find(|folder| !self.before.contains(folder))
    }

    /// The identifier of the unfinished backup that it leaves, or left.
    fn left(&self, scene: &Scene) -> String {
        let folder = self.folder(scene).expect("an unfinished backup");
        folder.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Kills it, and tells the identifier of the backup that it leaves.
    fn kill(mut self, scene: &Scene) -> String {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "it ended before it was killed");
        self.left(scene)
    }

    /// What came of it.
    fn end(&mut self) -> Ran {
        ran(self.child.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The folders of backups that have an intent and no commit.
fn unfinished(scene: &Scene) -> Vec<PathBuf> {
    let Ok(folders) = fs::read_dir(scene.repo().join("prod/backups")) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|f| f.join("intent.json").exists() && !f.join("backup.json").exists());
    folders.sort();
    folders
}

/// Restores a backup of a server that has not written since, and compares the files.
fn compare(scene: &Scene, cluster: &Cluster, record: &Value) {
    let id = record["id"].as_str().unwrap();
    let directory = scene.restore(id, &["--backup", id, "--target", "immediate"]);
    let start = incremental::lsn(&record["span"]["start_lsn"]);
    incremental::compare::files(cluster, &directory, id, start);
    fs::remove_dir_all(directory).unwrap();
}

#[track_caller]
fn size(record: &Value, which: &str) -> u64 {
    record["size"][which].as_u64().unwrap_or_default()
}
