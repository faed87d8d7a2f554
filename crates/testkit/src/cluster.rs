//! [`Cluster`]: one running (or stopped) server with its data directory.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::builder::Builder;
use crate::error::{Error, ErrorKind, Result, run};
use crate::installation::Installation;
use crate::postmaster::{self, Watchdog};
use crate::temp::{self, TempDir};
use crate::user;

/// How long `pg_ctl` waits for a server to start or stop.
const PG_CTL_TIMEOUT: Duration = Duration::from_secs(90);

/// How a server is shut down, as `pg_ctl stop -m` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Waits for the clients to go away.
    Smart,
    /// Ends the sessions, writes a shutdown checkpoint.
    Fast,
    /// Ends without a checkpoint: the next start does crash recovery.
    Immediate,
    /// `kill -9` of the postmaster.
    Kill,
}

/// A server that ends, and whose files go, when this is dropped.
///
/// All methods block. The server listens on a Unix socket in a directory of its
/// own, as superuser `postgres` unless the builder said otherwise.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) installation: Installation,
    pub(crate) data_dir: PathBuf,
    pub(crate) socket_dir: PathBuf,
    pub(crate) port: u16,
    pub(crate) tcp: bool,
    pub(crate) user: String,
    /// Settings given on the command line at each start, which no file can override.
    pub(crate) options: Vec<(String, String)>,
    watchdog: Option<Watchdog>,
    /// Where log and socket are; for a cluster that `initdb` made, also the data directory.
    pub(crate) temp: TempDir,
    /// Set when the socket's path would have been too long in `temp`.
    _short_temp: Option<TempDir>,
}

impl Cluster {
    /// Starts to describe a new cluster for tests: `fsync` off, small buffers,
    /// a Unix socket only.
    pub fn builder(installation: &Installation) -> Builder {
        Builder::new(installation)
    }

    /// A new running server exactly as `initdb` leaves it: nothing is written
    /// to its configuration, and only port and socket directory are given on the
    /// command line. It listens on `localhost`, as the stock server does.
    ///
    /// # Errors
    /// When `initdb` fails or the server does not start.
    pub fn stock(installation: &Installation) -> Result<Cluster> {
        Builder::new(installation).stock().start()
    }

    /// A cluster on an existing data directory, not started yet.
    pub(crate) fn over(
        installation: &Installation,
        data_dir: PathBuf,
        temp: TempDir,
        user: String,
        tcp: bool,
    ) -> Result<Cluster> {
        // sun_path has 108 bytes with the final NUL on Linux; the file is ".s.PGSQL.65535.lock".
        let (socket_dir, short_temp) = if temp.path().as_os_str().len() + 24 <= 107 {
            (temp.path().join("s"), None)
        } else {
            let short = TempDir::new_in(Path::new("/tmp"))?;
            (short.path().join("s"), Some(short))
        };
        let fail = |e| Error::io(socket_dir.display(), e);
        fs::create_dir(&socket_dir).map_err(fail)?;
        user::give_to_server(&socket_dir)?;
        Ok(Cluster {
            installation: installation.clone(),
            data_dir,
            socket_dir,
            port: 5432,
            tcp,
            user,
            options: Vec::new(),
            watchdog: None,
            temp,
            _short_temp: short_temp,
        })
    }

    /// The installation that it runs on.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Its data directory (`PGDATA`).
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its WAL directory, `pg_wal`.
    pub fn wal_dir(&self) -> PathBuf {
        self.data_dir.join("pg_wal")
    }

    /// The directory of its Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// Its port, which also names its Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser that [`initdb`](Builder) made.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// libpq keywords to connect to database `postgres` by the Unix socket.
    pub fn conninfo(&self) -> String {
        self.conninfo_for("postgres")
    }

    /// libpq keywords to connect to this database by the Unix socket.
    pub fn conninfo_for(&self, database: &str) -> String {
        let (host, port, user) = (self.socket_dir.display(), self.port, &self.user);
        format!("host={host} port={port} user={user} dbname={database}")
    }

    /// libpq keywords to connect to database `postgres` by TCP on 127.0.0.1, or
    /// `None` when it was built without [`Builder::tcp`].
    pub fn conninfo_tcp(&self) -> Option<String> {
        let (port, user) = (self.port, &self.user);
        self.tcp.then(|| format!("host=127.0.0.1 port={port} user={user} dbname=postgres"))
    }

