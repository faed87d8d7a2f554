//! A store that fails on purpose.
//!
//! [`FaultStore`] wraps any [`Store`]. A [`Rule`] says which calls are hit and a [`Fault`] what happens
//! to them; [`Calls`] counts what went through, for tests that promise a number of requests.
//!
//! ```
//! use std::sync::Arc;
//! use walbrook_store::{ErrorKind, MemoryStore, Store};
//! use walbrook_testkit::{Call, Fault, FaultStore, Rule};
//!
//! let store = FaultStore::new(MemoryStore::new());
//! store.add(Rule::new(Fault::Unavailable).on(Call::Create).path("backup.json").times(2));
//! # futures::executor::block_on(async {
//! assert!(store.create("a/backup.json", "x".into()).await.unwrap_err().is_transient());
//! assert!(store.create("a/backup.json", "x".into()).await.is_err());
//! store.create("a/backup.json", "x".into()).await.unwrap();
//! assert_eq!(store.calls().of(Call::Create), 3);
//! # });
//! ```

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::channel::oneshot;
use futures::stream::{self, BoxStream, StreamExt};
use walbrook_store::{Children, Error, ErrorKind, Lock, ObjectMeta, Payload, Result, Store};

/// The methods of [`Store`] that do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names of the methods")]
pub enum Call {
    Create,
    Get,
    GetRange,
    GetTail,
    Head,
    List,
    ListChildren,
    Delete,
    Lock,
}

impl Call {
    const ALL: [Self; 9] = [
        Self::Create,
        Self::Get,
        Self::GetRange,
        Self::GetTail,
        Self::Head,
        Self::List,
        Self::ListChildren,
        Self::Delete,
        Self::Lock,
    ];

    fn reads(self) -> bool {
        matches!(self, Self::Get | Self::GetRange | Self::GetTail)
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get | Self::GetRange | Self::GetTail => "read",
            Self::Head => "look up",
            Self::List | Self::ListChildren => "list",
            Self::Delete => "delete",
            Self::Lock => "lock",
        }
    }
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is done, and a transient error comes back: a 503, a network that is down.
    Unavailable,
    /// Nothing is done, and an error of this kind comes back.
    Error(ErrorKind),
    /// It is done, and then an error of this kind comes back: the answer was lost. For listings the
    /// error comes at the end.
    ErrorAfter(ErrorKind),
    /// What is read comes back with one bit of this byte changed; counted from the end if negative.
    /// Calls that read nothing, or less, are left alone. A byte counts from the start of what was asked for.
    FlipByte(i64),
    /// What is read comes back shorter: this many bytes at most, without an error, as no good store
    /// would. Calls that read nothing are left alone.
    Truncate(usize),
    /// It is done after this time.
    Slow(Duration),
    /// Nothing is done, nor by any later call, whatever its rule: the process or the machine died.
    Crash,
    /// It is done, and then everything ends as with [`Fault::Crash`].
    CrashAfter,
    /// Nothing is done, and there is no space: for creations.
    StorageFull,
}

/// Which calls a fault hits: all of them unless narrowed.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    calls: Vec<Call>,
    path: Option<String>,
    skip: u64,
    times: u64,
}

impl Rule {
    /// A rule for every call.
    pub fn new(fault: Fault) -> Self {
        Self { fault, calls: Vec::new(), path: None, skip: 0, times: u64::MAX }
    }

    /// Only calls of this kind, or of these when said more than once.
    #[must_use]
    pub fn on(mut self, call: Call) -> Self {
        self.calls.push(call);
        self
    }

    /// Only calls that read content.
    #[must_use]
    pub fn on_reads(mut self) -> Self {
        self.calls.extend(Call::ALL.into_iter().filter(|call| call.reads()));
        self
    }

    /// Only calls whose path (or prefix) contains this.
    #[must_use]
    pub fn path(mut self, part: impl Into<String>) -> Self {
        self.path = Some(part.into());
        self
    }

    /// Lets this many of the calls that match through first.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Hits only the n-th of the calls that match, from 1.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        self.after(n.saturating_sub(1)).times(1)
    }

    /// Hits this many calls, and lets those after them through.
    #[must_use]
    pub fn times(mut self, calls: u64) -> Self {
        self.times = calls;
        self
    }

    fn matches(&self, call: Call, path: &str) -> bool {
        (self.calls.is_empty() || self.calls.contains(&call))
            && self.path.as_ref().is_none_or(|part| path.contains(part.as_str()))
    }
}

