//! The contract of [`Store`], as a test that any implementation can run.
//!
//! [`run`] works in a folder of its own with a random name, needs no other state, and deletes what it
//! made, so that it can run against a bucket that is in use. It creates some 2300 objects, one of
//! them of 100 MiB, and panics never: a [`Failure`] says which promise was broken and how.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use walbrook_store::{MemoryStore, Store, conformance};
//!
//! let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
//! conformance::run(store).await?;
//! # Ok(()) }
//! ```

mod creating;
mod listing;
mod locking;
mod reading;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::{Error, ErrorKind, Payload, Result, Store};

/// How many requests the suite has in flight at most.
const CONCURRENCY: usize = 16;

/// A promise of [`Store`] that an implementation does not keep.
#[derive(Debug)]
pub struct Failure {
    check: &'static str,
    what: String,
    source: Option<Error>,
}

impl Failure {
    fn new(what: impl Into<String>) -> Self {
        Self { check: "", what: what.into(), source: None }
    }

    /// The name of the check that failed.
    pub fn check(&self) -> &'static str {
        self.check
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// An unexpected error of the store.
impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        let mut what = format!("unexpected error: {e}");
        let mut cause = std::error::Error::source(&e);
        while let Some(e) = cause {
            what = format!("{what}: {e}");
            cause = e.source();
        }
        Self { check: "", what, source: Some(e) }
    }
}

type Outcome = Result<(), Failure>;

/// The store, and the folder in which a check may do as it likes.
struct Scratch {
    store: Arc<dyn Store>,
    folder: String,
}

impl Scratch {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    async fn create(&self, name: &str, content: impl Into<Payload>) -> Result<String, Failure> {
        let path = self.path(name);
        self.store.create(&path, content.into()).await?;
        Ok(path)
    }

    async fn create_all(&self, names: &[String]) -> Outcome {
        stream::iter(names.to_vec())
            .map(
                |name| async move { self.create(&name, name.clone().into_bytes()).await.map(drop) },
            )
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }
}

fn ensure(good: bool, what: impl FnOnce() -> String) -> Outcome {
    if good { Ok(()) } else { Err(Failure::new(what())) }
}

/// Checks that something fails, and as what.
fn fails<T: fmt::Debug>(outcome: Result<T>, kind: ErrorKind, what: &str) -> Outcome {
    match outcome {
        Err(e) if e.kind() == kind => Ok(()),
        Err(e) => Err(Failure {
            check: "",
            what: format!("{what}: must fail as {kind:?}, failed as {:?}: {e}", e.kind()),
            source: Some(e),
        }),
        Ok(_) => Err(Failure::new(format!("{what}: must fail as {kind:?}, succeeded"))),
    }
}

/// Runs all checks, and deletes what they made even when one fails.
///
/// The first failure is returned; a store that keeps every promise returns `Ok`.
pub async fn run(store: Arc<dyn Store>) -> Result<(), Failure> {
    let checks: [(&'static str, Check); 15] = [
        ("create_and_read", |s| Box::pin(reading::create_and_read(s))),
        ("ranges", |s| Box::pin(reading::ranges(s))),
        ("tails", |s| Box::pin(reading::tails(s))),
        ("head", |s| Box::pin(reading::head(s))),
        ("absent", |s| Box::pin(reading::absent(s))),
        ("empty_object", |s| Box::pin(reading::empty_object(s))),
        ("large_object", |s| Box::pin(reading::large_object(s))),
        ("create_only", |s| Box::pin(creating::create_only(s))),
        ("concurrent_create", |s| Box::pin(creating::concurrent_create(s))),
        ("delete", |s| Box::pin(creating::delete(s))),
        ("delete_many", |s| Box::pin(creating::delete_many(s))),
        ("invalid_paths", |s| Box::pin(creating::invalid_paths(s))),
        ("list_order", |s| Box::pin(listing::order(s))),
        ("list_many", |s| Box::pin(listing::many(s))),
        ("list_children", |s| Box::pin(listing::children(s))),
    ];
    let run = format!("conformance-{:016x}", RandomState::new().hash_one(std::process::id()));
    let mut outcome = Ok(());
    for (name, check) in checks {
        let scratch = Scratch { store: Arc::clone(&store), folder: format!("{run}/{name}") };
        outcome = check(&scratch).await;
        if let Err(failure) = &mut outcome {
            failure.check = name;
            break;
        }
    }
    // Also after a failure; which is then what counts.
    let cleaned = clean(&*store, &run).await;
    outcome.and(cleaned.map_err(|failure| Failure { check: "clean", ..failure }))
}

/// Checks what [`Store`] promises of locks, for stores that have them. What it made stays locked for a
/// minute or so, and is not deleted: use a store that is for tests.
pub async fn run_locks(store: Arc<dyn Store>) -> Result<(), Failure> {
    let run = RandomState::new().hash_one(std::process::id());
    let folder = format!("conformance-{run:016x}/locks");
    let outcome = locking::locks(&Scratch { store, folder }).await;
    outcome.map_err(|failure| Failure { check: "locks", ..failure })
}

type Check = for<'a> fn(&'a Scratch) -> BoxFuture<'a, Outcome>;

async fn clean(store: &dyn Store, folder: &str) -> Outcome {
    let paths: Vec<String> =
        store.list(folder, None).map_ok(|meta| meta.path).try_collect().await?;
    store.delete_many(&paths).await.into_iter().collect::<Result<()>>()?;
    let left = store.list(folder, None).next().await.transpose()?;
    ensure(left.is_none(), || format!("after all was deleted, {left:?} is listed"))
}
