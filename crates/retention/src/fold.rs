use jiff::Timestamp;
use walbrook_types::{SegmentNumber, SystemId, TimelineId, WalSegmentSize};

use crate::WalRange;

/// Folds single segments into ranges, one for each run without a gap.
///
/// Segments in the order of a listing (system, timeline, number) take memory for the gaps only,
/// however many segments there are. Any order gives the same result.
///
/// ```
/// use walbrook_retention::WalFolder;
/// use walbrook_types::{SegmentNumber, SystemId, TimelineId, WalSegmentSize};
///
/// let mut folder = WalFolder::new(SystemId(7), WalSegmentSize::DEFAULT);
/// for number in [1, 2, 3, 8, 9] {
///     folder.push(TimelineId::FIRST, SegmentNumber(number), 1000, None);
/// }
/// assert_eq!(folder.finish().len(), 2);
/// ```
#[derive(Debug, Clone)]
pub struct WalFolder {
    system: SystemId,
    segment_size: WalSegmentSize,
    ranges: Vec<WalRange>,
    sorted: bool,
}

impl WalFolder {
    /// For the WAL of one system.
    pub fn new(system: SystemId, segment_size: WalSegmentSize) -> Self {
        Self { system, segment_size, ranges: Vec::new(), sorted: true }
    }

    /// Adds a segment that takes `bytes`, and was written before `written_by` if that is known.
    pub fn push(
        &mut self,
        timeline: TimelineId,
        number: SegmentNumber,
        bytes: u64,
        written_by: Option<Timestamp>,
    ) {
        let size = self.segment_size;
        let mut range = WalRange::segments(self.system, timeline, number, number, size);
        range.bytes = bytes;
        range.written_by = written_by;
        if let Some(last) = self.ranges.last_mut() {
            if last.timeline == timeline && last.end == range.start {
                return join(last, &range);
            }
            self.sorted &= (last.timeline, last.end) < (timeline, range.start);
        }
        self.ranges.push(range);
    }

    /// The ranges, by timeline and position.
    pub fn finish(mut self) -> Vec<WalRange> {
        if !self.sorted {
            self.ranges.sort_by_key(|range| (range.timeline, range.start, range.end));
            self.ranges.dedup_by(|next, last| {
                let touch = last.timeline == next.timeline && next.start <= last.end;
                if touch {
                    join(last, next);
                }
                touch
            });
        }
        self.ranges
    }
}

fn join(last: &mut WalRange, next: &WalRange) {
    last.end = last.end.max(next.end);
    last.bytes = last.bytes.saturating_add(next.bytes);
    // A range of which a part has no known time has none.
    last.written_by = match (last.written_by, next.written_by) {
        (Some(a), Some(b)) => Some(a.max(b)),
        _ => None,
    };
}
