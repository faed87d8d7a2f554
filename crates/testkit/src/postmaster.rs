//! The server process: which one serves a data directory, and how it is ended.
//!
//! [`Watchdog`] covers what a drop guard cannot: a test process that is killed.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Result};
use crate::wait::wait_for;

/// The process id of the postmaster that serves this data directory now.
///
/// A `postmaster.pid` that a crash left behind does not count.
pub(crate) fn running(data_dir: &Path) -> Option<u32> {
    let text = fs::read_to_string(data_dir.join("postmaster.pid")).ok()?;
    let pid: u32 = text.lines().next()?.trim().parse().ok()?;
    (alive(pid) && serves(pid, data_dir)).then_some(pid)
}

/// Whether the process exists and is not a zombie.
///
/// Servers are children of init, which in a container may never reap them.
pub fn alive(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The state follows the command name, which is in parentheses and may contain any.
        Ok(stat) => !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => !Path::new("/proc/self/stat").exists() && signal(pid, None),
    }
}

/// Whether the process works in the data directory, as every postmaster does.
/// Guards against a recycled process id. Taken as given where /proc can't tell.
fn serves(pid: u32, data_dir: &Path) -> bool {
    match (fs::read_link(format!("/proc/{pid}/cwd")), fs::canonicalize(data_dir)) {
        (Ok(cwd), Ok(dir)) => cwd == dir,
        _ => true,
    }
}

fn signal(pid: u32, which: Option<Signal>) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    match which {
        Some(which) => kill_process(pid, which).is_ok(),
        None => rustix::process::test_kill_process(pid).is_ok(),
    }
}

/// Ends the server at once, as `pg_ctl stop -m immediate` would; with SIGKILL
/// when it does not obey. Does nothing when none runs.
pub(crate) fn end(data_dir: &Path, socket_dir: &Path) {
    let Some(pid) = running(data_dir) else { return };
    signal(pid, Some(Signal::QUIT));
    if wait_for("end", Duration::from_secs(10), || !alive(pid)).is_err() {
        kill(data_dir, socket_dir);
    }
}

/// Ends the postmaster with SIGKILL, as the out-of-memory killer would, and
/// waits until all its children have noticed.
pub(crate) fn kill(data_dir: &Path, socket_dir: &Path) {
    let Some(pid) = running(data_dir) else { return };
    let children = children(pid);
    signal(pid, Some(Signal::KILL));
    let gone = || !alive(pid) && !children.iter().any(|child| alive(*child));
    if wait_for("end", Duration::from_secs(10), gone).is_err() {
        for child in &children {
            signal(*child, Some(Signal::KILL));
        }
        let _ = wait_for("end", Duration::from_secs(5), gone);
    }
    // Where init does not reap, the zombie would look like a live owner of the lock files to
    // the next postmaster. On any other machine PostgreSQL clears stale ones by itself.
    if signal(pid, None) {
        let _ = fs::remove_file(data_dir.join("postmaster.pid"));
        for entry in fs::read_dir(socket_dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(".lock") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        after_name.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(is_child).collect()
}

/// A shell that outlives this process, and ends the server if this process
/// dies without having dropped its clusters (SIGKILL, abort, Ctrl-C).
///
/// It waits on a pipe whose other end closes with this process, however it ends.
#[derive(Debug)]
pub(crate) struct Watchdog(Child);

/// `$1`: data directory; `$2`: directory to remove, or empty.
const WATCH: &str = r#"
read -r word
[ "$word" = done ] && exit 0
pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1" ]; then
    kill -QUIT "$pid"
    for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 0.3; done
    kill -KILL "$pid" 2>/dev/null
fi
[ -n "$2" ] && rm -rf -- "$2"
"#;

impl Watchdog {
    pub(crate) fn start(data_dir: &Path, temp: Option<&Path>) -> Result<Watchdog> {
        let data_dir: PathBuf =
            fs::canonicalize(data_dir).map_err(|e| Error::io(data_dir.display(), e))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCH, "walbrook-testkit-watchdog"]).arg(data_dir);
        command.arg(temp.unwrap_or(Path::new("")));
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Its own process group: Ctrl-C in a terminal must not end it as well.
        command.process_group(0);
        command.spawn().map(Watchdog).map_err(|e| Error::io("start a watchdog shell", e))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.0.wait();
    }
}
