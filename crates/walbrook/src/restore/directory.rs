//! Directories to restore into: checked before, marked while a restore is under way, and cleared
//! when it failed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// Lies in a directory from before the first file of a restore until after the last: a directory
/// with it is an unfinished restore, and may be cleared to restore into it again.
pub(crate) const MARKER: &str = "walbrook-restore.unfinished";

const MARKER_TEXT: &str = "A restore by Walbrook into this directory has not finished. The server \
                           must not be started on it. Run walbrook-restore again: it clears the \
                           directory and begins anew.\n";

/// Whether a directory can be restored into: it is missing, or empty, or an unfinished restore.
pub(crate) fn check_directory(directory: &Path) -> Result<()> {
    let refuse = |what: &str| {
        let message = format!("{} {what}", directory.display());
        Err(Error::new(ErrorKind::Directory, message))
    };
    let mut entries = match fs::read_dir(directory) {
        Ok(entries) => entries.peekable(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let message = format!("{} can't be restored into", directory.display());
            return Err(Error::new(ErrorKind::Directory, message).with_source(error));
        }
    };
    if let Some(pid) = postmaster(directory) {
        return refuse(&format!(
            "is the data directory of a running server (process {pid}): stop it first, or restore \
             into another directory"
        ));
    }
    if entries.peek().is_none() || directory.join(MARKER).exists() {
        return Ok(());
    }
    refuse("is not empty: restore into a new directory, or move away what is in it")
}

/// The process of the server that runs on a data directory.
fn postmaster(directory: &Path) -> Option<i32> {
    let text = fs::read_to_string(directory.join("postmaster.pid")).ok()?;
    // A standalone backend writes its own as a negative number.
    let pid: i32 = text.lines().next()?.trim().parse().ok()?;
    let process = rustix::process::Pid::from_raw(pid.checked_abs()?)?;
    match rustix::process::test_kill_process(process) {
        Ok(()) | Err(rustix::io::Errno::PERM) => Some(pid.abs()),
        Err(_) => None,
    }
}

/// Bytes free for this user in the file system of a directory that may not exist yet.
pub(crate) fn free_bytes(directory: &Path) -> Option<u64> {
    let existing = directory.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The directories of a restore under way. Dropping it before [`finish`](Self::finish) clears
/// them: nothing is left that looks like a cluster.
#[derive(Debug)]
pub(crate) struct Directories {
    paths: Vec<PathBuf>,
    finished: bool,
}

impl Directories {
    /// Makes the directories that are missing, clears those of an unfinished restore, and marks
    /// them all.
    pub(crate) fn begin(paths: Vec<PathBuf>) -> Result<Self> {
        let mut begun = Self { paths: Vec::new(), finished: false };
        for path in paths {
            let failed = |error: io::Error| {
                let message = format!("{} can't be restored into", path.display());
                Error::new(ErrorKind::Directory, message).with_source(error)
            };
            // Again, for something may have come since the plan was made.
            check_directory(&path)?;
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
            clear(&path).map_err(failed)?;
            let mut marker = File::create_new(path.join(MARKER)).map_err(failed)?;
            begun.paths.push(path.clone());
            marker.write_all(MARKER_TEXT.as_bytes()).map_err(failed)?;
            marker.sync_all().and_then(|()| sync_directory(&path)).map_err(failed)?;
        }
        Ok(begun)
    }

    /// Makes everything in them durable, whatever file systems they are on.
    pub(crate) fn sync(&self) -> Result<()> {
        for path in &self.paths {
            let failed = |e| Error::io(format!("{} can't be made durable", path.display()), e);
            let directory = File::open(path).map_err(failed)?;
            rustix::fs::syncfs(&directory).map_err(|e| failed(e.into()))?;
        }
        Ok(())
    }

    /// The restore is complete: takes the marks away.
    pub(crate) fn finish(mut self) -> Result<()> {
        for path in &self.paths {
            let failed = |e| Error::io(format!("{} can't be finished", path.display()), e);
            fs::remove_file(path.join(MARKER)).map_err(failed)?;
            sync_directory(path).map_err(failed)?;
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for Directories {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for path in &self.paths {
            // What can't be removed stays marked, and without pg_control no server starts on it.
            if let Err(error) = clear(path) {
                tracing::warn!(directory = %path.display(), %error, "not cleared");
            }
        }
    }
}

/// Removes everything in a directory, the mark last.
fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() == MARKER {
            continue;
        }
        // Not through a symbolic link: what a tablespace's link points to is cleared by itself.
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    match fs::remove_file(directory.join(MARKER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
