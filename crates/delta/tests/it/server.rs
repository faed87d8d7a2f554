//! Incremental backups of a real server, by its own programs.

use std::fs;
use std::path::{Path, PathBuf};

use walbrook_testkit::{Cluster, Installation};
use walbrook_types::{Lsn, TimelineId};

/// A chain of base backups: a full one, and incremental ones after it.
pub(crate) struct Chain {
    pub(crate) cluster: Cluster,
    pub(crate) backups: Vec<PathBuf>,
}

impl Chain {
    /// A server that keeps WAL summaries; `initdb` and no backup yet.
    pub(crate) fn new(installation: &Installation) -> Self {
        let cluster = Cluster::builder(installation)
            .data_checksums(true)
            .config("summarize_wal", "on")
            .config("wal_level", "replica")
            .config("max_wal_senders", "5")
            .start()
            .unwrap();
        Self { cluster, backups: Vec::new() }
    }

    /// Takes the next backup of the chain.
    pub(crate) fn backup(&mut self) -> PathBuf {
        let name = format!("backup{}", self.backups.len());
        let target = self.cluster.make_dir(&name).unwrap().join("data");
        let mut command = self.cluster.command("pg_basebackup");
        command.args(["-c", "fast", "-X", "fetch", "--no-sync", "-D"]).arg(&target);
        if let Some(before) = self.backups.last() {
            command.arg("--incremental").arg(before.join("backup_manifest"));
        }
        run(&mut command);
        self.backups.push(target.clone());
        target
    }

    /// What `pg_combinebackup` makes of the backups taken so far.
    pub(crate) fn combine(&self) -> PathBuf {
        let name = format!("combined{}", self.backups.len());
        let target = self.cluster.make_dir(&name).unwrap().join("data");
        let mut command = self.cluster.command("pg_combinebackup");
        command.args(&self.backups).args(["--no-sync", "-o"]).arg(&target);
        run(&mut command);
        target
    }
}

/// Where a backup starts.
pub(crate) fn start(backup: &Path) -> (TimelineId, Lsn) {
    let label = fs::read_to_string(backup.join("backup_label")).unwrap();
    let label = walbrook_types::BackupLabel::parse(&label).unwrap();
    (label.start_timeline, label.start_lsn)
}

/// The files below a directory, as paths relative to it.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let relative = path.strip_prefix(root).unwrap();
                    found.push(relative.to_str().unwrap().to_owned());
                }
            }
        }
    }
    found.sort();
    found
}

fn run(command: &mut std::process::Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
