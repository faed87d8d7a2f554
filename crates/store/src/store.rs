use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use crate::{Error, ErrorKind, Payload, Result};

/// A place for objects that are created once, read often and never changed.
///
/// Paths are relative to the store; [`check_path`](crate::check_path) says which are valid, and every
/// method answers [`ErrorKind::InvalidPath`](crate::ErrorKind::InvalidPath) to others. Folders are not
/// things of their own: a folder is there while an object is below it. A path should not be an object
/// and a folder at once: what a local disk can't hold, no repository may use.
///
/// What an implementation owes its callers is tested by [`conformance`](crate::conformance).
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Creates an object, whole or not at all, and only when there is none at the path.
    ///
    /// On return it is durable: it survives a loss of power (local disk) or is acknowledged by the
    /// service. At any instant before that, a reader sees no object or the whole object.
    ///
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) means that a durable object is
    /// there and was not touched. **It may be this call's own**: when the answer to a request was lost,
    /// the repeated request finds what the first one created. A caller to whom the difference matters
    /// must read the object and compare, or put something unique in it. After any other error
    /// the object may be there too, whole, if the trouble came late; creating it again settles it.
    ///
    /// Dropping the future does not promise that nothing is created.
    async fn create(&self, path: &str, content: Payload) -> Result<()>;

    /// Reads a whole object into memory.
    async fn get(&self, path: &str) -> Result<Bytes>;

    /// Reads the bytes `range` of an object: exactly those, or
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange). An empty range reads nothing and does
    /// not look whether the object is there.
    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes>;

    /// Reads the last `at_most` bytes of an object, all of it if it is shorter, and tells the size of
    /// the whole object in bytes. One request where the service can do that, two on Azure.
    async fn get_tail(&self, path: &str, at_most: u64) -> Result<(Bytes, u64)>;

    /// Size and age of an object.
    async fn head(&self, path: &str) -> Result<ObjectMeta>;

    /// All objects below the folder `prefix` (empty: the whole store), at any depth, in ascending
    /// order of their paths compared as bytes, leaving out those up to and including `start_after`,
    /// which is a path of this store as well, though not necessarily of an object that is there.
    ///
    /// Memory is bounded however many there are. Objects created or deleted meanwhile may or may not
    /// appear. A folder without objects lists nothing; a store that is missing is an error.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> BoxStream<'a, Result<ObjectMeta>>;

    /// What is directly below the folder `prefix` (empty: the whole store).
    async fn list_children(&self, prefix: &str) -> Result<Children>;

    /// Deletes an object, durably. It is no error when there is none.
    async fn delete(&self, path: &str) -> Result<()>;

    /// Deletes many objects, and tells for each what came of it, in the order of `paths`: as
    /// [`delete`](Self::delete) would, but many at once, and with few requests where the service can do
    /// that (S3). One that is refused does not keep the others from being deleted.
    async fn delete_many(&self, paths: &[String]) -> Vec<Result<()>> {
        delete_each(self, paths).await
    }

    /// Creates an object as [`create`](Self::create) does, and locks it in the same request: until then
    /// nobody can destroy what it is, whatever credentials they have (see the store's own options for
    /// exceptions). Such an object may still vanish from sight where the service keeps versions: a
    /// deletion then hides it, and the version stays.
    ///
    /// [`ErrorKind::Unsupported`] where the store knows no locks, or this bucket was made without.
    async fn create_locked(&self, path: &str, content: Payload, until: SystemTime) -> Result<()> {
        let _ = (content, until);
        Err(no_locks("create", path, self.location()))
    }

    /// Sees to it that objects that are there are locked, and tells for each what came of it, in the
    /// order of `paths`. A lock is never made shorter; it is durable on return. Paths of one folder
    /// should stand together and ascend.
    ///
    /// Where the service keeps versions, what is locked is the object as it was created first, not what
    /// somebody has laid over it since: nothing of ours ever replaces an object. That there is more of it
    /// than that is an error all the same, of kind [`ErrorKind::Tampered`], and that it was deleted is
    /// [`ErrorKind::NotFound`]; what there was first is locked then as well, if it still is there.
    async fn lock(&self, paths: &[String], lock: Lock) -> Vec<Result<()>> {
        let _ = lock;
        paths.iter().map(|path| Err(no_locks("lock", path, self.location()))).collect()
    }

    /// Where the store is, for messages: a URL or a directory, never with secrets.
    fn location(&self) -> String;
}

/// How long objects that are there are to be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// An object that is locked until then already is left as it is.
    pub enough: SystemTime,
    /// Until when others are locked. Later than `enough`, so that not every call has to extend all.
    pub until: SystemTime,
}

fn no_locks(operation: &'static str, path: &str, location: String) -> Error {
    Error::new(ErrorKind::Unsupported, "this kind of store has no object locks")
        .with_remedy("use S3, with a bucket that has object lock, or do without --lock-until")
        .during(operation)
        .with_path(path)
        .with_location(location)
}

/// What a store knows of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The path of the object in its store.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// When it was created, by the store's clock. Clocks differ: fit for display and for generous
    /// margins, not for ordering.
    pub modified: SystemTime,
}

/// One level of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Children {
    /// Full paths of the folders that hold objects at any depth, without a trailing slash, ascending.
    pub folders: Vec<String>,
    /// The objects directly in the folder, ascending by path.
    pub objects: Vec<ObjectMeta>,
}

/// How many deletions are under way at once.
const DELETIONS: usize = 16;

/// Deletes objects by a request each, several at a time.
pub(crate) async fn delete_each<S: Store + ?Sized>(store: &S, paths: &[String]) -> Vec<Result<()>> {
    let deletions: Vec<_> = paths.iter().map(|path| store.delete(path)).collect();
    stream::iter(deletions).buffered(DELETIONS).collect().await
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn create(&self, path: &str, content: Payload) -> Result<()> {
        (**self).create(path, content).await
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        (**self).get(path).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        (**self).get_range(path, range).await
    }

    async fn get_tail(&self, path: &str, at_most: u64) -> Result<(Bytes, u64)> {
        (**self).get_tail(path, at_most).await
    }

    async fn head(&self, path: &str) -> Result<ObjectMeta> {
        (**self).head(path).await
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> BoxStream<'a, Result<ObjectMeta>> {
        (**self).list(prefix, start_after)
    }

    async fn list_children(&self, prefix: &str) -> Result<Children> {
        (**self).list_children(prefix).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        (**self).delete(path).await
    }

    async fn delete_many(&self, paths: &[String]) -> Vec<Result<()>> {
        (**self).delete_many(paths).await
    }

    async fn create_locked(&self, path: &str, content: Payload, until: SystemTime) -> Result<()> {
        (**self).create_locked(path, content, until).await
    }

    async fn lock(&self, paths: &[String], lock: Lock) -> Vec<Result<()>> {
        (**self).lock(paths, lock).await
    }

    fn location(&self) -> String {
        (**self).location()
    }
}
