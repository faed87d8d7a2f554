//! [`Audit`]: whether all that a repository holds is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use walbrook::repo::{BackupReader, BackupRecord, Cluster, Repository, SystemRecord};
use walbrook::types::{SegmentNumber, WalFileName};

use crate::support::Scene;

/// A repository that is looked at again and again. What was read once need not be read again, for
/// it is checked that no object ever changes.
pub(super) struct Audit {
    repo: PathBuf,
    /// Objects with their inode, size and time of change.
    objects: BTreeMap<PathBuf, (u64, u64, i64)>,
    /// Backups and WAL files that were read.
    read: BTreeSet<String>,
}

impl Audit {
    pub(super) fn of(repo: &Path) -> Self {
        Self { repo: repo.to_owned(), objects: BTreeMap::new(), read: BTreeSet::new() }
    }

    /// Fails unless the repository is valid: nothing that was there has changed or gone, every
    /// backup that `walbrook-list` shows can be restored, and every byte of backups and WAL matches
    /// its digest. Returns the backups' identifiers.
    pub(super) fn check(&mut self, scene: &Scene) -> Vec<String> {
        self.check_unchanged();
        if !self.repo.join("walbrook.json").exists() {
            return Vec::new();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let records = runtime.block_on(self.read_all());
        // Nothing is listed when it died before it registered the cluster.
        let listed = if records.is_none() { Vec::new() } else { listed(scene, &self.repo) };
        assert_eq!(listed, records.unwrap_or_default());
        listed
    }

    fn check_unchanged(&mut self) {
        let mut now = BTreeMap::new();
        objects(&self.repo, &mut now);
        for (path, facts) in &self.objects {
            assert_eq!(now.get(path), Some(facts), "{} changed, or went", path.display());
        }
        self.objects = now;
    }

    /// A test removes an object, to be able to store it again.
    pub(super) fn remove(&mut self, object: &Path) {
        if object.exists() {
            fs::remove_file(object).unwrap();
        }
        self.objects.remove(object);
        self.read.remove(object.file_name().unwrap().to_str().unwrap());
    }

    async fn read_all(&mut self) -> Option<Vec<String>> {
        let url = self.repo.to_str().unwrap().parse().unwrap();
        let store = walbrook::store::open(&url).unwrap();
        let repository = Repository::open(store).await.unwrap();
        let cluster = repository.cluster(Scene::CLUSTER).unwrap();
        let systems = cluster.systems().await.unwrap();
        let system = systems.first()?;
        self.read_wal(&cluster, system).await;
        let mut ids = Vec::new();
        for record in cluster.backups().await.unwrap() {
            if self.read.insert(record.id.to_string()) {
                read_backup(&cluster, &record).await;
            }
            self.check_wal_of(&record);
            ids.push(record.id.to_string());
        }
        Some(ids)
    }

    /// Reads and decodes every WAL file that was not read before.
    async fn read_wal(&mut self, cluster: &Cluster, system: &SystemRecord) {
        let archive = cluster.wal(system);
        let names = self.objects.keys().filter_map(|path| path.file_name()?.to_str());
        let names: Vec<WalFileName> = names.filter_map(|name| name.parse().ok()).collect();
        for name in names {
            if self.read.insert(name.to_string()) {
                let stored = archive.get(&name).await.unwrap().expect("it is there");
                stored.decode(2).unwrap();
            }
        }
    }

    /// The WAL that a backup needs to be consistent was read.
    fn check_wal_of(&self, record: &BackupRecord) {
        let size = record.server.wal_segment_size;
        let first = size.segment_of(record.span.start_lsn).0;
        for number in first..=size.segment_before(record.span.stop_lsn).0 {
            let name = WalFileName::segment(record.span.timeline, SegmentNumber(number), size);
            assert!(self.read.contains(&name.to_string()), "{} has no {name}", record.id);
        }
    }
}

/// Reads every frame that a backup's manifest names, through all its digests.
async fn read_backup(cluster: &Cluster, record: &BackupRecord) {
    let reader = BackupReader::new(cluster, record.clone());
    let mut paths = 0;
    for number in 0..record.manifest.len() {
        let shard = reader.shard(number).await.unwrap();
        paths += shard.entries.len() as u64;
        for frame in &shard.frames {
            let pack = &shard.packs[frame.pack as usize];
            reader.read_frames(pack, &[*frame]).await.unwrap().decode(frame).unwrap();
        }
    }
    assert!(paths >= record.size.files, "{} has {paths} paths", record.id);
    for number in 0..record.size.packs {
        reader.pack_index(number).await.unwrap();
    }
}

/// The backups that `walbrook-list` shows: all must be restorable.
fn listed(scene: &Scene, repo: &Path) -> Vec<String> {
    let args = ["--repo", repo.to_str().unwrap(), "--output", "json"];
    let clusters: Value = serde_json::from_str(&scene.ok("walbrook-list", &args).stdout).unwrap();
    let systems = clusters[0]["systems"].as_array().unwrap();
    let backups = systems.iter().flat_map(|system| system["backups"].as_array().unwrap());
    let id = |backup: &Value| {
        assert_eq!(backup["restorable"], true, "listed, and can't be restored: {backup}");
        backup["id"].as_str().unwrap().to_owned()
    };
    backups.map(id).collect()
}

/// Every object of a repository, temporary files apart.
fn objects(folder: &Path, found: &mut BTreeMap<PathBuf, (u64, u64, i64)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        // A file that is being written may vanish when its writer's last thread does.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            objects(&entry.path(), found);
        } else if !entry.file_name().to_str().unwrap().starts_with('.') {
            let changed = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
            found.insert(entry.path(), (metadata.ino(), metadata.len(), changed));
        }
    }
}
