//! The operating system's errors, told apart by what the user has to do.

use std::fs;
use std::io;

use rustix::io::Errno;

use super::Inner;
use crate::{Error, ErrorKind};

impl Inner {
    /// An error while reading, listing or deleting.
    ///
    /// `ENOENT` and `ENOTDIR` mean that an object is absent only if the store's directory is there.
    /// That is looked at only then, so it costs reads that succeed nothing.
    pub(crate) fn read_error(&self, e: io::Error) -> Error {
        match Errno::from_io_error(&e) {
            Some(Errno::NOENT | Errno::NOTDIR) => match self.root_fault() {
                Some(fault) => fault,
                None => Error::new(ErrorKind::NotFound, "").with_source(e),
            },
            _ => self.system_error(e),
        }
    }

    /// What is wrong with the store's directory, if anything is.
    pub(crate) fn root_fault(&self) -> Option<Error> {
        match fs::metadata(&self.root) {
            Ok(metadata) if metadata.is_dir() => None,
            Ok(_) => Some(
                Error::new(ErrorKind::StoreMissing, "the location of the store is not a directory")
                    .with_remedy("correct the location"),
            ),
            Err(e) => match Errno::from_io_error(&e) {
                Some(Errno::NOENT | Errno::NOTDIR) => Some(
                    Error::new(ErrorKind::StoreMissing, "the directory of the store does not exist")
                        .with_remedy("mount its disk, or correct the location; a backup creates the directory, reading does not")
                        .with_source(e),
                ),
                _ => Some(self.system_error(e)),
            },
        }
    }

    /// Any error but those that speak of absence.
    pub(crate) fn system_error(&self, e: io::Error) -> Error {
        let error = match Errno::from_io_error(&e) {
            Some(Errno::ACCESS | Errno::PERM) => {
                let user = rustix::process::geteuid().as_raw();
                Error::new(
                    ErrorKind::PermissionDenied,
                    format!("permission denied to the operating-system user with id {user}"),
                )
                .with_remedy("check the owner and mode of the directory and of those above it, or run as their owner")
            }
            Some(Errno::ROFS) => Error::new(ErrorKind::ReadOnly, ""),
            Some(Errno::NOSPC | Errno::DQUOT) => Error::new(ErrorKind::StorageFull, ""),
            Some(
                Errno::STALE
                | Errno::TIMEDOUT
                | Errno::NOTCONN
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::CONNREFUSED
                | Errno::AGAIN
                | Errno::INTR
                | Errno::NOMEM
                | Errno::MFILE
                | Errno::NFILE,
            ) => Error::new(ErrorKind::Unavailable, "the file system does not answer as it should"),
            Some(Errno::NAMETOOLONG) => {
                Error::new(ErrorKind::InvalidPath, "the name is too long for the file system")
            }
            _ => Error::new(ErrorKind::Other, "the file system reports an error"),
        };
        error.with_source(e)
    }
}
