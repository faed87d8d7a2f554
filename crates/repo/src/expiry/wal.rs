//! Deleting WAL.

use futures::{StreamExt, TryStreamExt};
use walbrook_store::ObjectMeta;
use walbrook_types::{SegmentNumber, TimelineId, WalFileName, WalSegmentSize};

use crate::expiry::ExpiryReport;
use crate::expiry::deletion::Deletion;
use crate::expiry::spans::Spans;
use crate::{Result, WalArchive, WalIndex, WalRange, layout};

/// Objects that are listed, and deleted, at a time.
const PAGE: usize = 4000;

/// Deletes segments, the oldest of each timeline first, with what lies beside them: summaries, partial
/// segments, backup history files. Timeline history files stay; they are small, and later timelines are
/// understood by them.
///
/// Before any segment goes a note is there that says so: whoever reads the [`WalIndex`] believes no
/// run of what is in a note.
pub(crate) async fn delete(
    deletion: &mut Deletion<'_>,
    spans: &Spans,
    report: &mut ExpiryReport,
) -> Result<()> {
    if spans.is_empty() {
        return Ok(());
    }
    for system in deletion.cluster.systems().await? {
        let archive = deletion.cluster.wal(&system);
        let own = spans.ranges().filter(|span| span.0 == system.system_identifier);
        let own: Vec<_> = own.map(|(_, line, first, last)| (line, (first, last))).collect();
        if own.is_empty() {
            continue;
        }
        let index = archive.index().await?;
        let mut removal = Removal { archive: &archive, index, deletion: &mut *deletion, report };
        for (timeline, range) in own {
            removal.delete(timeline, range).await?;
        }
        archive.join_notes().await?;
    }
    Ok(())
}

/// The removal of WAL of one system.
struct Removal<'a, 'b> {
    archive: &'a WalArchive,
    index: WalIndex,
    deletion: &'a mut Deletion<'b>,
    report: &'a mut ExpiryReport,
}

impl Removal<'_, '_> {
    /// Deletes the segments from `first` to `last` of a timeline. What lies beside a segment goes before
    /// it: whoever comes after a crash finds what is left by the segment.
    ///
    /// Where the store refuses all of the first page nothing more is tried: those behind are younger.
    async fn delete(
        &mut self,
        timeline: TimelineId,
        (first, last): (SegmentNumber, SegmentNumber),
    ) -> Result<()> {
        let (cluster, system) = (self.archive.cluster(), self.archive.system());
        let size = self.archive.segment_size();
        let folder = layout::wal_timeline(cluster.name(), system, timeline.get());
        let runs = self.index.runs_with(timeline, (first, last));
        let mut gone: Vec<(WalRange, u64)> = runs.into_iter().map(|run| (run, 0)).collect();
        let mut noted = None;
        // A listing begins behind a path: its name cut by one character sorts just before it.
        let mut after =
            layout::wal_file(cluster.name(), system, &WalFileName::segment(timeline, first, size));
        after.pop();
        loop {
            let listing = cluster.repository().store().list(&folder, Some(&after)).take(PAGE);
            let page: Vec<ObjectMeta> = listing.try_collect().await?;
            let (mut segments, mut beside, mut done) = (Vec::new(), Vec::new(), page.len() < PAGE);
            let mut newest = first;
            for object in &page {
                let Some((number, is_segment)) = segment_of(&object.path, size) else { continue };
                if number > last {
                    done = true;
                    break;
                }
                if number >= first {
                    newest = number;
                    let group = if is_segment { &mut segments } else { &mut beside };
                    group.push((number, object.clone()));
                }
            }
            if !segments.is_empty() || !beside.is_empty() {
                // Of what the store does not let go no more is noted than has to be.
                let until = if done || noted.is_some() { last } else { newest };
                self.archive.note_expired(&mut self.index, timeline, (first, until)).await?;
                noted = Some(until);
            }
            for (number, object) in &segments {
                let of = gone.iter_mut().filter(|(run, _)| run.contains(*number));
                of.for_each(|(_, bytes)| *bytes += object.size);
            }
            let refused = [self.delete_group(beside).await?, self.delete_group(segments).await?];
            if !done && refused[1] {
                break;
            }
            match page.into_iter().last() {
                Some(object) if !done => after = object.path,
                _ => break,
            }
        }
        if let Some(until) = noted {
            self.archive.cut_runs(&mut self.index, timeline, (first, until), &gone).await?;
        }
        Ok(())
    }

    /// Whether there was something, and the store refused all of it.
    async fn delete_group(&mut self, group: Vec<(SegmentNumber, ObjectMeta)>) -> Result<bool> {
        let paths: Vec<String> = group.iter().map(|(_, object)| object.path.clone()).collect();
        let refused = self.deletion.delete(&paths).await?;
        for (_, object) in group.iter().filter(|(_, object)| !refused.contains(&object.path)) {
            self.report.wal_bytes += object.size;
            self.report.wal_segments += u64::from(is_segment(&object.path));
        }
        Ok(!paths.is_empty() && refused.len() == paths.len())
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
