use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use walbrook_types::{Lsn, Oid, PgVersion, SystemId, TimelineId, WalFileName, WalSegmentSize};

use crate::document::Document;
use crate::{BackupId, Digest};

/// What a backup's commit object, `backup.json`, says: the backup exists when it does.
///
/// It is small whatever the cluster's size, tells all that choosing a backup needs, and carries
/// the digests of the manifest shards, which carry those of all the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupRecord {
    /// The backup's identifier.
    pub id: BackupId,
    /// The name of the cluster that it is of.
    pub cluster: String,
    /// The backup with which it was compared, and whose packs it may share; none for one that
    /// copied everything. It need not exist any more: the manifest says where everything is.
    pub base: Option<BackupId>,
    /// Interrupted backups that it continued, and whose packs it may share. They need not be there
    /// any more, but for the packs in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumes: Vec<BackupId>,
    /// The cluster as it was.
    pub server: ServerFacts,
    /// What WAL the backup needs, and from when on it can be restored to.
    pub span: BackupSpan,
    /// How it was taken.
    pub source: SourceFacts,
    /// The tablespaces other than `pg_default` and `pg_global`.
    pub tablespaces: Vec<TablespaceRecord>,
    /// How much it is.
    pub size: BackupSize,
    /// Its manifest, in shards in the order of the paths that they hold.
    pub manifest: Vec<ShardRecord>,
    /// The pages that did not pass their check when they were read.
    pub damage: DamageReport,
    /// The free text that `--label` gave, also in `backup_label`.
    pub label: String,
    /// What `--annotate` gave.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// How it was locked, when it was to be. It says what was done, and proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockFacts>,
    /// The version of Walbrook that made it.
    pub walbrook_version: String,
}

impl Document for BackupRecord {
    const FORMAT: &'static str = "walbrook-backup";
    const VERSION: u32 = 1;
}

/// The server that was backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// The system identifier.
    pub system_identifier: SystemId,
    /// The server's version.
    pub pg_version: PgVersion,
    /// The size of a WAL segment in bytes.
    pub wal_segment_size: WalSegmentSize,
    /// The size of a page in bytes.
    pub block_size: u32,
    /// Whether its pages carry checksums.
    pub data_checksums: bool,
}

/// From where to where the backup reaches, in the log and in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSpan {
    /// The timeline that it was taken on.
    pub timeline: TimelineId,
    /// Where replay begins.
    pub start_lsn: Lsn,
    /// Where the cluster becomes consistent: no restore can end before.
    pub stop_lsn: Lsn,
    /// The first WAL segment that it needs.
    pub first_segment: WalFileName,
    /// The last WAL segment that it needs to be consistent.
    pub last_segment: WalFileName,
    /// When it began, by the clock of the machine that took it.
    pub started_at: Timestamp,
    /// When its copy was complete, by the same clock.
    pub stopped_at: Timestamp,
    /// The server's time of the checkpoint that it begins with.
    pub checkpoint_time: Timestamp,
    /// The server's time of the last transaction that ended before `stop_lsn`, if any did since
    /// `start_lsn`: a restore to an earlier time would stop before the cluster is consistent.
    pub last_transaction_time: Option<Timestamp>,
}

impl BackupSpan {
    /// The earliest time that a restore of this backup can be asked for, in the server's clock.
    ///
    /// What ended before the last transaction of the backup's own WAL is in the backup, and what
    /// ended after it is replayed. When nothing ended in that WAL, everything in the backup is
    /// older than its checkpoint, whose time is known in whole seconds, rounded down.
    pub fn earliest_target(&self) -> Timestamp {
        self.last_transaction_time
            .or_else(|| self.checkpoint_time.checked_add(SignedDuration::from_secs(1)).ok())
            .unwrap_or(self.checkpoint_time)
    }
}

/// How the pages were had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// Which source: `sql` is `pg_read_binary_file` over ordinary connections, `local` is the data
    /// directory itself, and `replication` is `BASE_BACKUP`.
    pub kind: String,
    /// Why this source and no other, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether a standby was read.
    pub from_standby: bool,
    /// The server's host or socket directory, and port.
    pub server: String,
    /// How the WAL that it needs came into the repository: `stream` or `archive`.
    pub wal: String,
    /// How it was found out what had changed since the base; none without a base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<ChangeFacts>,
}

