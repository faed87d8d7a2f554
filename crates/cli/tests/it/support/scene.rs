//! [`Scene`]: a place for one test's repository and restored clusters, and Walbrook's binaries
//! run there by the user that the servers run as.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use walbrook_testkit::{Adopt, Builder, Cluster, TempDir, run_unprivileged, wait_for};

use super::{Ran, binary};

/// How long a binary may run: far more than it needs on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The binaries that are published for the servers' user.
const PROGRAMS: [&str; 7] = [
    "walbrook-backup",
    "walbrook-expire",
    "walbrook-fetch",
    "walbrook-list",
    "walbrook-push",
    "walbrook-restore",
    "walbrook-wal",
];

/// One test's directory, with a repository at [`repo`](Self::repo) that the first backup makes.
/// All goes when it is dropped; declare it before the clusters, which are to stop first.
pub(crate) struct Scene {
    place: TempDir,
    programs: PathBuf,
}

impl Scene {
    /// The cluster's name in the repository.
    pub(crate) const CLUSTER: &str = "prod";

    pub(crate) fn new() -> Scene {
        let place = TempDir::new().unwrap();
        // In one directory, for walbrook-restore looks for walbrook-fetch beside itself.
        let published =
            PROGRAMS.map(|name| place.published_binary(Path::new(binary(name))).unwrap());
        let programs = published[0].parent().unwrap().to_owned();
        Scene { place, programs }
    }

    /// A path in the scene's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A new directory there that belongs to the servers' user.
    pub(crate) fn subdir(&self, name: &str) -> PathBuf {
        self.place.subdir(name).unwrap()
    }

    /// The repository's directory.
    pub(crate) fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    /// One of Walbrook's binaries, where the servers' user can run it.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A command for [`run`](Self::run): as the servers' user, in an environment that has the
    /// repository and the cluster and nothing of the developer's.
    pub(crate) fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = run_unprivileged(Command::new(self.program(name)));
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("WALBROOK_") {
                command.env_remove(&variable);
            }
        }
        command
            .args(args)
            .env("WALBROOK_REPO", self.repo())
            .env("WALBROOK_CLUSTER", Self::CLUSTER)
            .env("HOME", self.place.path())
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .current_dir(self.place.path());
        command
    }

    /// Runs a line as the servers' user types it into a shell that has the binaries in its `PATH`.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let mut command = run_unprivileged(Command::new("sh"));
        command.args(["-c", line]).current_dir(self.place.path());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.programs.display()));
        command.env("HOME", self.place.path()).env("XDG_CONFIG_HOME", "/nonexistent");
        for variable in ["WALBROOK_REPO", "WALBROOK_CLUSTER", "WALBROOK_CONFIG"] {
            command.env_remove(variable);
        }
        output(command)
    }

    /// Runs one of the binaries to its end.
    pub(crate) fn run(&self, name: &str, args: &[&str]) -> Ran {
        output(self.command(name, args))
    }

    /// Runs one that must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, name: &str, args: &[&str]) -> Ran {
        self.run(name, args).expect(0)
    }

    /// What a server has as its `archive_command` to push into this scene's repository.
    pub(crate) fn archive_command(&self) -> String {
        let (push, repo) = (self.program("walbrook-push"), self.repo());
        let cluster = Self::CLUSTER;
        format!("'{}' --repo '{}' --cluster {cluster} %p", push.display(), repo.display())
    }

    /// A server that is going to archive: its segments wait until
    /// [`start_archiving`](Self::start_archiving). Archiving from the start would fail, for it
    /// is the first backup that makes the repository, and PostgreSQL's archiver sleeps for a
    /// minute after three failures.
    pub(crate) fn archiving(&self, builder: Builder) -> Builder {
        builder.config("archive_mode", "on").config("archive_command", "")
    }

    /// Lets a server archive into this scene's repository, which exists.
    pub(crate) fn start_archiving(&self, cluster: &Cluster) {
        cluster.append_config(&[("archive_command", &self.archive_command())]).unwrap();
        cluster.psql_ok("postgres", "SELECT pg_reload_conf()").unwrap();
    }

    /// Takes a backup of a cluster by its Unix socket, and returns its record.
    #[track_caller]
    pub(crate) fn backup(&self, cluster: &Cluster, args: &[&str]) -> Value {
        self.backup_of(&cluster.conninfo(), args)
    }

    /// Takes a backup of the server of this conninfo, and returns its record.
    #[track_caller]
    pub(crate) fn backup_of(&self, conninfo: &str, args: &[&str]) -> Value {
        let args = [&["-d", conninfo, "--output", "json"], args].concat();
        parse(&self.ok("walbrook-backup", &args))
    }

    /// What `walbrook-list` says of the cluster's one system.
    #[track_caller]
    pub(crate) fn list(&self) -> Value {
        let mut clusters = parse(&self.ok("walbrook-list", &["--output", "json"]));
        let systems = clusters[0]["systems"].take();
        assert_eq!(systems.as_array().map(Vec::len), Some(1), "{systems}");
        systems[0].clone()
    }

    /// Runs `walbrook-restore` into the directory `name` of the scene.
    pub(crate) fn try_restore(&self, name: &str, args: &[&str]) -> Ran {
        let directory = self.path(name);
        let base = ["--pgdata", directory.to_str().unwrap()];
        self.run("walbrook-restore", &[&base, args].concat())
    }

    /// [`try_restore`](Self::try_restore) that must succeed; returns the data directory.
    #[track_caller]
    pub(crate) fn restore(&self, name: &str, args: &[&str]) -> PathBuf {
        self.try_restore(name, args).expect(0);
        self.path(name)
    }

    /// A server on a restored directory. It does not archive: its settings are the original's,
    /// whose archive it would push into.
    pub(crate) fn adopt(&self, original: &Cluster, directory: &Path) -> Adopt {
        Cluster::adopt(original.installation(), directory)
            .config("archive_mode", "off")
            .timeout(PATIENCE)
    }

    /// Ends the current segment of a server that archives, and waits until it is archived.
    #[track_caller]
    pub(crate) fn archive_now(&self, cluster: &Cluster) -> String {
        let segment = cluster.switch_wal().unwrap();
        self.wait_archived(cluster, &segment);
        segment
    }

    /// Waits until a server has archived this segment.
    #[track_caller]
    pub(crate) fn wait_archived(&self, cluster: &Cluster, segment: &str) {
        let query = format!(
            "SELECT coalesce(last_archived_wal >= '{segment}', false) FROM pg_stat_archiver"
        );
        let archived = || cluster.psql("postgres", &query).is_ok_and(|row| row == "t");
        if let Err(error) = wait_for(&format!("archiving {segment}"), PATIENCE, archived) {
            panic!("{error}\n--- server log ---\n{}", log_tail(cluster));
        }
    }
}

/// Runs a command to its end, and kills it when it takes too long.
pub(crate) fn output(mut command: Command) -> Ran {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    thread::scope(|scope| {
        let stdout = scope.spawn(move || read(&mut stdout));
        let stderr = scope.spawn(move || read(&mut stderr));
        let end = Instant::now() + PATIENCE;
        let status: Option<ExitStatus> = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() >= end => break None,
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        if status.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        let Some(status) = status else {
            panic!("{command:?}: not done in {PATIENCE:?}\n{stderr}\n{stdout}")
        };
        Ran { code: status.code(), stdout, stderr }
    })
}

fn read(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[track_caller]
fn parse(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stdout))
}

/// The last lines that a server has logged, for messages.
pub(crate) fn log_tail(cluster: &Cluster) -> String {
    let log = cluster.log();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
