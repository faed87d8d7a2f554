//! [`Objects`]: what there is in a repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use walbrook::repo::{BackupReader, BackupRecord, Cluster, Repository};
use walbrook::types::{SegmentNumber, WalFileName, WalSegmentSize};

use crate::support::Scene;

/// Objects of a cluster, by their paths in it, with their sizes; but for those that have none, which say
/// which WAL there is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Objects(pub(crate) BTreeMap<String, u64>);

impl Objects {
    pub(crate) fn of(repo: &Path) -> Self {
        let root = repo.join(Scene::CLUSTER);
        let mut found = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                // What a backup under way is writing gets its name later.
                let Ok(metadata) = fs::metadata(&path) else { continue };
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                if path.contains("/runs/") || path.contains("/expired/") {
                    assert_eq!(metadata.len(), 0, "{path}");
                    continue;
                }
                found.insert(path, metadata.len());
            }
        }
        Self(found)
    }

    pub(crate) fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Those that are there no more.
    pub(crate) fn without(&self, later: &Objects) -> Self {
        let gone = self.0.iter().filter(|(path, _)| !later.0.contains_key(*path));
        Self(gone.map(|(path, size)| (path.clone(), *size)).collect())
    }

    /// Bytes of those for whose path this holds.
    pub(crate) fn bytes(&self, of: impl Fn(&str) -> bool) -> u64 {
        self.0.iter().filter(|(path, _)| of(path)).map(|(_, size)| size).sum()
    }

    /// How many there are for whose path this holds.
    pub(crate) fn count(&self, of: impl Fn(&str) -> bool) -> usize {
        self.0.keys().filter(|path| of(path)).count()
    }

    /// Passes over those for whose path this holds.
    pub(crate) fn forget(&mut self, which: impl Fn(&str) -> bool) {
        self.0.retain(|path, _| !which(path));
    }

    /// Fails unless there is what the backups that exist can reach, and the WAL that is wanted, and
    /// nothing else. Every segment behind the start of one of the backups in `rolled_forward` is wanted,
    /// and of each other backup those that make it consistent; without `archived` there may be gaps
    /// between backups.
    #[track_caller]
    pub(crate) fn check(&self, repo: &Path, rolled_forward: &BTreeSet<String>, archived: bool) {
        let none = BTreeSet::new();
        let mut there: BTreeSet<&str> = self.0.keys().map(String::as_str).collect();
        let (records, packs) = reachable(repo);
        let mut missing = Vec::new();
        let mut reached = |path: String| {
            if !there.remove(path.as_str()) {
                missing.push(path);
            }
        };
        for record in &records {
            let folder = format!("backups/{}", record.id);
            reached(format!("{folder}/intent.json"));
            reached(format!("{folder}/backup.json"));
            for shard in 0..record.manifest.len() {
                reached(format!("{folder}/manifest-{shard:05}"));
            }
        }
        packs.into_iter().for_each(&mut reached);
        assert_eq!(missing, Vec::<String>::new(), "are missing");
        there.retain(|path| !path.starts_with("systems/") && !path.starts_with("pins/"));

        let is_wanted = wanted_wal(&records, rolled_forward);
        let (mut segments, mut wanted) = (BTreeSet::new(), BTreeSet::new());
        there.retain(|path| {
            let Some(name) = path.strip_prefix("wal/").and_then(|path| path.rsplit('/').next())
            else {
                return true;
            };
            let size = records[0].server.wal_segment_size;
            let name: WalFileName = name.strip_suffix(".sum").unwrap_or(name).parse().unwrap();
            let number = name.segment_number(size).unwrap();
            if matches!(name, WalFileName::Segment { .. }) {
                segments.insert(number);
            }
            wanted.insert(number);
            !is_wanted(number)
        });
        assert_eq!(there, BTreeSet::new(), "nobody needs these");
        assert_eq!(segments, wanted, "segments, and what lies beside them");
        // Where the server archives there is no gap behind the first one that is rolled forward.
        let last = segments.last().unwrap().0;
        let needed = wanted_wal(&records, if archived { rolled_forward } else { &none });
        let numbers = (0..=last).map(SegmentNumber);
        let absent: Vec<SegmentNumber> =
            numbers.filter(|number| needed(*number) && !segments.contains(number)).collect();
        assert_eq!(absent, [], "segments that are wanted");
    }
}

/// Whether a segment is wanted, on the only timeline.
fn wanted_wal(
    records: &[BackupRecord],
    rolled_forward: &BTreeSet<String>,
) -> impl Fn(SegmentNumber) -> bool {
    let size: WalSegmentSize = records[0].server.wal_segment_size;
    let spans: Vec<_> = records
        .iter()
        .map(|record| {
            let last = match rolled_forward.contains(record.id.as_str()) {
                true => SegmentNumber(u64::MAX),
                false => size.segment_before(record.span.stop_lsn),
            };
            size.segment_of(record.span.start_lsn)..=last
        })
        .collect();
    move |number| spans.iter().any(|span| span.contains(&number))
}

/// The backups, and the packs that their manifests name.
fn reachable(repo: &Path) -> (Vec<BackupRecord>, BTreeSet<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = open(repo).await;
        let mut packs = BTreeSet::new();
        let records = cluster.backups().await.unwrap();
        for record in &records {
            let reader = BackupReader::new(&cluster, record.clone());
            for shard in 0..record.manifest.len() {
                let named = reader.shard(shard).await.unwrap().packs;
                let path = |p: &walbrook::repo::PackRef| {
                    format!("backups/{}/pack-{:07}", p.backup, p.number)
                };
                packs.extend(named.iter().map(path));
            }
        }
        (records, packs)
    })
}

async fn open(repo: &Path) -> Cluster {
    let store = walbrook::store::open(&repo.to_str().unwrap().parse().unwrap()).unwrap();
    Repository::open(store).await.unwrap().cluster(Scene::CLUSTER).unwrap()
}
