use jiff::Timestamp;
use walbrook_types::{PgTimestamp, SegmentNumber};
use walbrook_wal::{Record, RmgrId, XactRecord};

use super::source::Source;
use crate::Result;

/// When the transactions of a segment ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndTimes {
    pub(super) last: Timestamp,
}

/// The server's clock may have stood anywhere; a time that no calendar has becomes the nearest.
pub(crate) fn timestamp(time: PgTimestamp) -> Timestamp {
    let micros = time.unix_micros();
    let nearest = if micros < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(micros).unwrap_or(nearest)
}

/// When a transaction ended, if this is the record of its end: what `recovery_target_time` is
/// compared with.
pub(super) fn end_time(record: &Record) -> Option<Timestamp> {
    if record.header.rmgr != RmgrId::XACT {
        return None;
    }
    match record.xact() {
        Ok(Some(XactRecord::Commit(end) | XactRecord::Abort(end))) => Some(timestamp(end.time)),
        _ => None,
    }
}

/// A segment of the run from `first` to `last` at or before the first one in which a transaction
/// ended at `time` or later: there, or in the one behind it, is where to look.
///
/// Commits follow one another in time but for what passes between looking at the clock and
/// writing the record, so that halving finds it; that some segments tell nothing is allowed for.
pub(super) async fn segment_before(
    source: &Source,
    time: Timestamp,
    first: SegmentNumber,
    last: SegmentNumber,
) -> Result<SegmentNumber> {
    // All before `low` end earlier, all from `high` on end at the time or later.
    let (mut low, mut high) = (first.0, last.0.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        let mut probe = middle;
        let ends = loop {
            match source.end_times(SegmentNumber(probe)).await? {
                Some(ends) => break Some(ends.last),
                None if probe > low => probe -= 1,
                None => break None,
            }
        };
        match ends {
            Some(end) if end >= time => high = probe,
            // Nothing ended from `low` to the middle, or all of it before.
            _ => low = middle + 1,
        }
    }
    // A record on the boundary of two segments is in the notes of neither.
    Ok(SegmentNumber(low.saturating_sub(1).max(first.0)))
}
