//! Walbrook's own binaries, where the servers' user can run them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cluster::Cluster;
use crate::error::{Error, ErrorKind, Result};
use crate::temp::TempDir;
use crate::user;

/// The path of one of Walbrook's binaries, such as `walbrook-push`, in the target
/// directory of the running test. `cargo xtask test` builds them first; the tests of
/// walbrook-cli itself may use `CARGO_BIN_EXE_…` instead.
///
/// # Errors
/// When it is not built.
pub fn built_binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().map_err(|e| Error::io("this program's path", e))?;
    // target/debug/deps/it-0123456789abcdef, or target/debug/examples/…
    let found = test.ancestors().skip(1).take(3).map(|dir| dir.join(name)).find(|p| p.is_file());
    found.ok_or_else(|| {
        let message = format!("{name} is not built; run `cargo build -p walbrook-cli --bins`");
        Error::new(ErrorKind::Io, message)
    })
}

impl TempDir {
    /// A path at which the servers' user can run this program.
    ///
    /// `archive_command` runs as that user, which may not enter a checkout under
    /// `/root`, for example. The path itself is returned where it is reachable;
    /// otherwise the program is copied into this directory.
    ///
    /// # Errors
    /// When the program does not exist or can't be copied.
    pub fn published_binary(&self, program: &Path) -> Result<PathBuf> {
        let program = fs::canonicalize(program).map_err(|e| Error::io(program.display(), e))?;
        if user::untraversable(&program).is_none() {
            return Ok(program);
        }
        let fail = |e| Error::io(format_args!("copy {}", program.display()), e);
        let copy = self.path().join(program.file_name().unwrap_or_default());
        if !copy.exists() {
            fs::copy(&program, &copy).map_err(fail)?;
            fs::set_permissions(&copy, Permissions::from_mode(0o755)).map_err(fail)?;
        }
        Ok(copy)
    }
}

impl Cluster {
    /// [`TempDir::published_binary`], in this cluster's own directory.
    ///
    /// # Errors
    /// As that.
    pub fn published_binary(&self, program: &Path) -> Result<PathBuf> {
        self.temp.published_binary(program)
    }
}
