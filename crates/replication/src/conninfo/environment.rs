use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// What connection settings take from outside the connection string: `PG*` variables, the home
/// directory, the operating system's user name, and where servers put their Unix sockets.
///
/// [`from_process`](Self::from_process) takes the real ones. An embedder that must not depend on
/// its process starts from [`empty`](Self::empty).
#[derive(Clone, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
    user: Option<String>,
    socket_directory: PathBuf,
}

impl Environment {
    /// No variables, no home directory, no user; Unix sockets in `/tmp`.
    pub fn empty() -> Self {
        Self {
            variables: BTreeMap::new(),
            home: None,
            user: None,
            socket_directory: PathBuf::from("/tmp"),
        }
    }

    /// This process's environment.
    ///
    /// The user name is that of the effective user ID in `/etc/passwd`; where it is not listed
    /// there (directory services), `LOGNAME` or `USER` stand in. The socket directory is
    /// `/var/run/postgresql` where that exists, as in Debian's and Red Hat's packages, or `/tmp`.
    pub fn from_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("PG"))
            .collect();
        let uid = rustix::process::geteuid().as_raw();
        let entry = passwd_entry(|entry| entry.uid == uid);
        let from_variable = || ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok());
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let debian = Path::new("/var/run/postgresql");
        Self {
            variables,
            home: home.or_else(|| entry.as_ref().map(|entry| PathBuf::from(&entry.home))),
            user: entry.map(|entry| entry.name).or_else(from_variable),
            socket_directory: if debian.is_dir() { debian } else { Path::new("/tmp") }.to_owned(),
        }
    }

    /// Sets one variable, such as `PGSSLMODE`.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Sets the home directory, where `.pgpass`, `.pg_service.conf` and `.postgresql/` are.
    #[must_use]
    pub fn with_home(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// Sets the operating system's user name, which is the default database user.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the directory where a server's Unix socket is looked for when no host is given.
    #[must_use]
    pub fn with_socket_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.socket_directory = directory.into();
        self
    }

    /// A variable's value; one that is set to nothing counts as not set.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The home directory.
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The operating system's user name.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The directory of Unix sockets.
    pub fn socket_directory(&self) -> &Path {
        &self.socket_directory
    }
}

/// Values are not shown: `PGPASSWORD` may be one of them.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("home", &self.home)
            .field("user", &self.user)
            .field("socket_directory", &self.socket_directory)
            .finish()
    }
}

pub(crate) struct PasswdEntry {
    pub(crate) name: String,
    pub(crate) uid: u32,
    home: String,
}

/// The first user of `/etc/passwd` that `wanted` accepts.
pub(crate) fn passwd_entry(wanted: impl Fn(&PasswdEntry) -> bool) -> Option<PasswdEntry> {
    let bytes = std::fs::read("/etc/passwd").ok()?;
    String::from_utf8_lossy(&bytes).lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let entry = PasswdEntry {
            name: (*fields.first()?).to_owned(),
            uid: fields.get(2)?.parse().ok()?,
            home: (*fields.get(5)?).to_owned(),
        };
        wanted(&entry).then_some(entry)
    })
}
