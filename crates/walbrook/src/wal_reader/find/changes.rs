use jiff::Timestamp;
use walbrook_types::{Lsn, Oid, TimelineId};
use walbrook_wal::{RelLocator, Xid};

use crate::wal_reader::names::RelationName;

/// What [`find_transactions`](super::find_transactions) found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Found {
    /// The transactions that were asked for, in the order that was asked for.
    pub transactions: Vec<TransactionChanges>,
    /// How many there are of them in the range, those beyond the limit included.
    pub matched: u64,
    /// Where the range begins.
    pub from: Lsn,
    /// Where the last record ends that was read.
    pub to: Lsn,
    /// How many transactions in flight were given up to bound memory.
    pub given_up: u64,
}

/// What a transaction changed, its committed subtransactions included.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TransactionChanges {
    /// The top-level transaction; of a two-phase commit, the prepared one.
    pub xid: Xid,
    /// Where the record of its end begins: `recovery_target_lsn` with
    /// `recovery_target_inclusive = off` stops just before it.
    pub lsn: Lsn,
    /// Where that record ends.
    pub end_lsn: Lsn,
    /// The timeline of its end.
    pub timeline: TimelineId,
    /// When it ended, by the server's clock.
    pub time: Timestamp,
    /// Whether it committed.
    pub committed: bool,
    /// Whether it was prepared first, and committed by `COMMIT PREPARED`.
    pub prepared: bool,
    /// The name that it was prepared by, where its `PREPARE` was read.
    pub gid: Option<String>,
    /// How many subtransactions are counted in.
    pub subtransactions: usize,
    /// Whether all of its WAL was certainly read; if not, it may have begun before the range, and
    /// counts are of what was read.
    pub complete: bool,
    /// What it changed, most rows first.
    pub relations: Vec<RelationChanges>,
    /// Rows of catalogs, TOAST tables and whatever else is not among `relations`.
    pub others: RowCounts,
    /// Databases that it dropped.
    pub dropped_databases: Vec<Oid>,
}

/// What happened to one relation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RelationChanges {
    /// Its files, before the transaction where they changed.
    pub relation: RelLocator,
    /// What it is called, if a live server knows.
    pub name: Option<RelationName>,
    /// Rows.
    pub rows: RowCounts,
    /// Whether it was truncated.
    pub truncated: bool,
    /// Whether its files went without new ones in their place.
    pub dropped: bool,
    /// Whether it was written anew into other files, its rows kept.
    pub rewritten: bool,
    /// Whether it is new.
    pub created: bool,
    /// Its files from then on, where they changed.
    pub new_files: Option<RelLocator>,
}

/// How many rows were changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RowCounts {
    /// Inserted.
    pub inserted: u64,
    /// Updated.
    pub updated: u64,
    /// Deleted.
    pub deleted: u64,
}

impl RowCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.inserted + self.updated + self.deleted
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }
}

impl RelationChanges {
    pub(super) fn new(relation: RelLocator) -> Self {
        Self {
            relation,
            name: None,
            rows: RowCounts::default(),
            truncated: false,
            dropped: false,
            rewritten: false,
            created: false,
            new_files: None,
        }
    }

    /// Whether anything happened to it that is worth telling.
    pub(super) fn is_change(&self) -> bool {
        self.rows.total() > 0 || self.truncated || self.dropped || self.rewritten
    }
}

impl TransactionChanges {
    /// Rows of all that is among [`relations`](Self::relations).
    pub fn rows(&self) -> RowCounts {
        let mut rows = RowCounts::default();
        self.relations.iter().for_each(|relation| rows.add(&relation.rows));
        rows
    }

    /// How many relations it truncated.
    pub fn truncated(&self) -> usize {
        self.relations.iter().filter(|relation| relation.truncated).count()
    }

    /// How many relations and databases it dropped.
    pub fn dropped(&self) -> usize {
        let relations = self.relations.iter().filter(|relation| relation.dropped).count();
        relations + self.dropped_databases.len()
    }
}
