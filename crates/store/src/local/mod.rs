//! A directory as a store.
//!
//! [`LocalStore`] turns paths into files below one directory. [`create`](mod@create) makes them durable
//! and all-or-nothing, [`walk`] lists them in order with bounded memory, [`errors`] puts the
//! operating system's errors into the words of this crate.

mod create;
mod errors;
mod temp;
mod walk;

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::{
    Children, Error, ErrorKind, ObjectMeta, Payload, Result, Store, check_path, check_prefix,
};

/// Objects as files below a directory, on a local disk or a network file system.
///
/// # Durability
///
/// A new object is written to a file without a name (`O_TMPFILE`), synced, linked to its name, and
/// the directory is synced: one write, one sync of the file, one of the directory. Where directories are made on
/// the way, the parent of each is synced too. A process or machine that dies leaves no trace of an
/// object that was not finished. The link fails when the name is taken, whoever else writes,
/// on this host or another.
///
/// File systems without `O_TMPFILE` (NFS, most FUSE ones) and systems other than Linux use a file
/// named `.tmp-…` in the target's directory instead; file systems without hard links (FAT, some FUSE
/// ones) rename it with `RENAME_NOREPLACE`. A writer that dies may leave such a file behind. No listing
/// shows it. Later writers remove it when it is more than a day old and nobody holds the lock that a writer takes
/// on its own.
///
/// # Directories
///
/// The directory of the store is made by the first `create`, but not its parent: that is where a disk
/// that isn't mounted would be noticed. Reading from a store whose directory is missing is
/// [`ErrorKind::StoreMissing`], never [`ErrorKind::NotFound`]. Files get mode 0640 and directories 0750, less the umask. Directories that
/// become empty are removed. Names that begin with a dot, or that [`check_path`] refuses, are not seen.
///
/// File operations run on tokio's blocking threads; any tokio runtime will do.
#[derive(Debug, Clone)]
pub struct LocalStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    root: PathBuf,
    /// Held for writing while directories are made and synced, so that no other task of this
    /// process puts an object into a directory that is not durable yet.
    directories: RwLock<()>,
    /// Directories in which this handle has looked for temporary files of dead writers.
    swept: Mutex<std::collections::HashSet<PathBuf>>,
    /// Whether to use a named temporary file from the start; for tests of that path.
    named_temp: bool,
}

impl LocalStore {
    /// The store in the directory `root`, an absolute path. Does not look at the disk.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self> {
        Self::build(root.into(), false)
    }

    fn build(root: PathBuf, named_temp: bool) -> Result<Self> {
        if !root.is_absolute() {
            let message = format!("the directory {root:?} is not absolute");
            return Err(Error::new(ErrorKind::InvalidUrl, message).with_remedy(
                "write the path from the root: a server's working directory is not yours",
            ));
        }
        let inner =
            Inner { root, directories: RwLock::default(), swept: Mutex::default(), named_temp };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The directory of the store.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Runs file operations where they may block.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &str,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        let outcome = tokio::task::spawn_blocking(move || work(&inner)).await;
        // A panic of ours, or a runtime that is being shut down.
        outcome
            .unwrap_or_else(|e| {
                Err(Error::new(ErrorKind::Other, "the file operation was aborted").with_source(e))
            })
            .map_err(|e| self.inner.describe(e, operation, path))
    }
}

