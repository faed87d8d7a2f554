//! A crash at each single call to the store, while a backup is taken and while WAL is archived.
//!
//! [`FaultStore`] ends everything at its n-th call, for every n, before the call or after it, or
//! loses the answer of that call alone. Whatever n is, the repository must be valid afterwards, no
//! object in it may ever change, and the next attempt must succeed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use walbrook_repo::{
    BackupId, BackupIntent, BackupReader, BackupRecord, BackupSpan, BackupWriter, Cluster, Codec,
    Entry, EntryKind, Place, PutOutcome, Repository, Result, ServerFacts, SourceFacts,
    SystemRecord, WriterOptions,
};
use walbrook_store::{ErrorKind as StoreErrorKind, MemoryStore, Store};
use walbrook_testkit::{Fault, FaultStore, Rule};
use walbrook_types::{Lsn, PgVersion, SegmentNumber, TimelineId, WalFileName, WalSegmentSize};

use crate::sample::{self, SYSTEM};

const CLUSTER: &str = "prod";

/// What can happen at a call.
const FAULTS: [Fault; 3] =
    [Fault::Crash, Fault::CrashAfter, Fault::ErrorAfter(StoreErrorKind::Unavailable)];

fn segment_size() -> WalSegmentSize {
    WalSegmentSize::new(1 << 20).unwrap()
}

fn system() -> SystemRecord {
    SystemRecord {
        system_identifier: SYSTEM,
        pg_version: PgVersion::from_num(180_004).unwrap(),
        wal_segment_size: segment_size(),
        registered_at: Timestamp::UNIX_EPOCH,
    }
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).flatten().take(len).collect::<Vec<u8>>().into()
}

/// More than a pack's worth of content; made once, for it is compared with again and again.
fn large() -> Bytes {
    static LARGE: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    LARGE.get_or_init(|| noise(1, 34 << 20)).clone()
}

/// Files of every shape that a backup has: many empty ones, so that the manifest has several
/// shards, and more than a pack's worth of content.
fn files() -> Vec<(String, Bytes)> {
    let mut files: Vec<_> = (0..46_000).map(|n| (format!("base/{n:0>90}"), Bytes::new())).collect();
    files.push(("base/large".into(), large()));
    files.push(("global/pg_control".into(), noise(2, 8192)));
    files.push(("PG_VERSION".into(), Bytes::from_static(b"18\n")));
    files
}

fn id(number: u32) -> BackupId {
    format!("20261122T0345{number:02}Z-0000abcd").parse().unwrap()
}

/// Takes a backup as the facade does: opens or makes the repository, registers the system,
/// archives WAL, writes content, manifest and commit.
async fn take(
    store: &Arc<dyn Store>,
    id: BackupId,
    files: &[(String, Bytes)],
) -> Result<BackupRecord> {
    let cluster = Repository::open_or_create(store.clone()).await?.cluster(CLUSTER)?;
    cluster.register_system(&system(), false).await?;
    let now = Timestamp::UNIX_EPOCH;
    let intent = BackupIntent {
        id,
        cluster: CLUSTER.into(),
        system_identifier: SYSTEM,
        base: None,
        resumes: Vec::new(),
        wal_from: None,
        host: "test".into(),
        pid: 1,
        started_at: now,
        walbrook_version: "test".into(),
    };
    let options = WriterOptions { codec: Codec::None, workers: 2, check: None };
    let mut writer = BackupWriter::begin(&cluster, intent, options).await?;
    writer.add(Entry { path: "base".into(), mode: 0o700, mtime: 0, kind: EntryKind::Directory })?;
    for (path, content) in files {
        writer.begin_file(path, 0o600, 0)?;
        writer.write(content).await?;
        writer.end_file()?;
    }
    let stored = writer.finish(|_| Ok(())).await?;
    cluster.wal(&system()).put_bytes(segment_name(1), sample::segment(1).1).await?;
    let record = stored.commit(|written| BackupRecord {
        id: written.intent.id,
        cluster: CLUSTER.into(),
        base: None,
        resumes: written.intent.resumes,
        server: ServerFacts {
            system_identifier: SYSTEM,
            pg_version: system().pg_version,
            wal_segment_size: segment_size(),
            block_size: 8192,
            data_checksums: true,
        },
        span: BackupSpan {
            timeline: TimelineId::FIRST,
            start_lsn: Lsn((1 << 20) + 40),
            stop_lsn: Lsn((1 << 20) + 400),
            first_segment: segment_name(1),
            last_segment: segment_name(1),
            started_at: now,
            stopped_at: now,
            checkpoint_time: now,
            last_transaction_time: None,
        },
        source: SourceFacts {
            kind: "replication".into(),
            reason: None,
            from_standby: false,
            server: "test".into(),
            wal: "stream".into(),
            changes: None,
        },
        tablespaces: Vec::new(),
        size: written.size,
        manifest: written.manifest,
        damage: written.damage,
        label: "test".into(),
        annotations: BTreeMap::new(),
        lock: written.lock,
        walbrook_version: "test".into(),
    });
    record.await
}

