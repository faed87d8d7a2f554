//! A whole backup between any two calls of an expiry, and a whole expiry between any two calls of a
//! backup. Finer interleavings are the model's.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use walbrook_repo::{Cluster, ErrorKind, ExpiryRequest};
use walbrook_store::{Children, MemoryStore, ObjectMeta, Payload, Result, Store};
use walbrook_types::{SegmentNumber, TimelineId};

use super::world::{self, BACKUPS, DEAD, NEW, assert_clean, assert_whole, build, id};
use crate::sample;

type Then = BoxFuture<'static, ()>;

/// Does something else before its n-th call, counted from 0.
struct Between {
    store: Arc<MemoryStore>,
    n: u64,
    calls: AtomicU64,
    then: Mutex<Option<Then>>,
}

impl std::fmt::Debug for Between {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Between").field("n", &self.n).finish_non_exhaustive()
    }
}

impl Between {
    fn new(store: &Arc<MemoryStore>, n: u64, then: Then) -> Arc<Self> {
        let then = Mutex::new(Some(then));
        Arc::new(Self { store: store.clone(), n, calls: AtomicU64::new(0), then })
    }

    fn was_reached(&self) -> bool {
        self.then.lock().unwrap().is_none()
    }

    async fn call(&self) -> &MemoryStore {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.n {
            let then = self.then.lock().unwrap().take();
            then.expect("one call is the n-th").await;
        }
        &self.store
    }
}

#[async_trait]
impl Store for Between {
    async fn create(&self, path: &str, content: Payload) -> Result<()> {
        self.call().await.create(path, content).await
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        self.call().await.get(path).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.call().await.get_range(path, range).await
    }

    async fn get_tail(&self, path: &str, at_most: u64) -> Result<(Bytes, u64)> {
        self.call().await.get_tail(path, at_most).await
    }

    async fn head(&self, path: &str) -> Result<ObjectMeta> {
        self.call().await.head(path).await
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> BoxStream<'a, Result<ObjectMeta>> {
        self.store.list(prefix, start_after)
    }

    async fn list_children(&self, prefix: &str) -> Result<Children> {
        self.call().await.list_children(prefix).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.call().await.delete(path).await
    }

    fn location(&self) -> String {
        "between:".to_owned()
    }
}

