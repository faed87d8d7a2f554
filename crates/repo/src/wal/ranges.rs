use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use walbrook_store::{ObjectMeta, Store};
use walbrook_types::{Lsn, SegmentNumber, TimelineId, WalFileName, WalSegmentSize};

use crate::{Error, Result};

/// A run of WAL segments of one timeline without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRange {
    /// Their timeline.
    pub timeline: TimelineId,
    /// The first.
    pub first: SegmentNumber,
    /// The last.
    pub last: SegmentNumber,
    /// Bytes that they take in the repository.
    pub stored_bytes: u64,
}

impl WalRange {
    /// How many segments there are.
    pub fn segments(&self) -> u64 {
        self.last.0 - self.first.0 + 1
    }

    /// The segments from `first` to `last` of it, with their share of the bytes.
    pub fn part(&self, first: SegmentNumber, last: SegmentNumber) -> Self {
        Self { first, last, ..*self }.of(self.segments())
    }

    /// With its share of bytes that so many segments take.
    pub(crate) fn of(self, segments: u64) -> Self {
        let bytes = u128::from(self.stored_bytes) * u128::from(self.segments());
        let bytes = bytes / u128::from(segments.max(1));
        Self { stored_bytes: u64::try_from(bytes).unwrap_or(u64::MAX), ..self }
    }

    /// Whether this segment is among them.
    pub fn contains(&self, segment: SegmentNumber) -> bool {
        (self.first..=self.last).contains(&segment)
    }

    /// The position of the first byte.
    pub fn start(&self, size: WalSegmentSize) -> Lsn {
        self.first.start(size)
    }

    /// The position behind the last byte.
    pub fn end(&self, size: WalSegmentSize) -> Lsn {
        self.last.end(size)
    }
}

/// Folds segments, in the order of their names, into ranges: what is kept is one item for each
/// gap, however many segments there are.
pub(crate) async fn fold(
    mut segments: impl Stream<Item = Result<(WalFileName, u64)>> + Unpin,
    size: WalSegmentSize,
) -> Result<Vec<WalRange>> {
    let mut ranges: Vec<WalRange> = Vec::new();
    while let Some((name, bytes)) = segments.next().await.transpose()? {
        let WalFileName::Segment { timeline, .. } = name else { continue };
        let Some(number) = name.segment_number(size) else { continue };
        match ranges.last_mut() {
            Some(range) if range.timeline == timeline && range.last.next() == number => {
                range.last = number;
                range.stored_bytes += bytes;
            }
            _ => {
                ranges.push(WalRange { timeline, first: number, last: number, stored_bytes: bytes })
            }
        }
    }
    Ok(ranges)
}

/// What one look at a listing takes from it.
const PAGE: usize = 1000;

/// The WAL files below a folder, in the order of their paths, from behind the path `after` on.
pub(crate) fn wal_names<'a>(
    store: &'a dyn Store,
    folder: String,
    after: Option<String>,
) -> BoxStream<'a, Result<(WalFileName, u64)>> {
    let pages = stream::try_unfold(Some((folder, after)), move |place| async move {
        let Some((folder, after)) = place else { return Ok(None) };
        let listing = store.list(&folder, after.as_deref()).take(PAGE);
        let page: Vec<ObjectMeta> = listing.try_collect().await?;
        // A full page may have a successor, which begins behind its last path.
        let last = page.last().filter(|_| page.len() == PAGE).map(|last| last.path.clone());
        let next = last.map(|last| (folder, Some(last)));
        let names = page.into_iter().filter_map(|object| {
            let name = object.path.rsplit('/').next()?.parse().ok()?;
            Some(Ok::<_, Error>((name, object.size)))
        });
        Ok::<_, Error>(Some((stream::iter(names.collect::<Vec<_>>()), next)))
    });
    pages.try_flatten().boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_timelines_begin_new_ranges() {
        let names = [
            "000000010000000000000001",
            "000000010000000000000002",
            "000000010000000000000002.00000028.backup",
            "0000000100000000000000FF",
            "000000010000000100000000",
            "000000020000000100000001",
        ];
        let names = names.map(|name| Ok((name.parse().expect("a name"), 10)));
        let ranges = futures::executor::block_on(fold(
            futures::stream::iter(names),
            WalSegmentSize::DEFAULT,
        ));
        let ranges: Vec<_> = ranges
            .expect("folds")
            .iter()
            .map(|r| (r.timeline.get(), r.first.0, r.last.0, r.stored_bytes))
            .collect();
        assert_eq!(ranges, [(1, 1, 2, 20), (1, 255, 256, 20), (2, 257, 257, 10)]);
    }
}
