use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::BackupId;
use crate::expiry::mark::WalSpan;

/// What an expiry is to remove, and what it was decided upon.
///
/// Who decides has read the repository before: between that and the removal others may have been
/// at work. What then would be wrong is not done.
#[derive(Debug, Clone)]
pub struct ExpiryRequest {
    /// The backups to remove.
    pub remove: Vec<BackupId>,
    /// The other backups that there were when this was decided. When one of them is gone, or is being
    /// removed by somebody else, nothing is done.
    pub keep: Vec<BackupId>,
    /// The WAL to remove.
    pub wal: Vec<WalSpan>,
    /// How long a restore that has begun may go on reading what is removed: until then only commits
    /// are.
    pub grace: Duration,
    /// The moment, which tells who is dead and for whom nobody waits any more. None is now: by this
    /// machine's clock or the store's, whichever is behind.
    pub now: Option<Timestamp>,
    /// The moment that it was decided for: a pin whose time is over by then does not count.
    pub decided_for: Timestamp,
    /// The machine that the expiry runs on.
    pub host: String,
}

/// What an expiry did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExpiryReport {
    /// The backups that it removed: they can't be seen or restored any more. Their packs may be in
    /// use by others, or wait.
    pub removed: Vec<BackupId>,
    /// The backups that it was to remove and left.
    pub kept: Vec<KeptBackup>,
    /// The backups whose parts it deleted, now or before removed, and those that were never
    /// finished; of some, packs stay that others use.
    pub swept: Vec<BackupId>,
    /// Packs that it deleted.
    pub packs: u64,
    /// Packs of removed backups that stay, for other backups use them.
    pub packs_in_use: u64,
    /// Bytes of packs, manifests and intents that it deleted.
    pub bytes: u64,
    /// WAL segments that it deleted.
    pub wal_segments: u64,
    /// Bytes of them, with what lies beside them.
    pub wal_bytes: u64,
    /// Why it left WAL that it was to remove, if it did.
    pub wal_kept: Option<String>,
    /// From when on an expiry deletes what this one has removed and left for restores under way; none
    /// when nothing waits.
    pub waiting_until: Option<Timestamp>,
    /// What the store refused to delete.
    pub refused: Refusals,
}

/// A backup that an expiry was to remove and left.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct KeptBackup {
    /// The backup.
    pub id: BackupId,
    /// Why.
    pub reason: KeptReason,
}

/// Why an expiry left a backup that it was to remove.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeptReason {
    /// A backup that is being taken builds on it.
    InUse {
        /// That one.
        by: BackupId,
    },
    /// It was pinned after the removal was decided.
    Pinned,
    /// The store refused to delete its commit. It is whole.
    Refused {
        /// What the store said.
        message: String,
    },
}

impl std::fmt::Display for KeptReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse { by } => write!(f, "backup {by}, being taken, builds on it"),
            Self::Pinned => f.write_str("it was pinned meanwhile"),
            Self::Refused { message } => write!(f, "the store refuses to delete it: {message}"),
        }
    }
}

/// What a store refused to delete: for want of permission, or by a lock on objects.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Refusals {
    /// How many objects.
    pub objects: u64,
    /// What the store said of the first of them.
    pub messages: Vec<String>,
}

impl Refusals {
    /// How many are told in words.
    const TOLD: usize = 5;

    pub(crate) fn add(&mut self, error: &walbrook_store::Error) {
        self.objects += 1;
        if self.messages.len() < Self::TOLD {
            self.messages.push(error.to_string());
        }
    }
}
