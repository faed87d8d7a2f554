use std::collections::HashSet;

use walbrook_types::{Fork, Lsn, Oid, RelFile, Tablespace, TimelineId};
use walbrook_wal::RelLocator;

use crate::span::{Coverage, Span};
use crate::{Error, ErrorKind};

/// Relations that are noted at most: some 40 MB.
const MOST: usize = 1 << 20;

/// The relations whose main fork was truncated between a base backup and this one, as `VACUUM` does to
/// give pages at a table's end back: **what the server's incremental files say of them can't be relied
/// on**, in no release up to 18.6.
///
/// Of blocks from the limit on, the length that was left, a server's incremental file may lack those
///
/// - that the table was extended by without a record, which hold zeros, while the truncation block
///   length says that they are as before: rows that had been deleted come back
///   (`GetFileBackupMethod` in `backup/basebackup_incremental.c` takes the greater of the file's length
///   and the limit);
/// - and those that *were* written after the truncation, as records say, when the summary with the
///   truncation is merged after the one with the records: it discards what is noted of the blocks
///   (`PrepareForIncrementalBackup` reads summaries in the order of the directory, and
///   `BlockRefTableEntrySetLimitBlock` takes them to be in order). Committed rows are lost.
///
/// Both were seen with `pg_combinebackup` of 17.10 and 18.6. A relation that was created or dropped, or
/// truncated to nothing, is sent whole, and none of these.
#[derive(Debug, Clone, Default)]
pub struct Truncations {
    relations: HashSet<(Tablespace, Oid, Oid)>,
}

impl Truncations {
    /// Whether the relation was truncated that this file is of.
    pub fn contains(&self, file: &RelFile) -> bool {
        file.fork == Fork::Main
            && self.relations.contains(&(file.tablespace, file.database, file.number))
    }

    /// Whether these are among the others.
    pub fn is_subset(&self, others: &Truncations) -> bool {
        self.relations.is_subset(&others.relations)
    }

    /// How many relations were truncated.
    pub fn relations(&self) -> usize {
        self.relations.len()
    }
}

/// Gathers [`Truncations`] from the summaries that the server makes its incremental files of, in any
/// order.
#[derive(Debug)]
pub struct TruncationsBuilder {
    span: Span,
    coverage: Coverage,
    truncations: Truncations,
}

impl TruncationsBuilder {
    /// For what happened in this part of the log.
    pub fn new(span: &Span) -> Self {
        let truncations = Truncations::default();
        Self { span: span.clone(), coverage: Coverage::new(span), truncations }
    }

    /// Whether the server may merge a summary of `[from, to)` of that timeline into those of the span:
    /// it takes some that only touch it (`FilterWalSummaries` in `backup/walsummary.c`).
    pub fn wants(&self, timeline: TimelineId, from: Lsn, to: Lsn) -> bool {
        let mut parts = self.span.timelines();
        parts.any(|(of, begin, end)| of == timeline && from <= end && to >= begin)
    }

    /// Notes that the main fork of a relation was truncated, to more than nothing.
    ///
    /// # Errors
    ///
    /// [`Incomplete`](ErrorKind::Incomplete) when there are more than are worth remembering.
    pub fn note(&mut self, relation: RelLocator) -> Result<(), Error> {
        let RelLocator { database, number, .. } = relation;
        let relations = &mut self.truncations.relations;
        relations.insert((relation.tablespace(), database, number));
        match relations.len() > MOST {
            true => Err(Error::new(
                ErrorKind::Incomplete,
                format!("more than {MOST} relations were truncated"),
            )),
            false => Ok(()),
        }
    }

    /// Says that all truncations in this part of the log are noted.
    pub fn known(&mut self, timeline: TimelineId, from: Lsn, to: Lsn) {
        self.coverage.add(timeline, from, to);
    }

    /// What was gathered so far, and perhaps not all.
    pub fn so_far(&self) -> &Truncations {
        &self.truncations
    }

    /// All of the span.
    ///
    /// # Errors
    ///
    /// [`Incomplete`](ErrorKind::Incomplete) with the first gap, when part of the log is not known.
    pub fn finish(self) -> Result<Truncations, Error> {
        match self.coverage.gap() {
            None => Ok(self.truncations),
            Some((timeline, from, to)) => Err(Error::new(
                ErrorKind::Incomplete,
                format!("the changes from {from} to {to} on timeline {timeline} are not known"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BaseBackupSpan;
    use walbrook_wal::TimelineHistory;

    #[test]
    fn main_forks_of_truncated_relations() {
        let timeline = TimelineId::FIRST;
        let base = BaseBackupSpan { timeline, start: Lsn(100), stop: Lsn(200) };
        let span = Span::new(base, Lsn(900), &TimelineHistory::root(timeline)).unwrap();
        let mut builder = TruncationsBuilder::new(&span);
        assert!(builder.wants(timeline, Lsn(50), Lsn(101)));
        assert!(!builder.wants(timeline, Lsn(50), Lsn(99)));
        assert!(!builder.wants(timeline, Lsn(901), Lsn(950)));
        // They touch the span.
        assert!(builder.wants(timeline, Lsn(50), Lsn(100)));
        assert!(builder.wants(timeline, Lsn(900), Lsn(950)));
        builder.known(timeline, Lsn(50), Lsn(500));
        builder.note(RelLocator { tablespace_oid: 1663, database: 5, number: 16384 }).unwrap();
        let first = builder.so_far().clone();
        builder.note(RelLocator { tablespace_oid: 1664, database: 0, number: 1262 }).unwrap();
        builder.known(timeline, Lsn(500), Lsn(900));
        let truncations = builder.finish().unwrap();
        assert!(first.is_subset(&truncations) && !truncations.is_subset(&first));
        let contains = |path| truncations.contains(&RelFile::from_path(path).unwrap());
        assert!(contains("base/5/16384") && contains("base/5/16384.2") && contains("global/1262"));
        assert!(!contains("base/5/16384_vm") && !contains("base/6/16384"));
        let mut gap = TruncationsBuilder::new(&span);
        gap.known(timeline, Lsn(100), Lsn(899));
        assert_eq!(gap.finish().unwrap_err().kind(), ErrorKind::Incomplete);
    }
}
