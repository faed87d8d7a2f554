use std::collections::{HashMap, HashSet};

use walbrook_types::{BlockNumber, Fork, Lsn, Oid, RelFile, Tablespace, TimelineId};
use walbrook_wal::{BlockSummary, RelLocator};

use crate::blocks::BlockSet;
use crate::rules::{self, FilePlan, WholeReason};
use crate::span::{Coverage, Span};
use crate::{Error, ErrorKind};

/// Bytes that the block numbers of a map may take before it becomes coarse.
const MEMORY: isize = 64 << 20;

/// Which blocks changed between a base backup and this one, as the log tells.
///
/// Made by a [`ChangeMapBuilder`], which gives none unless all of the log in between is known. For
/// each file of this backup [`plan`](Self::plan) answers what is to be read of it.
///
/// A map may name more than changed, never less. When changes are so many that naming each would
/// take more than 64 MiB, whole half-GiB stretches are named instead.
#[derive(Debug, Clone)]
pub struct ChangeMap {
    relations: HashMap<Relation, Changes>,
    databases: HashSet<Database>,
}

type Relation = (Tablespace, Oid, Oid);
type Database = (Tablespace, Oid);

/// What happened to a relation's main fork.
#[derive(Debug, Clone)]
struct Changes {
    /// The smallest length in blocks that it had: everything from there on is new since the base.
    limit: BlockNumber,
    blocks: BlockSet,
}

impl Default for Changes {
    fn default() -> Self {
        Self { limit: BlockNumber::MAX, blocks: BlockSet::default() }
    }
}

impl ChangeMap {
    /// What is to be read of a file.
    ///
    /// `path` is relative to the data directory; `size` is the file's length in bytes now, `base` its
    /// length in the base backup, or none if that has no such file. The answer is about a file of
    /// just this size: of one that has grown meanwhile, what is behind must be read as well.
    pub fn plan(&self, path: &str, size: u64, base: Option<u64>) -> FilePlan {
        let candidate = match rules::candidate(path, size, base) {
            Ok(candidate) => candidate,
            Err(reason) => return FilePlan::Whole(reason),
        };
        let RelFile { tablespace, database, number, .. } = candidate.file;
        if self.databases.contains(&(tablespace, database)) {
            return FilePlan::Whole(WholeReason::DatabaseCreated);
        }
        let none = Changes::default();
        let changes = self.relations.get(&(tablespace, database, number)).unwrap_or(&none);
        let first = candidate.file.first_block();
        if changes.limit <= first {
            return FilePlan::Whole(WholeReason::Created);
        }
        // From here on nothing is left of what the base has: it was truncated away, or never there.
        let new = candidate.base.min(changes.limit - first).min(candidate.now);
        let changed = changes.blocks.range(first..first.saturating_add(new));
        let changed = changed.map(|block| block - first);
        let mut ranges = rules::ranges(changed);
        match ranges.last_mut().filter(|last| last.end == new) {
            Some(last) => last.end = candidate.now,
            None if new < candidate.now => ranges.push(new..candidate.now),
            None => {}
        }
        if ranges.is_empty() { FilePlan::Unchanged } else { FilePlan::Blocks(ranges) }
    }

    /// How many relations have changes.
    pub fn relations(&self) -> usize {
        self.relations.len()
    }
}

/// Gathers what is known of the log between a base backup and this one, from summaries of any kind
/// and in any order, until it is complete.
#[derive(Debug)]
pub struct ChangeMapBuilder {
    span: Span,
    coverage: Coverage,
    map: ChangeMap,
    bytes: isize,
    memory: isize,
    /// Why the map can't be made, whatever is added.
    refused: Option<String>,
}

impl ChangeMapBuilder {
    /// For the changes in this part of the log.
    pub fn new(span: Span) -> Self {
        Self {
            coverage: Coverage::new(&span),
            span,
            map: ChangeMap { relations: HashMap::new(), databases: HashSet::new() },
            bytes: 0,
            memory: MEMORY,
            refused: None,
        }
    }

    /// The part of the log whose changes are wanted.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Whether a summary of `[from, to)` of that timeline tells anything about the span.
    pub fn wants(&self, timeline: TimelineId, from: Lsn, to: Lsn) -> bool {
        self.coverage.wants(timeline, from, to)
    }

