use std::fmt;

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request makes no sense, or contradicts what is there: it must be changed.
    Invalid,
    /// There is no such repository, cluster, backup or WAL.
    NotFound,
    /// The repository could not be reached or used.
    Repository,
    /// Something in the repository is damaged.
    Corrupt,
    /// The repository holds something else under this name.
    Conflict,
    /// The server could not be reached, or refused.
    Server,
    /// What the server did makes the backup unusable: it was promoted, or sent something wrong.
    ServerChanged,
    /// The target of a restore can't be reached with the WAL that there is.
    Unreachable,
    /// A directory is not fit to restore into: not empty, in use, or not writable.
    Directory,
    /// Waiting took too long.
    Timeout,
    /// A local file could not be read or written.
    Io,
}

/// An operation that failed: what failed, on what, and what to do.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, what).with_source(source)
    }

    /// Whether a connection to the server broke, or the server ended it: another one may do.
    pub(crate) fn is_lost_connection(&self) -> bool {
        let source = self.0.source.as_deref();
        let error =
            source.and_then(|e| e.downcast_ref::<Transparent<walbrook_replication::Error>>());
        error.is_some_and(|Transparent(error)| match error.server_error() {
            Some(server) => ENDED_SESSION.contains(&server.code()),
            None => error.kind() == walbrook_replication::ErrorKind::ConnectionLost,
        })
    }

    /// Adds what can be done about it.
    pub(crate) fn with_remedy(mut self, remedy: &str) -> Self {
        self.0.message = format!("{} ({remedy})", self.0.message);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

/// What a server says when it ends a session: `admin_shutdown`, `crash_shutdown`,
/// `idle_session_timeout` (PostgreSQL's `errcodes.txt`).
const ENDED_SESSION: [&str; 3] = ["57P01", "57P02", "57P05"];

impl From<walbrook_repo::Error> for Error {
    fn from(error: walbrook_repo::Error) -> Self {
        use walbrook_repo::ErrorKind as Repo;
        let kind = match error.kind() {
            Repo::NotFound => ErrorKind::NotFound,
            Repo::Conflict => ErrorKind::Conflict,
            Repo::Corrupt => ErrorKind::Corrupt,
            Repo::Invalid | Repo::UnsupportedVersion => ErrorKind::Invalid,
            Repo::LocalIo => ErrorKind::Io,
            _ => ErrorKind::Repository,
        };
        Self::new(kind, error.to_string()).with_source(Transparent(error))
    }
}

impl From<walbrook_store::Error> for Error {
    fn from(error: walbrook_store::Error) -> Self {
        walbrook_repo::Error::from(error).into()
    }
}

impl From<walbrook_replication::Error> for Error {
    fn from(error: walbrook_replication::Error) -> Self {
        let kind = match error.kind() {
            walbrook_replication::ErrorKind::Config => ErrorKind::Invalid,
            walbrook_replication::ErrorKind::Timeout => ErrorKind::Timeout,
            _ => ErrorKind::Server,
        };
        Self::new(kind, error.to_string()).with_source(Transparent(error))
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(ErrorKind::Io, "a worker of this operation was cancelled").with_source(error)
    }
}

/// An error whose text is already the message of the error around it: in a chain of causes it is
/// passed over, and its own cause comes next.
#[derive(Debug)]
struct Transparent<E>(E);

impl<E: fmt::Display> fmt::Display for Transparent<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: std::error::Error> std::error::Error for Transparent<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.0.source.as_deref()?;
        let same_text = source.is::<Transparent<walbrook_repo::Error>>()
            || source.is::<Transparent<walbrook_replication::Error>>();
        if same_text { source.source() } else { Some(source) }
    }
}
