//! Creating and deleting durably.

use std::fs::{self, DirBuilder, File};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::PoisonError;

use rustix::io::Errno;

use super::Inner;
use super::temp::{self, Temp};
use crate::{Error, ErrorKind, Payload, Result};

/// How often to begin anew when directories vanish underneath, which those who delete may cause.
const ATTEMPTS: usize = 32;

/// How many swept directories a handle remembers; beyond that it forgets and sweeps again.
const REMEMBERED: usize = 1024;

impl Inner {
    pub(crate) fn create(&self, path: &str, content: &Payload) -> Result<()> {
        let target = self.file(path);
        // A valid path has a segment below the root, so there is a parent.
        let dir = target.parent().unwrap_or(&self.root);
        // Not what decides, but it saves writing what is already there.
        if fs::symlink_metadata(&target).is_ok() {
            return Err(self.taken(dir));
        }
        let mut temp = self.open_temp(path, dir)?;
        write(&mut temp.file, content).map_err(|e| self.system_error(e))?;
        // The content is durable before the name exists: a reader never sees less than all of it.
        temp.file.sync_all().map_err(|e| self.system_error(e))?;
        for _ in 0..ATTEMPTS {
            match temp.publish(&target) {
                Ok(()) => {
                    // Before the sync, which then covers the removal of the temporary name as well.
                    drop(temp);
                    return sync_dir(dir).map_err(|e| self.system_error(e));
                }
                Err(e) => match Errno::from_io_error(&e) {
                    Some(Errno::EXIST) => return Err(self.taken(dir)),
                    // Somebody removed the directory when it was empty. A named temporary file kept it
                    // from being empty, so that one has been removed too.
                    Some(Errno::NOENT) if !temp.is_named() => self.make_dirs(path, dir)?,
                    Some(Errno::NOENT) => {
                        return Err(Error::new(
                            ErrorKind::Unavailable,
                            "somebody removed the temporary file that it was being written to",
                        )
                        .with_source(e));
                    }
                    Some(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                        return Err(Error::new(
                            ErrorKind::Unsupported,
                            "this file system has neither hard links nor a rename that does not replace, so objects can't be created safely",
                        )
                        .with_remedy("keep the store on another file system")
                        .with_source(e));
                    }
                    _ => return Err(self.write_error(e)),
                },
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "its directory keeps vanishing"))
    }

    /// The error for a name that is taken. The one who took it may have died before the sync of the
    /// directory, and callers rely on what is there: so it is made durable first.
    fn taken(&self, dir: &Path) -> Error {
        match sync_dir(dir) {
            Ok(()) => Error::new(ErrorKind::AlreadyExists, ""),
            Err(e) => self.system_error(e),
        }
    }

    fn open_temp(&self, path: &str, dir: &Path) -> Result<Temp> {
        for attempt in 1..=ATTEMPTS {
            let opened = {
                let _complete = self.directories.read().unwrap_or_else(PoisonError::into_inner);
                Temp::new(dir, self.named_temp)
            };
            match opened {
                Ok(temp) => {
                    if temp.is_named() && self.first_visit(dir) {
                        temp::sweep(dir);
                    }
                    return Ok(temp);
                }
                Err(e) => match Errno::from_io_error(&e) {
                    Some(Errno::NOENT) => self.make_dirs(path, dir)?,
                    // What ext4 says to O_TMPFILE in a directory that is being removed. Most often it
                    // means what it says, and then it stays.
                    Some(Errno::PERM) if attempt < ATTEMPTS => self.make_dirs(path, dir)?,
                    _ => return Err(self.write_error(e)),
                },
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "its directory keeps vanishing"))
    }

