//! Saying which segments an expiry removes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use walbrook_store::Payload;
use walbrook_types::{SegmentNumber, TimelineId};

use super::{WalIndex, names};
use crate::Result;
use crate::put::create_or_same;
use crate::wal::{SegmentSet, WalArchive, WalRange};

type Range = (SegmentNumber, SegmentNumber);

/// How long a note stays beside another that says the same and more. Who began to list the notes before
/// that one was made may never see it, and has to see this one.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);

impl WalArchive {
    /// Notes that these segments are being removed: durably, before the first of them is.
    pub(crate) async fn note_expired(
        &self,
        index: &mut WalIndex,
        timeline: TimelineId,
        range: Range,
    ) -> Result<()> {
        let segments = SegmentSet::new([range]);
        if segments.without(&index.expired(timeline)).is_empty() {
            return Ok(());
        }
        let path = format!("{}/{}", self.expired_folder(), names::note(timeline, range));
        create_or_same(self.cluster().store(), &path, Payload::default()).await?;
        let line = index.line(timeline);
        line.expired = line.expired.or(&segments);
        Ok(())
    }

    /// Joins notes that touch. Those that say nothing of their own go a day later.
    pub(crate) async fn join_notes(&self) -> Result<()> {
        let mut notes: BTreeMap<TimelineId, BTreeMap<Range, SystemTime>> = BTreeMap::new();
        let mut newest = SystemTime::UNIX_EPOCH;
        for object in self.objects(self.expired_folder()).await? {
            if let Some((timeline, range)) = names::parse_note(&object.path, self.segment_size()) {
                notes.entry(timeline).or_default().insert(range, object.modified);
                // The store's clock, of which nothing else tells.
                newest = newest.max(object.modified);
            }
        }
        let mut over = Vec::new();
        for (timeline, notes) in notes {
            for range in SegmentSet::new(notes.keys().copied()).ranges() {
                if !notes.contains_key(&range) {
                    let path =
                        format!("{}/{}", self.expired_folder(), names::note(timeline, range));
                    create_or_same(self.cluster().store(), &path, Payload::default()).await?;
                }
            }
            let over_here = superfluous(&notes, newest);
            over.extend(over_here.into_iter().map(|range| {
                format!("{}/{}", self.expired_folder(), names::note(timeline, range))
            }));
        }
        self.delete_if_allowed(&over).await
    }

    /// Leaves of runs what is not among segments that were removed, of which `gone` tells what each
    /// run lost in bytes.
    pub(crate) async fn cut_runs(
        &self,
        index: &mut WalIndex,
        timeline: TimelineId,
        range: Range,
        gone: &[(WalRange, u64)],
    ) -> Result<()> {
        let removed = SegmentSet::new([range]);
        for (run, bytes) in gone {
            let all = SegmentSet::new([(run.first, run.last)]);
            let left = all.without(&removed);
            // What is left shares what is left.
            let stored_bytes = run.stored_bytes.saturating_sub(*bytes);
            let segments = left.segments();
            let part = |(first, last)| WalRange { first, last, stored_bytes, ..*run }.of(segments);
            let mut parts: Vec<WalRange> = left.ranges().map(part).collect();
            let shared: u64 = parts.iter().map(|part| part.stored_bytes).sum();
            if let Some(last) = parts.last_mut() {
                last.stored_bytes += stored_bytes - shared;
            }
            self.replace_runs(&[*run], &parts).await?;
            let runs = &mut index.line(timeline).runs;
            runs.retain(|there| there != run);
            runs.extend(parts);
        }
        Ok(())
    }
}

/// The notes that are wholly in another one, which was there a day before the newest of all.
fn superfluous(notes: &BTreeMap<Range, SystemTime>, newest: SystemTime) -> BTreeSet<Range> {
    let is_old = |made: &SystemTime| newest.duration_since(*made).is_ok_and(|age| age >= OVERLAP);
    let old: Vec<&Range> = notes.iter().filter(|(_, made)| is_old(made)).map(|(r, _)| r).collect();
    let within =
        |note: &Range, other: &Range| other != note && other.0 <= note.0 && note.1 <= other.1;
    let mut over = notes.keys().copied().collect::<BTreeSet<_>>();
    over.retain(|note| old.iter().any(|other| within(note, other)));
    over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_goes_when_another_has_said_the_same_for_a_day() {
        let hours = |h: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(h * 3600);
        let range = |first, last| (SegmentNumber(first), SegmentNumber(last));
        let notes = BTreeMap::from([
            (range(1, 5), hours(0)),
            (range(6, 9), hours(1)),
            (range(1, 9), hours(1)),
            (range(10, 12), hours(10)),
            (range(1, 12), hours(10)),
        ]);
        assert!(superfluous(&notes, hours(24)).is_empty());
        assert_eq!(superfluous(&notes, hours(25)), BTreeSet::from([range(1, 5), range(6, 9)]));
        let left = BTreeSet::from([range(1, 5), range(6, 9), range(1, 9), range(10, 12)]);
        assert_eq!(superfluous(&notes, hours(34)), left);
    }
}
