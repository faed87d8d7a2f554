use std::fmt;

/// Which kind of text could not be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// An LSN such as `16/B374D848`.
    Lsn,
    /// A timeline ID: a decimal number from 1.
    Timeline,
    /// A WAL segment size: a power of two from 1 MiB to 1 GiB.
    SegmentSize,
    /// The name of a file in `pg_wal`.
    WalFileName,
    /// A system identifier: a 64-bit decimal number.
    SystemId,
    /// A server version.
    Version,
    /// A `backup_label` file.
    BackupLabel,
    /// A moment in UTC such as `2026-11-22T04:03:29.5Z`.
    Timestamp,
}

impl ParseErrorKind {
    fn expected(self) -> &'static str {
        match self {
            Self::Lsn => "an LSN such as 16/B374D848",
            Self::Timeline => "a timeline ID from 1 to 4294967295",
            Self::SegmentSize => "a WAL segment size: a power of two from 1 MiB to 1 GiB",
            Self::WalFileName => "a WAL file name such as 000000010000000A000000FF",
            Self::SystemId => "a system identifier: a 64-bit decimal number",
            Self::Version => "a PostgreSQL version such as 17.5",
            Self::BackupLabel => "a backup_label file",
            Self::Timestamp => "a moment in UTC such as 2026-11-22T04:03:29.5Z",
        }
    }
}

/// Text that is not what it should be. Says what was expected and shows what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    kind: ParseErrorKind,
    found: String,
}

impl ParseError {
    pub(crate) fn new(kind: ParseErrorKind, found: impl AsRef<str>) -> Self {
        // Input from outside may be long: what a message shows of it is bounded.
        let found = found.as_ref().chars().take(80).collect();
        Self { kind, found }
    }

    /// What was being parsed.
    pub fn kind(&self) -> ParseErrorKind {
        self.kind
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not {}", self.found, self.kind.expected())
    }
}

impl std::error::Error for ParseError {}

/// Reads a plain decimal number: no sign, no space, no plus.
pub(crate) fn parse_decimal<T: std::str::FromStr>(
    text: &str,
    kind: ParseErrorKind,
) -> Result<T, ParseError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| ParseError::new(kind, text))
}
