//! Listing a tree of directories in the order of paths, with bounded memory.
//!
//! [`Walk`] holds, for each directory between the root and where it is, the next batch of names. A
//! directory with more names than a batch is read again for each: time instead of memory.

use std::collections::{BinaryHeap, VecDeque};
use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::{Inner, meta};
use crate::path::is_segment;
use crate::{Children, ObjectMeta, Result, check_prefix};

/// How many names of one directory are held at a time: a few megabytes.
const BATCH: usize = 65_536;

/// How many objects one page holds.
const PAGE: usize = 1000;

/// The place of a name among its siblings: a folder sorts as `name/`, since that is how the paths
/// below it go on. So `a-b` comes before what is in `a`, as it does in the listing of a cloud.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key(String);

impl Key {
    fn is_folder(&self) -> bool {
        self.0.ends_with('/')
    }
}

#[derive(Debug)]
struct Level {
    /// The folder's path with a trailing slash; empty for the root.
    folder: String,
    /// The next names, ascending.
    batch: VecDeque<Key>,
    /// The last name of the batch when the directory holds more.
    resume: Option<Key>,
}

/// A listing that is under way.
#[derive(Debug)]
pub(crate) struct Walk {
    prefix: String,
    after: Option<String>,
    levels: Vec<Level>,
    started: bool,
    batch: usize,
}

impl Walk {
    pub(crate) fn new(prefix: &str, start_after: Option<&str>) -> Self {
        Self {
            prefix: prefix.to_owned(),
            after: start_after.map(str::to_owned),
            levels: Vec::new(),
            started: false,
            batch: BATCH,
        }
    }

    /// The next objects; none when the walk is over.
    pub(crate) fn page(&mut self, inner: &Inner) -> Result<Vec<ObjectMeta>> {
        if !self.started {
            self.started = true;
            check_prefix(&self.prefix)?;
            // An empty listing must mean that there is nothing, not that a disk is missing.
            if let Some(fault) = inner.root_fault() {
                return Err(fault);
            }
            self.enter(inner, crate::memory::folder(&self.prefix))?;
        }
        let mut page = Vec::new();
        while page.len() < PAGE {
            let Some(level) = self.levels.last_mut() else { break };
            let Some(key) = level.batch.pop_front() else {
                match level.resume.take() {
                    Some(last) => self.refill(inner, last)?,
                    None => drop(self.levels.pop()),
                }
                continue;
            };
            let path = format!("{}{}", level.folder, key.0);
            if key.is_folder() {
                self.enter(inner, path)?;
            } else if let Some(meta) = stat(inner, path)? {
                page.push(meta);
            }
        }
        Ok(page)
    }

    fn enter(&mut self, inner: &Inner, folder: String) -> Result<()> {
        let (batch, resume) = self.read(inner, &folder, None)?;
        self.levels.push(Level { folder, batch, resume });
        Ok(())
    }

    fn refill(&mut self, inner: &Inner, last: Key) -> Result<()> {
        let Some(mut level) = self.levels.pop() else { return Ok(()) };
        (level.batch, level.resume) = self.read(inner, &level.folder, Some(&last))?;
        self.levels.push(level);
        Ok(())
    }

    /// The smallest names of a directory that come after `last` and may lead past `self.after`.
    fn read(
        &self,
        inner: &Inner,
        folder: &str,
        last: Option<&Key>,
    ) -> Result<(VecDeque<Key>, Option<Key>)> {
        // A heap whose top is the largest: what is too large falls off.
        let mut smallest = BinaryHeap::new();
        let mut more = false;
        each_name(inner, folder, |name, is_folder| {
            let key = Key(if is_folder { format!("{name}/") } else { name.to_owned() });
            if last.is_none_or(|last| key > *last) && self.wanted(folder, &key) {
                smallest.push(key);
                if smallest.len() > self.batch {
                    smallest.pop();
                    more = true;
                }
            }
            true
        })?;
        let batch: VecDeque<_> = smallest.into_sorted_vec().into();
        let resume = if more { batch.back().cloned() } else { None };
        Ok((batch, resume))
    }

    /// Whether the object, or something in the folder, comes after where the listing starts.
    fn wanted(&self, folder: &str, key: &Key) -> bool {
        let Some(after) = &self.after else { return true };
        let path = format!("{folder}{}", key.0);
        path > *after || (key.is_folder() && after.starts_with(&path))
    }
}