    fn first_visit(&self, dir: &Path) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.len() >= REMEMBERED {
            swept.clear();
        }
        swept.insert(dir.to_owned())
    }

    /// Makes the directories from the root down to `dir`, and syncs the parents of those that were missing.
    ///
    /// A directory that is there already may have been made by another process that has not synced it
    /// yet. The sync that follows here covers it all the same: ext4, XFS, btrfs, ZFS and F2FS write
    /// their logs in order, so that an entry in a directory is never durable before the
    /// directory's own; and NFS servers change names synchronously.
    fn make_dirs(&self, path: &str, dir: &Path) -> Result<()> {
        let _alone = self.directories.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = make_dir(&self.root) {
            return Err(match Errno::from_io_error(&e) {
                Some(Errno::NOENT) => Error::new(
                    ErrorKind::StoreMissing,
                    "neither the directory of the store nor the one above it exists",
                )
                .with_remedy("mount its disk, create the directory above, or correct the location")
                .with_source(e),
                _ => self.write_error(e),
            });
        }
        let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
        let mut made = self.root.clone();
        for segment in folders.split('/').filter(|segment| !segment.is_empty()) {
            made.push(segment);
            match make_dir(&made) {
                Ok(()) => {}
                // Emptied and removed by another process: the caller tries again.
                Err(e) if Errno::from_io_error(&e) == Some(Errno::NOENT) => return Ok(()),
                Err(e) => return Err(self.write_error(e)),
            }
        }
        debug_assert_eq!(made, dir);
        Ok(())
    }

    /// An error while writing. `ENOTDIR` there speaks of the path, not of an absence.
    fn write_error(&self, e: io::Error) -> Error {
        match Errno::from_io_error(&e) {
            Some(Errno::NOTDIR | Errno::NOENT) => match self.root_fault() {
                Some(fault) => fault,
                None => Error::new(
                    ErrorKind::InvalidPath,
                    "a folder of this path is an object, so nothing can be below it",
                )
                .with_source(e),
            },
            _ => self.system_error(e),
        }
    }

    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        let target = self.file(path);
        let dir = target.parent().unwrap_or(&self.root);
        match fs::remove_file(&target) {
            Ok(()) => {}
            Err(e) => match Errno::from_io_error(&e) {
                Some(Errno::NOENT | Errno::NOTDIR) => {
                    if let Some(fault) = self.root_fault() {
                        return Err(fault);
                    }
                }
                // A directory: a folder, not an object. Linux says EISDIR, POSIX EPERM.
                Some(Errno::ISDIR | Errno::PERM) if target.is_dir() => return Ok(()),
                _ => return Err(self.system_error(e)),
            },
        }
        // Also when it was gone: whoever removed it may not have come as far as this.
        match sync_dir(dir) {
            Ok(()) => {}
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOENT | Errno::NOTDIR)) => {}
            Err(e) => return Err(self.system_error(e)),
        }
        self.prune(dir);
        Ok(())
    }

    /// Removes `dir` and those above that are empty. Not synced: an empty directory that comes back is
    /// not seen. A writer that is about to put something there makes the directory again.
    fn prune(&self, dir: &Path) {
        let mut dir = dir;
        while dir != self.root && fs::remove_dir(dir).is_ok() {
            match dir.parent() {
                Some(parent) => dir = parent,
                None => break,
            }
        }
    }
}

/// Makes a directory durably unless it is there.
fn make_dir(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o750).create(dir) {
        Ok(()) => match dir.parent() {
            Some(parent) => sync_dir(parent),
            None => Ok(()),
        },
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// Makes the entries of a directory durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // Some file systems (CIFS, some FUSE ones) have no sync of directories, and say so. PostgreSQL's
        // fsync_fname() passes over the same two errors.
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::INVAL | Errno::BADF)) => Ok(()),
        outcome => outcome,
    }
}

/// Writes all buffers, many small ones by one system call.
fn write(file: &mut File, content: &Payload) -> io::Result<()> {
    /// The most that Linux takes is 1024 (`IOV_MAX`).
    const BATCH: usize = 64;
    let mut pending = [IoSlice::new(&[]); BATCH];
    let mut count = 0;
    for chunk in content.iter().filter(|chunk| !chunk.is_empty()) {
        pending[count] = IoSlice::new(chunk);
        count += 1;
        if count == BATCH {
            write_slices(file, &mut pending[..count])?;
            count = 0;
        }
    }
    write_slices(file, &mut pending[..count])
}

fn write_slices(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
