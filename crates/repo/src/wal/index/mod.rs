//! What is known of a system's WAL without listing it: names of two kinds of empty objects.
//!
//! A *run* says that every segment from one to another was in the repository, and what they took.
//! Whoever has listed them may say so ([`WalArchive::record_runs`]), at any time. An *expired* note
//! says that an expiry removes, or has removed, segments; it is there before the first of them goes, and
//! for ever. What is in a run and in no note is there, unless somebody took it away by other means: so
//! runs and notes need no lock and no order between those who make them. [`model`] searches all orders.
//!
//! A [`WalIndex`] is what both say; [`WalArchive::known_ranges`] lists what it says nothing of.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use walbrook_store::ObjectMeta;
use walbrook_types::{SegmentNumber, TimelineId, WalFileName};

use crate::repository::is_absent;
use crate::wal::ranges::fold;
use crate::wal::{SegmentSet, WalArchive, WalRange};
use crate::{Result, layout};

#[cfg(test)]
mod model;
mod names;
mod notes;
mod record;

/// What a repository says of one system's WAL without its segments being listed.
#[derive(Debug, Clone, Default)]
pub struct WalIndex {
    lines: BTreeMap<TimelineId, Line>,
}

#[derive(Debug, Clone, Default)]
struct Line {
    /// As the names have them: in any order, and they may overlap.
    runs: Vec<WalRange>,
    expired: SegmentSet,
}

/// How many segments are looked at one by one rather than listed.
const LOOKS: u64 = 3;

/// Listings of holes that are under way at once.
const LISTINGS: usize = 8;

impl WalIndex {
    /// The timelines of which it says anything, ascending.
    pub fn timelines(&self) -> impl Iterator<Item = TimelineId> + '_ {
        self.lines.keys().copied()
    }

    /// The segments of a timeline that runs say to be there, and no note to be gone.
    pub fn recorded(&self, timeline: TimelineId) -> SegmentSet {
        SegmentSet::new(self.ranges(timeline).iter().map(|range| (range.first, range.last)))
    }

    /// The segments of a timeline that an expiry removed, or was about to.
    pub fn expired(&self, timeline: TimelineId) -> SegmentSet {
        self.lines.get(&timeline).map(|line| line.expired.clone()).unwrap_or_default()
    }

    /// The same as [`recorded`](Self::recorded), with what they take: ranges that ascend and do not
    /// overlap, though they may touch.
    fn ranges(&self, timeline: TimelineId) -> Vec<WalRange> {
        self.lines.get(&timeline).map(Line::ranges).unwrap_or_default()
    }

    /// The runs of a timeline that have one of these segments.
    pub(crate) fn runs_with(
        &self,
        timeline: TimelineId,
        (first, last): (SegmentNumber, SegmentNumber),
    ) -> Vec<WalRange> {
        let runs = self.lines.get(&timeline).map(|line| line.runs.as_slice()).unwrap_or_default();
        runs.iter().filter(|run| run.first <= last && run.last >= first).copied().collect()
    }

    fn line(&mut self, timeline: TimelineId) -> &mut Line {
        self.lines.entry(timeline).or_default()
    }
}

impl Line {
    fn ranges(&self) -> Vec<WalRange> {
        let mut parts = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            let left = SegmentSet::new([(run.first, run.last)]).without(&self.expired);
            let whole = left.segments() == run.segments();
            parts.extend(left.ranges().map(|(first, last)| (run.part(first, last), whole)));
        }
        // Of two that say the same, the one is exact of which nothing was cut off.
        parts.sort_unstable_by_key(|(part, whole)| (part.first, Reverse(part.last), !whole));
        let mut ranges: Vec<WalRange> = Vec::with_capacity(parts.len());
        for (part, _) in parts {
            let behind = ranges.last().map_or(part.first, |range| range.last.next());
            let first = part.first.max(behind);
            if first <= part.last {
                ranges.push(part.part(first, part.last));
            }
        }
        ranges
    }
}

/// Ranges of one timeline that do not overlap, in their order, those that touch as one.
fn joined(mut ranges: Vec<WalRange>) -> Vec<WalRange> {
    ranges.sort_unstable_by_key(|range| range.first);
    let mut joined: Vec<WalRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(before) if before.last.next() == range.first => *before = join(before, &range),
            _ => joined.push(range),
        }
    }
    joined
}

fn join(before: &WalRange, behind: &WalRange) -> WalRange {
    let stored_bytes = before.stored_bytes.saturating_add(behind.stored_bytes);
    WalRange { last: behind.last, stored_bytes, ..*before }
}

impl WalArchive {
    /// Reads what is known without listing segments: a request for each 1000 names, and there are few
    /// (see [`record_runs`](Self::record_runs)).
    pub async fn index(&self) -> Result<WalIndex> {
        let mut index = WalIndex::default();
        for object in self.objects(self.runs_folder()).await? {
            if let Some(run) = names::parse_run(&object.path, self.segment_size()) {
                index.line(run.timeline).runs.push(run);
            }
        }
        let mut expired: BTreeMap<TimelineId, Vec<_>> = BTreeMap::new();
        for object in self.objects(self.expired_folder()).await? {
            if let Some((timeline, range)) = names::parse_note(&object.path, self.segment_size()) {
                expired.entry(timeline).or_default().push(range);
            }
        }
        for (timeline, ranges) in expired {
            index.line(timeline).expired = SegmentSet::new(ranges);
        }
        Ok(index)
    }

