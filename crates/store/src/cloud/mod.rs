//! S3, Google Cloud Storage and Azure, by the crate `object_store`, whose types stay in here.
//!
//! [`ObjectStoreBackend`] maps our trait to its requests; [`build`] maps our options to its builders;
//! [`errors`] maps its errors to ours, with secrets taken out. What it does not know of S3 is done by
//! [`requests`] of our own: [`lock`] for locks of objects, [`versions`] for lists of their versions,
//! which [`AsOfBackend`] reads.

mod as_of;
mod build;
mod errors;
mod lock;
mod requests;
mod versions;

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

pub(crate) use self::as_of::AsOfBackend;
use self::errors::{Classifier, certainly_exists};
use self::requests::Requests;
use crate::memory::folder;
use crate::store::delete_each;
use crate::{
    Children, Error, ErrorKind, Lock, ObjectMeta, Payload, Result, Scheme, Store, StoreUrl,
    check_path, check_prefix,
};

/// How often a creation is asked for anew when the service says that another is under way.
const CONFLICTS: u32 = 6;

/// A bucket or container, or the part of it below a prefix.
pub(crate) struct ObjectStoreBackend {
    client: Arc<dyn ObjectStore>,
    scheme: Scheme,
    /// What every key begins with: empty, or with a trailing slash.
    prefix: String,
    location: String,
    classifier: Classifier,
    url: StoreUrl,
    bucket: String,
    /// Deletes in bulk; made when it is needed first, and none where the service can't.
    bulk: OnceLock<Option<Arc<dyn ObjectStore>>>,
    /// Whether the service has failed to delete in bulk.
    bulk_failed: AtomicBool,
    /// Creates objects that are locked until a date.
    locking: Mutex<Option<(String, Arc<dyn ObjectStore>)>>,
    /// Requests of S3 that the clients do not know; made when they are needed first.
    requests: OnceLock<Requests>,
}

impl ObjectStoreBackend {
    pub(crate) fn open(url: &StoreUrl, scheme: Scheme, bucket: &str, prefix: &str) -> Result<Self> {
        let classifier = Classifier::new(scheme, url);
        let location = build::location(url, scheme, bucket, prefix);
        let client = build::client(url, scheme, bucket, &classifier)
            .map_err(|e| e.during("open").with_location(location.clone()))?;
        Ok(Self {
            client,
            scheme,
            prefix: folder(prefix),
            location,
            classifier,
            url: url.clone(),
            bucket: bucket.to_owned(),
            bulk: OnceLock::new(),
            bulk_failed: AtomicBool::new(false),
            locking: Mutex::new(None),
            requests: OnceLock::new(),
        })
    }

    fn requests(&self) -> Result<&Requests> {
        match self.requests.get() {
            Some(requests) => Ok(requests),
            None => {
                let made = build::s3_requests(&self.url, &self.bucket, &self.classifier)?;
                Ok(self.requests.get_or_init(|| made))
            }
        }
    }

    fn describe(&self, e: Error, operation: &'static str, path: &str) -> Error {
        let e = e.during(operation).with_location(self.location.clone());
        if path.is_empty() { e } else { e.with_path(path) }
    }

    /// The key of an object.
    fn key(&self, path: &str) -> Result<Path> {
        check_path(path)?;
        parse(&format!("{}{path}", self.prefix))
    }

    /// The start of the keys below a folder; nothing for the whole bucket.
    fn below(&self, prefix: &str) -> Result<Option<Path>> {
        check_prefix(prefix)?;
        let whole = format!("{}{prefix}", self.prefix);
        match whole.trim_end_matches('/') {
            "" => Ok(None),
            key => parse(key).map(Some),
        }
    }

    /// The path of a key, or nothing for keys that no object of ours can have.
    fn path(&self, key: &Path) -> Option<String> {
        let path = key.as_ref().strip_prefix(&self.prefix)?;
        check_path(path).is_ok().then(|| path.to_owned())
    }

