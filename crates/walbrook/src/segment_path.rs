//! Which WAL segments there are along the history of a timeline, wherever they are kept.

use walbrook_repo::WalRange;
use walbrook_types::{Lsn, SegmentNumber, TimelineId, WalFileName, WalSegmentSize};
use walbrook_wal::TimelineHistory;

/// A timeline and its ancestors, with the segments that there are of each.
#[derive(Debug, Clone)]
pub(crate) struct SegmentPath {
    history: TimelineHistory,
    size: WalSegmentSize,
    /// Newest first, as PostgreSQL looks for segments.
    steps: Vec<Step>,
}

/// One timeline's part of a path.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) timeline: TimelineId,
    /// The first segment that PostgreSQL would look for on this timeline.
    pub(crate) first: SegmentNumber,
    /// The last one: that in which a descendant branched off.
    pub(crate) last: Option<SegmentNumber>,
    pub(crate) ranges: Vec<WalRange>,
}

impl Step {
    pub(crate) fn new(
        timeline: TimelineId,
        begin: Lsn,
        end: Option<Lsn>,
        size: WalSegmentSize,
        ranges: Vec<WalRange>,
    ) -> Self {
        let last = end.map(|end| size.segment_before(end));
        Self { timeline, first: size.segment_of(begin), last, ranges }
    }

    /// Whether PostgreSQL would look for this segment on this timeline.
    fn covers(&self, number: SegmentNumber) -> bool {
        number >= self.first && self.last.is_none_or(|last| number <= last)
    }
}

impl SegmentPath {
    pub(crate) fn new(
        history: TimelineHistory,
        size: WalSegmentSize,
        mut steps: Vec<Step>,
    ) -> Self {
        steps.sort_by_key(|step| std::cmp::Reverse(step.timeline));
        Self { history, size, steps }
    }

    pub(crate) fn history(&self) -> &TimelineHistory {
        &self.history
    }

    pub(crate) fn timeline(&self) -> TimelineId {
        self.history.timeline()
    }

    pub(crate) fn size(&self) -> WalSegmentSize {
        self.size
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The timeline whose copy of a segment PostgreSQL would read, and the last segment of the
    /// run without a gap that it is in.
    fn run_at(&self, number: SegmentNumber) -> Option<(TimelineId, SegmentNumber)> {
        self.steps.iter().filter(|step| step.covers(number)).find_map(|step| {
            let range = step.ranges.iter().find(|range| range.contains(number))?;
            let last = step.last.map_or(range.last, |last| last.min(range.last));
            Some((step.timeline, last))
        })
    }

    /// The name of the file that has a segment.
    pub(crate) fn name(&self, number: SegmentNumber) -> Option<WalFileName> {
        let (timeline, _) = self.run_at(number)?;
        Some(WalFileName::segment(timeline, number, self.size))
    }

    /// The timeline whose copy of a segment PostgreSQL would read, and the last segment of those behind
    /// it of which the same is so.
    pub(crate) fn stretch(&self, number: SegmentNumber) -> Option<(TimelineId, SegmentNumber)> {
        let (timeline, run) = self.run_at(number)?;
        // A run may lead past the point where a newer timeline has segments of its own.
        let newer = self.steps.iter().filter(|step| step.timeline > timeline);
        let switch = newer.map(|step| step.first).filter(|first| *first > number).min();
        Some((timeline, switch.map_or(run, |first| run.min(SegmentNumber(first.0 - 1)))))
    }

    /// The last segment that can be reached from `first` on without a gap; `None` when `first`
    /// itself is missing.
    pub(crate) fn reach(&self, first: SegmentNumber) -> Option<SegmentNumber> {
        let mut reached = None;
        let mut next = first;
        while let Some((timeline, last)) = self.stretch(next) {
            reached = Some(last);
            // The last segment of a timeline that was left, where its successor has none of the
            // same number, leads up to the switch and no further.
            let branched = |step: &Step| step.timeline > timeline && step.first == last;
            if self.steps.iter().any(branched) {
                break;
            }
            next = last.next();
        }
        reached
    }

    /// The first segment that is missing on the way from `first` to `last`.
    pub(crate) fn first_missing(
        &self,
        first: SegmentNumber,
        last: SegmentNumber,
    ) -> Option<WalFileName> {
        let missing = match self.reach(first) {
            None => first,
            Some(reached) if reached < last => reached.next(),
            Some(_) => return None,
        };
        Some(self.wanted_name(missing))
    }

    /// The name by which PostgreSQL would ask for a segment that is not there: on the newest
    /// timeline that could have it.
    pub(crate) fn wanted_name(&self, missing: SegmentNumber) -> WalFileName {
        let step = self.steps.iter().find(|step| step.covers(missing));
        let timeline = step.map_or(self.timeline(), |step| step.timeline);
        WalFileName::segment(timeline, missing, self.size)
    }

    /// The timelines on which PostgreSQL would look for the segments from `first` to `last`, in their order.
    pub(crate) fn wanted(
        &self,
        first: SegmentNumber,
        last: SegmentNumber,
    ) -> Vec<(TimelineId, (SegmentNumber, SegmentNumber))> {
        let begins = self.steps.iter().map(|step| step.first);
        let behind = self.steps.iter().filter_map(|step| step.last).map(SegmentNumber::next);
        let cuts = begins.chain(behind).filter(|cut| (first..=last).contains(cut));
        let mut begins: Vec<SegmentNumber> = cuts.chain([first]).collect();
        begins.sort_unstable();
        begins.dedup();
        let ends = begins.iter().skip(1).map(|next| SegmentNumber(next.0 - 1)).chain([last]);
        let timeline = |first: SegmentNumber| self.wanted_name(first).timeline();
        begins.iter().zip(ends).map(|(first, last)| (timeline(*first), (*first, last))).collect()
    }

    /// The first segment of the path from `from` on that there is.
    fn next_there(&self, from: SegmentNumber) -> Option<SegmentNumber> {
        let within = |step: &Step, range: &WalRange| {
            let first = range.first.max(step.first).max(from);
            (first <= range.last && step.last.is_none_or(|last| first <= last)).then_some(first)
        };
        let all = self.steps.iter();
        all.flat_map(|step| step.ranges.iter().filter_map(move |r| within(step, r))).min()
    }

    /// The runs of segments without a gap, in order: as many as there are gaps, and one more.
    pub(crate) fn runs(&self) -> Vec<(SegmentNumber, SegmentNumber)> {
        let mut runs = Vec::new();
        let mut next = self.next_there(SegmentNumber(0));
        while let Some(first) = next {
            let last = self.reach(first).unwrap_or(first);
            runs.push((first, last));
            next = self.next_there(last.next());
        }
        runs
    }
}
