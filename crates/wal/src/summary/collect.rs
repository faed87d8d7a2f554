use walbrook_types::{Lsn, TimelineId};

use super::gather::{Gather, Outcome};
use super::head::{Head, HeadEnd};
use super::range::{Tail, WalSummary};
use super::skim::Skim;
use crate::{EndReason, RecordHeader, SegmentHeader};

/// Makes the summary of a segment while the scanner goes through it. It is told of each record in the
/// order of the log, whole or in pieces, and never fails: what it can't understand it notes.
#[derive(Debug)]
pub(crate) struct Collector {
    summary: WalSummary,
    gather: Gather,
    /// The record of which pieces come; that of the segment before while there is none.
    split: Option<Tail>,
}

impl Collector {
    pub(crate) fn new(header: &SegmentHeader) -> Self {
        Self { summary: WalSummary::new(header), gather: Gather::default(), split: None }
    }

    /// A record that lies on one page; `record` is exactly that.
    #[inline]
    pub(crate) fn record(&mut self, lsn: Lsn, header: &RecordHeader, record: &[u8]) {
        self.begins(header);
        self.summary.last_record = Some(lsn);
        let outcome = self.gather.record(self.summary.version, header, record);
        if outcome != Outcome::Noted {
            self.summary.note(lsn, outcome);
        }
    }

    /// A record begins that goes on in the next page.
    pub(crate) fn split(&mut self, lsn: Lsn, total_len: u32) {
        self.split = Some(Tail { lsn, record: Skim::new(total_len) });
    }

    /// The segment begins with the rest of a record.
    pub(crate) fn rest(&mut self, rem_len: u32) {
        self.summary.head = Some(Head::new(rem_len));
    }

    /// The next bytes of either.
    pub(crate) fn part(&mut self, part: &[u8]) {
        match (&mut self.split, &mut self.summary.head) {
            (Some(split), _) => split.record.feed(part),
            (None, Some(head)) => head.feed(part),
            (None, None) => {}
        }
    }

    /// Either is complete now.
    pub(crate) fn whole(&mut self) {
        let Some(split) = self.split.take() else {
            if let Some(head) = &mut self.summary.head {
                head.end(HeadEnd::Whole);
            }
            return;
        };
        let lsn = split.lsn;
        if let Some(header) = split.record.header() {
            self.begins(&header);
        }
        self.summary.last_record = Some(lsn);
        let outcome = split.record.finish(self.summary.version, &mut self.gather);
        self.summary.note(lsn, outcome);
    }

    /// Either was given up by the server after a crash, or the record of the segment before was where
    /// this one begins.
    pub(crate) fn given_up(&mut self) {
        if self.split.take().is_none() {
            self.summary.head.get_or_insert_with(Head::given_up).end(HeadEnd::GivenUp);
        }
    }

    pub(crate) fn finish(
        mut self,
        last_timeline: TimelineId,
        end: Lsn,
        ended: Option<EndReason>,
    ) -> WalSummary {
        if let (Some(split), None) = (self.split.take(), ended) {
            if let Some(header) = split.record.header() {
                self.begins(&header);
            }
            self.summary.tail = Some(split);
        }
        self.summary.last_timeline = last_timeline;
        (self.summary.end, self.summary.ended) = (end, ended);
        self.summary.blocks = self.gather.finish();
        self.summary
    }

    #[inline]
    fn begins(&mut self, header: &RecordHeader) {
        self.summary.first_prev.get_or_insert(header.prev);
    }
}
