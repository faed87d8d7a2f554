use std::fmt;

/// Why bytes could not be read as what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fewer bytes than the structure takes.
    Truncated,
    /// A checksum over the bytes does not match: they are damaged, or torn by a concurrent write.
    BadChecksum,
    /// A format of a PostgreSQL version, byte order or build option that this crate does not read.
    Unsupported,
    /// A field holds what PostgreSQL never writes.
    Invalid,
}

/// A control file or version file that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What class of trouble this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
