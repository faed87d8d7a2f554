//! What locks keep: of one backup by what the code does, of a window by a model of many.

mod window;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use walbrook_repo::{Codec, ErrorKind};
use walbrook_store::{ErrorKind as StoreErrorKind, LockUntil, LockingStore, MemoryStore, Store};
use walbrook_testkit::{Call, Fault, FaultStore, Rule};

use crate::sample;

const OLD: &str = "20261101T000000Z-00000001";
const NEW: &str = "20261122T040000Z-0badcafe";
const DAYS: Duration = Duration::from_secs(14 * 86_400);

/// A repository without locks, with a backup and WAL.
async fn unlocked() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(store.clone()).await.unwrap();
    sample::back_up(&cluster, OLD, Codec::default(), false).await.unwrap();
    let archive = cluster.wal(&sample::system());
    for number in 0..8 {
        let (name, content) = sample::segment(number);
        archive.put_bytes(name, content).await.unwrap();
    }
    store
}

/// The second backup, which shares packs with the first, into a store that locks.
async fn back_up(store: Arc<dyn Store>) -> walbrook_repo::BackupRecord {
    let until = LockUntil::For(DAYS);
    let locking = Arc::new(LockingStore::new(store, until));
    let cluster = sample::cluster(locking).await.unwrap();
    let archive = cluster.wal(&sample::system());
    let mut backup = sample::write_shared(&cluster, NEW, OLD).await.unwrap();
    let wal = (sample::segment(2).0, sample::segment(4).0);
    backup.lock(&archive, wal, until).await;
    backup.commit(sample::record_shared).await.unwrap()
}

/// Whoever has the credentials deletes all that can be deleted: the backup can be read, with its WAL,
/// and the one before, which nobody locked, is gone.
#[tokio::test]
async fn a_backup_locks_all_that_it_needs() {
    let store = unlocked().await;
    let record = back_up(store.clone()).await;
    let lock = record.lock.clone().unwrap();
    assert_eq!(lock.trouble, None);
    let promised = SystemTime::from(record.span.started_at.min(lock.until));
    assert!(promised <= SystemTime::from(lock.until));

    let before = sample::objects(&*store).await.len();
    for path in sample::objects(&*store).await.into_keys() {
        let locked = store.locked_until(&path);
        assert_eq!(store.delete(&path).await.is_err(), locked.is_some(), "{path}");
        assert!(locked.is_none_or(|until| until >= SystemTime::now() + DAYS), "{path}");
    }
    assert!(sample::objects(&*store).await.len() < before);
    let cluster = sample::cluster(store.clone()).await.unwrap();
    let id = NEW.parse().unwrap();
    let files = sample::read_backup(&cluster, &id).await.unwrap();
    assert_eq!(files, sample::expected_shared());
    let archive = cluster.wal(&sample::system());
    for (number, there) in [(1, false), (2, true), (3, true), (4, true), (5, false)] {
        let stored = archive.get(&sample::segment(number).0).await.unwrap();
        assert_eq!(stored.is_some(), there, "{number}");
    }
    // What is there already is locked as if it were new.
    let (name, until) = (sample::segment(6), LockUntil::For(DAYS));
    archive.put_bytes(name.0, name.1).await.unwrap();
    archive.lock(&name.0, until).await.unwrap();
    let path = format!("main/wal/{}/00000001/00000000/{}", sample::SYSTEM, name.0);
    assert!(store.locked_until(&path).unwrap() >= SystemTime::now() + DAYS);
    let error = cluster.backup(&OLD.parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// A lock that can't be had is told in the record, and the backup is a good one.
#[tokio::test]
async fn what_cannot_be_locked_is_told() {
    let faulty = FaultStore::new(unlocked().await);
    let denied = Fault::Error(StoreErrorKind::PermissionDenied);
    faulty.add(Rule::new(denied).on(Call::Lock).path("pack-"));
    let record = back_up(Arc::new(faulty.clone())).await;
    let trouble = record.lock.unwrap().trouble.unwrap();
    assert!(trouble.contains("pack-0000000") && !trouble.contains("other objects"), "{trouble}");
    let cluster = sample::cluster(Arc::new(faulty)).await.unwrap();
    let files = sample::read_backup(&cluster, &NEW.parse().unwrap()).await.unwrap();
    assert_eq!(files, sample::expected_shared());
}

/// Where there are no locks the first object says so, before anything else is done.
#[tokio::test]
async fn a_store_without_locks_is_found_out_first() {
    let faulty = FaultStore::new(MemoryStore::new());
    faulty.add(Rule::new(Fault::Error(StoreErrorKind::Unsupported)).on(Call::Create));
    let locking = LockingStore::new(Arc::new(faulty.clone()), LockUntil::For(DAYS));
    let error = sample::cluster(Arc::new(locking)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert_eq!(faulty.calls().of(Call::Create), 1);
}
