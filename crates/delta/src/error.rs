use std::error::Error as StdError;
use std::fmt;

/// Why changes can't be told, or an incremental file not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An incremental file, or a chain of them, that PostgreSQL never writes.
    BadIncremental,
    /// An incremental file that ends too early.
    Truncated,
    /// Reading or writing failed; the reason is the source.
    Io,
    /// The backup can't be the base of this one: it is not wholly part of this timeline's past.
    NotAnAncestor,
    /// Changes of some part of the log are not known.
    Incomplete,
    /// Part of the log was written in a way that leaves changes out of it.
    NotLogged,
}

/// What can't be told or read, and why.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<std::io::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// What class of trouble this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<std::io::Error> for Error {
    fn from(source: std::io::Error) -> Self {
        let message = "an incremental file could not be read or written".to_owned();
        Self { kind: ErrorKind::Io, message, source: Some(source) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
