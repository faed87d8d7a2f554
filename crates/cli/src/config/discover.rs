use std::env;
use std::path::{Path, PathBuf};

/// The configuration file of a machine.
const SYSTEM: &str = "/etc/walbrook/walbrook.toml";

/// Which file is read, if any, and whether the user named it. Of the places where it may be by
/// itself only the first is read, so that nothing is put together from two files.
pub(super) fn discover(named: Option<&Path>) -> Option<(PathBuf, bool)> {
    // A variable that is set to nothing is as good as not set.
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
        return Some((path.to_owned(), true));
    }
    let absolute =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let user = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let places = user.map(|dir| dir.join("walbrook/walbrook.toml")).into_iter();
    // Not `exists`: a file that is there and can't be read must be complained about.
    let there = |path: &PathBuf| match std::fs::metadata(path) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            // A home directory that this user may not enter is somebody else's.
            std::io::ErrorKind::NotFound
                | std::io::ErrorKind::NotADirectory
                | std::io::ErrorKind::PermissionDenied
        ),
    };
    places.chain([PathBuf::from(SYSTEM)]).find(there).map(|path| (path, false))
}
