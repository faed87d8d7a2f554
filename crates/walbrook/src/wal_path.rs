//! The WAL that leads to a timeline: which segments there are along its history.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use walbrook_repo::{WalArchive, WalInfo, WalRange};
use walbrook_types::{Lsn, SegmentNumber, TimelineId, WalFileName, WalSegmentSize};
use walbrook_wal::TimelineHistory;

use crate::segment_path::{SegmentPath, Step};
use crate::{Error, ErrorKind, Result};

/// A timeline and its ancestors, with the segments that the archive has of each.
#[derive(Debug)]
pub(crate) struct WalPath {
    archive: WalArchive,
    segments: SegmentPath,
}

impl WalPath {
    /// Reads the history of `timeline` and lists the segments along it, all of them.
    pub(crate) async fn load(archive: &WalArchive, timeline: TimelineId) -> Result<Self> {
        let history = read_history(archive, timeline).await?;
        let mut ranges = BTreeMap::new();
        for (timeline, ..) in history.path() {
            ranges.insert(timeline, archive.ranges(timeline).await?);
        }
        Ok(Self::new(archive, history, |timeline| ranges.remove(&timeline).unwrap_or_default()))
    }

    /// The path of a history, with what segments there are of each timeline.
    pub(crate) fn new(
        archive: &WalArchive,
        history: TimelineHistory,
        mut ranges: impl FnMut(TimelineId) -> Vec<WalRange>,
    ) -> Self {
        let size = archive.segment_size();
        let step = |(timeline, begin, end)| Step::new(timeline, begin, end, size, ranges(timeline));
        let steps = history.path().map(step).collect();
        Self { archive: archive.clone(), segments: SegmentPath::new(history, size, steps) }
    }

    /// Whether the segments from `first` to `last` are there, by a listing of them.
    pub(crate) async fn is_there(&self, first: SegmentNumber, last: SegmentNumber) -> Result<bool> {
        let mut next = first;
        while next <= last {
            let Some((timeline, end)) = self.segments.stretch(next) else { return Ok(false) };
            let end = end.min(last);
            if !self.archive.missing(timeline, (next, end)).await?.is_empty() {
                return Ok(false);
            }
            next = end.next();
        }
        Ok(true)
    }

    /// The segments, without the archive that they are in.
    pub(crate) fn segments(&self) -> &SegmentPath {
        &self.segments
    }

    pub(crate) fn archive(&self) -> &WalArchive {
        &self.archive
    }

    pub(crate) fn timeline(&self) -> TimelineId {
        self.segments.timeline()
    }

    pub(crate) fn size(&self) -> WalSegmentSize {
        self.segments.size()
    }

    /// Whether a position on `timeline` lies on this path.
    pub(crate) fn contains(&self, timeline: TimelineId, lsn: Lsn) -> bool {
        self.segments.history().contains(timeline, lsn)
    }

    /// The name of the file that has a segment.
    pub(crate) fn name(&self, number: SegmentNumber) -> Option<WalFileName> {
        self.segments.name(number)
    }

    /// As [`SegmentPath::reach`].
    pub(crate) fn reach(&self, first: SegmentNumber) -> Option<SegmentNumber> {
        self.segments.reach(first)
    }

    /// As [`SegmentPath::first_missing`].
    pub(crate) fn first_missing(
        &self,
        first: SegmentNumber,
        last: SegmentNumber,
    ) -> Option<WalFileName> {
        self.segments.first_missing(first, last)
    }

    /// What the object of a segment says of itself.
    pub(crate) async fn info(&self, number: SegmentNumber) -> Result<WalInfo> {
        let name = self.name(number).ok_or_else(|| {
            let name = WalFileName::segment(self.timeline(), number, self.size());
            Error::new(ErrorKind::NotFound, format!("{name} is not in the repository"))
        })?;
        let info = self.archive.info(&name).await?;
        info.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("{name} was removed from the repository"))
        })
    }

    /// Where the WAL ends whose last segment is `last`.
    pub(crate) async fn end_lsn(&self, last: SegmentNumber) -> Result<Lsn> {
        let info = self.info(last).await?;
        let end = info.content.map_or(last.end(self.size()), |content| content.end_lsn);
        let switch = self.segments.history().switch_lsn(info.name.timeline());
        Ok(switch.map_or(end, |switch| end.min(switch)))
    }

    /// The last segment from `first` to `last` in which a transaction ends, with what its object
    /// says. A quiet server fills few segments between two transactions.
    pub(crate) async fn last_transaction(
        &self,
        first: SegmentNumber,
        last: SegmentNumber,
    ) -> Result<Option<WalInfo>> {
        let mut number = last;
        loop {
            let info = self.info(number).await?;
            if info.content.as_ref().is_some_and(|content| content.transactions.is_some()) {
                return Ok(Some(info));
            }
            if number <= first {
                return Ok(None);
            }
            number = SegmentNumber(number.0 - 1);
        }
    }

    /// What the objects of the segments from `first` to `last` say, in order, read ahead.
    pub(crate) fn infos(
        &self,
        first: SegmentNumber,
        last: SegmentNumber,
    ) -> impl stream::Stream<Item = Result<(SegmentNumber, WalInfo)>> + '_ {
        stream::iter(first.0..=last.0)
            .map(move |number| async move {
                let number = SegmentNumber(number);
                Ok((number, self.info(number).await?))
            })
            .buffered(16)
    }

    /// The content of a segment.
    pub(crate) async fn read(&self, number: SegmentNumber) -> Result<Vec<bytes::Bytes>> {
        let name = self.info(number).await?.name;
        let stored = self.archive.get(&name).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("{name} was removed from the repository"))
        })?;
        Ok(tokio::task::spawn_blocking(move || stored.decode(2)).await??)
    }
}

/// The history of a timeline; the first has none.
pub(crate) async fn read_history(
    archive: &WalArchive,
    timeline: TimelineId,
) -> Result<TimelineHistory> {
    if timeline == TimelineId::FIRST {
        return Ok(TimelineHistory::root(timeline));
    }
    let name = WalFileName::TimelineHistory { timeline };
    let stored = archive.get(&name).await?.ok_or_else(|| {
        let message = format!(
            "{name} is not in the repository, so it is not known where timeline {timeline} comes \
             from: push it with walbrook-push from a server that has it in pg_wal"
        );
        Error::new(ErrorKind::NotFound, message)
    })?;
    let content = tokio::task::spawn_blocking(move || stored.decode(1)).await??.concat();
    let corrupt = |what: String| Error::new(ErrorKind::Corrupt, format!("{name}: {what}"));
    let text = String::from_utf8(content).map_err(|e| corrupt(e.to_string()))?;
    TimelineHistory::parse(timeline, &text).map_err(|e| corrupt(e.to_string()))
}