/// Takes a backup on a base as the facade does: one that it must not use it does without.
async fn back_up(store: Arc<dyn Store>, base: &str) -> walbrook_repo::Result<()> {
    let cluster = world::open(store).await?;
    match sample::back_up_shared(&cluster, NEW, base).await {
        Ok(_) => Ok(()),
        // Refused, or gone before it was looked at: by now nothing but its intent is there.
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes some of [`BACKUPS`] while those that were begun now are alive.
async fn expire(store: Arc<dyn Store>, remove: &[usize]) -> walbrook_repo::Result<()> {
    let cluster = world::open(store).await?;
    carry_out(&cluster, world::request(&cluster, remove).await?).await
}

async fn carry_out(cluster: &Cluster, mut request: ExpiryRequest) -> walbrook_repo::Result<()> {
    request.now = Some(Timestamp::now());
    match cluster.expire(&request).await {
        Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
        _ => Ok(()),
    }
}

async fn check(store: &Arc<MemoryStore>, when: &str) {
    assert_whole(store, when).await;
    // Much later: who was alive is dead.
    world::expire(store.clone(), &[]).await.unwrap_or_else(|e| panic!("{when}: {e}"));
    assert_whole(store, when).await;
    assert_clean(store, when).await;
}

#[tokio::test]
async fn i5_a_backup_between_any_two_calls_of_an_expiry() {
    let original = build().await;
    for (base, remove) in [(0, &[0][..]), (2, &[0, 1, 2]), (1, &[0]), (3, &[2])] {
        let mut used = 0;
        for n in 0.. {
            let when = format!("base {base}, removing {remove:?}, before call {n}");
            let store = world::copy(&original).await;
            let then = {
                let (store, when) = (store.clone(), when.clone());
                Box::pin(async move {
                    let done = back_up(store, BACKUPS[base]).await;
                    done.unwrap_or_else(|e| panic!("{when}: {e}"));
                })
            };
            let between = Between::new(&store, n, then);
            expire(between.clone(), remove).await.unwrap_or_else(|e| panic!("{when}: {e}"));
            if !between.was_reached() {
                assert!(n > 40, "{n} calls are no expiry");
                break;
            }
            let ids = assert_whole(&store, &when).await;
            used += u64::from(ids.contains(&id(NEW)));
            check(&store, &when).await;
        }
        assert!(used > 0, "base {base}: never was it taken");
    }
}

#[tokio::test]
async fn i5_an_expiry_between_any_two_calls_of_a_backup() {
    let original = build().await;
    for (base, remove) in [(0, &[0][..]), (2, &[0, 1, 2]), (1, &[0])] {
        for n in 0.. {
            let when = format!("base {base}, removing {remove:?}, before call {n}");
            let store = world::copy(&original).await;
            let then = {
                let (store, when) = (store.clone(), when.clone());
                Box::pin(async move {
                    let done = expire(store, remove).await;
                    done.unwrap_or_else(|e| panic!("{when}: {e}"));
                })
            };
            let between = Between::new(&store, n, then);
            back_up(between.clone(), BACKUPS[base]).await.unwrap_or_else(|e| panic!("{when}: {e}"));
            if !between.was_reached() {
                assert!(n > 8, "{n} calls are no backup");
                break;
            }
            check(&store, &when).await;
        }
    }
}

/// Two expiries at once, the one wholly between two calls of the other: together they never remove
/// what one of them keeps.
#[tokio::test]
async fn i5_an_expiry_between_any_two_calls_of_another() {
    let original = build().await;
    for (one, other) in [(&[0, 1][..], &[0][..]), (&[0, 1, 2], &[3]), (&[2], &[0])] {
        for n in 0.. {
            let when = format!("removing {one:?} and {other:?}, before call {n}");
            let store = world::copy(&original).await;
            // Both were decided upon before.
            let cluster = world::open(store.clone()).await.unwrap();
            let outer = world::request(&cluster, one).await.unwrap();
            let inner = world::request(&cluster, other).await.unwrap();
            let then = {
                let when = when.clone();
                Box::pin(async move {
                    let done = carry_out(&cluster, inner).await;
                    done.unwrap_or_else(|e| panic!("{when}: {e}"));
                })
            };
            let between = Between::new(&store, n, then);
            let cluster = world::open(between.clone()).await;
            let done = carry_out(&cluster.unwrap(), outer).await;
            done.unwrap_or_else(|e| panic!("{when}: {e}"));
            if !between.was_reached() {
                break;
            }
            let ids = assert_whole(&store, &when).await;
            assert!(!ids.is_empty(), "{when}: each kept one, and both are gone");
            check(&store, &when).await;
        }
    }
}

/// What is under way protects its base, what it continues, and all WAL; and is dead after a week.
#[tokio::test]
async fn what_is_under_way_protects_what_it_names() {
    let store = build().await;
    let cluster = world::open(store.clone()).await.unwrap();
    let mut intent = sample::intent(&id(NEW));
    intent.base = Some(id(BACKUPS[1]));
    intent.resumes = vec![id(DEAD)];
    let options =
        walbrook_repo::WriterOptions { codec: walbrook_repo::Codec::None, workers: 1, check: None };
    walbrook_repo::BackupWriter::begin(&cluster, intent, options).await.unwrap();

    let (records, damaged, unfinished) = cluster.all_backups().await.unwrap();
    assert_eq!((records, damaged.len()), (cluster.backups().await.unwrap(), 0));
    assert_eq!(unfinished, cluster.unfinished_backups().await.unwrap());
    assert!(unfinished.iter().any(|backup| backup.intent.id == id(NEW)));

    let mut request = world::request(&cluster, &[0, 1]).await.unwrap();
    let hours = |h| SignedDuration::from_hours(h);
    request.now = Some(Timestamp::now() + hours(24 * 7 - 1));
    let report = cluster.expire(&request).await.unwrap();
    assert_eq!(report.removed, [id(BACKUPS[0])]);
    let kept: Vec<_> = report.kept.iter().map(|kept| kept.id.clone()).collect();
    assert_eq!(kept, [id(BACKUPS[1])]);
    assert!(report.kept[0].reason.to_string().contains(NEW), "{report:?}");
    assert_eq!((report.wal_segments, report.swept.contains(&id(DEAD))), (0, false));
    assert!(report.wal_kept.unwrap().contains(BACKUPS[1]));
    assert_whole(&store, "while it is under way").await;

    let mut request = world::request(&cluster, &[1]).await.unwrap();
    request.now = Some(Timestamp::now() + hours(24 * 7 + 1));
    request.grace = Duration::ZERO;
    let report = cluster.expire(&request).await.unwrap();
    assert_eq!(report.removed, [id(BACKUPS[1])]);
    assert!(report.swept.contains(&id(DEAD)) && report.swept.contains(&id(NEW)), "{report:?}");
    assert_whole(&store, "when it is dead").await;
    assert_clean(&store, "when it is dead").await;
}

/// Of the WAL, what is under way protects only what it may need, when it told.
#[tokio::test]
async fn wal_from_before_what_is_under_way_goes() {
    let store = build().await;
    let cluster = world::open(store.clone()).await.unwrap();
    world::leave_nothing_dead(&store).await;
    let size = sample::system().wal_segment_size;
    let mut intent = sample::intent(&id(NEW));
    intent.wal_from = Some(SegmentNumber(4).start(size) + 8);
    let options =
        walbrook_repo::WriterOptions { codec: walbrook_repo::Codec::None, workers: 1, check: None };
    walbrook_repo::BackupWriter::begin(&cluster, intent, options).await.unwrap();

    // Segments 1 and 3 to 5 are asked for.
    let mut request = world::request(&cluster, &[]).await.unwrap();
    request.now = None;
    let report = cluster.expire(&request).await.unwrap();
    assert_eq!(report.wal_segments, 2, "{report:?}");
    assert!(report.wal_kept.unwrap().contains(NEW));
    let there = cluster.wal(&sample::system()).ranges(TimelineId::FIRST).await.unwrap();
    let there: Vec<_> = there.iter().map(|range| (range.first.0, range.last.0)).collect();
    assert_eq!(there, [(2, 2), (4, 6)]);
    assert_whole(&store, "while it is under way").await;
}
