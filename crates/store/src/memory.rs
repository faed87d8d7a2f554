//! A store in memory, with exact semantics: what it answers, every other backend must answer.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use crate::{
    Children, Error, ErrorKind, Lock, ObjectMeta, Payload, Result, Store, check_path, check_prefix,
};

/// How many objects one step of a listing copies out of the map.
const PAGE: usize = 1000;

/// Objects in this process's memory: for tests, and gone when the last handle is dropped.
#[derive(Default)]
pub struct MemoryStore {
    objects: RwLock<BTreeMap<String, Object>>,
}

#[derive(Clone)]
struct Object {
    content: Bytes,
    modified: SystemTime,
    /// Until then it can't be deleted.
    locked: Option<SystemTime>,
}

impl Object {
    fn meta(&self, path: &str) -> ObjectMeta {
        ObjectMeta {
            path: path.to_owned(),
            size: self.content.len() as u64,
            modified: self.modified,
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces or creates an object, which no [`Store`] can do: for tests that need a damaged one.
    pub fn overwrite(&self, path: &str, content: impl Into<Payload>) -> Result<()> {
        check_path(path)?;
        let content = content.into().to_bytes();
        let object = Object { content, modified: SystemTime::now(), locked: None };
        self.write().insert(path.to_owned(), object);
        Ok(())
    }

    // A panic while the lock is held can't leave the map half-changed: every change is one call.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Object>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Object>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, operation: &'static str, path: &str) -> Result<Object> {
        check_path(path).map_err(|e| self.describe(e, operation, path))?;
        self.read()
            .get(path)
            .cloned()
            .ok_or_else(|| self.describe(Error::new(ErrorKind::NotFound, ""), operation, path))
    }

    fn describe(&self, e: Error, operation: &'static str, path: &str) -> Error {
        e.during(operation).with_path(path).with_location(self.location())
    }

    fn insert(&self, path: &str, content: &Payload, locked: Option<SystemTime>) -> Result<()> {
        check_path(path).map_err(|e| self.describe(e, "create", path))?;
        let object = Object { content: content.to_bytes(), modified: SystemTime::now(), locked };
        let mut objects = self.write();
        if objects.contains_key(path) {
            return Err(self.describe(Error::new(ErrorKind::AlreadyExists, ""), "create", path));
        }
        objects.insert(path.to_owned(), object);
        Ok(())
    }

    fn lock_one(&self, path: &str, lock: Lock) -> Result<()> {
        check_path(path).map_err(|e| self.describe(e, "lock", path))?;
        match self.write().get_mut(path) {
            None => Err(self.describe(Error::new(ErrorKind::NotFound, ""), "lock", path)),
            Some(object) => {
                if object.locked.is_none_or(|until| until < lock.enough) {
                    object.locked = object.locked.max(Some(lock.until));
                }
                Ok(())
            }
        }
    }

    /// Until when an object is locked, if it is: for tests, as no [`Store`] tells.
    pub fn locked_until(&self, path: &str) -> Option<SystemTime> {
        self.read().get(path).and_then(|object| object.locked)
    }

    /// Up to [`PAGE`] objects below `folder` after `after`.
    fn page(&self, folder: &str, after: Option<&str>) -> Vec<ObjectMeta> {
        let from = match after {
            Some(after) if after >= folder => Bound::Excluded(after),
            _ => Bound::Included(folder),
        };
        self.read()
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(folder))
            .take(PAGE)
            .map(|(path, object)| object.meta(path))
            .collect()
    }
}

/// The start of every path below the folder `prefix`.
pub(crate) fn folder(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(&self, path: &str, content: Payload) -> Result<()> {
        self.insert(path, &content, None)
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        Ok(self.object("read", path)?.content)
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        if range.start == range.end {
            check_path(path).map_err(|e| self.describe(e, "read", path))?;
            return Ok(Bytes::new());
        }
        let content = self.object("read", path)?.content;
        let bounds = (usize::try_from(range.start), usize::try_from(range.end));
        match bounds {
            (Ok(start), Ok(end)) if start < end && end <= content.len() => {
                Ok(content.slice(start..end))
            }
            _ => {
                let message = format!("bytes {range:?} are not in its {} bytes", content.len());
                Err(self.describe(Error::new(ErrorKind::OutOfRange, message), "read", path))
            }
        }
    }

    async fn get_tail(&self, path: &str, at_most: u64) -> Result<(Bytes, u64)> {
        let content = self.object("read", path)?.content;
        let skip = content.len().saturating_sub(usize::try_from(at_most).unwrap_or(usize::MAX));
        Ok((content.slice(skip..), content.len() as u64))
    }

    async fn head(&self, path: &str) -> Result<ObjectMeta> {
        Ok(self.object("look up", path)?.meta(path))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> BoxStream<'a, Result<ObjectMeta>> {
        if let Err(e) = check_prefix(prefix) {
            let e = self.describe(e, "list", prefix);
            return stream::once(async { Err(e) }).boxed();
        }
        let folder = folder(prefix);
        let after = start_after.map(str::to_owned);
        stream::unfold(Some(after), move |state| {
            let page = state.map(|after| self.page(&folder, after.as_deref()));
            async move {
                let page = page?;
                // A full page may have a successor; a short one is the last.
                let next = (page.len() == PAGE).then(|| page.last().map(|meta| meta.path.clone()));
                Some((stream::iter(page.into_iter().map(Ok)), next))
            }
        })
        .flatten()
        .boxed()
    }

    async fn list_children(&self, prefix: &str) -> Result<Children> {
        check_prefix(prefix).map_err(|e| self.describe(e, "list", prefix))?;
        let folder = folder(prefix);
        let mut children = Children::default();
        let objects = self.read();
        let below = objects.range::<str, _>((Bound::Included(&*folder), Bound::Unbounded));
        for (path, object) in below.take_while(|(path, _)| path.starts_with(&folder)) {
            match path[folder.len()..].split_once('/') {
                None => children.objects.push(object.meta(path)),
                Some((name, _)) => {
                    let child = format!("{folder}{name}");
                    if children.folders.last() != Some(&child) {
                        children.folders.push(child);
                    }
                }
            }
        }
        // `a-b/` comes before `a/` among paths, but `a` before `a-b` among names.
        children.folders.sort_unstable();
        Ok(children)
    }

    async fn delete(&self, path: &str) -> Result<()> {
        check_path(path).map_err(|e| self.describe(e, "delete", path))?;
        let mut objects = self.write();
        let locked = objects.get(path).and_then(|object| object.locked);
        if locked.is_some_and(|until| until > SystemTime::now()) {
            let e = Error::new(ErrorKind::PermissionDenied, "it is locked");
            return Err(self.describe(e, "delete", path));
        }
        objects.remove(path);
        Ok(())
    }

    async fn create_locked(&self, path: &str, content: Payload, until: SystemTime) -> Result<()> {
        self.insert(path, &content, Some(until))
    }

    async fn lock(&self, paths: &[String], lock: Lock) -> Vec<Result<()>> {
        paths.iter().map(|path| self.lock_one(path, lock)).collect()
    }

    fn location(&self) -> String {
        "memory:".to_owned()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("objects", &self.read().len()).finish()
    }
}