    fn meta(&self, meta: &object_store::ObjectMeta) -> Option<ObjectMeta> {
        let path = self.path(&meta.location)?;
        Some(ObjectMeta { path, size: meta.size, modified: SystemTime::from(meta.last_modified) })
    }

    async fn create_by(
        &self,
        client: &Arc<dyn ObjectStore>,
        path: &str,
        content: Payload,
    ) -> Result<()> {
        let key = self.key(path)?;
        let content: PutPayload = content.iter().cloned().collect();
        let (mut conflicts, mut repeated) = (0, false);
        loop {
            let Err(e) = client.put_opts(&key, content.clone(), PutMode::Create.into()).await
            else {
                return Ok(());
            };
            let certain = certainly_exists(&e);
            let e = self.classifier.error(e);
            match e.kind() {
                ErrorKind::AlreadyExists if certain => return Err(e),
                // S3 says 409 as well while somebody else's creation is under way, which may come to
                // nothing. Ours is refused for good only when there is an object.
                ErrorKind::AlreadyExists => match self.client.head(&key).await {
                    Ok(_) => return Err(e),
                    Err(object_store::Error::NotFound { .. }) if conflicts < CONFLICTS => {
                        conflicts += 1;
                        tokio::time::sleep(Duration::from_millis(50 << conflicts)).await;
                    }
                    Err(object_store::Error::NotFound { .. }) => {
                        return Err(Error::new(
                            ErrorKind::Unavailable,
                            "the service keeps reporting a conflict with another creation",
                        )
                        .with_source(e));
                    }
                    Err(e) => return Err(self.classifier.error(e)),
                },
                // object_store repeats what is safe in general. A request that timed out or was cut
                // off isn't, but a creation is: at worst it finds what the first one made.
                ErrorKind::Unavailable if !repeated => repeated = true,
                _ => return Err(e),
            }
        }
    }

