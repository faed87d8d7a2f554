//! A bucket as it was in the past, by the versions that S3 keeps.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, ObjectStore};

use super::ObjectStoreBackend;
use super::versions::{History, Listed, Lister, Version};
use crate::memory::folder;
use crate::options::{flag, time};
use crate::{
    Children, Error, ErrorKind, Lock, ObjectMeta, Payload, Result, Scheme, Store, StoreUrl,
    check_path, check_prefix,
};

/// Objects whose versions are remembered.
const REMEMBERED: usize = 20_000;

/// Folders of which it is asked at once whether anything is in them.
const FOLDERS: usize = 16;

/// By how much clocks may differ.
const SKEW: Duration = Duration::from_secs(60);

/// A bucket, or the part of it below a prefix, as it was at a moment. Changes nothing.
///
/// An object is what it was when it was created: [`History::original`].
pub(crate) struct AsOfBackend {
    now: ObjectStoreBackend,
    at: SystemTime,
    undelete: bool,
    /// Which version of an object counts, if any: the past does not change.
    known: Mutex<HashMap<String, Option<Version>>>,
}

impl AsOfBackend {
    pub(crate) fn open(url: &StoreUrl, scheme: Scheme, bucket: &str, prefix: &str) -> Result<Self> {
        let mut now = ObjectStoreBackend::open(url, scheme, bucket, prefix)?;
        let given = url.option("as_of").unwrap_or_default();
        let at = time(given).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOption, "the option as_of must be a time")
                .during("open")
                .with_location(now.location.clone())
        })?;
        // A second look at what was not there would find it otherwise.
        if at > SystemTime::now() + SKEW {
            return Err(Error::new(ErrorKind::InvalidOption, "the option as_of is in the future")
                .during("open")
                .with_location(now.location.clone()));
        }
        now.location = format!("{} as of {given}", now.location);
        let undelete = url.option("undelete").and_then(flag).unwrap_or(false);
        Ok(Self { now, at, undelete, known: Mutex::default() })
    }

    fn choose<'a>(&self, history: &'a History) -> Option<&'a Version> {
        match self.undelete {
            true => history.oldest(Some(self.at)),
            false => history.original(Some(self.at)),
        }
    }

    fn meta(&self, history: &History) -> Option<ObjectMeta> {
        let path = history.key.strip_prefix(&self.now.prefix)?;
        check_path(path).ok()?;
        let version = self.choose(history)?;
        Some(ObjectMeta { path: path.to_owned(), size: version.size, modified: version.modified })
    }

    fn remember(&self, key: &str, version: Option<Version>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key.to_owned(), version);
    }

    /// The version of an object that counts.
    async fn version(&self, key: &str) -> Result<Version> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        let version = match known {
            Some(version) => version,
            None => {
                let mut lister = Lister::new(self.now.requests()?, key.to_owned(), None);
                let mut version = None;
                // The key itself comes before all that it is the beginning of.
                if let Some(Listed::Key(history)) = self.next(&mut lister).await?
                    && history.key == key
                {
                    version = self.choose(&history).cloned();
                }
                self.remember(key, version.clone());
                version
            }
        };
        version.ok_or_else(|| Error::new(ErrorKind::NotFound, ""))
    }

    async fn next(&self, lister: &mut Lister<'_>) -> Result<Option<Listed>> {
        lister.next().await.map_err(|e| match self.now.classifier.error(e) {
            e if e.kind() == ErrorKind::PermissionDenied => e.with_remedy(
                "check that s3:ListBucketVersions and s3:GetObjectVersion are allowed",
            ),
            e => e,
        })
    }

    async fn read(&self, path: &str, range: Option<GetRange>) -> Result<Bytes> {
        let key = self.now.key(path)?;
        let version = self.version(key.as_ref()).await?;
        // Neither a range nor a suffix can be had of nothing.
        if version.size == 0 {
            return Ok(Bytes::new());
        }
        let options = GetOptions { range, version: Some(version.id), ..GetOptions::default() };
        let read = async { self.now.client.get_opts(&key, options).await?.bytes().await };
        read.await.map_err(|e| match self.now.classifier.error(e) {
            // Who asks for WAL must not take it for never archived.
            e if e.kind() == ErrorKind::NotFound => {
                Error::new(ErrorKind::Other, "its version of that time has been deleted since")
                    .with_source(e)
            }
            e => e,
        })
    }

    async fn try_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let key = self.now.key(path)?;
        if range.start == range.end {
            return Ok(Bytes::new());
        }
        let size = self.version(key.as_ref()).await?.size;
        if range.start > range.end || range.end > size {
            let message = format!("bytes {range:?} are not in its {size} bytes");
            return Err(Error::new(ErrorKind::OutOfRange, message));
        }
        let content = self.read(path, Some(GetRange::Bounded(range.clone()))).await?;
        if content.len() as u64 == range.end - range.start {
            return Ok(content);
        }
        let message = "the service gave another part of the object than was asked for";
        Err(Error::new(ErrorKind::Other, message))
    }

    async fn try_children(&self, prefix: &str) -> Result<Children> {
        check_prefix(prefix)?;
        let below = format!("{}{}", self.now.prefix, folder(prefix));
        let mut lister = Lister::by_level(self.now.requests()?, below);
        let (mut children, mut folders) = (Children::default(), Vec::new());
        while let Some(listed) = self.next(&mut lister).await? {
            match listed {
                Listed::Key(history) => children.objects.extend(self.meta(&history)),
                Listed::Folder(key) => folders.extend(
                    key.strip_prefix(&self.now.prefix)
                        .map(|path| path.trim_end_matches('/').to_owned())
                        .filter(|path| check_path(path).is_ok()),
                ),
            }
        }
        folders.sort_unstable();
        folders.dedup();
        // A folder that has versions need not have had an object.
        let there: Vec<_> = folders
            .iter()
            .map(|path| async move { self.list(path, None).next().await.transpose() })
            .collect();
        let there: Vec<Option<ObjectMeta>> =
            stream::iter(there).buffered(FOLDERS).try_collect().await?;
        children.folders = folders
            .into_iter()
            .zip(there)
            .filter_map(|(path, first)| first.map(|_| path))
            .collect();
        children.objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(children)
    }

    fn refused(&self, operation: &'static str, path: &str) -> Error {
        let e = Error::new(ErrorKind::ReadOnly, "it was opened as it was in the past")
            .with_remedy("the past can't be changed: leave out the option as_of");
        self.now.describe(e, operation, path)
    }
}

