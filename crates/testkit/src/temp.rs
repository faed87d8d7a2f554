//! Temporary directories that the servers' user can reach and write.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::user;

/// A directory that is removed when this is dropped.
///
/// It lies in `WALBROOK_TEST_TMP`, `/tmp` or `/var/tmp`, belongs to the user
/// that the test servers run as, and everybody may enter it. With
/// `WALBROOK_KEEP=1` it stays, and its path is told on standard error.
#[derive(Debug)]
pub struct TempDir {
    dir: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl TempDir {
    /// Makes a new empty directory.
    ///
    /// # Errors
    /// When none of the three places can be written.
    pub fn new() -> Result<TempDir> {
        let mut places: Vec<PathBuf> = vec!["/tmp".into(), "/var/tmp".into()];
        if let Some(place) = std::env::var_os("WALBROOK_TEST_TMP") {
            places.insert(0, place.into());
        }
        let mut last = None;
        for place in places {
            match TempDir::new_in(&place) {
                Ok(dir) => return Ok(dir),
                Err(e) => last = Some(e),
            }
        }
        Err(last.unwrap_or_else(|| {
            Error::io("temporary directory", std::io::ErrorKind::NotFound.into())
        }))
    }

    pub(crate) fn new_in(place: &Path) -> Result<TempDir> {
        let fail = |e| Error::io(format_args!("temporary directory in {}", place.display()), e);
        if let Some(dir) = user::untraversable(place) {
            let denied =
                std::io::Error::other(format!("the servers' user may not enter {}", dir.display()));
            return Err(fail(denied));
        }
        let dir = tempfile::Builder::new().prefix("wb-").tempdir_in(place).map_err(fail)?;
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).map_err(fail)?;
        user::give_to_server(dir.path())?;
        // PostgreSQL reports real paths: comparisons with them need ours to be real too.
        let path = fs::canonicalize(dir.path()).map_err(fail)?;
        Ok(TempDir { dir: Some(dir), path })
    }

    /// Where it is, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory inside, of mode 0700, that belongs to the servers' user:
    /// fit for a data directory, a tablespace or a repository.
    ///
    /// # Errors
    /// When it exists already.
    pub fn subdir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let fail = |e| Error::io(format_args!("mkdir {}", path.display()), e);
        fs::create_dir(&path).map_err(fail)?;
        fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(fail)?;
        user::give_to_server(&path)?;
        Ok(path)
    }
}

/// Whether `WALBROOK_KEEP=1` asks to leave clusters on disk.
pub(crate) fn keep() -> bool {
    std::env::var_os("WALBROOK_KEEP").is_some_and(|v| v == "1")
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if keep() {
            // Not eprintln: the test harness would capture it and show it for failures only.
            let _ = writeln!(std::io::stderr(), "kept {}", self.path.display());
            if let Some(dir) = self.dir.take() {
                let _ = dir.keep();
            }
        }
    }
}