    /// A directory of this cluster's own that goes with it, owned by the server's
    /// user: for a tablespace, an archive, a repository.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn make_dir(&self, name: &str) -> Result<PathBuf> {
        self.temp.subdir(name)
    }

    /// One of the installation's programs, to run as the server's user, connecting
    /// to this server and with no other `PG*` variable.
    pub fn command(&self, tool: &str) -> Command {
        let mut command = user::run_unprivileged(Command::new(self.installation.tool(tool)));
        clean_environment(&mut command);
        command
            .env("PGHOST", &self.socket_dir)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGDATABASE", "postgres")
            .env("PGDATA", &self.data_dir)
            // No .pgpass or service file of the developer's, and a directory it may enter.
            .env("HOME", self.temp.path())
            .current_dir(self.temp.path());
        command
    }

    /// What the server has logged since the cluster was made.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.temp.path().join("log")
    }

    /// The last lines of [`log`](Self::log), for messages.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// The postmaster's process id, or `None` when it does not run.
    pub fn pid(&self) -> Option<u32> {
        postmaster::running(&self.data_dir)
    }

    /// Starts a server that was stopped, and waits until it takes connections.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] with the server's log when it does not start.
    pub fn start_again(&mut self) -> Result<()> {
        self.start_within(PG_CTL_TIMEOUT)
    }

    pub(crate) fn start_within(&mut self, timeout: Duration) -> Result<()> {
        for attempt in 1.. {
            if self.tcp && (attempt > 1 || self.watchdog.is_none()) {
                self.port = free_port()?;
            }
            if self.watchdog.is_none() {
                let remove = (!temp::keep()).then_some(self.temp.path());
                self.watchdog = Some(Watchdog::start(&self.data_dir, remove)?);
            }
            let logged = self.log().len();
            let mut command = self.command("pg_ctl");
            command.arg("start").arg("-w").args(["-t", &timeout.as_secs().max(1).to_string()]);
            command.arg("-D").arg(&self.data_dir).arg("-l").arg(self.log_path());
            command.arg("-o").arg(self.server_options());
            let Err(error) = run(&mut command) else { return Ok(()) };
            // Somebody took the port between our look and the server's bind.
            let log = self.log();
            let taken = log.get(logged..).is_some_and(|l| l.contains("Address already in use"));
            if !(self.tcp && taken && attempt < 5) {
                let message = format!("{error}\n--- server log ---\n{}", self.log_tail());
                return Err(Error::new(ErrorKind::Server, message));
            }
        }
        Ok(())
    }

    /// What `pg_ctl -o` gets: it passes it through a shell.
    fn server_options(&self) -> String {
        let mut words = vec![
            format!("-p {}", self.port),
            format!("-k {}", shell_quoted(&self.socket_dir.to_string_lossy())),
        ];
        words.extend(
            self.options.iter().map(|(k, v)| format!("-c {}", shell_quoted(&format!("{k}={v}")))),
        );
        words.join(" ")
    }

    /// Stops the server and waits for its end.
    ///
    /// # Errors
    /// When it does not end in 90 seconds.
    pub fn stop(&mut self, mode: StopMode) -> Result<()> {
        let mode = match mode {
            StopMode::Smart => "smart",
            StopMode::Fast => "fast",
            StopMode::Immediate => "immediate",
            StopMode::Kill => {
                postmaster::kill(&self.data_dir, &self.socket_dir);
                return Ok(());
            }
        };
        let mut command = self.command("pg_ctl");
        command.args(["stop", "-w", "-m", mode, "-t", &PG_CTL_TIMEOUT.as_secs().to_string()]);
        run(command.arg("-D").arg(&self.data_dir)).map(drop)
    }

    /// [`stop`](Self::stop), then [`start_again`](Self::start_again).
    ///
    /// # Errors
    /// As these two.
    pub fn restart(&mut self, mode: StopMode) -> Result<()> {
        self.stop(mode)?;
        self.start_again()
    }

    /// Appends settings to `postgresql.conf`; `restart` or `SELECT pg_reload_conf()` makes them effective.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn append_config(&self, settings: &[(&str, &str)]) -> Result<()> {
        let path = self.data_dir.join("postgresql.conf");
        let fail = |e| Error::io(path.display(), e);
        let mut text = fs::read_to_string(&path).map_err(fail)?;
        for (key, value) in settings {
            text.push_str(&format!("{key} = '{}'\n", value.replace('\'', "''")));
        }
        fs::write(&path, text).map_err(fail)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        postmaster::end(&self.data_dir, &self.socket_dir);
    }
}

/// A command without the developer's `PG*` variables, in a UTF-8 locale that
/// every Linux has, so that messages are English.
pub(crate) fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C.UTF-8").env_remove("LANGUAGE");
}

/// A TCP port of 127.0.0.1 that nobody uses at this moment.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| Error::io("find a port", e))?;
    Ok(listener.local_addr().map_err(|e| Error::io("find a port", e))?.port())
}

fn shell_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::shell_quoted;

    #[test]
    fn quotes_survive_the_shell() {
        assert_eq!(shell_quoted("a b"), "'a b'");
        assert_eq!(shell_quoted("it's $x"), r"'it'\''s $x'");
    }
}
