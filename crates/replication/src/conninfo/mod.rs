//! libpq's connection settings: what `psql` understands, understood the same way.
//!
//! [`ConnInfo`] is a complete set of settings. It is parsed from a `keyword=value` string or a
//! `postgresql://` URL and filled up from the service file, the `PG*` variables and libpq's
//! defaults, in that order, taken from an [`Environment`]. Passwords in a password file are looked
//! up later, for each host, when a connection is made.

mod environment;
mod keyword;
mod passfile;
mod resolve;
mod service;
mod settings;
mod url;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use environment::Environment;
pub use settings::{
    AuthMethod, ChannelBinding, LoadBalanceHosts, SslCertMode, SslMode, SslNegotiation,
    TargetSessionAttrs,
};

pub(crate) use environment::passwd_entry;
pub(crate) use passfile::{Lookup, Wanted, look_up};
pub(crate) use settings::{RequireAuth, Secret};

use crate::Error;

/// A complete set of connection settings. `Debug` does not show passwords.
#[derive(Debug, Clone)]
pub struct ConnInfo {
    pub(crate) hosts: Vec<Host>,
    pub(crate) user: String,
    pub(crate) dbname: String,
    /// Whether `dbname` is libpq's default, the user's name.
    pub(crate) dbname_is_default: bool,
    pub(crate) password: Option<Secret>,
    pub(crate) passfile: Option<PathBuf>,
    pub(crate) application_name: Option<String>,
    fallback_application_name: Option<String>,
    pub(crate) options: Option<String>,
    pub(crate) client_encoding: String,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) keepalive: Keepalive,
    pub(crate) target_session_attrs: TargetSessionAttrs,
    pub(crate) load_balance_hosts: LoadBalanceHosts,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) require_auth: RequireAuth,
    pub(crate) requirepeer: Option<String>,
    pub(crate) tls: TlsSettings,
}

/// One server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub(crate) address: HostAddress,
    /// The name to verify a certificate for and to look a password up by.
    pub(crate) name: Option<String>,
    pub(crate) port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostAddress {
    /// The directory of a Unix socket; `@` first for Linux' abstract namespace.
    Socket(String),
    Name(String),
    Ip(std::net::IpAddr),
}

impl Host {
    /// The name or address that was asked for, or the directory of a Unix socket.
    pub fn name(&self) -> String {
        match (&self.name, &self.address) {
            (Some(name), _) | (None, HostAddress::Socket(name) | HostAddress::Name(name)) => {
                name.clone()
            }
            (None, HostAddress::Ip(ip)) => ip.to_string(),
        }
    }

    /// The TCP port, or the number in the Unix socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether this is a Unix socket.
    pub fn is_unix_socket(&self) -> bool {
        matches!(self.address, HostAddress::Socket(_))
    }
}

/// `host:port`, or the path of the Unix socket.
impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.address {
            HostAddress::Socket(directory) => write!(f, "{directory}/.s.PGSQL.{}", self.port),
            HostAddress::Ip(ip) => match &self.name {
                Some(name) => write!(f, "{name}:{} ({ip})", self.port),
                None => write!(f, "{}", std::net::SocketAddr::new(*ip, self.port)),
            },
            HostAddress::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keepalive {
    pub(crate) enabled: bool,
    pub(crate) idle: Option<Duration>,
    pub(crate) interval: Option<Duration>,
    pub(crate) count: Option<u32>,
    pub(crate) user_timeout: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    pub(crate) mode: SslMode,
    pub(crate) negotiation: SslNegotiation,
    pub(crate) root: RootCert,
    /// A revocation list that libpq would use by default, if it is there.
    pub(crate) default_crl: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) cert_mode: SslCertMode,
    pub(crate) sni: bool,
    /// Only TLS 1.3 when true; TLS 1.2 is the oldest in any case.
    pub(crate) require_tls13: bool,
    /// Only TLS 1.2 when true.
    pub(crate) at_most_tls12: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RootCert {
    /// No home directory, so not even a default file.
    None,
    File(PathBuf),
    /// The operating system's trusted authorities.
    System,
}

impl ConnInfo {
    /// Parses a `keyword=value` string or a `postgresql://` URL; what it does not say comes from
    /// the service file, the `PG*` variables and libpq's defaults.
    ///
    /// An unknown keyword or an impossible value is an error of kind
    /// [`Config`](crate::ErrorKind::Config) that names it. So is a setting of libpq's that this
    /// crate can't honour: nothing that was asked for is silently left out.
    pub fn parse(text: &str, env: &Environment) -> Result<Self, Error> {
        let settings = match url::strip_scheme(text.trim_start()) {
            Some(rest) => url::parse(rest)?,
            None => keyword::parse(text)?,
        };
        resolve::resolve(settings, env)
    }

    /// The settings of a program that was given no connection string.
    pub fn from_environment(env: &Environment) -> Result<Self, Error> {
        Self::parse("", env)
    }

    /// Sets the `application_name` that is used when the settings have none.
    #[must_use]
    pub fn with_fallback_application_name(mut self, name: impl Into<String>) -> Self {
        self.fallback_application_name.get_or_insert(name.into());
        self
    }

    /// Connects to another database of the same server, in ordinary sessions.
    #[must_use]
    pub fn with_dbname(mut self, name: impl Into<String>) -> Self {
        self.dbname = name.into();
        self.dbname_is_default = false;
        self
    }

    /// Sets the database of ordinary sessions that is used when the settings name none, instead of
    /// libpq's default, the one of the user's name.
    #[must_use]
    pub fn with_fallback_dbname(self, name: impl Into<String>) -> Self {
        if self.dbname_is_default { self.with_dbname(name) } else { self }
    }

    /// Connects to this server and to no other, of whatever kind it is.
    #[must_use]
    pub fn with_host(mut self, host: &Host) -> Self {
        self.hosts = vec![host.clone()];
        self.target_session_attrs = TargetSessionAttrs::Any;
        self
    }

    /// The servers to try, in the order they are listed.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The database user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database for ordinary sessions.
    pub fn dbname(&self) -> &str {
        &self.dbname
    }

    /// What the server will show in `pg_stat_activity`.
    pub fn application_name(&self) -> Option<&str> {
        self.application_name.as_deref().or(self.fallback_application_name.as_deref())
    }

    /// How TLS is used for hosts that are not Unix sockets.
    pub fn sslmode(&self) -> SslMode {
        self.tls.mode
    }

    /// Whether the settings themselves have a password; a password file is not consulted.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// The file where passwords are looked up.
    pub fn passfile(&self) -> Option<&Path> {
        self.passfile.as_deref()
    }

    /// How long one attempt to connect to one address may take.
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// Which kind of server is wanted.
    pub fn target_session_attrs(&self) -> TargetSessionAttrs {
        self.target_session_attrs
    }
}
