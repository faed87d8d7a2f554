use std::fmt;
use std::str::FromStr;

use crate::{Lsn, ParseError, ParseErrorKind, SegmentNumber, TimelineId, WalSegmentSize};

/// The name of a file in `pg_wal` or in a WAL archive (macros of PostgreSQL's
/// `access/xlog_internal.h`).
///
/// A name alone does not tell a position: that takes the cluster's [`WalSegmentSize`].
///
/// ```
/// use walbrook_types::{Lsn, WalFileName, WalSegmentSize};
///
/// let name: WalFileName = "00000001000000020000000A".parse()?;
/// let WalFileName::Segment { .. } = name else { panic!("a whole segment") };
/// let start = name.segment_number(WalSegmentSize::DEFAULT).map(|n| n.start(WalSegmentSize::DEFAULT));
/// assert_eq!(start, Some(Lsn(0x2_0A00_0000)));
/// # Ok::<(), walbrook_types::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WalFileName {
    /// A complete segment: 24 hexadecimal digits.
    Segment {
        /// Digits 1 to 8.
        timeline: TimelineId,
        /// Digits 9 to 16: which 4 GiB of the log.
        log: u32,
        /// Digits 17 to 24: which segment of those 4 GiB.
        segment: u32,
    },
    /// `<segment>.partial`: the unfinished last segment of a timeline that a promotion left.
    Partial {
        /// Digits 1 to 8.
        timeline: TimelineId,
        /// Digits 9 to 16.
        log: u32,
        /// Digits 17 to 24.
        segment: u32,
    },
    /// `<segment>.<offset>.backup`: the backup history file that a finished base backup leaves.
    BackupHistory {
        /// Digits 1 to 8.
        timeline: TimelineId,
        /// Digits 9 to 16.
        log: u32,
        /// Digits 17 to 24.
        segment: u32,
        /// Where in that segment the backup starts, in bytes.
        offset: u32,
    },
    /// `<timeline>.history`: how a timeline came to be.
    TimelineHistory {
        /// The timeline that it describes.
        timeline: TimelineId,
    },
}

impl WalFileName {
    /// The name of a whole segment.
    pub fn segment(timeline: TimelineId, number: SegmentNumber, size: WalSegmentSize) -> Self {
        let per_log = size.segments_per_log();
        Self::Segment {
            timeline,
            log: u32::try_from(number.0 / per_log).unwrap_or(u32::MAX),
            segment: (number.0 % per_log) as u32,
        }
    }

    /// The name of the whole segment that holds the byte at `lsn`.
    pub fn containing(timeline: TimelineId, lsn: Lsn, size: WalSegmentSize) -> Self {
        Self::segment(timeline, size.segment_of(lsn), size)
    }

    /// The timeline in the name.
    pub fn timeline(&self) -> TimelineId {
        match *self {
            Self::Segment { timeline, .. }
            | Self::Partial { timeline, .. }
            | Self::BackupHistory { timeline, .. }
            | Self::TimelineHistory { timeline } => timeline,
        }
    }

    /// The segment that the name is about; none for a history file, nor for a name that a
    /// cluster with segments of this size can't have.
    pub fn segment_number(&self, size: WalSegmentSize) -> Option<SegmentNumber> {
        let (log, segment) = match *self {
            Self::Segment { log, segment, .. }
            | Self::Partial { log, segment, .. }
            | Self::BackupHistory { log, segment, .. } => (u64::from(log), u64::from(segment)),
            Self::TimelineHistory { .. } => return None,
        };
        let per_log = size.segments_per_log();
        (segment < per_log).then(|| SegmentNumber(log * per_log + segment))
    }
}

impl fmt::Display for WalFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tli = self.timeline().get();
        match *self {
            Self::Segment { log, segment, .. } => write!(f, "{tli:08X}{log:08X}{segment:08X}"),
            Self::Partial { log, segment, .. } => {
                write!(f, "{tli:08X}{log:08X}{segment:08X}.partial")
            }
            Self::BackupHistory { log, segment, offset, .. } => {
                write!(f, "{tli:08X}{log:08X}{segment:08X}.{offset:08X}.backup")
            }
            Self::TimelineHistory { .. } => write!(f, "{tli:08X}.history"),
        }
    }
}

impl FromStr for WalFileName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).ok_or_else(|| ParseError::new(ParseErrorKind::WalFileName, text))
    }
}

fn parse(text: &str) -> Option<WalFileName> {
    if let Some(timeline) = text.strip_suffix(".history") {
        return Some(WalFileName::TimelineHistory { timeline: TimelineId::new(hex8(timeline)?)? });
    }
    let stem = text.get(..24)?;
    let timeline = TimelineId::new(hex8(stem.get(..8)?)?)?;
    let log = hex8(stem.get(8..16)?)?;
    let segment = hex8(stem.get(16..24)?)?;
    match text.get(24..)? {
        "" => Some(WalFileName::Segment { timeline, log, segment }),
        ".partial" => Some(WalFileName::Partial { timeline, log, segment }),
        rest => {
            let offset = hex8(rest.strip_prefix('.')?.strip_suffix(".backup")?)?;
            Some(WalFileName::BackupHistory { timeline, log, segment, offset })
        }
    }
}

/// Eight upper-case hexadecimal digits: PostgreSQL writes and accepts no others
/// (`IsXLogFileName` tests for the characters `0123456789ABCDEF`).
fn hex8(text: &str) -> Option<u32> {
    let digits = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}