    /// The segments of a timeline, as runs without gaps: those that the index says are there, and
    /// those found by a listing of all that it says nothing of. A request for each stretch of these, and
    /// for each 1000 names in them.
    ///
    /// What somebody took away by other means than an expiry is among them still:
    /// [`missing`](Self::missing) finds out, and [`ranges`](Self::ranges), which lists all.
    pub async fn known_ranges(
        &self,
        timeline: TimelineId,
        index: &WalIndex,
    ) -> Result<Vec<WalRange>> {
        let holes = index.recorded(timeline).rest();
        let looks: Vec<_> = holes.ranges().map(|hole| self.listed(timeline, hole)).collect();
        let found: Vec<Vec<WalRange>> =
            stream::iter(looks).buffered(LISTINGS).try_collect().await?;
        let mut ranges = index.ranges(timeline);
        ranges.extend(found.into_iter().flatten());
        Ok(joined(ranges))
    }

    /// Which of the segments from `first` to `last` of a timeline are not there, by a listing, or by a
    /// look at each of a few: a listing brings a thousand names.
    pub async fn missing(
        &self,
        timeline: TimelineId,
        (first, last): (SegmentNumber, SegmentNumber),
    ) -> Result<SegmentSet> {
        if last.0.saturating_sub(first.0) < LOOKS {
            let mut missing = Vec::new();
            for number in (first.0..=last.0).map(SegmentNumber) {
                let name = WalFileName::segment(timeline, number, self.segment_size());
                match self.cluster().store().head(&self.path(&name)).await {
                    Ok(_) => {}
                    Err(error) if is_absent(&error) => missing.push((number, number)),
                    Err(error) => return Err(error.into()),
                }
            }
            return Ok(SegmentSet::new(missing));
        }
        let found = self.listed(timeline, (first, last)).await?;
        let found = SegmentSet::new(found.iter().map(|range| (range.first, range.last)));
        Ok(SegmentSet::new([(first, last)]).without(&found))
    }

    /// Those of the segments from `first` to `last` that there are.
    async fn listed(
        &self,
        timeline: TimelineId,
        (first, last): (SegmentNumber, SegmentNumber),
    ) -> Result<Vec<WalRange>> {
        let size = self.segment_size();
        let names = self.names(timeline, Some(first).filter(|first| first.0 > 0));
        let within = names.try_take_while(|(name, _)| {
            let number = name.segment_number(size);
            std::future::ready(Ok(number.is_none_or(|number| number <= last)))
        });
        fold(within.boxed(), size).await
    }

    fn runs_folder(&self) -> String {
        layout::wal_runs(self.cluster().name(), self.system())
    }

    fn expired_folder(&self) -> String {
        layout::wal_expired(self.cluster().name(), self.system())
    }

    async fn objects(&self, folder: String) -> Result<Vec<ObjectMeta>> {
        Ok(self.cluster().store().list(&folder, None).try_collect().await?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range((first, len, bytes): (u64, u64, u64)) -> WalRange {
        let (first, last) = (SegmentNumber(first), SegmentNumber(first + len));
        WalRange { timeline: TimelineId::FIRST, first, last, stored_bytes: bytes * (len + 1) }
    }

    proptest! {
        #[test]
        fn what_is_recorded_is_in_a_run_and_in_no_note(
            runs in proptest::collection::vec((0..60u64, 0..20u64), 0..8),
            notes in proptest::collection::vec((0..60u64, 0..12u64), 0..5),
        ) {
            // Each segment takes 7 bytes, so that all shares are exact.
            let runs: Vec<_> = runs.into_iter().map(|(first, len)| range((first, len, 7))).collect();
            let last = |(first, len)| (SegmentNumber(first), SegmentNumber(first + len));
            let expired = SegmentSet::new(notes.iter().copied().map(last));
            let line = Line { runs: runs.clone(), expired };
            let index = WalIndex { lines: BTreeMap::from([(TimelineId::FIRST, line)]) };
            let ranges = index.ranges(TimelineId::FIRST);
            let mut found = BTreeSet::new();
            for range in &ranges {
                prop_assert_eq!(range.stored_bytes, 7 * range.segments());
                for number in range.first.0..=range.last.0 {
                    prop_assert!(found.insert(number), "twice: {}", number);
                }
            }
            let gone = |n: &u64| notes.iter().any(|(first, len)| (*first..=first + len).contains(n));
            let naive: BTreeSet<u64> =
                runs.iter().flat_map(|run| run.first.0..=run.last.0).filter(|n| !gone(n)).collect();
            prop_assert_eq!(&found, &naive);
            let whole = joined(ranges);
            prop_assert!(whole.windows(2).all(|pair| pair[0].last.next() < pair[1].first));
            prop_assert_eq!(whole.iter().map(WalRange::segments).sum::<u64>(), naive.len() as u64);
        }
    }

    /// What an expiry has counted is believed before what is only known in part.
    #[test]
    fn the_exact_one_counts() {
        let line = Line {
            runs: vec![range((0, 9, 100)), range((5, 4, 1))],
            expired: SegmentSet::new([(SegmentNumber(0), SegmentNumber(4))]),
        };
        assert_eq!(line.ranges(), [range((5, 4, 1))]);
    }
}