fn segment_name(number: u64) -> WalFileName {
    WalFileName::segment(TimelineId::FIRST, SegmentNumber(number), segment_size())
}

/// Reads all that a repository holds and compares it with what was backed up. Returns the
/// backups that exist.
async fn check(store: &Arc<dyn Store>, files: &[(String, Bytes)]) -> Vec<BackupId> {
    let repository = match Repository::open(store.clone()).await {
        Ok(repository) => repository,
        // It died before there was one.
        Err(e) if e.kind() == walbrook_repo::ErrorKind::NotFound => return Vec::new(),
        Err(e) => panic!("{e}"),
    };
    let cluster = repository.cluster(CLUSTER).unwrap();
    cluster.systems().await.unwrap();
    let records = cluster.backups().await.unwrap();
    for record in &records {
        assert_eq!(read(&cluster, record).await, files.len(), "files of {}", record.id);
        let wal = cluster.wal(&system()).get(&record.span.first_segment).await.unwrap();
        assert_eq!(
            wal.expect("its WAL is there").decode(1).unwrap().concat(),
            sample::segment(1).1
        );
    }
    let ids: Vec<_> = records.into_iter().map(|record| record.id).collect();
    assert_eq!(ids, cluster.backup_ids().await.unwrap());
    ids
}

/// Reads every file of a backup and compares those that have content with what [`files`] made.
async fn read(cluster: &Cluster, record: &BackupRecord) -> usize {
    let reader = BackupReader::new(cluster, record.clone());
    let mut count = 0;
    for number in 0..record.manifest.len() {
        let shard = reader.shard(number).await.unwrap();
        for entry in &shard.entries {
            let EntryKind::File(content) = &entry.kind else { continue };
            count += 1;
            let mut bytes = Vec::new();
            for extent in &content.extents {
                let Place::Frame { frame, offset } = extent.place else { panic!("no zeros here") };
                let frame = shard.frames[frame as usize];
                let pack = &shard.packs[frame.pack as usize];
                let stored = reader.read_frames(pack, &[frame]).await.unwrap();
                let begin = offset as usize;
                bytes.extend(&stored.decode(&frame).unwrap()[begin..][..extent.len as usize]);
            }
            assert_eq!(bytes.len() as u64, content.size, "{}", entry.path);
            match entry.path.as_str() {
                "base/large" => assert!(bytes == large(), "its content differs"),
                "global/pg_control" => assert_eq!(bytes, noise(2, 8192)),
                "PG_VERSION" => assert_eq!(bytes, b"18\n"),
                _ => assert!(bytes.is_empty()),
            }
        }
    }
    for number in 0..record.size.packs {
        reader.pack_index(number).await.unwrap();
    }
    count
}

/// Every object and its content.
async fn objects(store: &MemoryStore) -> BTreeMap<String, Bytes> {
    let metas: Vec<_> = store.list("", None).try_collect().await.unwrap();
    let mut objects = BTreeMap::new();
    for meta in metas {
        objects.insert(meta.path.clone(), store.get(&meta.path).await.unwrap());
    }
    objects
}

