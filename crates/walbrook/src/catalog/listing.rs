use jiff::Timestamp;
use serde::Serialize;
use walbrook_repo::{BackupId, BackupPin, BackupRecord, DamagedBackup, SystemRecord};
use walbrook_types::{Lsn, TimelineId, WalFileName};

/// What a repository holds of one cluster.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ClusterListing {
    /// The cluster's name.
    pub cluster: String,
    /// Its systems, oldest first: a cluster that went through `pg_upgrade` has several.
    pub systems: Vec<SystemListing>,
    /// Backups whose record can't be read: they are in no list, and can't be restored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedListing>,
}

/// A backup whose record can't be read.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DamagedListing {
    /// The backup.
    pub id: BackupId,
    /// What is wrong with its record, in words.
    pub error: String,
}

impl From<DamagedBackup> for DamagedListing {
    fn from(damaged: DamagedBackup) -> Self {
        Self { id: damaged.id, error: damaged.error.to_string() }
    }
}

/// What a repository holds of one system of a cluster.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SystemListing {
    /// The system.
    pub system: SystemRecord,
    /// Its backups, oldest first.
    pub backups: Vec<BackupListing>,
    /// What can be recovered to, for each timeline.
    pub windows: Vec<RecoveryWindow>,
    /// WAL segments that are missing: between others, or although they were there. Those that an
    /// expiry removed are not among them.
    pub gaps: Vec<WalGap>,
    /// WAL segments between others that an expiry removed.
    pub expired: Vec<WalGap>,
    /// What its WAL takes in the repository, in bytes.
    pub wal_bytes: u64,
    /// How many segments there are.
    pub wal_segments: u64,
}

/// A backup and whether it can be restored.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct BackupListing {
    /// The backup.
    #[serde(flatten)]
    pub record: BackupRecord,
    /// Whether the WAL that makes it consistent is in the repository.
    pub restorable: bool,
    /// What removing it, and no other, would free, in bytes; see [`measure`](crate::measure).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frees: Option<u64>,
    /// The wishes to keep it that hold now.
    pub pins: Vec<BackupPin>,
}

/// A span of moments to any of which a cluster can be restored.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RecoveryWindow {
    /// The timeline to follow.
    pub timeline: TimelineId,
    /// The oldest backup that it begins with.
    pub first_backup: BackupId,
    /// The newest backup within it.
    pub last_backup: BackupId,
    /// The first position that can be restored to.
    pub from_lsn: Lsn,
    /// The first moment that can be restored to, by the server's clock.
    pub from_time: Timestamp,
    /// The end of the WAL that follows without a gap.
    pub to_lsn: Lsn,
    /// The time of the last transaction in it; `None` when there is none to tell it by: then
    /// nothing happened after `from_time`.
    pub to_time: Option<Timestamp>,
}

/// WAL segments of a timeline that are not there, one behind the other.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct WalGap {
    /// The timeline.
    pub timeline: TimelineId,
    /// The first one missing.
    pub first: WalFileName,
    /// The last one missing.
    pub last: WalFileName,
    /// How many are missing.
    pub segments: u64,
}
