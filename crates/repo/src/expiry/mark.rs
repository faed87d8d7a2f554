//! Marks: what an expiry is about to remove, told before it does.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use walbrook_types::{SegmentNumber, SystemId, TimelineId, WalFileName, WalSegmentSize};

use crate::document::{self, Document};
use crate::repository::is_absent;
use crate::{BackupId, Cluster, Result, layout};

/// What `<cluster>/expiry/<id>.json` says: these things are being removed, and no backup that did
/// not name them before may use them.
///
/// A mark is [under way](ExpiryState::UnderWay) while an expiry is at work, which deletes it at its
/// end. When parts of what it removed have to wait for restores that may read them, it leaves one that
/// is [waiting](ExpiryState::Waiting), for an expiry that comes later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiryMark {
    /// Its name: the UTC second at which the expiry began and a random part, as a backup's.
    pub id: BackupId,
    /// The name of the cluster.
    pub cluster: String,
    /// Whether somebody is at work on it.
    pub state: ExpiryState,
    /// The backups whose commit it removes, or has removed.
    pub remove: Vec<BackupId>,
    /// Backups that do not exist any more, or never did, whose parts it removes.
    #[serde(default)]
    pub sweep: Vec<BackupId>,
    /// The WAL that it removes.
    #[serde(default)]
    pub wal: Vec<WalSpan>,
    /// Before this moment nothing but commits is deleted of what it removes: a restore that began
    /// earlier may still read it.
    pub sweep_after: Timestamp,
    /// The machine that the expiry runs on.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// When it began, by that machine's clock.
    pub created_at: Timestamp,
    /// The version of Walbrook that it is.
    pub walbrook_version: String,
}

impl Document for ExpiryMark {
    const FORMAT: &'static str = "walbrook-expiry";
    const VERSION: u32 = 1;
}

/// What a mark stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpiryState {
    /// An expiry is at work, or died at it.
    UnderWay,
    /// The commits are removed; the rest is to be, by whoever comes after
    /// [`sweep_after`](ExpiryMark::sweep_after).
    Waiting,
}

/// Neighbouring WAL segments of one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalSpan {
    /// Their system.
    pub system_identifier: SystemId,
    /// The first one's name.
    pub first: WalFileName,
    /// The last one's name.
    pub last: WalFileName,
}

impl WalSpan {
    /// The segments from `first` to `last`, both of them in it.
    pub fn new(
        system_identifier: SystemId,
        timeline: TimelineId,
        (first, last): (SegmentNumber, SegmentNumber),
        size: WalSegmentSize,
    ) -> Self {
        let name = |number| WalFileName::segment(timeline, number, size);
        Self { system_identifier, first: name(first), last: name(last) }
    }

    /// Its timeline.
    pub fn timeline(&self) -> TimelineId {
        self.first.timeline()
    }

    /// The numbers of the first and last segment; none for names that are not those of segments.
    pub fn numbers(&self, size: WalSegmentSize) -> Option<(SegmentNumber, SegmentNumber)> {
        Some((self.first.segment_number(size)?, self.last.segment_number(size)?))
    }

    /// Whether one of the segments from `first` to `last` of a timeline is in it.
    pub(crate) fn touches(
        &self,
        first: &WalFileName,
        last: &WalFileName,
        size: WalSegmentSize,
    ) -> bool {
        let (Some((from, to)), Some(first), Some(end)) =
            (self.numbers(size), first.segment_number(size), last.segment_number(size))
        else {
            return true;
        };
        self.timeline() == last.timeline() && from <= end && first <= to
    }
}

/// A mark as it lies in the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredMark {
    pub(crate) mark: ExpiryMark,
    /// When it was created, by the store's clock.
    pub(crate) modified: SystemTime,
}

impl Cluster {
    /// The marks of expiries, those under way and those that wait.
    pub async fn expiry_marks(&self) -> Result<Vec<ExpiryMark>> {
        Ok(self.stored_marks().await?.into_iter().map(|stored| stored.mark).collect())
    }

    pub(crate) async fn stored_marks(&self) -> Result<Vec<StoredMark>> {
        let mut marks = Vec::new();
        for object in self.mark_objects().await? {
            let bytes = match self.store().get(&object.path).await {
                Ok(bytes) => bytes,
                // Its expiry has just ended.
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            let remedy = "when no walbrook-expire is at work, delete that object: the next one finds by \
                          itself what there is to remove";
            let mark = document::open(&object.path, &bytes).map_err(|e| e.with_remedy(remedy))?;
            marks.push(StoredMark { mark, modified: object.modified });
        }
        Ok(marks)
    }

    pub(crate) async fn mark_objects(&self) -> Result<Vec<walbrook_store::ObjectMeta>> {
        let mut objects = self.store().list_children(&layout::marks(self.name())).await?.objects;
        objects.retain(|object| object.path.ends_with(".json"));
        Ok(objects)
    }
}
