use std::fmt;
use std::str::FromStr;

use crate::{ParseError, ParseErrorKind};

/// A PostgreSQL version since 10, as `server_version_num` counts it: `170005` is 17.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PgVersion(u32);

impl PgVersion {
    /// The oldest major version that Walbrook supports.
    pub const OLDEST_MAJOR: u32 = 15;

    /// From a `server_version_num`; versions before 10 counted otherwise and are not accepted.
    pub fn from_num(num: u32) -> Option<Self> {
        (100_000..10_000_000).contains(&num).then_some(Self(num))
    }

    /// As `server_version_num` gives it.
    pub fn num(self) -> u32 {
        self.0
    }

    /// The major version: 17 of 17.5.
    pub fn major(self) -> u32 {
        self.0 / 10_000
    }

    /// The minor version: 5 of 17.5.
    pub fn minor(self) -> u32 {
        self.0 % 10_000
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major(), self.minor())
    }
}

impl FromStr for PgVersion {
    type Err = ParseError;

    /// Reads what `SHOW server_version` answers: `17.5`, `15.18 (Debian 15.18-0+deb12u1)`,
    /// `19beta3`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(ParseErrorKind::Version, text);
        let first = text.split_whitespace().next().ok_or_else(error)?;
        let digits = first.find(|c: char| !c.is_ascii_digit()).unwrap_or(first.len());
        let major: u32 = first[..digits].parse().map_err(|_| error())?;
        // A beta or a release candidate has no minor number yet: it is the release's dot zero.
        let minor: u32 = match first[digits..].strip_prefix('.') {
            Some(minor) => minor.parse().map_err(|_| error())?,
            None => 0,
        };
        if minor >= 10_000 || major >= 1_000 {
            return Err(error());
        }
        Self::from_num(major * 10_000 + minor).ok_or_else(error)
    }
}
