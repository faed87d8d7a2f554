use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use crate::{ParseError, ParseErrorKind};

/// A log sequence number: a byte position in the write-ahead log.
///
/// `XLogRecPtr` in PostgreSQL's `access/xlogdefs.h`; printed as `pg_lsn` prints it, two
/// hexadecimal halves with a slash. Zero is PostgreSQL's `InvalidXLogRecPtr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The position that PostgreSQL uses for "none".
    pub const INVALID: Self = Self(0);

    /// Whether this is a real position.
    pub fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// The distance to an `earlier` position in bytes, or zero when it is not earlier.
    pub fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Lsn {
    type Output = Self;

    /// Saturates: a position never wraps round to the beginning of the log.
    fn add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }
}

impl Sub<u64> for Lsn {
    type Output = Self;

    /// Saturates at zero.
    fn sub(self, bytes: u64) -> Self {
        Self(self.0.saturating_sub(bytes))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let half = |s: &str| {
            let plain = (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(s, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| ParseError::new(ParseErrorKind::Lsn, text))
    }
}
