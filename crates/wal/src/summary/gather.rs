use std::collections::HashMap;

use walbrook_types::{BlockNumber, Fork};

use super::blocks::{BlockSet, Chunk};
use super::effects::{self, Effect};
use super::table::{BlockSummary, ForkSummary};
use super::walk::{self, FSM, ForkNumber};
use crate::{RecordHeader, RelLocator, WalVersion};

/// How many block references of a fork are listed before they are sorted.
const COMPACT_AT: usize = 4096;
/// How many different ones of a chunk of 65,536 blocks make a bitmap of them worth its 8 KiB.
const DENSE: usize = 64;
/// Slots of the table of forks seen lately; a power of two.
const RECENT: usize = 64;

/// Collects block references as fast as they come, in the order of the log, and makes a
/// [`BlockSummary`] of them at the end.
///
/// A transaction goes back and forth between a handful of tables and indexes: those are found in a
/// small table without hashing. Their blocks are appended to a list, or are bits in a bitmap where they
/// are many.
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
    /// By the number of the chunk; none for most.
    bitmaps: Vec<Option<Box<Bitmap>>>,
    /// What lies in other chunks.
    list: Vec<BlockNumber>,
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
        self.fork(relation, fork).mark(block);
    }

    pub(super) fn finish(self) -> BlockSummary {
        let mut summary = BlockSummary::new();
        for mut gathered in self.forks {
            let (relation, fork) = (gathered.relation, fork_of(gathered.fork));
            let blocks = gathered.take();
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
                bitmaps: Vec::new(),
                list: Vec::new(),
                compact_at: COMPACT_AT,
            });
            forks.len() - 1
        })
    }
}

impl Gathered {
    #[inline]
    fn mark(&mut self, block: BlockNumber) {
        if let Some(Some(bitmap)) = self.bitmaps.get_mut((block >> 16) as usize) {
            let offset = usize::from(block as u16);
            bitmap[offset / 64] |= 1 << (offset % 64);
            return;
        }
        if self.list.last() == Some(&block) {
            return;
        }
        if self.list.len() >= self.compact_at {
            self.compact();
        }
        self.list.push(block);
    }

    fn limit(&mut self, block: BlockNumber) {
        self.limit = Some(self.limit.map_or(block, |limit| limit.min(block)));
        self.list.retain(|changed| *changed < block);
        let (chunk, offset) = ((block >> 16) as usize, usize::from(block as u16));
        if let Some(Some(bitmap)) = self.bitmaps.get_mut(chunk) {
            let (word, bit) = (offset / 64, offset % 64);
            bitmap[word] &= (1 << bit) - 1;
            bitmap[word + 1..].fill(0);
        }
        self.bitmaps.truncate(chunk + 1);
    }

    /// Sorts out repetitions, and makes bitmaps where they are worth it.
    fn compact(&mut self) {
        self.list.sort_unstable();
        self.list.dedup();
        let mut rest = Vec::new();
        for run in self.list.chunk_by(|a, b| a >> 16 == b >> 16) {
            match run.first() {
                Some(first) if run.len() >= DENSE => {
                    let chunk = (first >> 16) as usize;
                    let mut bitmap = Box::new([0; 1024]);
                    for block in run {
                        let offset = usize::from(*block as u16);
                        bitmap[offset / 64] |= 1 << (offset % 64);
                    }
                    if self.bitmaps.len() <= chunk {
                        self.bitmaps.resize_with(chunk + 1, || None);
                    }
                    self.bitmaps[chunk] = Some(bitmap);
                }
                _ => rest.extend_from_slice(run),
            }
        }
        self.list = rest;
        self.compact_at = COMPACT_AT.max(2 * self.list.len());
    }

    fn take(&mut self) -> BlockSet {
        self.list.sort_unstable();
        self.list.dedup();
        let mut blocks = BlockSet::from_sorted(&self.list);
        let mut dense = BlockSet::new();
        for (number, bitmap) in self.bitmaps.drain(..).enumerate() {
            if let Some(bitmap) = bitmap {
                dense.push_chunk(number as u16, Chunk::from_words(bitmap));
            }
        }
        blocks.union(&dense);
        blocks
    }
}

/// One bit for each block of a chunk.
type Bitmap = [u64; 1024];

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough of everything that lists become bitmaps and are cut again.
    #[test]
    fn lists_and_bitmaps_gather_the_same_as_a_summary() {
        let (mut gather, mut expected) = (Gather::default(), BlockSummary::new());
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) % below) as u32
        };
        for round in 0..200_000u32 {
            let relation =
                RelLocator { tablespace_oid: 1663, database: 5, number: 100 + random(3) * 64 };
            let fork = [0, 2][random(2) as usize];
            let block = match random(10) {
                0 => random(1 << 32),
                1..5 => random(70_000),
                _ => 200_000 + random(9_000),
            };
            if round % 20_000 == 19_999 {
                gather.fork(&relation, fork).limit(block);
                expected.limit(relation, fork_of(fork), block);
            } else {
                gather.mark(&relation, fork, block);
                expected.mark(relation, fork_of(fork), block);
            }
        }
        assert!(gather.forks.iter().any(|fork| fork.bitmaps.iter().flatten().count() > 1));
        assert_eq!(gather.finish(), expected);
    }
}
