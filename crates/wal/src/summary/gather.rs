use std::collections::HashMap;

use walbrook_types::{BlockNumber, Fork};

use super::blocks::BlockSet;
use super::effects::{self, Effect};
use super::table::{BlockSummary, ForkSummary};
use super::walk::{self, FSM, ForkNumber};
use crate::{RecordHeader, RelLocator, WalVersion};

/// How many block references of a fork are gathered before repetitions are sorted out.
const COMPACT_AT: usize = 1 << 16;
/// Slots of the table of forks seen lately; a power of two.
const RECENT: usize = 64;

/// Collects block references as fast as they come, in the order of the log, and makes a
/// [`BlockSummary`] of them at the end.
///
/// A transaction goes back and forth between a handful of tables and indexes: those are found in a
/// small table without hashing, and their blocks are only appended to a list.
#[derive(Debug)]
pub(super) struct Gather {
    forks: Vec<Gathered>,
    index: HashMap<(RelLocator, ForkNumber), usize>,
    recent: [usize; RECENT],
}

#[derive(Debug)]
struct Gathered {
    relation: RelLocator,
    fork: ForkNumber,
    limit: Option<BlockNumber>,
    blocks: Vec<BlockNumber>,
    compact_at: usize,
}

impl Default for Gather {
    fn default() -> Self {
        Self { forks: Vec::new(), index: HashMap::new(), recent: [usize::MAX; RECENT] }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All that it does is noted.
    Noted,
    /// That too, and it says that WAL is, or was until here, written with `wal_level=minimal`.
    Minimal,
    /// It is not laid out as PostgreSQL does.
    Unknown,
}

impl Gather {
    /// Notes what a record does, all of whose bytes are there.
    #[inline]
    pub(super) fn record(
        &mut self,
        version: WalVersion,
        header: &RecordHeader,
        record: &[u8],
    ) -> Outcome {
        let layout = walk::walk(record, record.len(), |relation, fork, block| {
            self.mark(relation, fork, block);
        });
        match layout {
            Ok(layout) if effects::can_have(header) => {
                let main_at = record.len().saturating_sub(layout.main);
                self.main_data(version, header, record.get(main_at..).unwrap_or_default())
            }
            Ok(_) => Outcome::Noted,
            Err(_) => Outcome::Unknown,
        }
    }

    /// Notes what a record's main data say, of which the [needed](effects::needed) bytes are there.
    pub(super) fn main_data(
        &mut self,
        version: WalVersion,
        header: &RecordHeader,
        main: &[u8],
    ) -> Outcome {
        let mut outcome = Outcome::Noted;
        let understood = effects::each(version, header, main, |effect| match effect {
            Effect::Limit(relation, fork, block) => self.fork(&relation, fork).limit(block),
            Effect::Database(tablespace_oid, database) => {
                let all = RelLocator { tablespace_oid, database, number: 0 };
                self.fork(&all, 0).limit(0);
            }
            Effect::MinimalWal => outcome = Outcome::Minimal,
        });
        if understood { outcome } else { Outcome::Unknown }
    }

    #[inline]
    pub(super) fn mark(&mut self, relation: &RelLocator, fork: ForkNumber, block: BlockNumber) {
        // Changes to it are not all logged, so that those that are would say nothing.
        if fork == FSM {
            return;
        }
        let gathered = self.fork(relation, fork);
        if gathered.blocks.last() == Some(&block) {
            return;
        }
        if gathered.blocks.len() >= gathered.compact_at {
            gathered.compact();
        }
        gathered.blocks.push(block);
    }

    pub(super) fn finish(self) -> BlockSummary {
        let mut summary = BlockSummary::new();
        for mut gathered in self.forks {
            gathered.compact();
            let (relation, fork) = (gathered.relation, fork_of(gathered.fork));
            let blocks = BlockSet::from_sorted(&gathered.blocks);
            summary.put(relation, fork, ForkSummary { limit_block: gathered.limit, blocks });
        }
        summary
    }

    #[inline]
    fn fork(&mut self, relation: &RelLocator, fork: ForkNumber) -> &mut Gathered {
        let slot = (relation.number as usize ^ usize::from(fork) << 4) % RECENT;
        let at = self.recent[slot];
        let known = self.forks.get(at);
        if !known.is_some_and(|known| known.relation == *relation && known.fork == fork) {
            self.recent[slot] = self.find(relation, fork);
        }
        &mut self.forks[self.recent[slot]]
    }

    fn find(&mut self, relation: &RelLocator, fork: ForkNumber) -> usize {
        let forks = &mut self.forks;
        *self.index.entry((*relation, fork)).or_insert_with(|| {
            forks.push(Gathered {
                relation: *relation,
                fork,
                limit: None,
                blocks: Vec::new(),
                compact_at: COMPACT_AT,
            });
            forks.len() - 1
        })
    }
}

impl Gathered {
    fn limit(&mut self, block: BlockNumber) {
        self.limit = Some(self.limit.map_or(block, |limit| limit.min(block)));
        self.blocks.retain(|changed| *changed < block);
    }

    fn compact(&mut self) {
        self.blocks.sort_unstable();
        self.blocks.dedup();
        self.compact_at = COMPACT_AT.max(2 * self.blocks.len());
    }
}

/// The fork of a number that was checked before.
pub(super) fn fork_of(number: ForkNumber) -> Fork {
    match number {
        0 => Fork::Main,
        1 => Fork::FreeSpaceMap,
        2 => Fork::VisibilityMap,
        _ => Fork::Init,
    }
}

/// A fork's number in PostgreSQL.
pub(super) fn number_of(fork: Fork) -> ForkNumber {
    match fork {
        Fork::Main => 0,
        Fork::FreeSpaceMap => FSM,
        Fork::VisibilityMap => 2,
        Fork::Init => 3,
    }
}