/// All that was there is there still, and is the same.
fn assert_kept(before: &BTreeMap<String, Bytes>, after: &BTreeMap<String, Bytes>) {
    for (path, content) in before {
        assert!(after.get(path) == Some(content), "{path} changed, or went");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_of_a_backup() {
    let files = files();
    let undisturbed = FaultStore::new(MemoryStore::new());
    let store: Arc<dyn Store> = Arc::new(undisturbed.clone());
    let record = take(&store, id(1), &files).await.unwrap();
    let calls = undisturbed.calls().total();
    assert!(
        record.manifest.len() >= 2 && record.size.packs >= 2,
        "every kind of object: {record:?}"
    );
    assert!(calls >= 12, "too few calls to be a backup: {}", undisturbed.calls());

    for fault in FAULTS {
        let mut committed = 0;
        for n in 1..=calls {
            let fault_store = FaultStore::new(MemoryStore::new());
            let store: Arc<dyn Store> = Arc::new(fault_store.clone());
            fault_store.add(Rule::new(fault.clone()).nth(n));
            let outcome = take(&store, id(1), &files).await;
            fault_store.heal();
            let before = objects(fault_store.inner()).await;

            let found = check(&store, &files).await;
            if outcome.is_ok() {
                assert_eq!(found, [id(1)], "{fault:?} at call {n}: told, but not there");
            }
            committed += found.len();
            // Both ways to go on: a new backup, and the same again, as after a lost answer.
            take(&store, id(2), &files).await.unwrap_or_else(|e| panic!("{fault:?} at {n}: {e}"));
            take(&store, id(1), &files).await.unwrap_or_else(|e| panic!("{fault:?} at {n}: {e}"));
            assert_eq!(check(&store, &files).await, [id(1), id(2)], "{fault:?} at call {n}");
            assert_kept(&before, &objects(fault_store.inner()).await);
        }
        match fault {
            // The last call of all is the commit: the backup exists when that one is done.
            Fault::Crash => assert_eq!(committed, 0, "of {calls} crashes"),
            _ => assert!(committed >= 1, "{fault:?}: the commit itself was never hit"),
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_call_of_a_push() {
    let history: WalFileName = "00000002.history".parse().unwrap();
    let content = Bytes::from_static(b"1\t0/200000\tno recovery target specified\n");
    for (name, content) in [sample::segment(2), (history, content)] {
        let push = async |store: &Arc<dyn Store>| {
            let cluster = Repository::open(store.clone()).await?.cluster(CLUSTER)?;
            let system = cluster.system(SYSTEM).await?;
            Ok::<_, walbrook_repo::Error>(
                cluster.wal(&system).put_bytes(name, content.clone()).await?.outcome,
            )
        };
        for fault in FAULTS {
            let mut n = 0;
            loop {
                n += 1;
                let fault_store = FaultStore::new(MemoryStore::new());
                let store: Arc<dyn Store> = Arc::new(fault_store.clone());
                let repository = Repository::open_or_create(store.clone()).await.unwrap();
                let cluster = repository.cluster(CLUSTER).unwrap();
                cluster.register_system(&system(), false).await.unwrap();
                let calls = fault_store.calls();
                fault_store.add(Rule::new(fault.clone()).nth(n));
                let outcome = push(&store).await;
                let hit = fault_store.calls().since(&calls).total() >= n;
                fault_store.heal();

                let archive = cluster.wal(&system());
                let stored = archive.get(&name).await.unwrap();
                if let Some(stored) = &stored {
                    assert_eq!(stored.decode(2).unwrap().concat(), content, "{fault:?} at {n}");
                }
                assert!(outcome.is_err() || stored.is_some(), "{fault:?} at {n}: told, not there");
                let expected =
                    if stored.is_some() { PutOutcome::AlreadyThere } else { PutOutcome::Stored };
                assert_eq!(push(&store).await.unwrap(), expected, "{fault:?} at {n}");
                let stored = archive.get(&name).await.unwrap().unwrap();
                assert_eq!(stored.decode(2).unwrap().concat(), content);
                if !hit {
                    break;
                }
            }
            assert!(n >= 4, "{fault:?}: a push has more calls than {n}");
        }
    }
}
