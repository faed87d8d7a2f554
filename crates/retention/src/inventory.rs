use std::collections::BTreeMap;

use jiff::Timestamp;
use walbrook_types::{Lsn, SegmentNumber, SystemId, TimelineId, WalSegmentSize};

/// All that a plan is made from: what there is of one cluster, under however many system
/// identifiers.
///
/// The order of the lists means nothing.
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Inventory {
    /// The backups that exist.
    pub backups: Vec<Backup>,
    /// The WAL that exists.
    pub wal: Vec<WalRange>,
    /// How timelines descend from each other. All that is known, of timelines without WAL too.
    pub origins: Vec<TimelineOrigin>,
    /// The systems that the cluster has and had, as far as it is known when they came.
    pub systems: Vec<SystemInfo>,
    /// The backups that are being taken now, or may be.
    pub running: Vec<RunningBackup>,
    /// A moment that is known to have passed: when the last expiry ran, for instance. A clock that
    /// is behind it was put back.
    pub last_seen: Option<Timestamp>,
}

/// One backup.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Backup {
    /// Its name, unique in the inventory. Nothing is concluded from it.
    pub id: String,
    /// The system that it is of.
    pub system: SystemId,
    /// The timeline that it was taken on, from its start to its stop.
    pub timeline: TimelineId,
    /// Where replay begins: the redo position of its first checkpoint.
    pub start_lsn: Lsn,
    /// Where it becomes consistent: no restore can end before.
    pub stop_lsn: Lsn,
    /// When it began. Orders the backups, and says which hour, day, … each stands for.
    pub started_at: Timestamp,
    /// The first moment that it can be restored to: when it ended, or a later time that its own WAL
    /// proves. Says whether it is older than a window.
    pub stopped_at: Timestamp,
    /// Whether it holds the WAL from its start to its stop itself and needs none from the archive.
    #[cfg_attr(feature = "serde", serde(default))]
    pub self_contained: bool,
    /// Whether it is known to be damaged. It then counts for nothing, though the rules may keep it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub damaged: bool,
    /// What users asked to keep it for.
    #[cfg_attr(feature = "serde", serde(default))]
    pub pins: Vec<Pin>,
    /// What users noted.
    #[cfg_attr(feature = "serde", serde(default))]
    pub annotations: BTreeMap<String, String>,
    /// What removing it would free, in bytes, as far as the caller knows.
    #[cfg_attr(feature = "serde", serde(default))]
    pub bytes: u64,
}

impl Backup {
    /// The first moment that it can be restored to: never before it began, whatever a clock that
    /// was put back says.
    pub(crate) fn consistent_at(&self) -> Timestamp {
        self.stopped_at.max(self.started_at)
    }
}

/// A user's wish to keep a backup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pin {
    /// Up to when; for ever without.
    pub until: Option<Timestamp>,
    /// Who, or what for.
    #[cfg_attr(feature = "serde", serde(default))]
    pub note: String,
}

impl Pin {
    /// Whether it holds at this moment.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A run of WAL of one timeline without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WalRange {
    /// Its system.
    pub system: SystemId,
    /// Its timeline.
    pub timeline: TimelineId,
    /// Its first byte.
    pub start: Lsn,
    /// The position behind its last byte.
    pub end: Lsn,
    /// The size of the segments that it is stored in: it is removed in whole segments.
    pub segment_size: WalSegmentSize,
    /// What it takes in bytes.
    #[cfg_attr(feature = "serde", serde(default))]
    pub bytes: u64,
    /// A moment before which all of it was written, if one is known: when the last segment was
    /// archived. Tells a timeline that is still written from one that was left; without it, a
    /// timeline that goes on behind the point where another left it is taken to be alive for ever.
    #[cfg_attr(feature = "serde", serde(default))]
    pub written_by: Option<Timestamp>,
}

impl WalRange {
    /// The segments from `first` to `last`, both of them in it.
    pub fn segments(
        system: SystemId,
        timeline: TimelineId,
        first: SegmentNumber,
        last: SegmentNumber,
        segment_size: WalSegmentSize,
    ) -> Self {
        let (start, end) = (first.start(segment_size), last.end(segment_size));
        Self { system, timeline, start, end, segment_size, bytes: 0, written_by: None }
    }

    /// Segments that it touches.
    pub fn segment_count(&self) -> u64 {
        if self.end <= self.start {
            return 0;
        }
        let size = self.segment_size;
        size.segment_before(self.end).0 - size.segment_of(self.start).0 + 1
    }

    pub(crate) fn line(&self) -> (SystemId, TimelineId) {
        (self.system, self.timeline)
    }
}

/// How a timeline came to be: where it left its parent. One line of a history file, which has one
/// for each ancestor; together they tell the origin of each timeline but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TimelineOrigin {
    /// Its system.
    pub system: SystemId,
    /// The timeline.
    pub timeline: TimelineId,
    /// The timeline that it left.
    pub parent: TimelineId,
    /// Where it begins: the first position that is no longer the parent's.
    pub switch_lsn: Lsn,
    /// A moment at which it was there, if one is known: when its history file was archived.
    #[cfg_attr(feature = "serde", serde(default))]
    pub seen_at: Option<Timestamp>,
}

/// One system identifier that the cluster has, or had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SystemInfo {
    /// The identifier.
    pub system: SystemId,
    /// When the cluster got it: at its first backup, or by `pg_upgrade`.
    pub registered_at: Timestamp,
}

/// A backup that somebody has begun and not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RunningBackup {
    /// Its name.
    pub id: String,
    /// The system that it is of.
    pub system: SystemId,
    /// A position before which it needs no WAL; `None` when nobody knows: then it may need all of its
    /// system's.
    pub wal_from: Option<Lsn>,
    /// The backup whose parts it uses.
    pub base: Option<String>,
}
