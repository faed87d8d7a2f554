//! Which WAL a repository has of a system, and what became of the rest.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use walbrook_repo::{BackupRecord, SegmentSet, WalArchive, WalIndex, WalRange};
use walbrook_types::{SegmentNumber, TimelineId};

use crate::wal_path::{WalPath, read_history};
use crate::{ErrorKind, Result};

/// How it is found out which WAL segments there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WalCheck {
    /// By what the repository has written down of them ([`WalIndex`]), and a listing of what came since:
    /// requests in proportion to backups. Segments that backups need to be consistent are listed in any
    /// case; others that somebody took away by hand, or that the store lost, are not noticed.
    #[default]
    Recorded,
    /// By a listing of all: a request for each 500 segments.
    Listed,
}

/// The segments of each timeline of a system.
#[derive(Debug)]
pub(crate) struct KnownWal {
    archive: WalArchive,
    index: WalIndex,
    ranges: BTreeMap<TimelineId, Vec<WalRange>>,
}

/// Listings that are under way at once.
const LISTINGS: usize = 16;

impl KnownWal {
    pub(crate) async fn read(archive: &WalArchive, check: WalCheck) -> Result<Self> {
        let mut timelines = archive.timelines().await?;
        let mut known = match check {
            WalCheck::Recorded => {
                let index = archive.index().await?;
                Self { archive: archive.clone(), index, ranges: BTreeMap::new() }
            }
            WalCheck::Listed => {
                let mut ranges = BTreeMap::new();
                for timeline in &timelines {
                    ranges.insert(*timeline, archive.ranges(*timeline).await?);
                }
                // Behind the listing: what an expiry takes away meanwhile is noted by then.
                Self { archive: archive.clone(), index: archive.index().await?, ranges }
            }
        };
        timelines.extend(known.index.timelines());
        timelines.sort_unstable();
        timelines.dedup();
        timelines.retain(|timeline| !known.ranges.contains_key(timeline));
        if check == WalCheck::Listed {
            // Nothing is left of these but what was written down.
            known.ranges.extend(timelines.into_iter().map(|timeline| (timeline, Vec::new())));
            return Ok(known);
        }
        let looks: Vec<_> = timelines
            .iter()
            .map(|timeline| archive.known_ranges(*timeline, &known.index))
            .collect();
        let ranges: Vec<_> = stream::iter(looks).buffered(LISTINGS).try_collect().await?;
        known.ranges = timelines.into_iter().zip(ranges).collect();
        Ok(known)
    }

    /// Looks for the segments that backups need to be consistent, where these are known only by what was
    /// written down of them: a request for each backup, or up to three.
    pub(crate) async fn confirm<'a>(
        &mut self,
        backups: impl IntoIterator<Item = &'a BackupRecord>,
    ) -> Result<()> {
        let size = self.archive.segment_size();
        let mut recorded: BTreeMap<TimelineId, SegmentSet> = BTreeMap::new();
        let mut looks = Vec::new();
        for backup in backups {
            let span = &backup.span;
            let timeline = span.timeline;
            let range = (size.segment_of(span.start_lsn), size.segment_before(span.stop_lsn));
            let recorded =
                recorded.entry(timeline).or_insert_with(|| self.index.recorded(timeline));
            if !recorded.and(&SegmentSet::new([range])).is_empty() {
                let archive = &self.archive;
                looks.push(async move { Ok((timeline, archive.missing(timeline, range).await?)) });
            }
        }
        let found: Vec<(TimelineId, SegmentSet)> = stream::iter(looks)
            .buffered(LISTINGS)
            .try_filter(|(_, missing)| std::future::ready(!missing.is_empty()))
            .try_collect::<Vec<_>>()
            .await
            .map_err(|error: walbrook_repo::Error| error)?;
        for (timeline, missing) in found {
            tracing::warn!(%timeline, ?missing, "WAL that was in the repository is not there");
            let ranges = self.ranges.entry(timeline).or_default();
            *ranges = ranges.iter().flat_map(|range| without(range, &missing)).collect();
        }
        Ok(())
    }

    /// The timelines of which there is WAL or a history, ascending.
    pub(crate) fn timelines(&self) -> impl Iterator<Item = TimelineId> + '_ {
        self.ranges.keys().copied()
    }

    /// The segments of a timeline, as runs without gaps.
    pub(crate) fn ranges(&self, timeline: TimelineId) -> &[WalRange] {
        self.ranges.get(&timeline).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether some of it is believed to be there without having been listed.
    pub(crate) fn rests_on_records(&self) -> bool {
        self.index.timelines().any(|timeline| !self.index.recorded(timeline).is_empty())
    }

    /// The segments of a timeline that an expiry removed, or was about to.
    pub(crate) fn expired(&self, timeline: TimelineId) -> SegmentSet {
        self.index.expired(timeline)
    }

    /// The segments of a timeline that are missing: those that an expiry removed, and those that should
    /// be there, between others or because they were.
    pub(crate) fn absent(&self, timeline: TimelineId) -> (SegmentSet, SegmentSet) {
        let ranges = self.ranges(timeline);
        let there = set(ranges);
        let ends = ranges.first().zip(ranges.last());
        let span = SegmentSet::new(ends.map(|(first, last)| (first.first, last.last)));
        let between = span.without(&there);
        let expired = self.expired(timeline);
        let lost = between.or(&self.index.recorded(timeline)).without(&there).without(&expired);
        (between.and(&expired), lost)
    }

    /// The history of a timeline with the segments along it.
    pub(crate) async fn path(&self, timeline: TimelineId) -> Result<WalPath> {
        let history = read_history(&self.archive, timeline).await?;
        Ok(WalPath::new(&self.archive, history, |timeline| self.ranges(timeline).to_vec()))
    }

    /// The paths to all timelines, ascending. A timeline whose history file is missing is left out:
    /// nothing can be restored along it.
    pub(crate) async fn paths(&self) -> Result<Vec<WalPath>> {
        let mut paths = Vec::new();
        for timeline in self.timelines() {
            match self.path(timeline).await {
                Ok(path) => paths.push(path),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    tracing::warn!(%timeline, %error, "passed over");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(paths)
    }
}

fn set(ranges: &[WalRange]) -> SegmentSet {
    SegmentSet::new(ranges.iter().map(|range| (range.first, range.last)))
}

/// What is left of a range, with its share of the bytes.
fn without(range: &WalRange, missing: &SegmentSet) -> Vec<WalRange> {
    let left = SegmentSet::new([(range.first, range.last)]).without(missing);
    left.ranges().map(|(first, last): (SegmentNumber, _)| range.part(first, last)).collect()
}
