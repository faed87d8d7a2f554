use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{Children, Lock, ObjectMeta, Payload, Result, Store};

/// Until when objects are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockUntil {
    /// For so long from when they are created, or were needed last, and at most an hour longer: then
    /// many objects have the same date.
    For(Duration),
    /// Until this moment, whenever they are created.
    At(SystemTime),
}

/// Dates of locks are whole hours.
const HOUR: u64 = 3600;

/// Beyond what any service takes for a date.
const CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);

impl LockUntil {
    /// Until when an object is locked that is created now. Never shorter than was asked for.
    pub fn date(self, now: SystemTime) -> SystemTime {
        match self {
            Self::For(length) => whole_hours(after(now, length)),
            Self::At(date) => date,
        }
    }

    /// What the lock of an object that is there already has to be, when something needs it from now on
    /// as if it were new. Where it is too short it becomes an eighth longer than needed, so that what is
    /// needed again and again is not locked anew each time.
    pub fn lock(self, now: SystemTime) -> Lock {
        match self {
            Self::For(length) => Lock {
                enough: after(now, length),
                until: whole_hours(after(now, length.saturating_add(length / 8))),
            },
            Self::At(date) => Lock { enough: date, until: date },
        }
    }
}

fn after(now: SystemTime, length: Duration) -> SystemTime {
    now.checked_add(length.min(CENTURY)).unwrap_or(now)
}

fn whole_hours(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.div_ceil(HOUR) * HOUR)
}

/// A store whose creations are all locked: [`create`](Store::create) is
/// [`create_locked`](Store::create_locked) of the store within.
#[derive(Debug)]
pub struct LockingStore {
    store: Arc<dyn Store>,
    until: LockUntil,
}

impl LockingStore {
    /// Locks what is created in `store`.
    pub fn new(store: Arc<dyn Store>, until: LockUntil) -> Self {
        Self { store, until }
    }
}

#[async_trait]
impl Store for LockingStore {
    async fn create(&self, path: &str, content: Payload) -> Result<()> {
        let until = self.until.date(SystemTime::now());
        self.store.create_locked(path, content, until).await
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        self.store.get(path).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.store.get_range(path, range).await
    }

    async fn get_tail(&self, path: &str, at_most: u64) -> Result<(Bytes, u64)> {
        self.store.get_tail(path, at_most).await
    }

    async fn head(&self, path: &str) -> Result<ObjectMeta> {
        self.store.head(path).await
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> BoxStream<'a, Result<ObjectMeta>> {
        self.store.list(prefix, start_after)
    }

    async fn list_children(&self, prefix: &str) -> Result<Children> {
        self.store.list_children(prefix).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.store.delete(path).await
    }

    async fn delete_many(&self, paths: &[String]) -> Vec<Result<()>> {
        self.store.delete_many(paths).await
    }

    async fn create_locked(&self, path: &str, content: Payload, until: SystemTime) -> Result<()> {
        let until = until.max(self.until.date(SystemTime::now()));
        self.store.create_locked(path, content, until).await
    }

    async fn lock(&self, paths: &[String], lock: Lock) -> Vec<Result<()>> {
        self.store.lock(paths, lock).await
    }

    fn location(&self) -> String {
        self.store.location()
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::MemoryStore;

    fn at(seconds: u64, nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
    }

    #[test]
    fn dates_are_whole_hours_and_never_earlier() {
        let until = LockUntil::For(Duration::from_secs(8 * HOUR));
        for (now, hour) in [(at(0, 0), 8), (at(0, 1), 9), (at(1, 0), 9), (at(HOUR, 0), 9)] {
            assert_eq!(until.date(now), at(hour * HOUR, 0), "{now:?}");
        }
        let lock = until.lock(at(5, 0));
        assert_eq!((lock.enough, lock.until), (at(8 * HOUR + 5, 0), at(10 * HOUR, 0)));
        let date = at(1_795_000_000, 7);
        let until = LockUntil::At(date);
        assert_eq!(until.date(at(0, 0)), date);
        assert_eq!(until.lock(at(0, 0)), Lock { enough: date, until: date });
        assert!(LockUntil::For(Duration::MAX).lock(at(0, 0)).until > at(HOUR, 0));
    }

    #[test]
    fn what_is_created_is_locked() {
        let memory = Arc::new(MemoryStore::new());
        let until = LockUntil::For(Duration::from_secs(HOUR));
        let store = LockingStore::new(memory.clone(), until);
        block_on(store.create("a", "x".into())).unwrap();
        assert!(
            memory.locked_until("a") > Some(SystemTime::now() + Duration::from_secs(HOUR - 60))
        );
        assert!(block_on(store.delete("a")).is_err());
    }
}
