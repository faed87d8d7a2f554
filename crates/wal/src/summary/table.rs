use std::collections::BTreeMap;

use walbrook_types::{BlockNumber, Fork, Oid};

use super::blocks::BlockSet;
use crate::RelLocator;

/// The blocks that a stretch of WAL changes, for each fork of each relation, and how short each fork
/// became meanwhile.
///
/// It says the same as the block reference tables that PostgreSQL 17 makes (`common/blkreftable.c`):
///
/// - A **changed block** is one that a record refers to. The free space map is left out, because
///   changes to it are not all logged.
/// - The **limit block** of a fork is the least length in blocks that it had: 0 when it was created or
///   dropped, the remaining length when it was truncated. What a base backup holds of the fork from this
///   block on is void, and **every block from there on that exists now has to be taken anew, whether it
///   is among the changed ones or not**: PostgreSQL can extend a file with empty pages that it does not
///   log.
/// - A whole database in a tablespace that was created or dropped counts as limit 0 for every fork in
///   it. PostgreSQL notes that as an entry for the file number zero; so does [`iter`](Self::iter),
///   while [`limit_block`](Self::limit_block) answers for the relations themselves.
///
/// Clearing a bit of a visibility map is not logged by servers before 17, nor by 17 and 18 until
/// they were mended: **take visibility maps whole**, whatever this says of them.
///
/// Summaries of consecutive stretches [merge](Self::merge) into exactly that of the whole. For this to
/// hold, a truncation here forgets the blocks that it cuts off always; PostgreSQL forgets them only if
/// the fork was never shorter before, and so its tables can hold more blocks, all of them at or
/// beyond the limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockSummary {
    forks: BTreeMap<(RelLocator, Fork), ForkSummary>,
}

/// What a [`BlockSummary`] says of one fork.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForkSummary {
    /// The least length that it had; none when it was neither created, nor dropped, nor truncated.
    pub limit_block: Option<BlockNumber>,
    /// The blocks that were changed, since the last time that they were cut off.
    pub blocks: BlockSet,
}

impl ForkSummary {
    /// Notes that the fork was created or dropped (0), or truncated to this length.
    pub fn limit(&mut self, block: BlockNumber) {
        self.limit_block = Some(self.limit_block.map_or(block, |limit| limit.min(block)));
        self.blocks.truncate(block);
    }

    /// Whether a page of a base backup can't stand for this block: it was changed, or cut off.
    pub fn is_changed(&self, block: BlockNumber) -> bool {
        self.limit_block.is_some_and(|limit| block >= limit) || self.blocks.contains(block)
    }

    fn merge(&mut self, later: &Self) {
        if let Some(limit) = later.limit_block {
            self.limit(limit);
        }
        self.blocks.union(&later.blocks);
    }
}

impl BlockSummary {
    /// That of no WAL at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.forks.is_empty()
    }

    /// How many forks it speaks of.
    pub fn len(&self) -> usize {
        self.forks.len()
    }

    /// Notes a changed block.
    pub fn mark(&mut self, relation: RelLocator, fork: Fork, block: BlockNumber) {
        self.forks.entry((relation, fork)).or_default().blocks.insert(block);
    }

    /// Notes that a fork was created or dropped (0), or truncated to this length.
    pub fn limit(&mut self, relation: RelLocator, fork: Fork, block: BlockNumber) {
        self.forks.entry((relation, fork)).or_default().limit(block);
    }

    /// Notes that a database was created or dropped in a tablespace.
    pub fn recreate_database(&mut self, tablespace_oid: Oid, database: Oid) {
        self.limit(RelLocator { tablespace_oid, database, number: 0 }, Fork::Main, 0);
    }

    /// Adds what the WAL directly after this did.
    pub fn merge(&mut self, later: &Self) {
        for (key, fork) in &later.forks {
            match self.forks.get_mut(key) {
                Some(mine) => mine.merge(fork),
                None => {
                    self.forks.insert(*key, fork.clone());
                }
            }
        }
    }

    /// What is noted of exactly this fork; none when nothing is. Does not look at its database.
    pub fn get(&self, relation: RelLocator, fork: Fork) -> Option<&ForkSummary> {
        self.forks.get(&(relation, fork))
    }

    /// Whether this database was created or dropped in this tablespace.
    pub fn is_database_recreated(&self, tablespace_oid: Oid, database: Oid) -> bool {
        let all = RelLocator { tablespace_oid, database, number: 0 };
        self.get(all, Fork::Main).is_some_and(|fork| fork.limit_block == Some(0))
    }

    /// The least length that this fork had; none when it was neither created, nor dropped, nor
    /// truncated. Zero when its database was created or dropped.
    pub fn limit_block(&self, relation: RelLocator, fork: Fork) -> Option<BlockNumber> {
        if self.is_database_recreated(relation.tablespace_oid, relation.database) {
            return Some(0);
        }
        self.get(relation, fork)?.limit_block
    }

    /// The changed blocks of a fork in ascending order. Does not include those beyond the
    /// [limit](Self::limit_block) that were only cut off.
    pub fn changed_blocks(
        &self,
        relation: RelLocator,
        fork: Fork,
    ) -> impl Iterator<Item = BlockNumber> + '_ {
        self.get(relation, fork).into_iter().flat_map(|fork| fork.blocks.iter())
    }

    /// Whether a page of a base backup can't stand for this block: it was changed, cut off, or its
    /// database was created anew.
    pub fn is_changed(&self, relation: RelLocator, fork: Fork, block: BlockNumber) -> bool {
        self.is_database_recreated(relation.tablespace_oid, relation.database)
            || self.get(relation, fork).is_some_and(|fork| fork.is_changed(block))
    }

    /// All that is noted, in PostgreSQL's order: by tablespace, database, file number and fork. A
    /// database created or dropped is the file number zero with limit 0.
    pub fn iter(&self) -> impl Iterator<Item = (RelLocator, Fork, &ForkSummary)> {
        self.forks.iter().map(|((relation, fork), summary)| (*relation, *fork, summary))
    }

    /// Adds an entry that comes after all others. Answers whether it does.
    pub(super) fn push(&mut self, relation: RelLocator, fork: Fork, summary: ForkSummary) -> bool {
        let key = (relation, fork);
        let behind = self.forks.last_key_value().is_none_or(|(last, _)| *last < key);
        if behind {
            self.forks.insert(key, summary);
        }
        behind
    }

    /// Adds an entry that is not there yet.
    pub(super) fn put(&mut self, relation: RelLocator, fork: Fork, summary: ForkSummary) {
        self.forks.insert((relation, fork), summary);
    }
}
