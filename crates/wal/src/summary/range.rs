use walbrook_types::{Lsn, SystemId, TimelineId, WalSegmentSize};

use super::gather::{Gather, Outcome};
use super::head::{Head, HeadEnd};
use super::skim::Skim;
use super::table::BlockSummary;
use crate::{EndReason, Error, ErrorKind, SegmentHeader, WalVersion};

/// The summary of one segment, or of several that follow each other.
///
/// A segment's is made by [`SegmentScanner::summarize`](crate::SegmentScanner::summarize) or
/// [`summarize_segment`](crate::summarize_segment) from that segment alone, and
/// [merged](Self::merge) with the next one's. A record that lies in several segments is in the
/// [`blocks`](Self::blocks) of none of them: each keeps of its part what could matter, and the merge
/// puts it together. So the summary of a range is the same whichever way it is merged.
///
/// What it says may be relied on only between two positions that [`proven`](Self::proven) accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalSummary {
    /// The server's major version.
    pub version: WalVersion,
    /// Which cluster wrote the WAL.
    pub system_id: SystemId,
    /// How long its segments are.
    pub segment_size: WalSegmentSize,
    /// The timeline of the first page.
    pub timeline: TimelineId,
    /// The timeline of the last record, as far as pages and promotions tell.
    pub last_timeline: TimelineId,
    /// Where the first segment begins.
    pub start: Lsn,
    /// Where valid WAL ends: the end of the last segment unless the log [ended](Self::ended) before.
    pub end: Lsn,
    /// Why valid WAL ends within the last segment; none when it does not.
    pub ended: Option<EndReason>,
    /// Where a record says that WAL is, or was until then, written with `wal_level=minimal`: not all
    /// changes are in such WAL.
    pub minimal: Option<Lsn>,
    /// Where a record begins whose contents are unknown: not laid out as PostgreSQL does, or a
    /// record in several segments whose decisive bytes were too many to be kept.
    pub unknown: Option<Lsn>,
    /// What the records did that lie here from beginning to end.
    pub blocks: BlockSummary,
    /// The rest of a record that began before.
    pub(super) head: Option<Head>,
    /// A record that begins here and does not end.
    pub(super) tail: Option<Tail>,
    /// The back link of the first record that begins here.
    pub(super) first_prev: Option<Lsn>,
    /// Where the last record begins that begins and ends here.
    pub(super) last_record: Option<Lsn>,
}

/// A record that goes on in the next segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) lsn: Lsn,
    pub(super) record: Skim,
}

impl WalSummary {
    pub(super) fn new(header: &SegmentHeader) -> Self {
        Self {
            version: header.version,
            system_id: header.system_id,
            segment_size: header.segment_size,
            timeline: header.timeline,
            last_timeline: header.timeline,
            start: header.start,
            end: header.start,
            ended: None,
            minimal: None,
            unknown: None,
            blocks: BlockSummary::new(),
            head: None,
            tail: None,
            first_prev: None,
            last_record: None,
        }
    }

    /// How many segments it is about; the last one may be incomplete.
    pub fn segments(&self) -> u64 {
        self.end.bytes_since(self.start).div_ceil(self.segment_size.bytes())
    }

    /// Whether it begins within a record of the segment before.
    pub fn begins_within_record(&self) -> bool {
        self.head.is_some()
    }

    /// Where a record begins that does not end here. What it does is not in
    /// [`blocks`](Self::blocks) yet.
    pub fn crossing(&self) -> Option<Lsn> {
        self.tail.as_ref().map(|tail| tail.lsn)
    }

    /// All that was done by the records that begin at `from` or later and before `to`, and perhaps more
    /// from the same segments; if this summary proves to be complete for that range. The changes of a
    /// base backup up to the next: from the start LSN of the one to that of the other.
    ///
    /// # Errors
    ///
    /// [`IncompleteSummary`](ErrorKind::IncompleteSummary), which says what is missing.
    pub fn proven(&self, from: Lsn, to: Lsn) -> Result<&BlockSummary, Error> {
        let missing = |lsn: Lsn, what: &str| {
            let message = format!("the block summary of {} to {} {what}", self.start, self.end);
            Err(Error::at(ErrorKind::IncompleteSummary, lsn, message))
        };
        if from < self.start {
            return missing(from, "begins too late: WAL is missing from");
        }
        if let Some(lsn) = self.unknown {
            return missing(lsn, "has a record that could not be understood");
        }
        if let Some(lsn) = self.minimal {
            return missing(lsn, "has WAL written with wal_level=minimal, which lacks changes,");
        }
        let known = match (&self.tail, &self.head) {
            (Some(tail), _) => tail.lsn,
            // No record begins in it at all, so none is missing that does.
            _ => self.end,
        };
        if to > known {
            return missing(known, "ends too early: WAL is missing from");
        }
        Ok(&self.blocks)
    }

