use std::fmt;

use walbrook_types::Lsn;

/// What is wrong with WAL or with a history file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The magic number is that of no version that this crate knows: a newer or older PostgreSQL,
    /// or no WAL at all.
    UnknownMagic,
    /// A page header that PostgreSQL never writes, or not at this place.
    BadPage,
    /// WAL of another cluster.
    ForeignSystem,
    /// A timeline that is lower than that of the page before.
    TimelineOrder,
    /// A record header that PostgreSQL never writes: length, resource manager or back link.
    BadRecord,
    /// A record's CRC-32C does not match: it is damaged.
    BadChecksum,
    /// A record that should go on in the next page does not.
    BadContinuation,
    /// The inside of a record, though its CRC is right, is not laid out as expected.
    BadContents,
    /// The bytes end too early.
    Truncated,
    /// A timeline history file that does not hold together.
    BadHistory,
    /// A full-page image that can't be restored: it is damaged.
    BadImage,
    /// What it takes was left out when this crate was built: the message names the feature.
    Unsupported,
    /// A block summary that is damaged, or is none.
    BadSummary,
    /// Something of a later version of this crate.
    NewerFormat,
    /// A block summary that does not follow the one before.
    SummaryGap,
    /// A block summary that lacks something of the range that it is asked about.
    IncompleteSummary,
}

/// WAL or a history file that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    lsn: Option<Lsn>,
    message: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, lsn: None, message: message.into() }
    }

    pub(crate) fn at(kind: ErrorKind, lsn: Lsn, message: impl Into<String>) -> Self {
        Self { kind, lsn: Some(lsn), message: message.into() }
    }

    /// The same error, with the place where the bytes lay if none was known yet.
    pub(crate) fn or_at(mut self, lsn: Lsn) -> Self {
        self.lsn.get_or_insert(lsn);
        self
    }

    /// What class of trouble this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The position of the page or record concerned, where there is one.
    pub fn lsn(&self) -> Option<Lsn> {
        self.lsn
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.lsn {
            Some(lsn) => write!(f, " at {lsn}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
