use std::fmt;

/// What kind of thing went wrong in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no repository at this place, or no such cluster or backup in it.
    NotFound,
    /// Something is there already, with other content.
    Conflict,
    /// An object's bytes are not what its digest, or its format, says that they must be.
    Corrupt,
    /// The object was written by a later version of Walbrook.
    UnsupportedVersion,
    /// The request itself makes no sense: a name that is not allowed, WAL of another cluster.
    Invalid,
    /// The store failed; [`Error::store_error`] tells how.
    Store,
    /// A temporary file on this machine could not be written or read.
    LocalIo,
    /// The operation was interrupted from inside the program: a worker was cancelled.
    Interrupted,
}

/// An operation on a repository that failed: what failed, on what, and what to do.
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

    pub(crate) fn corrupt(object: &str, what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Corrupt, format!("{object} is damaged: {what}"))
    }

    pub(crate) fn too_new(object: &str, what: impl fmt::Display) -> Self {
        let message =
            format!("{object} has {what}, which this Walbrook can't read: use a newer one");
        Self::new(ErrorKind::UnsupportedVersion, message)
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says what to do about it as well.
    pub(crate) fn with_remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.0.message = format!("{}; {remedy}", self.0.message);
        self
    }

    pub(crate) fn local(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::LocalIo, what).with_source(source)
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The store's own error, where that is the cause.
    pub fn store_error(&self) -> Option<&walbrook_store::Error> {
        self.0.source.as_ref()?.downcast_ref()
    }
}

impl From<walbrook_store::Error> for Error {
    fn from(error: walbrook_store::Error) -> Self {
        // The store's message names the object and the remedy already: it is the message.
        Self::new(ErrorKind::Store, error.to_string()).with_source(error)
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(ErrorKind::Interrupted, "a worker of this operation was cancelled")
            .with_source(error)
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
        // A store error's text is this error's own: its causes come next, not the same text again.
        match self.store_error() {
            Some(store) => std::error::Error::source(store),
            None => self.0.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static)),
        }
    }
}
