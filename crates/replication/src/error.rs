use std::error::Error as StdError;
use std::fmt;

use crate::ServerError;

/// What an [`Error`] is about, for programs that react to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The connection settings or a command's options are wrong or not supported.
    Config,
    /// No server could be reached at any of the hosts.
    Connect,
    /// TLS could not be set up, or the server's certificate was not accepted.
    Tls,
    /// The server did not accept who we are, or we did not accept how it wanted to know.
    Authentication,
    /// The server answered with an error: see [`Error::server_error`].
    Server,
    /// The server sent something that the protocol does not allow at that point.
    Protocol,
    /// An established connection broke.
    ConnectionLost,
    /// `connect_timeout` passed.
    Timeout,
    /// The server is older than the oldest supported version.
    UnsupportedVersion,
    /// The tar stream of a base backup is damaged, truncated, or names a path that must not be written.
    Archive,
}

/// Why a connection or a command failed.
///
/// Displays as one line that names the server or the setting and, where there is one, the remedy.
/// Passwords never appear in it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    remedy: Option<String>,
    server: Option<ServerError>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            remedy: None,
            server: None,
            source: None,
        }))
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    /// An error that the server reported, with what was being done when it did.
    pub(crate) fn server(doing: &str, server: ServerError) -> Self {
        let kind = match server.code() {
            code if code.starts_with("28") => ErrorKind::Authentication,
            _ => ErrorKind::Server,
        };
        let mut error = Self::new(kind, format!("{doing}: {server}"));
        error.0.server = Some(server);
        error
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Puts what was being done, such as the server's address, before the message.
    pub(crate) fn prefixed(mut self, prefix: impl fmt::Display) -> Self {
        self.0.message = format!("{prefix}: {}", self.0.message);
        self
    }

    pub(crate) fn set_message(&mut self, message: String) {
        self.0.message = message;
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The error that the server sent, when it sent one.
    pub fn server_error(&self) -> Option<&ServerError> {
        self.0.server.as_ref()
    }

    /// What the user can do about it, when that is known; part of the displayed text too.
    pub fn remedy(&self) -> Option<&str> {
        self.0.remedy.as_deref()
    }

    /// Whether the server refused because pages failed their checksum during a base backup.
    ///
    /// BASE_BACKUP reports this last, after all data and the stop LSN were sent (SQLSTATE `XX001`).
    pub fn is_checksum_failure(&self) -> bool {
        self.server_error().is_some_and(|error| error.code() == ServerError::DATA_CORRUPTED)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("remedy", &self.0.remedy)
            .field("server", &self.0.server)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