impl Inner {
    pub(crate) fn describe(&self, e: Error, operation: &'static str, path: &str) -> Error {
        let e = e.during(operation).with_location(self.root.display().to_string());
        if path.is_empty() { e } else { e.with_path(path) }
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Opens an object. What is not a regular file is no object.
    fn open(&self, path: &str) -> Result<(File, fs::Metadata)> {
        let opened = File::open(self.file(path)).and_then(|file| {
            let metadata = file.metadata()?;
            Ok((file, metadata))
        });
        match opened {
            Ok((file, metadata)) if metadata.is_file() => Ok((file, metadata)),
            Ok(_) => Err(Error::new(ErrorKind::NotFound, "")),
            Err(e) => Err(self.read_error(e)),
        }
    }

    fn read(&self, file: &File, range: Range<u64>) -> Result<Bytes> {
        let length = usize::try_from(range.end - range.start).map_err(|_| {
            Error::new(ErrorKind::Unsupported, "more bytes than this machine can address")
        })?;
        let mut content = vec![0; length];
        file.read_exact_at(&mut content, range.start).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::new(ErrorKind::OutOfRange, "the file ended early")
            }
            _ => self.read_error(e),
        })?;
        Ok(content.into())
    }

    fn head(&self, path: &str) -> Result<ObjectMeta> {
        match fs::metadata(self.file(path)) {
            Ok(metadata) if metadata.is_file() => Ok(meta(path.to_owned(), &metadata)),
            Ok(_) => Err(Error::new(ErrorKind::NotFound, "")),
            Err(e) => Err(self.read_error(e)),
        }
    }
}

/// What a listing says of a file.
fn meta(path: String, metadata: &fs::Metadata) -> ObjectMeta {
    // Only systems without modification times fail here, and those are not Unix.
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    ObjectMeta { path, size: metadata.len(), modified }
}

#[async_trait]
impl Store for LocalStore {
    async fn create(&self, path: &str, content: Payload) -> Result<()> {
        let name = path.to_owned();
        self.blocking("create", path, move |inner| {
            check_path(&name)?;
            inner.create(&name, &content)
        })
        .await
    }

    async fn get(&self, path: &str) -> Result<Bytes> {
        let name = path.to_owned();
        self.blocking("read", path, move |inner| {
            check_path(&name)?;
            let (file, metadata) = inner.open(&name)?;
            inner.read(&file, 0..metadata.len())
        })
        .await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let name = path.to_owned();
        self.blocking("read", path, move |inner| {
            check_path(&name)?;
            if range.start == range.end {
                return Ok(Bytes::new());
            }
            let (file, metadata) = inner.open(&name)?;
            // Before the buffer is allocated: the numbers may come from a damaged index.
            if range.start > range.end || range.end > metadata.len() {
                let message = format!("bytes {range:?} are not in its {} bytes", metadata.len());
                return Err(Error::new(ErrorKind::OutOfRange, message));
            }
            inner.read(&file, range)
        })
        .await
    }

    async fn get_tail(&self, path: &str, at_most: u64) -> Result<(Bytes, u64)> {
        let name = path.to_owned();
        self.blocking("read", path, move |inner| {
            check_path(&name)?;
            let (file, metadata) = inner.open(&name)?;
            let size = metadata.len();
            Ok((inner.read(&file, size.saturating_sub(at_most)..size)?, size))
        })
        .await
    }

    async fn head(&self, path: &str) -> Result<ObjectMeta> {
        let name = path.to_owned();
        self.blocking("look up", path, move |inner| {
            check_path(&name)?;
            inner.head(&name)
        })
        .await
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> BoxStream<'a, Result<ObjectMeta>> {
        let walk = walk::Walk::new(prefix, start_after);
        // The walk moves to a blocking thread and back for each page: nothing runs unless polled.
        stream::try_unfold(Some(walk), move |walk| async move {
            let Some(mut walk) = walk else { return Ok(None) };
            let step = self.blocking("list", prefix, move |inner| {
                let page = walk.page(inner)?;
                Ok((page, walk))
            });
            let (page, walk) = step.await?;
            let next = (!page.is_empty()).then_some(walk);
            Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
        })
        .try_flatten()
        .boxed()
    }

    async fn list_children(&self, prefix: &str) -> Result<Children> {
        let name = prefix.to_owned();
        self.blocking("list", prefix, move |inner| {
            check_prefix(&name)?;
            walk::children(inner, &name)
        })
        .await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let name = path.to_owned();
        self.blocking("delete", path, move |inner| {
            check_path(&name)?;
            inner.delete(&name)
        })
        .await
    }

    fn location(&self) -> String {
        self.inner.root.display().to_string()
    }
}

#[cfg(test)]
mod tests;