    /// Goes on with the WAL that follows directly, on the same timeline or one that branches off
    /// exactly there. The back link between the two is checked, which tells the segments of different
    /// branches apart nearly always; whether the timelines descend from each other is for
    /// [`TimelineHistory`](crate::TimelineHistory) to say.
    ///
    /// # Errors
    ///
    /// [`SummaryGap`](ErrorKind::SummaryGap) when `next` does not follow; this summary is as it was
    /// then.
    pub fn merge(&mut self, next: &Self) -> Result<(), Error> {
        self.check_follows(next)?;
        match (&mut self.tail, &mut self.head, &next.head) {
            (Some(tail), _, Some(rest)) => match rest.end {
                HeadEnd::GivenUp => self.tail = None,
                HeadEnd::Open => rest.feed_into(&mut tail.record),
                HeadEnd::Whole => {
                    rest.feed_into(&mut tail.record);
                    if let Some(tail) = self.tail.take() {
                        self.finish(&tail);
                    }
                }
            },
            (None, Some(head), Some(rest)) if head.end == HeadEnd::Open => head.append(rest),
            _ => {}
        }
        self.blocks.merge(&next.blocks);
        self.first_prev = self.first_prev.or(next.first_prev);
        self.last_record = next.last_record.or(self.last_record);
        self.minimal = self.minimal.or(next.minimal);
        self.unknown = self.unknown.or(next.unknown);
        self.last_timeline = next.last_timeline;
        (self.end, self.ended) = (next.end, next.ended);
        if next.tail.is_some() {
            self.tail.clone_from(&next.tail);
        }
        Ok(())
    }

    /// Notes what a record does that is complete now.
    fn finish(&mut self, tail: &Tail) {
        let mut gather = Gather::default();
        let outcome = tail.record.finish(self.version, &mut gather);
        self.note(tail.lsn, outcome);
        self.blocks.merge(&gather.finish());
        if let Some(header) = tail.record.header() {
            self.first_prev.get_or_insert(header.prev);
        }
        self.last_record = Some(tail.lsn);
    }

    /// Notes what is to be known of the record at this position besides its changes.
    pub(super) fn note(&mut self, lsn: Lsn, outcome: Outcome) {
        match outcome {
            Outcome::Noted => {}
            Outcome::Minimal => {
                self.minimal.get_or_insert(lsn);
            }
            Outcome::Unknown => {
                self.unknown.get_or_insert(lsn);
            }
        }
    }

    fn check_follows(&self, next: &Self) -> Result<(), Error> {
        let gap = |what: String| {
            let message = format!("block summary of {} {what}", next.start);
            Err(Error::at(ErrorKind::SummaryGap, self.end, message))
        };
        if next.system_id != self.system_id {
            return gap(format!("is of another cluster, system identifier {}", next.system_id));
        }
        if next.version != self.version || next.segment_size != self.segment_size {
            return gap("is of another version or segment size".to_owned());
        }
        if self.ended.is_some() || next.start != self.end {
            return gap("does not follow the WAL before it, which ends".to_owned());
        }
        if next.timeline < self.last_timeline {
            return gap(format!("goes back to timeline {}", next.timeline));
        }
        let missing = match (&self.tail, &self.head) {
            (Some(tail), _) => Some(tail.record.remaining()),
            (None, Some(head)) if head.end == HeadEnd::Open => Some(head.remaining()),
            _ => None,
        };
        let fits = match (missing, &next.head) {
            (None, None) => true,
            (Some(_), Some(rest)) if rest.end == HeadEnd::GivenUp && rest.rem_len == 0 => true,
            (Some(missing), Some(rest)) => missing == rest.rem_len,
            _ => false,
        };
        if !fits {
            return gap("does not go on with the record that crosses into it".to_owned());
        }
        let before = match (&self.tail, &next.head) {
            (Some(tail), Some(rest)) if rest.end == HeadEnd::Whole => Some(tail.lsn),
            (None, _) if missing.is_some() => None,
            _ => self.last_record,
        };
        if let (Some(before), Some(prev)) = (before, next.first_prev)
            && before != prev
        {
            return gap(format!("links back to {prev} rather than {before}: another history"));
        }
        Ok(())
    }
}
