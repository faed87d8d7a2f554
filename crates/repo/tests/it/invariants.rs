//! The invariants of the repository, each with a test that fails when it is broken. I6 is in
//! [`memory`](crate::memory), I7 in [`golden`](crate::golden); I5 comes with expiry.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use walbrook_repo::{BackupId, BackupReader, Codec, Digest, PutOutcome, Repository, Result};
use walbrook_store::{Children, MemoryStore, ObjectMeta, Payload, Store};
use walbrook_testkit::{Call, Fault, FaultStore, Rule};

use crate::sample;

const ID: &str = "20261122T034512Z-1f3a9c04";

/// Remembers which objects were created, in order, and what was deleted.
#[derive(Debug, Default)]
struct Recorder {
    store: MemoryStore,
    /// Paths, and whether the creation succeeded.
    creations: Mutex<Vec<(String, bool)>>,
    deletions: Mutex<Vec<String>>,
}

#[async_trait]
impl Store for Recorder {
    async fn create(&self, path: &str, content: Payload) -> walbrook_store::Result<()> {
        let outcome = self.store.create(path, content).await;
        self.creations.lock().unwrap().push((path.to_owned(), outcome.is_ok()));
        outcome
    }

    async fn get(&self, path: &str) -> walbrook_store::Result<Bytes> {
        self.store.get(path).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> walbrook_store::Result<Bytes> {
        self.store.get_range(path, range).await
    }

    async fn get_tail(&self, path: &str, at_most: u64) -> walbrook_store::Result<(Bytes, u64)> {
        self.store.get_tail(path, at_most).await
    }

    async fn head(&self, path: &str) -> walbrook_store::Result<ObjectMeta> {
        self.store.head(path).await
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> BoxStream<'a, walbrook_store::Result<ObjectMeta>> {
        self.store.list(prefix, start_after)
    }

    async fn list_children(&self, prefix: &str) -> walbrook_store::Result<Children> {
        self.store.list_children(prefix).await
    }

    async fn delete(&self, path: &str) -> walbrook_store::Result<()> {
        self.deletions.lock().unwrap().push(path.to_owned());
        self.store.delete(path).await
    }

    fn location(&self) -> String {
        self.store.location()
    }
}

/// A repository with a backup, a segment and a timeline history.
async fn fill(store: Arc<dyn Store>) -> Result<()> {
    let cluster = sample::cluster(store).await?;
    sample::back_up(&cluster, ID, Codec::default(), false).await?;
    let archive = cluster.wal(&sample::system());
    for (name, content) in [sample::segment(2), sample::history()] {
        archive.put_bytes(name, content).await?;
    }
    Ok(())
}

#[tokio::test]
async fn i1_objects_are_created_once_and_never_deleted() {
    let recorder = Arc::new(Recorder::default());
    fill(recorder.clone()).await.unwrap();
    let before = sample::objects(&recorder.store).await;

    // All of it again, and WAL that is there already, the same and another.
    let cluster = sample::cluster(recorder.clone()).await.unwrap();
    let archive = cluster.wal(&sample::system());
    let (name, content) = sample::segment(2);
    let again = archive.put_bytes(name, content.clone()).await.unwrap();
    assert_eq!(again.outcome, PutOutcome::AlreadyThere);
    let mut other = content.to_vec();
    *other.last_mut().unwrap() = 1;
    archive.put_bytes(name, other.into()).await.unwrap_err();
    sample::back_up(&cluster, "20261123T034512Z-00000000", Codec::Lz4, true).await.unwrap();

    let mut created = BTreeMap::<String, u32>::new();
    for (path, succeeded) in recorder.creations.lock().unwrap().iter() {
        assert!(*succeeded || path == "walbrook.json", "{path} was to be overwritten");
        *created.entry(path.clone()).or_default() += u32::from(*succeeded);
    }
    assert!(created.values().all(|times| *times == 1), "{created:?}");
    assert_eq!(*recorder.deletions.lock().unwrap(), Vec::<String>::new());
    let after = sample::objects(&recorder.store).await;
    assert_eq!(after.len(), created.len());
    for (path, content) in before {
        assert_eq!(after[&path], content, "{path} was changed");
    }
}

#[tokio::test]
async fn i2_the_commit_is_created_last() {
    let recorder = Arc::new(Recorder::default());
    let cluster = sample::cluster(recorder.clone()).await.unwrap();
    let record = sample::back_up(&cluster, ID, Codec::Lz4, true).await.unwrap();
    let folder = format!("main/backups/{ID}/");
    let created = recorder.creations.lock().unwrap().clone();
    let created: Vec<&str> =
        created.iter().filter_map(|(path, _)| path.strip_prefix(&folder)).collect();
    assert_eq!(created.first(), Some(&"intent.json"));
    assert_eq!(created.last(), Some(&"backup.json"));
    // All that it names was there before, and nothing came after.
    let packs = (0..record.size.packs).map(|n| format!("pack-{n:07}"));
    let shards = record.manifest.iter().map(|shard| format!("manifest-{:05}", shard.number));
    let mut named: Vec<String> = packs.chain(shards).collect();
    let mut between: Vec<&str> = created[1..created.len() - 1].to_vec();
    named.sort_unstable();
    between.sort_unstable();
    assert_eq!(between, named);
}

#[tokio::test]
async fn i2_a_backup_exists_when_its_commit_does() {
    let mut creations = 0;
    let mut existed = [false; 2];
    loop {
        let store = Arc::new(FaultStore::new(MemoryStore::new()));
        let cluster = sample::cluster(store.clone()).await.unwrap();
        store.add(Rule::new(Fault::CrashAfter).on(Call::Create).after(creations).times(1));
        let outcome = sample::back_up(&cluster, ID, Codec::default(), false).await;
        let crashed = store.has_crashed();
        store.heal();
        let ids = cluster.backup_ids().await.unwrap();
        let committed = store.head(&format!("main/backups/{ID}/backup.json")).await.is_ok();
        assert_eq!(!ids.is_empty(), committed, "after {creations} objects");
        assert_eq!(cluster.backups().await.unwrap().len(), ids.len());
        for id in ids {
            let content = sample::read_backup(&cluster, &id).await.unwrap();
            assert_eq!(content, sample::expected(false));
        }
        existed[usize::from(committed)] = true;
        if !crashed {
            outcome.unwrap();
            break;
        }
        creations += 1;
    }
    assert!(creations >= 4, "intent, pack, manifest, commit: {creations}");
    assert_eq!(existed, [true, true]);
}

/// What the public interface reads of a repository, each part by itself.
async fn read_all(store: Arc<dyn Store>) -> Vec<Result<String>> {
    let repository = match Repository::open(store).await {
        Ok(repository) => repository,
        Err(error) => return vec![Err(error)],
    };
    let mut read = vec![Ok(repository.id().to_owned())];
    let cluster = repository.cluster(sample::CLUSTER).unwrap();
    read.push(cluster.system(sample::SYSTEM).await.map(|system| format!("{system:?}")));
    let id: BackupId = ID.parse().unwrap();
    read.push(sample::read_backup(&cluster, &id).await.map(|all| format!("{all:?}")));
    read.push(match cluster.backup(&id).await {
        Ok(record) => {
            let text = format!("{record:?}");
            let index = BackupReader::new(&cluster, record).pack_index(0).await;
            index.map(|index| format!("{text} {index:?}"))
        }
        Err(error) => Err(error),
    });
    let wal = sample::read_wal(&cluster, &sample::system()).await;
    read.push(wal.map(|all| {
        let digests = all.iter().map(|(name, content)| (name, Digest::of(content)));
        format!("{:?}", digests.collect::<Vec<_>>())
    }));
    let archive = cluster.wal(&sample::system());
    let summary = archive.summary(sample::segment(2).0, 1).await;
    read.push(summary.map(|summary| format!("{:?}", summary.expect("the segment is there"))));
    read
}

#[tokio::test]
async fn i3_every_changed_byte_is_noticed() {
    let store = Arc::new(MemoryStore::new());
    fill(store.clone()).await.unwrap();
    let whole: Vec<String> =
        read_all(store.clone()).await.into_iter().map(|part| part.unwrap()).collect();
    let objects = sample::objects(&store).await;
    assert_eq!(objects.len(), 9, "{:?}", objects.keys());
    for (path, content) in &objects {
        for position in 0..content.len() {
            let mut damaged = content.to_vec();
            damaged[position] ^= 1 << (position % 8);
            store.overwrite(path, damaged).unwrap();
            let read = read_all(store.clone()).await;
            let mut noticed = false;
            for (part, whole) in read.iter().zip(&whole) {
                match part {
                    Ok(part) => assert_eq!(part, whole, "byte {position} of {path}"),
                    Err(error) => {
                        let text = error.to_string();
                        assert!(text.contains(path), "byte {position} of {path}: {text}");
                        noticed = true;
                    }
                }
            }
            // Nobody reads an intent before there is expiry. A damaged block summary is made again
            // of its segment: what was read is the same, and that is what counts.
            let harmless = path.ends_with("intent.json") || path.ends_with(".sum");
            assert!(noticed || harmless, "byte {position} of {path}");
        }
        store.overwrite(path, content.clone()).unwrap();
    }
}

#[tokio::test]
async fn i4_a_backup_is_read_from_its_manifest_and_packs_alone() {
    let store = Arc::new(MemoryStore::new());
    fill(store.clone()).await.unwrap();
    let cluster = sample::cluster(store.clone()).await.unwrap();
    let newer = "20261123T034512Z-00000000";
    let record = sample::back_up(&cluster, newer, Codec::Lz4, true).await.unwrap();

    let folder = format!("main/backups/{newer}/");
    let mut objects = sample::objects(&store).await;
    objects.retain(|path, _| path.starts_with(&folder) || path == "walbrook.json");
    objects.remove(&format!("{folder}intent.json")).unwrap();
    assert_eq!(objects.len(), 2 + record.size.packs as usize + record.manifest.len());
    let read = |objects: BTreeMap<String, Bytes>| async move {
        let repository = Repository::open(sample::store_of(&objects)).await.unwrap();
        let cluster = repository.cluster(sample::CLUSTER).unwrap();
        sample::read_backup(&cluster, &newer.parse().unwrap()).await
    };
    assert_eq!(read(objects.clone()).await.unwrap(), sample::expected(true));

    // Nothing of these is there for nothing.
    for path in objects.keys().filter(|path| *path != "walbrook.json") {
        let mut fewer = objects.clone();
        fewer.remove(path);
        let error = read(fewer).await.unwrap_err();
        let missing = if path.ends_with("backup.json") { newer } else { path };
        assert!(error.to_string().contains(missing), "{path}: {error}");
    }
}
