//! The file that an object is written to before it has its name.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// What names of temporary files begin with. No object's name can: it begins with a dot.
const PREFIX: &str = ".tmp-";

/// How long a temporary file is left alone. Far longer than the largest object takes to write.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Files of mode 0640 and less by the umask.
const MODE: u32 = 0o640;

/// A file that vanishes unless it is published.
pub(crate) struct Temp {
    pub(crate) file: File,
    /// None for a file without a name, which the kernel removes by itself.
    name: Option<PathBuf>,
}

impl Temp {
    /// Opens a new file in the file system of the directory `dir`.
    pub(crate) fn new(dir: &Path, named: bool) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if !named && let Some(file) = nameless(dir)? {
            return Ok(Self { file, name: None });
        }
        let _ = named;
        Self::named(dir)
    }

    /// Whether the file has a name that a dead writer would leave behind.
    pub(crate) fn is_named(&self) -> bool {
        self.name.is_some()
    }

    fn named(dir: &Path) -> io::Result<Self> {
        loop {
            // Each RandomState has new keys; the process id keeps apart what fork() would make alike.
            let random = RandomState::new().hash_one(std::process::id());
            let name = dir.join(format!("{PREFIX}{}-{random:016x}", std::process::id()));
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            match rustix::fs::openat(CWD, &name, flags, Mode::from_raw_mode(MODE)) {
                Ok(fd) => {
                    let file = File::from(fd);
                    // Tells cleaners on this host, and by NFS version 4 on others, that the writer
                    // lives. Without locks there is the age.
                    let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
                    return Ok(Self { file, name: Some(name) });
                }
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Gives the file its name `target`, or fails with `EEXIST` when that is taken.
    pub(crate) fn publish(&mut self, target: &Path) -> io::Result<()> {
        let Some(name) = &self.name else {
            return Ok(link_nameless(&self.file, target)?);
        };
        match rustix::fs::link(name, target) {
            Ok(()) => Ok(()),
            // An NFS client repeats a request whose answer was lost, and the server then finds what
            // the first one did. Two links mean that the second is ours.
            Err(Errno::EXIST) if self.file.metadata().is_ok_and(|m| m.nlink() == 2) => Ok(()),
            Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::MLINK) => {
                rename_new(name, target)?;
                self.name = None;
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // If it fails, a later writer's sweep() finds the file.
            let _ = fs::remove_file(name);
        }
    }
}

/// A file without a name, or nothing where the kernel or the file system knows no such thing.
#[cfg(target_os = "linux")]
fn nameless(dir: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, dir, flags, Mode::from_raw_mode(MODE)) {
        // Linking goes by way of /proc, which a bare chroot may lack.
        Ok(fd) if proc_path(&fd).exists() => Ok(Some(File::from(fd))),
        Ok(_) => Ok(None),
        // The ways in which file systems say no; EISDIR is that of a kernel from before 3.11.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(target_os = "linux")]
fn proc_path(file: &impl std::os::fd::AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(target_os = "linux")]
fn link_nameless(file: &File, target: &Path) -> Result<(), Errno> {
    rustix::fs::linkat(CWD, proc_path(file), CWD, target, AtFlags::SYMLINK_FOLLOW)
}

#[cfg(not(target_os = "linux"))]
fn link_nameless(_: &File, _: &Path) -> Result<(), Errno> {
    // Never reached: only Linux makes files without a name.
    let _ = AtFlags::empty();
    Err(Errno::NOSYS)
}

/// Renames if the new name is free; `ENOSYS` or `EINVAL` where the file system can't do that.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(super) fn rename_new(from: &Path, to: &Path) -> Result<(), Errno> {
    rustix::fs::renameat_with(CWD, from, CWD, to, rustix::fs::RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn rename_new(_: &Path, _: &Path) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// Removes the temporary files that dead writers left in `dir`.
///
/// A file is removed when it is older than [`STALE`] and its lock is free. Each alone could err (a
/// clock that jumps; a file system without locks that work between hosts): together they don't, and if they did, that writer's
/// link would fail with `ENOENT` and nothing be lost but its time. Trouble is ignored: it is housekeeping.
pub(crate) fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let now = SystemTime::now();
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let age = entry
            .metadata()
            .and_then(|m| m.modified())
            .ok()
            .and_then(|t| now.duration_since(t).ok());
        if age.is_none_or(|age| age <= STALE) {
            continue;
        }
        let path = entry.path();
        let Ok(file) = File::options().write(true).open(&path) else { continue };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL | Errno::NOLCK) => {
                if fs::remove_file(&path).is_ok() {
                    tracing::info!(path = %path.display(), "removed a temporary file that a dead writer had left");
                }
            }
            Err(_) => {}
        }
    }
}
