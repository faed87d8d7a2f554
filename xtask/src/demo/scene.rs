//! [`Scene`]: the server, the repository beside it, and the programs that act on them;
//! [`Restored`]: the server that came out of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use walbrook_testkit::{Cluster, Installation, built_binary, run_unprivileged};

/// The database of the story.
pub(super) const DATABASE: &str = "shop";

/// Whether pgbench's tables tell the same sum, as they do at the end of each transaction.
pub(super) const BOOKS: &str = "SELECT count(DISTINCT s) = 1 FROM (\
    SELECT sum(abalance) FROM pgbench_accounts UNION ALL SELECT sum(tbalance) FROM pgbench_tellers UNION ALL \
    SELECT sum(bbalance) FROM pgbench_branches UNION ALL SELECT sum(delta) FROM pgbench_history) AS t(s)";

/// The orders: how many, and a digest of all.
const DIGEST: &str = "SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(o::text, 0)::numeric), 0) FROM orders o";

/// A running server with data in it. It ends, and all files go, when this is dropped.
pub(super) struct Scene {
    pub(super) server: Cluster,
    pub(super) has_amcheck: bool,
    work: PathBuf,
}

/// What was restored, and runs.
pub(super) struct Restored(Cluster);

impl Scene {
    pub(super) fn new(installation: &Installation) -> Result<Self> {
        let server = Cluster::builder(installation)
            .data_checksums(true)
            // archive_mode can't be changed in a running server, archive_command can.
            .config("archive_mode", "on")
            .config("shared_buffers", "128MB")
            .start()?;
        server.psql_ok("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        server.psql_ok(
            DATABASE,
            "CREATE TABLE orders (id int PRIMARY KEY, what text NOT NULL); \
             INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(1, 20000) n",
        )?;
        server.pgbench_init(DATABASE, 10)?;
        let has_amcheck = installation.has_contrib("amcheck");
        if has_amcheck {
            server.psql_ok(DATABASE, "CREATE EXTENSION amcheck")?;
        }
        let work = server.make_dir("work")?;
        Ok(Self { server, has_amcheck, work })
    }

    /// The directory that has all of it.
    pub(super) fn place(&self) -> &Path {
        self.work.parent().unwrap_or(&self.work)
    }

    /// One of Walbrook's programs, as the server's user, for our repository.
    pub(super) fn walbrook(&self, program: &str) -> Result<Command> {
        // restore looks for fetch beside itself.
        self.published("walbrook-fetch")?;
        let mut command = run_unprivileged(Command::new(self.published(program)?));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("WALBROOK_") {
                command.env_remove(&name);
            }
        }
        command.env("HOME", &self.work).env_remove("XDG_CONFIG_HOME").current_dir(&self.work);
        command.env("WALBROOK_REPO", self.repository()).env("WALBROOK_CLUSTER", DATABASE);
        Ok(command)
    }

    fn repository(&self) -> String {
        format!("file://{}/repo", self.work.display())
    }

    fn published(&self, program: &str) -> Result<PathBuf> {
        Ok(self.server.published_binary(&built_binary(program)?)?)
    }

    /// What the server calls for each segment.
    pub(super) fn archive_command(&self) -> Result<String> {
        let program = self.published("walbrook-push")?;
        let (program, repository) = (program.display(), self.repository());
        Ok(format!("{program} --repo {repository} --cluster {DATABASE} %p"))
    }

    /// The command without the program's directory, for the reader.
    pub(super) fn shortened(&self, command: &str) -> String {
        let (program, rest) = command.split_once(' ').unwrap_or((command, ""));
        format!("{} {rest}", program.rsplit('/').next().unwrap_or(program))
    }

    /// One of PostgreSQL's programs.
    pub(super) fn tool(&self, name: &str) -> Command {
        let mut command = self.server.command(name);
        command.current_dir(&self.work);
        command
    }

    /// Whether the program is there: not every build has all of them.
    pub(super) fn has(&self, command: &Command) -> bool {
        Path::new(command.get_program()).is_file()
    }

    /// Starts the server in `restored`, where it archives nothing: its life is short.
    pub(super) fn start_restored(&self) -> Result<Restored> {
        let adopt = Cluster::adopt(self.server.installation(), self.work.join("restored"));
        Ok(Restored(adopt.config("archive_mode", "off").start()?))
    }

    pub(super) fn text(&self, sql: &str) -> Result<String> {
        Ok(self.server.psql(DATABASE, sql)?)
    }

    pub(super) fn number(&self, sql: &str) -> Result<u64> {
        number(&self.text(sql)?)
    }

    pub(super) fn digest(&self) -> Result<String> {
        self.text(DIGEST)
    }
}

impl Restored {
    /// What the server has logged.
    pub(super) fn log(&self) -> String {
        self.0.log()
    }

    pub(super) fn tool(&self, name: &str) -> Command {
        self.0.command(name)
    }

    pub(super) fn text(&self, sql: &str) -> Result<String> {
        Ok(self.0.psql(DATABASE, sql)?)
    }

    pub(super) fn number(&self, sql: &str) -> Result<u64> {
        number(&self.text(sql)?)
    }

    pub(super) fn digest(&self) -> Result<String> {
        self.text(DIGEST)
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse().with_context(|| format!("not a number: {text:?}"))
}