/// What is directly below a folder. Folders without objects are left out.
pub(crate) fn children(inner: &Inner, prefix: &str) -> Result<Children> {
    if let Some(fault) = inner.root_fault() {
        return Err(fault);
    }
    let folder = crate::memory::folder(prefix);
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    each_name(inner, &folder, |name, is_folder| {
        if is_folder { &mut folders } else { &mut files }.push(format!("{folder}{name}"));
        true
    })?;
    folders.sort_unstable();
    files.sort_unstable();
    let mut children = Children::default();
    for path in folders {
        if has_object(inner, &format!("{path}/"))? {
            children.folders.push(path);
        }
    }
    for path in files {
        children.objects.extend(stat(inner, path)?);
    }
    Ok(children)
}

/// Whether an object is anywhere below: most often the first name that is read tells.
fn has_object(inner: &Inner, folder: &str) -> Result<bool> {
    let mut found = false;
    let mut folders = Vec::new();
    each_name(inner, folder, |name, is_folder| {
        if is_folder {
            folders.push(format!("{folder}{name}/"));
        } else {
            found = true;
        }
        !found
    })?;
    while let Some(below) = folders.pop() {
        if found {
            break;
        }
        found = has_object(inner, &below)?;
    }
    Ok(found)
}

/// Calls `visit` with each name in a directory that can be an object or a folder, until it returns
/// false. A directory that is not there has no names: it may have been removed just now.
fn each_name(inner: &Inner, folder: &str, mut visit: impl FnMut(&str, bool) -> bool) -> Result<()> {
    let entries = match fs::read_dir(inner.root.join(folder)) {
        Ok(entries) => entries,
        Err(e) if absent(&e) => return Ok(()),
        Err(e) => return Err(inner.system_error(e)),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) if absent(&e) => return Ok(()),
            Err(e) => return Err(inner.system_error(e)),
        };
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_segment(name.as_bytes())) else { continue };
        let is_folder = match is_folder(&entry.path(), entry.file_type()) {
            Ok(Some(is_folder)) => is_folder,
            Ok(None) => continue,
            Err(e) if absent(&e) => continue,
            Err(e) => return Err(inner.system_error(e)),
        };
        if !visit(name, is_folder) {
            break;
        }
    }
    Ok(())
}

/// Whether an entry is a directory; nothing if it is neither that nor a file. A symbolic link counts
/// as what it points to: an administrator may have moved a folder to another disk.
fn is_folder(path: &Path, kind: io::Result<fs::FileType>) -> io::Result<Option<bool>> {
    let mut kind = kind?;
    if kind.is_symlink() {
        kind = fs::metadata(path)?.file_type();
    }
    Ok(if kind.is_dir() {
        Some(true)
    } else if kind.is_file() {
        Some(false)
    } else {
        None
    })
}

/// An object's size and age, or nothing if it is gone by now.
fn stat(inner: &Inner, path: String) -> Result<Option<ObjectMeta>> {
    match fs::metadata(inner.root.join(&path)) {
        Ok(metadata) if metadata.is_file() => Ok(Some(meta(path, &metadata))),
        Ok(_) => Ok(None),
        Err(e) if absent(&e) => Ok(None),
        Err(e) => Err(inner.system_error(e)),
    }
}

fn absent(e: &io::Error) -> bool {
    matches!(Errno::from_io_error(e), Some(Errno::NOENT | Errno::NOTDIR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LocalStore, Store};

    #[test]
    fn a_directory_larger_than_a_batch_is_listed_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(dir.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut expected: Vec<String> = (0..23).map(|i| format!("d/{:02}", i * 7 % 23)).collect();
        expected.extend(["d/05/x".into(), "d/05-1".into(), "d/05.1".into()]);
        expected.retain(|path| path != "d/05");
        expected.sort();
        runtime.block_on(async {
            for path in &expected {
                store.create(path, Payload::default()).await.unwrap();
            }
        });
        for after in [None, Some("d/05-1"), Some("d/05/x"), Some("d/05/a"), Some("d"), Some("e")] {
            let mut walk = Walk { batch: 3, ..Walk::new("", after) };
            let mut listed = Vec::new();
            loop {
                let page = walk.page(&store.inner).unwrap();
                if page.is_empty() {
                    break;
                }
                listed.extend(page.into_iter().map(|meta| meta.path));
            }
            let wanted: Vec<_> = expected
                .iter()
                .filter(|p| after.is_none_or(|after| p.as_str() > after))
                .cloned()
                .collect();
            assert_eq!(listed, wanted, "after {after:?}");
        }
    }

    use crate::Payload;
}
