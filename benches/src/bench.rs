//! [`Bench`]: a server, Walbrook's release binaries and the tools to compare with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, bail};
use walbrook_testkit::{Cluster, built_binary, installations, majors, run_unprivileged};

/// A running server with pgbench's tables, and a place for a repository beside it.
pub(crate) struct Bench {
    pub(crate) server: Cluster,
    /// A directory of the servers' user.
    pub(crate) work: PathBuf,
}

impl Bench {
    /// Starts the newest PostgreSQL and makes pgbench's tables, about 15 MiB per unit of `scale`.
    pub(crate) fn new(scale: u32) -> Result<Self> {
        let major = std::env::var("WALBROOK_BENCH_MAJOR").ok().and_then(|major| major.parse().ok());
        let installation =
            majors().into_iter().rfind(|i| major.is_none_or(|m: u32| i.major() == m));
        let installation = installation.context("no such PostgreSQL: run `cargo xtask pg`")?;
        let mut builder = Cluster::builder(installation);
        if installation.major() >= 17 {
            builder = builder.config("summarize_wal", "on");
        }
        let server = builder
            .data_checksums(true)
            .config("shared_buffers", "512MB")
            .config("max_wal_size", "8GB")
            .config("wal_keep_size", "2GB")
            .start()?;
        server.pgbench_init("postgres", scale)?;
        println!("  on {installation}, pgbench scale {scale}");
        let work = server.make_dir("work")?;
        Ok(Self { server, work })
    }

    /// One of Walbrook's programs, on the repository in the directory `repo` of ours.
    pub(crate) fn walbrook(&self, program: &str, repo: &str) -> Result<Command> {
        let program = self.server.published_binary(&built_binary(program)?)?;
        let mut command = self.command(program);
        command.arg("--repo").arg(self.work.join(repo)).args(["--cluster", "bench"]);
        Ok(command)
    }

    /// A program, as the servers' user in our directory.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = run_unprivileged(Command::new(program.as_ref()));
        command.current_dir(&self.work);
        command
    }

    /// A first backup, which makes the repository.
    pub(crate) fn backup(&self, repo: &str) -> Result<Command> {
        let mut command = self.walbrook("walbrook-backup", repo)?;
        command.args(["-q", "-d", &self.server.conninfo()]);
        Ok(command)
    }
}

/// Prints what the figures depend on.
pub(crate) fn describe_machine() -> Result<()> {
    let first_line = |command: &mut Command| {
        let output = command.output().with_context(|| format!("{command:?}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        anyhow::Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    };
    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores; {}", first_line(Command::new("zstd").arg("--version"))?);
    println!("{}", first_line(Command::new(built_binary("walbrook-push")?).arg("--version"))?);
    if installations().is_empty() {
        bail!("no PostgreSQL: run `cargo xtask pg`");
    }
    Ok(())
}
