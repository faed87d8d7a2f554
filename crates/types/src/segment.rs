use std::fmt;
use std::str::FromStr;

use crate::{Lsn, ParseError, ParseErrorKind};

/// The size of a WAL segment in bytes: a power of two from 1 MiB to 1 GiB, chosen by
/// `initdb --wal-segsize` (`IsValidWalSegSize` in PostgreSQL's `access/xlog_internal.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalSegmentSize(u32);

impl WalSegmentSize {
    /// 16 MiB, what `initdb` chooses.
    pub const DEFAULT: Self = Self(16 << 20);

    /// The size of this many bytes, if a server can have it.
    pub fn new(bytes: u64) -> Option<Self> {
        let valid = bytes.is_power_of_two() && ((1 << 20)..=(1 << 30)).contains(&bytes);
        valid.then_some(Self(bytes as u32))
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// Segments in one "log": the 4 GiB that the middle eight digits of a WAL file name count.
    pub fn segments_per_log(self) -> u64 {
        (1 << 32) / self.bytes()
    }

    /// The segment that holds the byte at `lsn`.
    pub fn segment_of(self, lsn: Lsn) -> SegmentNumber {
        SegmentNumber(lsn.0 / self.bytes())
    }

    /// The segment that holds the byte before `lsn`: the last one needed to have everything up to
    /// an end position, which may stand just behind the end of a segment (`XLByteToPrevSeg`).
    pub fn segment_before(self, lsn: Lsn) -> SegmentNumber {
        SegmentNumber(lsn.0.saturating_sub(1) / self.bytes())
    }

    /// The distance of `lsn` from the start of its segment, in bytes.
    pub fn offset_of(self, lsn: Lsn) -> u64 {
        lsn.0 % self.bytes()
    }
}

impl fmt::Display for WalSegmentSize {
    /// As `SHOW wal_segment_size` answers: `16MB`, `1GB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> 20 {
            1024 => f.write_str("1GB"),
            mib => write!(f, "{mib}MB"),
        }
    }
}

impl FromStr for WalSegmentSize {
    type Err = ParseError;

    /// Reads what `SHOW wal_segment_size` answers: `16MB`, `1GB`, or a number of bytes.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (digits, unit) = match text.trim_end_matches(|c: char| c.is_ascii_alphabetic()) {
            digits if text.ends_with("GB") && digits.len() + 2 == text.len() => (digits, 1 << 30),
            digits if text.ends_with("MB") && digits.len() + 2 == text.len() => (digits, 1 << 20),
            digits if text.ends_with("kB") && digits.len() + 2 == text.len() => (digits, 1 << 10),
            _ => (text, 1),
        };
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain
            .then(|| digits.parse::<u64>().ok()?.checked_mul(unit))
            .flatten()
            .and_then(Self::new)
            .ok_or_else(|| ParseError::new(ParseErrorKind::SegmentSize, text))
    }
}

/// The number of a WAL segment, counted from the beginning of the log (`XLogSegNo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(pub u64);

impl SegmentNumber {
    /// The position of its first byte.
    pub fn start(self, size: WalSegmentSize) -> Lsn {
        Lsn(self.0.saturating_mul(size.bytes()))
    }

    /// The position just behind its last byte.
    pub fn end(self, size: WalSegmentSize) -> Lsn {
        Lsn(self.0.saturating_add(1).saturating_mul(size.bytes()))
    }

    /// The segment that follows.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
