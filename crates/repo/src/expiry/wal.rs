//! Deleting WAL.

use futures::{StreamExt, TryStreamExt};
use walbrook_store::ObjectMeta;
use walbrook_types::{SegmentNumber, SystemId, TimelineId, WalFileName, WalSegmentSize};

use crate::Result;
use crate::expiry::ExpiryReport;
use crate::expiry::deletion::Deletion;
use crate::layout;

/// Objects that are listed, and deleted, at a time.
const PAGE: usize = 4000;

/// Deletes the segments from `first` to `last` of a timeline, the oldest first, with what lies beside
/// them: summaries, partial segments, backup history files. What lies beside a segment goes before it:
/// whoever comes after a crash finds what is left by the segment. Timeline history files stay; they
/// are small, and later timelines are understood by them.
pub(crate) async fn delete(
    deletion: &mut Deletion<'_>,
    (system, timeline): (SystemId, TimelineId),
    (first, last): (SegmentNumber, SegmentNumber),
    size: WalSegmentSize,
    report: &mut ExpiryReport,
) -> Result<()> {
    let cluster = deletion.cluster;
    let folder = layout::wal_timeline(cluster.name(), system, timeline.get());
    // A listing begins behind a path: its name cut by one character sorts just before it.
    let mut after =
        layout::wal_file(cluster.name(), system, &WalFileName::segment(timeline, first, size));
    after.pop();
    loop {
        let listing = cluster.store().list(&folder, Some(&after)).take(PAGE);
        let page: Vec<ObjectMeta> = listing.try_collect().await?;
        let (mut segments, mut beside, mut done) = (Vec::new(), Vec::new(), page.len() < PAGE);
        for object in &page {
            let Some((number, is_segment)) = segment_of(&object.path, size) else { continue };
            if number > last {
                done = true;
                break;
            }
            if number >= first {
                let group = if is_segment { &mut segments } else { &mut beside };
                group.push(object.clone());
            }
        }
        for group in [beside, segments] {
            let paths: Vec<String> = group.iter().map(|object| object.path.clone()).collect();
            let refused = deletion.delete(&paths).await?;
            for object in group.iter().filter(|object| !refused.contains(&object.path)) {
                report.wal_bytes += object.size;
                report.wal_segments += u64::from(is_segment(&object.path));
            }
        }
        match page.into_iter().last() {
            Some(object) if !done => after = object.path,
            _ => return Ok(()),
        }
    }
}

fn is_segment(path: &str) -> bool {
    let name = path.rsplit('/').next().and_then(|name| name.parse().ok());
    matches!(name, Some(WalFileName::Segment { .. }))
}

/// The segment that an object is about, and whether it is the segment itself.
fn segment_of(path: &str, size: WalSegmentSize) -> Option<(SegmentNumber, bool)> {
    let name = path.rsplit('/').next()?;
    let name: WalFileName = name.strip_suffix(".sum").unwrap_or(name).parse().ok()?;
    Some((name.segment_number(size)?, is_segment(path)))
}