    /// Begins to add a summary of `[from, to)` of that timeline: all records that begin there. Only
    /// [`SummaryNotes::complete`] makes that part of the log known.
    pub fn summary(&mut self, timeline: TimelineId, from: Lsn, to: Lsn) -> SummaryNotes<'_> {
        SummaryNotes { builder: self, timeline, from, to }
    }

    /// Adds a summary of the whole span, or more, along its timelines: what
    /// [`WalSummary::proven`](walbrook_wal::WalSummary::proven) gives for
    /// [`from`](Span::from) and [`to`](Span::to).
    pub fn whole_span(&mut self, summary: &BlockSummary) {
        let parts: Vec<_> = self.span.timelines().collect();
        for (index, (timeline, from, to)) in parts.into_iter().enumerate() {
            let mut notes = self.summary(timeline, from, to);
            if index == 0 {
                notes.blocks(summary);
            }
            notes.complete();
        }
    }

    /// Says that some of the log in the span leaves changes out, and why: `wal_level=minimal`, or a
    /// record that is not understood. No map can be made of it.
    pub fn refuse(&mut self, why: impl Into<String>) {
        self.refused.get_or_insert(why.into());
    }

    /// The map.
    ///
    /// # Errors
    ///
    /// [`Incomplete`](ErrorKind::Incomplete) with the first gap, when part of the log is not known;
    /// [`NotLogged`](ErrorKind::NotLogged) when it was [refused](Self::refuse).
    pub fn finish(self) -> Result<ChangeMap, Error> {
        if let Some(why) = self.refused {
            return Err(Error::new(ErrorKind::NotLogged, why));
        }
        if let Some((timeline, from, to)) = self.coverage.gap() {
            let why =
                format!("the changes from {from} to {to} on timeline {timeline} are not known");
            return Err(Error::new(ErrorKind::Incomplete, why));
        }
        Ok(self.map)
    }

    fn relation(&mut self, relation: RelLocator) -> Option<&mut Changes> {
        let RelLocator { database, number, .. } = relation;
        let key = (relation.tablespace(), database, number);
        let known = self.map.relations.contains_key(&key);
        if !known && self.bytes > self.memory {
            // Even naming relations takes too much: the database is named instead.
            self.map.databases.insert((relation.tablespace(), database));
            return None;
        }
        if !known {
            self.bytes += ENTRY;
        }
        Some(self.map.relations.entry(key).or_default())
    }
}

/// About what an entry takes without its blocks.
const ENTRY: isize = 96;

/// A summary of part of the log that is being added to a [`ChangeMapBuilder`].
#[derive(Debug)]
#[must_use = "what is noted counts only when the summary is complete"]
pub struct SummaryNotes<'a> {
    builder: &'a mut ChangeMapBuilder,
    timeline: TimelineId,
    from: Lsn,
    to: Lsn,
}

impl SummaryNotes<'_> {
    /// Notes that a record refers to a block, numbered within the relation's fork.
    pub fn block(&mut self, relation: RelLocator, fork: Fork, block: BlockNumber) {
        // Other forks are read whole whatever happened to them.
        if fork != Fork::Main {
            return;
        }
        let coarse = self.builder.bytes > self.builder.memory;
        if let Some(changes) = self.builder.relation(relation) {
            self.builder.bytes += changes.blocks.insert(block, coarse);
        }
    }

    /// Notes a limit block: the relation's fork was truncated to that many blocks, or with zero
    /// created or dropped. A relation number of zero stands for the whole database, created or
    /// dropped in that tablespace.
    pub fn limit(&mut self, relation: RelLocator, fork: Fork, limit: BlockNumber) {
        if relation.number == 0 {
            self.builder.map.databases.insert((relation.tablespace(), relation.database));
        } else if fork == Fork::Main
            && let Some(changes) = self.builder.relation(relation)
        {
            changes.limit = changes.limit.min(limit);
        }
    }

    /// Notes all that a summary says.
    pub fn blocks(&mut self, summary: &BlockSummary) {
        for (relation, fork, changes) in summary.iter() {
            if let Some(limit) = changes.limit_block {
                self.limit(relation, fork, limit);
            }
            // Other forks are read whole whatever happened to them.
            if fork == Fork::Main {
                changes.blocks.iter().for_each(|block| self.block(relation, fork, block));
            }
        }
    }

    /// Notes a row of the server's function `pg_wal_summary_contents`, PostgreSQL 17 and later:
    /// `relfilenode`, `reltablespace`, `reldatabase`, `relforknumber`, `relblocknumber`,
    /// `is_limit_block`.
    ///
    /// A row that can't be is no reason to guess: no map will be made.
    pub fn server_row(
        &mut self,
        relation: RelLocator,
        fork: i16,
        block: i64,
        is_limit_block: bool,
    ) {
        let fork = match fork {
            0 => Some(Fork::Main),
            1 => Some(Fork::FreeSpaceMap),
            2 => Some(Fork::VisibilityMap),
            3 => Some(Fork::Init),
            _ => None,
        };
        match (fork, BlockNumber::try_from(block)) {
            (Some(fork), Ok(limit)) if is_limit_block => self.limit(relation, fork, limit),
            (Some(fork), Ok(block)) => self.block(relation, fork, block),
            (fork, _) => self.builder.refuse(format!(
                "the server's WAL summary of {} to {} names block {block} of {}",
                self.from,
                self.to,
                fork.map_or("an unknown fork".into(), |fork| format!("fork {fork:?}")),
            )),
        }
    }

    /// Says that all changes of this part of the log are noted.
    pub fn complete(self) {
        self.builder.coverage.add(self.timeline, self.from, self.to);
    }
}
