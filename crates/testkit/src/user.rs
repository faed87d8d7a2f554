//! The unprivileged user that servers run as.
//!
//! PostgreSQL refuses to run as root. As root, everything that touches a data
//! directory runs as `postgres`, or as `nobody` where that user does not exist.
//! As anybody else, nothing changes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::error::{Error, Result};

/// The user that servers run as, when it is not the caller's own.
#[derive(Debug, Clone)]
pub(crate) struct ServerUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    home: PathBuf,
}

/// The user to switch to, or `None` when this process is not root.
pub(crate) fn server_user() -> Option<&'static ServerUser> {
    static USER: OnceLock<Option<ServerUser>> = OnceLock::new();
    USER.get_or_init(|| {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        // 65534 is nobody on every Linux, should /etc/passwd be unreadable.
        let nobody = ServerUser { uid: 65534, gid: 65534, home: PathBuf::from("/") };
        Some(lookup(&passwd, "postgres").or_else(|| lookup(&passwd, "nobody")).unwrap_or(nobody))
    })
    .as_ref()
}

/// Finds a user in the text of `/etc/passwd`.
fn lookup(passwd: &str, name: &str) -> Option<ServerUser> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [user, _, uid, gid, _, home, ..] if *user == name => Some(ServerUser {
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home: PathBuf::from(home),
            }),
            _ => None,
        }
    })
}

/// Makes the command run as the user of the test servers.
///
/// As root it switches to `postgres` (or `nobody`) without supplementary
/// groups; otherwise it returns the command unchanged. Use it for programs that
/// PostgreSQL would call itself, such as an `archive_command`.
pub fn run_unprivileged(mut command: Command) -> Command {
    if let Some(user) = server_user() {
        command.uid(user.uid).gid(user.gid).env("HOME", &user.home);
    }
    command
}

/// Gives one file or directory to the user of the test servers.
///
/// # Errors
/// When the path does not exist. Does nothing unless this process is root.
pub fn give_to_server(path: &Path) -> Result<()> {
    match server_user() {
        Some(user) => chown(path, Some(user.uid), Some(user.gid))
            .map_err(|e| Error::io(format_args!("chown {}", path.display()), e)),
        None => Ok(()),
    }
}

/// Gives a data directory and the tablespaces that it links to to the user of
/// the test servers.
pub(crate) fn give_tree_to_server(data_dir: &Path) -> Result<()> {
    let Some(user) = server_user() else { return Ok(()) };
    chown_tree(data_dir, user)?;
    for entry in fs::read_dir(data_dir.join("pg_tblspc")).into_iter().flatten().flatten() {
        if let Ok(location) = fs::canonicalize(entry.path()) {
            chown_tree(&location, user)?;
        }
    }
    // A tablespace or pg_wal may be a link; the link's target needs it too.
    if let Ok(wal) = fs::canonicalize(data_dir.join("pg_wal")) {
        chown_tree(&wal, user)?;
    }
    Ok(())
}

fn chown_tree(path: &Path, user: &ServerUser) -> Result<()> {
    let fail = |e| Error::io(format_args!("chown {}", path.display()), e);
    let meta = fs::symlink_metadata(path).map_err(fail)?;
    if meta.uid() != user.uid || meta.gid() != user.gid {
        lchown(path, Some(user.uid), Some(user.gid)).map_err(fail)?;
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path).map_err(fail)? {
            chown_tree(&entry.map_err(fail)?.path(), user)?;
        }
    }
    Ok(())
}

/// The first directory on the way to `path` (`path` included when it is one)
/// that the user of the test servers may not enter.
pub(crate) fn untraversable(path: &Path) -> Option<PathBuf> {
    let user = server_user()?;
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let mut ancestors: Vec<&Path> = path.ancestors().collect();
    ancestors.reverse();
    ancestors.into_iter().find(|dir| !may_enter(dir, user)).map(Path::to_path_buf)
}

fn may_enter(dir: &Path, user: &ServerUser) -> bool {
    let Ok(meta) = fs::metadata(dir) else { return false };
    let mode = meta.permissions().mode();
    let bit = match () {
        () if meta.uid() == user.uid => 0o100,
        () if meta.gid() == user.gid => 0o010,
        () => 0o001,
    };
    !meta.is_dir() || mode & bit != 0
}

#[cfg(test)]
mod tests {
    use super::lookup;

    #[test]
    fn finds_users_by_their_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n\
                      postgres2:x:7:8::/:/bin/sh\n\
                      postgres:x:101:104:PG,,,:/var/lib/postgresql:/bin/bash\n";
        let user = lookup(passwd, "postgres").expect("present");
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(lookup(passwd, "nobody").is_none());
    }
}