    async fn try_read(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let key = self.key(path)?;
        if range.start == range.end {
            return Ok(Bytes::new());
        }
        if range.start > range.end {
            return Err(Error::new(ErrorKind::OutOfRange, format!("{range:?} is not a range")));
        }
        let content = match self.client.get_range(&key, range.clone()).await {
            Ok(content) => content,
            Err(e) => {
                let e = self.classifier.error(e);
                // A range beyond the end puts some services off their stride: all of the object comes,
                // or a range that makes no sense. The size tells.
                if matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::Other) {
                    let size = self.try_head(path).await?.size;
                    if range.end > size {
                        let message = format!("it has only {size} bytes");
                        return Err(Error::new(ErrorKind::OutOfRange, message).with_source(e));
                    }
                }
                return Err(e);
            }
        };
        // A service may give what there is of a range.
        if content.len() as u64 != range.end - range.start {
            let message = format!("of the bytes {range:?} it has only {}", content.len());
            return Err(Error::new(ErrorKind::OutOfRange, message));
        }
        Ok(content)
    }

    async fn try_tail(&self, path: &str, at_most: u64) -> Result<(Bytes, u64)> {
        let key = self.key(path)?;
        // Azure has no ranges that count from the end.
        if at_most > 0 && self.scheme != Scheme::Azure {
            let options = GetOptions::new().with_range(Some(GetRange::Suffix(at_most)));
            let outcome = async {
                let answer = self.client.get_opts(&key, options).await?;
                let size = answer.meta.size;
                Ok((answer.bytes().await?, size))
            };
            match outcome.await.map_err(|e| self.classifier.error(e)) {
                Ok((tail, size)) if tail.len() as u64 == size.min(at_most) => {
                    return Ok((tail, size));
                }
                Ok(_) => {
                    let message = "the service gave another part of the object than was asked for";
                    return Err(Error::new(ErrorKind::Other, message));
                }
                // No byte can be asked of an empty object; nor a suffix of some services.
                Err(e) if matches!(e.kind(), ErrorKind::OutOfRange | ErrorKind::Unsupported) => {}
                Err(e) => return Err(e),
            }
        }
        let size = self.try_head(path).await?.size;
        Ok((self.try_read(path, size.saturating_sub(at_most)..size).await?, size))
    }

    async fn try_head(&self, path: &str) -> Result<ObjectMeta> {
        let key = self.key(path)?;
        let meta = match self.client.head(&key).await {
            Ok(meta) => meta,
            Err(e) => {
                let e = self.classifier.error(e);
                // The answer to HEAD has no content that could tell a missing bucket from a missing
                // object. One more request does, if these credentials may list at all.
                if e.kind() == ErrorKind::NotFound
                    && let Some(Err(listing)) = self.client.list(Some(&key)).next().await
                {
                    let listing = self.classifier.error(listing);
                    if listing.kind() == ErrorKind::StoreMissing {
                        return Err(listing);
                    }
                }
                return Err(e);
            }
        };
        Ok(ObjectMeta {
            path: path.to_owned(),
            size: meta.size,
            modified: SystemTime::from(meta.last_modified),
        })
    }

    fn try_list<'a>(
        &'a self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> Result<BoxStream<'a, Result<ObjectMeta>>> {
        let below = self.below(prefix)?;
        // Before the first path below the folder there is nothing to skip.
        let after = start_after.filter(|after| **after > *folder(prefix)).map(str::to_owned);
        let listing = match &after {
            Some(after) => {
                // The offset goes out as a key; what can't be one is filtered here alone.
                match Path::parse(format!("{}{after}", self.prefix)) {
                    Ok(offset) => self.client.list_with_offset(below.as_ref(), &offset),
                    Err(_) => self.client.list(below.as_ref()),
                }
            }
            None => self.client.list(below.as_ref()),
        };
        let mut last = String::new();
        Ok(listing
            .map_err(|e| self.classifier.error(e))
            .try_filter_map(move |meta| {
                let found = self
                    .meta(&meta)
                    .filter(|meta| after.as_ref().is_none_or(|after| meta.path > *after));
                futures::future::ready(in_order(found, &mut last))
            })
            .boxed())
    }

    async fn try_children(&self, prefix: &str) -> Result<Children> {
        let below = self.below(prefix)?;
        let answer = self
            .client
            .list_with_delimiter(below.as_ref())
            .await
            .map_err(|e| self.classifier.error(e))?;
        let mut children = Children {
            folders: answer.common_prefixes.iter().filter_map(|key| self.path(key)).collect(),
            objects: answer.objects.iter().filter_map(|meta| self.meta(meta)).collect(),
        };
        children.folders.sort_unstable();
        children.folders.dedup();
        children.objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        // Markers that consoles make for folders: empty objects whose key ends with a slash.
        let Children { folders, objects } = &mut children;
        objects.retain(|object| object.size > 0 || folders.binary_search(&object.path).is_err());
        Ok(children)
    }

    async fn try_delete(&self, path: &str) -> Result<()> {
        let key = self.key(path)?;
        match self.client.delete(&key).await.map_err(|e| self.classifier.error(e)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// Deletes up to [`BULK`] objects by one request; `None` when the service does not answer it, which
    /// then has to be asked for each.
    async fn try_delete_bulk(&self, paths: &[String]) -> Option<Vec<Result<()>>> {
        let make = || build::bulk_client(&self.url, self.scheme, &self.bucket);
        let client = self.bulk.get_or_init(make).as_ref()?;
        if self.bulk_failed.load(Ordering::Relaxed) {
            return None;
        }
        let keys: Result<Vec<Path>> = paths.iter().map(|path| self.key(path)).collect();
        let keys: Vec<_> = keys.ok()?.into_iter().map(Ok).collect();
        let answers: Vec<_> = client.delete_stream(stream::iter(keys).boxed()).collect().await;
        if answers.len() != paths.len() {
            self.bulk_failed.store(true, Ordering::Relaxed);
            return None;
        }
        let outcomes = answers.into_iter().zip(paths).map(|(answer, path)| match answer {
            Ok(_) => Ok(()),
            Err(e) => match self.classifier.error(e) {
                e if e.kind() == ErrorKind::NotFound => Ok(()),
                e => Err(self.describe(e, "delete", path)),
            },
        });
        Some(outcomes.collect())
    }
}

/// How many objects S3 deletes by one request (`DeleteObjects`).
const BULK: usize = 1000;

/// Requests of that kind that are under way at once.
const BULKS: usize = 4;

/// Lets an object through that comes after the last. Listings are in order of keys by the contracts of
/// all three services; where one isn't, callers that merge listings would go wrong without a word.
fn in_order(found: Option<ObjectMeta>, last: &mut String) -> Result<Option<ObjectMeta>> {
    let Some(meta) = found else { return Ok(None) };
    if meta.path > *last {
        last.clone_from(&meta.path);
        return Ok(Some(meta));
    }
    if meta.size == 0 {
        // The marker of a folder, whose key ends with a slash that we do not get to see.
        return Ok(None);
    }
    let message = format!("it lists {} after {last}, against the order of names", meta.path);
    Err(Error::new(ErrorKind::Unsupported, message).with_remedy(
        "use a bucket that lists in order: not a directory bucket or a hierarchical namespace",
    ))
}

fn parse(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|e| {
        Error::new(ErrorKind::InvalidPath, "the service can't have such a key").with_source(e)
    })
}

