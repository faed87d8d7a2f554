//! [`Adopt`]: a server on a data directory that something else made, usually a restore.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::error::{Error, ErrorKind, Result};
use crate::installation::Installation;
use crate::temp::TempDir;
use crate::user;

/// The state to wait for after the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// It takes connections, in recovery or not: for standbys.
    Connectable,
    /// Recovery is over (promoted), or paused at its target.
    Settled,
    /// Recovery is over and the server is writable.
    Promoted,
    /// Recovery is paused at its target.
    Paused,
    /// The server has ended by itself: `recovery_target_action = shutdown`.
    ShutDown,
}

/// Describes how to start a server on an existing directory. Made by [`Cluster::adopt`].
#[derive(Debug, Clone)]
pub struct Adopt {
    installation: Installation,
    data_dir: PathBuf,
    options: Vec<(String, String)>,
    until: Until,
    timeout: Duration,
    user: String,
    tcp: bool,
}

impl Cluster {
    /// Describes a server on a directory that somebody restored.
    ///
    /// Nothing in the directory is changed, except its owner when this process is
    /// root. Port, socket directory and `listen_addresses` are given on the
    /// command line, so that the copy cannot collide with the original. The
    /// directory stays when the cluster is dropped; the server does not.
    pub fn adopt(installation: &Installation, data_dir: impl Into<PathBuf>) -> Adopt {
        Adopt {
            installation: installation.clone(),
            data_dir: data_dir.into(),
            options: Vec::new(),
            until: Until::Settled,
            timeout: Duration::from_secs(120),
            user: "postgres".into(),
            tcp: false,
        }
    }
}

impl Adopt {
    /// A setting for the command line, which overrides the directory's files.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Adopt {
        self.options.push((key.into(), value.into()));
        self
    }

    /// The state that [`start`](Self::start) waits for; [`Until::Settled`] unless changed.
    #[must_use]
    pub fn until(mut self, until: Until) -> Adopt {
        self.until = until;
        self
    }

    /// The limit for reaching that state; 120 seconds unless changed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Adopt {
        self.timeout = timeout;
        self
    }

    /// The superuser to connect as, `postgres` unless changed.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>) -> Adopt {
        self.user = name.into();
        self
    }

    /// Listens on 127.0.0.1 too, on a free port.
    #[must_use]
    pub fn tcp(mut self) -> Adopt {
        self.tcp = true;
        self
    }

    /// Starts the server by `pg_ctl start` and waits until the wanted state is reached.
    ///
    /// # Errors
    /// With the server's log, when it ends, or does not get there in time.
    pub fn start(self) -> Result<Cluster> {
        if let Some(dir) = user::untraversable(&self.data_dir) {
            let (dir, data) = (dir.display(), self.data_dir.display());
            let message = format!(
                "the servers' user may not enter {dir}, so not {data}; restore into a walbrook_testkit::TempDir"
            );
            return Err(Error::new(ErrorKind::Io, message));
        }
        user::give_tree_to_server(&self.data_dir)?;
        let temp = TempDir::new()?;
        let mut cluster = Cluster::over(
            &self.installation,
            self.data_dir.clone(),
            temp,
            self.user.clone(),
            self.tcp,
        )?;
        let listen = if self.tcp { "127.0.0.1" } else { "" };
        cluster.options = vec![("listen_addresses".into(), listen.into())];
        cluster.options.extend(self.options.iter().cloned());

        let end = Instant::now() + self.timeout;
        match cluster.start_within(self.timeout) {
            // pg_ctl calls it a failure when the server reaches its target before pg_ctl looks.
            Err(_) if self.until == Until::ShutDown && shut_down_at_target(&cluster) => {
                return Ok(cluster);
            }
            other => other?,
        }
        while !self.reached(&cluster)? {
            if Instant::now() >= end {
                return Err(self.failure(&cluster, ErrorKind::Timeout, "not reached in time"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(cluster)
    }

    fn reached(&self, cluster: &Cluster) -> Result<bool> {
        if cluster.pid().is_none() {
            return match self.until {
                Until::ShutDown if shut_down_at_target(cluster) => Ok(true),
                _ => Err(self.failure(cluster, ErrorKind::Server, "the server ended")),
            };
        }
        let state = cluster.psql(
            "postgres",
            "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 'promoted' \
             ELSE pg_get_wal_replay_pause_state() END",
        );
        // A failure here is looked at in the next round: the server may be ending.
        let Ok(state) = state else { return Ok(false) };
        Ok(match self.until {
            Until::Connectable => true,
            Until::Settled => state == "promoted" || state == "paused",
            Until::Promoted => state == "promoted",
            Until::Paused => state == "paused",
            Until::ShutDown => false,
        })
    }

    fn failure(&self, cluster: &Cluster, kind: ErrorKind, what: &str) -> Error {
        let (until, dir) = (self.until, self.data_dir.display());
        let log = cluster.log_tail();
        Error::new(kind, format!("{dir}: waiting for {until:?}: {what}\n--- server log ---\n{log}"))
    }
}

/// Whether the server ended because it was told to at its target, and not by a failure.
fn shut_down_at_target(cluster: &Cluster) -> bool {
    cluster.pid().is_none() && cluster.log().contains("shutdown at recovery target")
}

/// Starts a server on a restored directory and waits until recovery is over or
/// paused at its target: [`Cluster::adopt`] with settings for the command line.
///
/// # Errors
/// With the server's log, when it does not get there within 120 seconds.
pub fn start_restored(
    installation: &Installation,
    data_dir: &Path,
    settings: &[(&str, &str)],
) -> Result<Cluster> {
    let adopt = Cluster::adopt(installation, data_dir);
    settings.iter().fold(adopt, |adopt, (key, value)| adopt.config(*key, *value)).start()
}