/// How many calls of each kind were made, those that failed included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls([u64; 9]);

impl Calls {
    /// The calls of one kind. A listing counts once, when it is first polled.
    pub fn of(&self, call: Call) -> u64 {
        self.0[call as usize]
    }

    /// All calls.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The calls since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut calls = *self;
        for (now, then) in calls.0.iter_mut().zip(earlier.0) {
            *now = now.saturating_sub(then);
        }
        calls
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = Call::ALL.into_iter().filter(|call| self.of(*call) > 0);
        let text: Vec<_> = made.map(|call| format!("{call:?} {}", self.of(call))).collect();
        f.write_str(&text.join(", "))
    }
}

/// A [`Store`] whose calls fail by rules. Clones share rules, counts and the crash.
#[derive(Debug)]
pub struct FaultStore<S> {
    store: Arc<S>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    rules: Mutex<Vec<Rule>>,
    calls: Mutex<Calls>,
    crashed: AtomicBool,
}

impl<S> Clone for FaultStore<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), state: Arc::clone(&self.state) }
    }
}

impl<S: Store> FaultStore<S> {
    /// Wraps a store; without rules every call goes through.
    pub fn new(store: S) -> Self {
        Self { store: Arc::new(store), state: Arc::default() }
    }

    /// Adds a rule. Of several that match a call, the first that still hits decides; all that match
    /// count it.
    pub fn add(&self, rule: Rule) {
        lock(&self.state.rules).push(rule);
    }

    /// Removes all rules and undoes a crash: the machine is up again.
    pub fn heal(&self) {
        lock(&self.state.rules).clear();
        self.state.crashed.store(false, Ordering::SeqCst);
    }

    /// Whether a crash has been hit.
    pub fn has_crashed(&self) -> bool {
        self.state.crashed.load(Ordering::SeqCst)
    }

    /// The calls so far.
    pub fn calls(&self) -> Calls {
        *lock(&self.state.calls)
    }

    /// The store inside, for looking at it without faults and counts.
    pub fn inner(&self) -> &S {
        &self.store
    }

    /// Counts a call and says what is to happen to it.
    fn next(&self, call: Call, path: &str) -> Option<Fault> {
        lock(&self.state.calls).0[call as usize] += 1;
        if self.has_crashed() {
            return Some(Fault::Crash);
        }
        let mut hit = None;
        for rule in lock(&self.state.rules).iter_mut().filter(|rule| rule.matches(call, path)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 && hit.is_none() {
                rule.times -= 1;
                hit = Some(rule.fault.clone());
            }
        }
        hit
    }

    /// What comes before the call: the error in place of it, or time.
    async fn before(&self, call: Call, path: &str) -> Result<Option<Fault>> {
        let fault = self.next(call, path);
        match &fault {
            Some(Fault::Unavailable) => Err(self.error(ErrorKind::Unavailable, call, path)),
            Some(Fault::Error(kind)) => Err(self.error(*kind, call, path)),
            Some(Fault::StorageFull) => Err(self.error(ErrorKind::StorageFull, call, path)),
            Some(Fault::Crash) => {
                self.state.crashed.store(true, Ordering::SeqCst);
                Err(self.error(ErrorKind::Other, call, path))
            }
            Some(Fault::Slow(time)) => {
                sleep(*time).await;
                Ok(None)
            }
            _ => Ok(fault),
        }
    }

    /// What comes after it, in place of its outcome.
    fn after<T>(
        &self,
        fault: Option<&Fault>,
        call: Call,
        path: &str,
        outcome: Result<T>,
    ) -> Result<T> {
        match fault {
            Some(Fault::ErrorAfter(kind)) => Err(self.error(*kind, call, path)),
            Some(Fault::CrashAfter) => {
                self.state.crashed.store(true, Ordering::SeqCst);
                Err(self.error(ErrorKind::Other, call, path))
            }
            _ => outcome,
        }
    }

