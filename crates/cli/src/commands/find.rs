use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where programs are looked for: beside this one, then in `PATH`.
pub(super) fn directories() -> Vec<PathBuf> {
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
    let path = env::var_os("PATH").unwrap_or_default();
    // An empty entry would be the current directory, which is no place to run programs from.
    let path = env::split_paths(&path).filter(|dir| dir.is_absolute());
    beside.into_iter().chain(path).collect()
}

/// The path of a program of Walbrook's.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    directories().into_iter().map(|dir| dir.join(name)).find(|path| is_program(path))
}

pub(super) fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
