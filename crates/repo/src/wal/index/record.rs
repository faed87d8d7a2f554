//! Saying which segments there are.

use futures::stream::{self, StreamExt, TryStreamExt};
use walbrook_store::Payload;
use walbrook_types::TimelineId;

use super::{LISTINGS, WalIndex, join, names};
use crate::Result;
use crate::put::create_or_same;
use crate::wal::{SegmentSet, WalArchive, WalRange};

/// How many of a timeline's stretches without runs are looked at each time, the newest: WAL comes
/// nearly in order, and what is missing between others today may come tomorrow.
const STRETCHES: usize = 4;

/// A run that touches the next one is joined with it unless it is more than so many times as long: so
/// a timeline without gaps has about as many runs as its length has binary digits.
const GROWTH: u64 = 2;

impl WalArchive {
    /// How many segments without a gap are worth a run: a listing of fewer takes one request.
    pub const RUN_AT_LEAST: u64 = 64;

    /// Writes down which segments there are, for readers of the [`index`](Self::index): lists those that
    /// came since that was done last, and makes a run for each stretch of `at_least` segments
    /// ([`RUN_AT_LEAST`](Self::RUN_AT_LEAST)) without a gap. Runs that touch are joined, so that there
    /// are few. Anybody may do this at any time; nothing but requests is lost when nobody does.
    ///
    /// Takes some requests for each timeline, and one for each 1000 names of what is new.
    pub async fn record_runs(&self, at_least: u64) -> Result<()> {
        let index = self.index().await?;
        let mut timelines = self.timelines().await?;
        // Those of which nothing but runs is left.
        timelines.extend(index.lines.keys());
        timelines.sort_unstable();
        timelines.dedup();
        let looks: Vec<_> =
            timelines.iter().map(|timeline| self.unrecorded(*timeline, &index)).collect();
        let mut found = stream::iter(looks).buffered(LISTINGS);
        for timeline in timelines.iter() {
            let Some(found) = found.try_next().await? else { break };
            let wanted = plan(&index.ranges(*timeline), &found, at_least);
            let there = index.lines.get(timeline).map(|line| line.runs.as_slice());
            self.replace_runs(there.unwrap_or_default(), &wanted).await?;
        }
        Ok(())
    }

    /// The segments that are in no run, as far as it is worth looking.
    async fn unrecorded(&self, timeline: TimelineId, index: &WalIndex) -> Result<Vec<WalRange>> {
        let expired = index.expired(timeline);
        let is_gone = |hole: &(_, _)| SegmentSet::new([*hole]).without(&expired).is_empty();
        let holes = index.recorded(timeline).rest();
        let mut found = Vec::new();
        for hole in holes.ranges().rev().filter(|hole| !is_gone(hole)).take(STRETCHES) {
            // What was removed once is never believed to be there without a look.
            for range in self.listed(timeline, hole).await? {
                let left = SegmentSet::new([(range.first, range.last)]).without(&expired);
                found.extend(left.ranges().map(|(first, last)| range.part(first, last)));
            }
        }
        Ok(found)
    }

    /// Makes runs, and takes away those that say no more than others do.
    pub(crate) async fn replace_runs(&self, there: &[WalRange], wanted: &[WalRange]) -> Result<()> {
        let folder = self.runs_folder();
        let path = |run: &WalRange| format!("{folder}/{}", names::run(run));
        for run in wanted.iter().filter(|run| !there.contains(run)) {
            create_or_same(self.cluster().store(), &path(run), Payload::default()).await?;
        }
        let over: Vec<String> = there.iter().filter(|r| !wanted.contains(r)).map(path).collect();
        self.delete_if_allowed(&over).await
    }

    /// Deletes what does no harm where it stays: a store may refuse.
    pub(super) async fn delete_if_allowed(&self, paths: &[String]) -> Result<()> {
        for batch in paths.chunks(1000) {
            for outcome in self.cluster().store().delete_many(batch).await {
                match outcome {
                    Ok(()) => {}
                    Err(error) if error.is_transient() => return Err(error.into()),
                    Err(error) => tracing::debug!(%error, "it stays, and does no harm"),
                }
            }
        }
        Ok(())
    }
}

/// The runs to have, of those that there are and the segments that were found outside of them.
fn plan(recorded: &[WalRange], found: &[WalRange], at_least: u64) -> Vec<WalRange> {
    let touches = |a: &WalRange, b: &WalRange| a.last.next() == b.first;
    // A few segments between two runs make one of them.
    let bridges = |range: &WalRange| {
        recorded.iter().any(|run| touches(run, range))
            && recorded.iter().any(|run| touches(range, run))
    };
    let worth = found.iter().filter(|range| range.segments() >= at_least || bridges(range));
    let mut items: Vec<WalRange> = recorded.iter().chain(worth).copied().collect();
    items.sort_unstable_by_key(|range| range.first);
    let mut runs: Vec<WalRange> = Vec::with_capacity(items.len());
    for mut run in items {
        while let Some(before) = runs.last()
            && touches(before, &run)
            && before.segments() <= run.segments().saturating_mul(GROWTH)
        {
            run = join(before, &run);
            runs.pop();
        }
        runs.push(run);
    }
    runs
}

#[cfg(test)]
mod tests {
    use walbrook_types::SegmentNumber;

    use super::*;

    fn range(first: u64, last: u64) -> WalRange {
        let (first, last) = (SegmentNumber(first), SegmentNumber(last));
        let stored_bytes = last.0 - first.0 + 1;
        WalRange { timeline: TimelineId::FIRST, first, last, stored_bytes }
    }

    #[test]
    fn runs_stay_few_and_say_all() {
        let mut runs: Vec<WalRange> = Vec::new();
        let mut written = 0;
        for n in 0..10_000 {
            let found = range(n * 100, n * 100 + 99);
            let next = plan(&runs, &[found], 64);
            written += next.iter().filter(|run| !runs.contains(run)).count();
            runs = next;
            assert_eq!(runs.iter().map(|run| run.stored_bytes).sum::<u64>(), (n + 1) * 100);
        }
        assert!(runs.len() <= 15, "{}", runs.len());
        assert_eq!(written, 10_000, "one object each");
    }

    #[test]
    fn what_is_short_waits_unless_it_is_between_two() {
        let runs = [range(0, 999), range(1010, 1100)];
        assert_eq!(plan(&runs, &[range(1101, 1110)], 64), runs);
        assert_eq!(plan(&runs, &[range(1000, 1004)], 64), runs);
        assert_eq!(
            plan(&runs, &[range(1000, 1009)], 64),
            [range(0, 999), range(1000, 1100)],
            "a gap was filled"
        );
        assert_eq!(plan(&runs, &[range(1101, 1164)], 64), [range(0, 999), range(1010, 1164)]);
        assert_eq!(plan(&[], &[range(5, 9)], 5), [range(5, 9)]);
    }
}