#[async_trait]
impl Store for AsOfBackend {
    async fn create(&self, path: &str, _: Payload) -> Result<()> {
        check_path(path).map_err(|e| self.now.describe(e, "create", path))?;
        Err(self.refused("create", path))
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        self.read(path, None).await.map_err(|e| self.now.describe(e, "read", path))
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.try_range(path, range).await.map_err(|e| self.now.describe(e, "read", path))
    }

    async fn get_tail(&self, path: &str, at_most: u64) -> Result<(Bytes, u64)> {
        let size = self.head(path).await?.size;
        let from = size.saturating_sub(at_most);
        Ok((self.get_range(path, from..size).await?, size))
    }

    async fn head(&self, path: &str) -> Result<ObjectMeta> {
        let look = async {
            let key = self.now.key(path)?;
            let version = self.version(key.as_ref()).await?;
            let (size, modified) = (version.size, version.modified);
            Ok(ObjectMeta { path: path.to_owned(), size, modified })
        };
        look.await.map_err(|e| self.now.describe(e, "look up", path))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> BoxStream<'a, Result<ObjectMeta>> {
        let begin = || {
            check_prefix(prefix)?;
            let below = format!("{}{}", self.now.prefix, folder(prefix));
            let after = start_after.map(|after| format!("{}{after}", self.now.prefix));
            Ok(Lister::new(self.now.requests()?, below, after))
        };
        let lister = match begin() {
            Ok(lister) => lister,
            Err(e) => {
                let e = self.now.describe(e, "list", prefix);
                return stream::once(async { Err(e) }).boxed();
            }
        };
        let found = stream::try_unfold(lister, move |mut lister| async move {
            while let Some(listed) = self.next(&mut lister).await? {
                let Listed::Key(history) = listed else { continue };
                self.remember(&history.key, self.choose(&history).cloned());
                if let Some(meta) = self.meta(&history) {
                    return Ok(Some((meta, lister)));
                }
            }
            Ok(None)
        });
        found.map_err(move |e| self.now.describe(e, "list", prefix)).boxed()
    }

    async fn list_children(&self, prefix: &str) -> Result<Children> {
        self.try_children(prefix).await.map_err(|e| match e.location() {
            Some(_) => e,
            None => self.now.describe(e, "list", prefix),
        })
    }

    async fn delete(&self, path: &str) -> Result<()> {
        check_path(path).map_err(|e| self.now.describe(e, "delete", path))?;
        Err(self.refused("delete", path))
    }

    async fn create_locked(&self, path: &str, _: Payload, _: SystemTime) -> Result<()> {
        Err(self.refused("create", path))
    }

    async fn lock(&self, paths: &[String], _: Lock) -> Vec<Result<()>> {
        paths.iter().map(|path| Err(self.refused("lock", path))).collect()
    }

    fn location(&self) -> String {
        self.now.location.clone()
    }
}

impl fmt::Debug for AsOfBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsOfBackend").field("location", &self.now.location).finish()
    }
}