    fn error(&self, kind: ErrorKind, call: Call, path: &str) -> Error {
        let why = if self.has_crashed() { "injected crash" } else { "injected fault" };
        Error::new(kind, why)
            .during(call.verb())
            .with_path(path)
            .with_location(self.store.location())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps on any runtime, and on none: a thread keeps the time.
async fn sleep(time: Duration) {
    let (done, wait) = oneshot::channel();
    std::thread::spawn(move || {
        std::thread::sleep(time);
        let _ = done.send(());
    });
    let _ = wait.await;
}

/// Damages what was read.
fn damage(fault: Option<&Fault>, content: Bytes) -> Bytes {
    match fault {
        Some(Fault::FlipByte(at)) => {
            let length = content.len() as i64;
            let at = if *at < 0 { length + at } else { *at };
            if !(0..length).contains(&at) {
                return content;
            }
            let mut content = BytesMut::from(&content[..]);
            content[at as usize] ^= 0x10;
            content.freeze()
        }
        Some(Fault::Truncate(most)) => content.slice(..content.len().min(*most)),
        _ => content,
    }
}

#[async_trait]
impl<S: Store> Store for FaultStore<S> {
    async fn create(&self, path: &str, content: Payload) -> Result<()> {
        let fault = self.before(Call::Create, path).await?;
        let outcome = self.store.create(path, content).await;
        self.after(fault.as_ref(), Call::Create, path, outcome)
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        let fault = self.before(Call::Get, path).await?;
        let outcome = self.store.get(path).await.map(|content| damage(fault.as_ref(), content));
        self.after(fault.as_ref(), Call::Get, path, outcome)
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let fault = self.before(Call::GetRange, path).await?;
        let outcome =
            self.store.get_range(path, range).await.map(|content| damage(fault.as_ref(), content));
        self.after(fault.as_ref(), Call::GetRange, path, outcome)
    }

    async fn get_tail(&self, path: &str, at_most: u64) -> Result<(Bytes, u64)> {
        let fault = self.before(Call::GetTail, path).await?;
        let outcome = self.store.get_tail(path, at_most).await;
        let outcome = outcome.map(|(content, size)| (damage(fault.as_ref(), content), size));
        self.after(fault.as_ref(), Call::GetTail, path, outcome)
    }

    async fn head(&self, path: &str) -> Result<ObjectMeta> {
        let fault = self.before(Call::Head, path).await?;
        let outcome = self.store.head(path).await;
        self.after(fault.as_ref(), Call::Head, path, outcome)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> BoxStream<'a, Result<ObjectMeta>> {
        stream::once(async move {
            match self.before(Call::List, prefix).await {
                Err(e) => stream::once(async { Err(e) }).boxed(),
                Ok(fault) => {
                    let end = self.after(fault.as_ref(), Call::List, prefix, Ok(())).err();
                    self.store.list(prefix, start_after).chain(stream::iter(end.map(Err))).boxed()
                }
            }
        })
        .flatten()
        .boxed()
    }

    async fn list_children(&self, prefix: &str) -> Result<Children> {
        let fault = self.before(Call::ListChildren, prefix).await?;
        let outcome = self.store.list_children(prefix).await;
        self.after(fault.as_ref(), Call::ListChildren, prefix, outcome)
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let fault = self.before(Call::Delete, path).await?;
        let outcome = self.store.delete(path).await;
        self.after(fault.as_ref(), Call::Delete, path, outcome)
    }

    async fn create_locked(&self, path: &str, content: Payload, until: SystemTime) -> Result<()> {
        let fault = self.before(Call::Create, path).await?;
        let outcome = self.store.create_locked(path, content, until).await;
        self.after(fault.as_ref(), Call::Create, path, outcome)
    }

    async fn lock(&self, paths: &[String], lock: Lock) -> Vec<Result<()>> {
        let mut outcomes = Vec::with_capacity(paths.len());
        for path in paths {
            outcomes.push(match self.before(Call::Lock, path).await {
                Ok(fault) => {
                    let one = self.store.lock(std::slice::from_ref(path), lock).await;
                    let outcome = one.into_iter().collect();
                    self.after(fault.as_ref(), Call::Lock, path, outcome)
                }
                Err(error) => Err(error),
            });
        }
        outcomes
    }

    fn location(&self) -> String {
        self.store.location()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::executor::block_on;
    use walbrook_store::{MemoryStore, conformance};

    use super::*;

    fn faulty(rule: Rule) -> FaultStore<MemoryStore> {
        let store = FaultStore::new(MemoryStore::new());
        store.add(rule);
        store
    }

    #[test]
    fn without_rules_it_is_the_store() {
        block_on(conformance::run(Arc::new(FaultStore::new(MemoryStore::new())))).unwrap();
        // Also around a store whose type is not known.
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        block_on(FaultStore::new(store).create("a", "x".into())).unwrap();
    }

    #[test]
    fn the_conformance_suite_notices() {
        for (fault, call, check) in [
            (Fault::FlipByte(-1), Call::Get, "create_and_read"),
            (Fault::Truncate(3), Call::GetRange, "ranges"),
            (Fault::Truncate(3), Call::GetTail, "tails"),
            (Fault::Error(ErrorKind::NotFound), Call::Head, "head"),
            (Fault::Error(ErrorKind::Other), Call::Delete, "delete"),
            (Fault::ErrorAfter(ErrorKind::AlreadyExists), Call::Create, "create_and_read"),
        ] {
            let store = faulty(Rule::new(fault.clone()).on(call));
            let failure = block_on(conformance::run(Arc::new(store))).unwrap_err();
            assert_eq!(failure.check(), check, "{fault:?} on {call:?}: {failure}");
        }
    }

    #[test]
    fn the_nth_call_of_a_kind_at_a_path() {
        let store = faulty(Rule::new(Fault::StorageFull).on(Call::Create).path("pack-").nth(2));
        for (path, good) in
            [("a", true), ("pack-1", true), ("b", true), ("pack-2", false), ("pack-2", true)]
        {
            assert_eq!(block_on(store.create(path, "x".into())).is_ok(), good, "{path}");
        }
        assert_eq!(store.calls().of(Call::Create), 5);
        assert_eq!(store.calls().total(), 5);
        assert_eq!(store.calls().to_string(), "Create 5");
    }

    #[test]
    fn before_and_after_the_effect() {
        let store = faulty(Rule::new(Fault::Error(ErrorKind::Other)).on(Call::Create).times(1));
        assert!(block_on(store.create("a", "x".into())).is_err());
        assert!(block_on(store.get("a")).is_err());
        store.add(Rule::new(Fault::ErrorAfter(ErrorKind::Unavailable)).on(Call::Create));
        assert!(block_on(store.create("a", "x".into())).unwrap_err().is_transient());
        assert_eq!(block_on(store.get("a")).unwrap(), "x");
    }

    #[test]
    fn damaged_reads() {
        let store = FaultStore::new(MemoryStore::new());
        block_on(store.create("a", "abcd".into())).unwrap();
        store.add(Rule::new(Fault::FlipByte(-1)).on_reads().times(3));
        assert_eq!(block_on(store.get("a")).unwrap(), "abct");
        assert_eq!(block_on(store.get_range("a", 0..2)).unwrap(), "ar");
        assert_eq!(block_on(store.get_tail("a", 1)).unwrap(), (Bytes::from("t"), 4));
        store.add(Rule::new(Fault::Truncate(1)));
        assert_eq!(block_on(store.get("a")).unwrap(), "a");
        assert_eq!(block_on(store.inner().get("a")).unwrap(), "abcd");
    }

    #[test]
    fn after_a_crash_nothing_works_until_healed() {
        let store = faulty(Rule::new(Fault::CrashAfter).on(Call::Create).nth(2));
        let clone = store.clone();
        block_on(store.create("a", "x".into())).unwrap();
        assert!(block_on(store.create("b", "x".into())).is_err());
        assert!(clone.has_crashed());
        assert!(block_on(clone.get("a")).is_err());
        assert!(block_on(clone.list("", None).collect::<Vec<_>>())[0].is_err());
        store.heal();
        assert_eq!(block_on(store.get("b")).unwrap(), "x");
    }

    #[test]
    fn slow_and_listings() {
        let store = faulty(Rule::new(Fault::Slow(Duration::from_millis(30))).on(Call::Get));
        block_on(store.create("a", "x".into())).unwrap();
        let start = Instant::now();
        block_on(store.get("a")).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(30));
        store.add(Rule::new(Fault::ErrorAfter(ErrorKind::Unavailable)).on(Call::List));
        let listed = block_on(store.list("", None).collect::<Vec<_>>());
        assert!(listed.len() == 2 && listed[0].is_ok() && listed[1].is_err());
        let before = store.calls();
        block_on(store.head("a")).unwrap();
        assert_eq!(store.calls().since(&before).total(), 1);
    }
}
