//! Directories to restore into: checked before, marked while a restore is under way, and cleared
//! when it failed.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// Lies in a directory from before the first file of a restore until after the last: a directory
/// with it is an unfinished restore, and may be cleared to restore into it again.
pub(crate) const MARKER: &str = "walbrook-restore.unfinished";

const MARKER_TEXT: &str = "A restore by Walbrook into this directory has not finished. The server \
                           must not be started on it. Run walbrook-restore again: it clears the \
                           directory and begins anew.\n";

/// Whether a directory can be restored into: it is missing, or empty, or has an unfinished restore
/// of the same data directory (the directory itself, or the one whose tablespace it is).
pub(crate) fn check_directory(directory: &Path, data_directory: &Path) -> Result<()> {
    let refuse = |what: &str| {
        let message = format!("{} {what}", directory.display());
        Err(Error::new(ErrorKind::Directory, message))
    };
    let mut entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
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
    // A mark alone may be half written: it was the first thing that was.
    if entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == MARKER)) {
        return Ok(());
    }
    match fs::read_to_string(directory.join(MARKER)) {
        // When the last step was cut off, all is there but the mark is too: a server may have run
        // on it since. PostgreSQL leaves this file at its first start, and no backup has it.
        Ok(_) if directory.join("postmaster.opts").exists() => refuse(&format!(
            "has a restore that was complete, and a server was started on it since: remove \
             {MARKER} from it to keep it, or restore into another directory"
        )),
        Ok(text) if text == marker_text(data_directory) => Ok(()),
        Ok(_) => refuse(
            "has an unfinished restore of another data directory: run that one again, or move away \
             what is in it",
        ),
        Err(_) => refuse("is not empty: restore into a new directory, or move away what is in it"),
    }
}

/// What a mark says. It names the data directory, so that a restore of another one never clears a
/// tablespace that this one left.
fn marker_text(data_directory: &Path) -> String {
    format!("{MARKER_TEXT}The data directory: {}\n", data_directory.display())
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
    /// them all. The first is the data directory, the others are those of its tablespaces.
    pub(crate) fn begin(paths: Vec<PathBuf>) -> Result<Self> {
        let mut begun = Self { paths: Vec::new(), finished: false };
        let text = paths.first().map(|path| marker_text(path)).unwrap_or_default();
        let data_directory = paths.first().cloned().unwrap_or_default();
        for path in paths {
            let failed = |error: io::Error| {
                let message = format!("{} can't be restored into", path.display());
                Error::new(ErrorKind::Directory, message).with_source(error)
            };
            // Again, for something may have come since the plan was made.
            check_directory(&path, &data_directory)?;
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
            clear(&path).map_err(failed)?;
            let mut marker = File::create_new(path.join(MARKER)).map_err(failed)?;
            begun.paths.push(path.clone());
            marker.write_all(text.as_bytes()).map_err(failed)?;
            marker.sync_all().and_then(|()| sync_directory(&path)).map_err(failed)?;
        }
        Ok(begun)
    }

    /// Gives the directories, which are in place with all that the backup has, the mode of those
    /// within: a cluster whose group may read it (`initdb --allow-group-access`) says so by the
    /// mode of its data directory, from which the server takes that of every file it makes
    /// (`data_directory_mode`). Returns the mode for files.
    pub(crate) fn take_mode(&self) -> Result<u32> {
        let Some(base) = self.paths.first().map(|path| path.join("base")) else { return Ok(0o600) };
        let failed =
            |path: &Path, e| Error::io(format!("the mode of {} can't be kept", path.display()), e);
        let mode = fs::metadata(&base).map_err(|e| failed(&base, e))?.permissions().mode();
        if mode & 0o050 != 0o050 {
            return Ok(0o600);
        }
        for path in &self.paths {
            fs::set_permissions(path, Permissions::from_mode(0o750))
                .map_err(|e| failed(path, e))?;
        }
        Ok(0o640)
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

    /// The restore is complete: takes the marks away, that of the data directory last. A mark on a
    /// tablespace that outlived it would let another restore clear what a server uses.
    pub(crate) fn finish(mut self) -> Result<()> {
        for path in self.paths.iter().rev() {
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
