//! [`Builder`]: what a new cluster shall be like, and its `initdb`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::cluster::{Cluster, clean_environment};
use crate::error::{Error, Result, run};
use crate::installation::Installation;
use crate::temp::TempDir;
use crate::user;

/// Settings that make many small servers cheap; a test may override each.
const SMALL_AND_FAST: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("shared_buffers", "16MB"),
    ("max_connections", "40"),
    ("autovacuum", "on"),
    ("log_line_prefix", "%m [%p] %q%a "),
    ("listen_addresses", ""),
];

/// Describes a new cluster. Made by [`Cluster::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    installation: Installation,
    initdb_args: Vec<String>,
    config: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
    hba: Option<String>,
    user: String,
    tcp: bool,
    stock: bool,
}

impl Builder {
    pub(crate) fn new(installation: &Installation) -> Builder {
        Builder {
            installation: installation.clone(),
            initdb_args: Vec::new(),
            config: Vec::new(),
            files: Vec::new(),
            hba: None,
            user: "postgres".into(),
            tcp: false,
            stock: false,
        }
    }

    /// Page checksums on or off. Without this it is the version's own default:
    /// off before 18, on since.
    #[must_use]
    pub fn data_checksums(self, on: bool) -> Builder {
        match (on, self.installation.major()) {
            (true, _) => self.initdb_arg("--data-checksums"),
            (false, 18..) => self.initdb_arg("--no-data-checksums"),
            (false, _) => self,
        }
    }

    /// The size of a WAL segment in MiB, a power of two from 1 to 1024.
    #[must_use]
    pub fn wal_segsize_mb(self, mib: u32) -> Builder {
        self.initdb_arg(format!("--wal-segsize={mib}"))
    }

    /// One more argument for `initdb`.
    #[must_use]
    pub fn initdb_arg(mut self, arg: impl Into<String>) -> Builder {
        self.initdb_args.push(arg.into());
        self
    }

    /// A line of `postgresql.conf`; the value is quoted as needed.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Builder {
        self.config.push((key.into(), value.into()));
        self
    }

    /// A file to put into the data directory before the first start, with mode
    /// 0600: certificates and keys, for example.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, contents: impl Into<Vec<u8>>) -> Builder {
        self.files.push((name.into(), contents.into()));
        self
    }

    /// The whole `pg_hba.conf`. Lines that let the superuser in by the Unix socket
    /// are put before it, because this crate's own connections need them.
    #[must_use]
    pub fn hba(mut self, text: impl Into<String>) -> Builder {
        self.hba = Some(text.into());
        self
    }

    /// The superuser's name, `postgres` unless changed.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>) -> Builder {
        self.user = name.into();
        self
    }

    /// Listens on 127.0.0.1 too, on a free port.
    #[must_use]
    pub fn tcp(mut self) -> Builder {
        self.tcp = true;
        self.config("listen_addresses", "127.0.0.1")
    }

    /// Leaves the configuration as `initdb` wrote it; see [`Cluster::stock`].
    /// [`config`](Self::config) still adds lines.
    #[must_use]
    pub fn stock(mut self) -> Builder {
        self.stock = true;
        self.tcp = true;
        self
    }

    /// Makes the data directory and starts the server.
    ///
    /// # Errors
    /// With `initdb`'s or the server's own text.
    pub fn start(self) -> Result<Cluster> {
        let mut cluster = self.create()?;
        cluster.start_again()?;
        Ok(cluster)
    }

    /// Makes the data directory and leaves the server stopped.
    ///
    /// # Errors
    /// With `initdb`'s own text.
    pub fn create(self) -> Result<Cluster> {
        let temp = TempDir::new()?;
        let data_dir = temp.subdir("data")?;
        self.initdb(&data_dir, temp.path())?;
        if let Some(text) = &self.hba {
            let name = &self.user;
            let ours = format!("local all \"{name}\" trust\nlocal replication \"{name}\" trust\n");
            self.write(&data_dir, "pg_hba.conf", (ours + text + "\n").as_bytes())?;
        }
        for (name, contents) in &self.files {
            self.write(&data_dir, name, contents)?;
        }
        let cluster = Cluster::over(&self.installation, data_dir, temp, self.user, self.tcp)?;
        if !self.stock {
            cluster.append_config(SMALL_AND_FAST)?;
        }
        let settings: Vec<(&str, &str)> =
            self.config.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        if !settings.is_empty() {
            cluster.append_config(&settings)?;
        }
        Ok(cluster)
    }

    fn initdb(&self, data_dir: &Path, home: &Path) -> Result<()> {
        let attempt = |locale: &[&str]| {
            let command = std::process::Command::new(self.installation.tool("initdb"));
            let mut command = user::run_unprivileged(command);
            clean_environment(&mut command);
            command.env("HOME", home).current_dir(home);
            command.arg("-D").arg(data_dir).args(["-U", &self.user, "-N"]);
            run(command.args(locale).args(&self.initdb_args))
        };
        // C.UTF-8 comes from the environment; a system without it needs the locale said.
        attempt(&[])
            .or_else(|first| attempt(&["--locale=C", "--encoding=UTF8"]).map_err(|_| first))?;
        Ok(())
    }

    fn write(&self, data_dir: &Path, name: &str, contents: &[u8]) -> Result<()> {
        let path = data_dir.join(name);
        let fail = |e| Error::io(path.display(), e);
        fs::write(&path, contents).map_err(fail)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(fail)?;
        user::give_to_server(&path)
    }
}