#[async_trait]
impl Store for ObjectStoreBackend {
    async fn create(&self, path: &str, content: Payload) -> Result<()> {
        let created = self.create_by(&self.client, path, content).await;
        created.map_err(|e| self.describe(e, "create", path))
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        let read = async {
            let key = self.key(path)?;
            let answer = self.client.get(&key).await.map_err(|e| self.classifier.error(e))?;
            answer.bytes().await.map_err(|e| self.classifier.error(e))
        };
        read.await.map_err(|e| self.describe(e, "read", path))
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.try_read(path, range).await.map_err(|e| self.describe(e, "read", path))
    }

    async fn get_tail(&self, path: &str, at_most: u64) -> Result<(Bytes, u64)> {
        self.try_tail(path, at_most).await.map_err(|e| self.describe(e, "read", path))
    }

    async fn head(&self, path: &str) -> Result<ObjectMeta> {
        self.try_head(path).await.map_err(|e| self.describe(e, "look up", path))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> BoxStream<'a, Result<ObjectMeta>> {
        match self.try_list(prefix, start_after) {
            Ok(listing) => listing.map_err(move |e| self.describe(e, "list", prefix)).boxed(),
            Err(e) => {
                let e = self.describe(e, "list", prefix);
                stream::once(async { Err(e) }).boxed()
            }
        }
    }

    async fn list_children(&self, prefix: &str) -> Result<Children> {
        self.try_children(prefix).await.map_err(|e| self.describe(e, "list", prefix))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.try_delete(path).await.map_err(|e| self.describe(e, "delete", path))
    }

    async fn delete_many(&self, paths: &[String]) -> Vec<Result<()>> {
        let chunks: Vec<_> = paths
            .chunks(BULK)
            .map(|chunk| async move {
                // One that fails as a whole has no answer for each, and some services do not know it.
                let bulk = match chunk {
                    [_] => None,
                    _ => self.try_delete_bulk(chunk).await,
                };
                match bulk {
                    Some(outcomes) => outcomes,
                    None => delete_each(self, chunk).await,
                }
            })
            .collect();
        stream::iter(chunks).buffered(BULKS).flat_map(stream::iter).collect().await
    }

    async fn create_locked(&self, path: &str, content: Payload, until: SystemTime) -> Result<()> {
        let created = self.try_create_locked(path, content, until).await;
        created.map_err(|e| self.describe(e, "create", path))
    }

    async fn lock(&self, paths: &[String], lock: Lock) -> Vec<Result<()>> {
        let outcomes = self.try_lock(paths, lock).await.into_iter().zip(paths);
        outcomes
            .map(|(outcome, path)| outcome.map_err(|e| self.describe(e, "lock", path)))
            .collect()
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}

/// Shows the location only: builders and clients hold credentials.
impl fmt::Debug for ObjectStoreBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreBackend").field("location", &self.location).finish()
    }
}