/// How it was found out what had changed since the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeFacts {
    /// By what: `wal-summaries` are the server's own, `sum` those that lie beside archived WAL,
    /// `page-lsn` the positions in the pages' headers; `hash` is reading and comparing everything.
    pub by: String,
    /// Why in this way and no other, for people.
    pub reason: String,
}

/// How a backup's objects were locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFacts {
    /// All that the backup needs is locked until then, or longer, unless there was trouble.
    pub until: Timestamp,
    /// What of it, that was there before, could not be locked, and why; none when all is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// One tablespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablespaceRecord {
    /// Its OID, by which `pg_tblspc` names it.
    pub oid: Oid,
    /// Its directory on the server.
    pub location: String,
}

/// Sizes in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSize {
    /// Files, directories apart.
    pub files: u64,
    /// Of the files together.
    pub database_bytes: u64,
    /// What this backup added to the repository: packs and manifest.
    pub stored_bytes: u64,
    /// Packs that this backup wrote.
    pub packs: u32,
    /// Bytes of the files that are in packs of other backups.
    #[serde(default)]
    pub reused_bytes: u64,
    /// Of these, bytes that are in packs of interrupted backups that this one continued.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resumed_bytes: u64,
    /// Bytes of the files that are in packs of removed backups as well, which this one stored anew so
    /// that these packs can go.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub compacted_bytes: u64,
}

/// Serde asks by reference.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One shard of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Its number: the `n` of `manifest-n`.
    pub number: u32,
    /// The object's size in bytes.
    pub size: u64,
    /// The object's digest.
    pub blake3: Digest,
    /// Entries in it.
    pub entries: u64,
    /// The first path in it, by byte order.
    pub first_path: String,
    /// The last path in it.
    pub last_path: String,
}

/// Pages that did not pass their check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageReport {
    /// How many there are.
    pub pages: u64,
    /// The first of them, at most [`DamageReport::LISTED`].
    pub listed: Vec<DamagedPage>,
}

impl DamageReport {
    /// How many pages are listed by name; more are counted.
    pub const LISTED: usize = 1000;

    /// Counts a page, and lists it while there is room.
    pub fn add(&mut self, page: DamagedPage) {
        self.pages += 1;
        if self.listed.len() < Self::LISTED {
            self.listed.push(page);
        }
    }

    /// Adds what another report has.
    pub fn merge(&mut self, other: Self) {
        self.pages += other.pages;
        let room = Self::LISTED.saturating_sub(self.listed.len());
        self.listed.extend(other.listed.into_iter().take(room));
    }
}

/// A page that failed its check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedPage {
    /// The file, relative to the data directory.
    pub path: String,
    /// The block within the relation's fork.
    pub block: u32,
    /// What is wrong with it.
    pub problem: String,
}

/// What `intent.json` says: somebody began a backup. Written before anything else of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupIntent {
    /// The backup's identifier.
    pub id: BackupId,
    /// The name of the cluster.
    pub cluster: String,
    /// The system identifier of the server.
    pub system_identifier: SystemId,
    /// The backup whose packs it is going to share: whatever that one reaches is in use.
    pub base: Option<BackupId>,
    /// Interrupted backups that it continues: their packs are in use.
    #[serde(default)]
    pub resumes: Vec<BackupId>,
    /// A position before which it needs none of its system's WAL: an expiry that meets it may remove
    /// that. None when the server did not tell: then it may need all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_from: Option<Lsn>,
    /// The machine that takes it.
    pub host: String,
    /// The process on that machine.
    pub pid: u32,
    /// When it began, by that machine's clock.
    pub started_at: Timestamp,
    /// The version of Walbrook that takes it.
    pub walbrook_version: String,
}

impl Document for BackupIntent {
    const FORMAT: &'static str = "walbrook-intent";
    const VERSION: u32 = 1;
}
