use std::collections::HashSet;

use walbrook_page::{Page, PageHeader};
use walbrook_types::{Lsn, Oid, Tablespace};

use crate::rules::{self, WholeReason};
use crate::span::Span;

/// Finds changed pages by the LSN in their headers: every page is read, and those whose last logged
/// change is older than the base are as they are in the base.
///
/// It needs nothing from the server but sees only what a page says of itself. What is written past
/// the log and keeps an old LSN would go unnoticed, so:
///
/// - a page of zeros, and any without an LSN, counts as changed: it may stand where the base has a
///   page that was truncated away;
/// - a database counts as created since the base unless the caller [knows](Self::trust_database) that
///   it is the same: `CREATE DATABASE … STRATEGY = FILE_COPY` and `ALTER DATABASE … SET TABLESPACE`
///   copy files with the LSNs that the pages had;
/// - hint bits that were set without logging do not count. That is harmless: they can be found again
///   from what the base has. So what is restored may differ from the server's files in hint bits.
///
/// One case remains: with `wal_level=minimal` between two backups, `ALTER TABLE … SET TABLESPACE`
/// copies pages without logging them, to a file with a new number. Should that number be one that
/// a file in the base had and that was dropped, the copy would be taken for that file. Comparing
/// contents has no such case.
#[derive(Debug, Clone)]
pub struct PageLsnFilter {
    from: Lsn,
    trusted: HashSet<(Tablespace, Oid)>,
}

impl PageLsnFilter {
    /// For the changes in this part of the log. No database is trusted yet; the shared relations in
    /// `global` are, for that directory is only ever made by `initdb`.
    pub fn new(span: &Span) -> Self {
        Self { from: span.from(), trusted: HashSet::from([(Tablespace::Global, 0)]) }
    }

    /// Says that a database's directory in a tablespace is the very one that the base has.
    ///
    /// A way to know is its `PG_VERSION` file, which is written when the directory is made and never
    /// after: the same time of modification, from before the base began.
    pub fn trust_database(&mut self, tablespace: Tablespace, database: Oid) {
        self.trusted.insert((tablespace, database));
    }

    /// How many blocks from a file's beginning can be judged by [`is_changed`](Self::is_changed);
    /// those behind are new. Parameters as for [`ChangeMap::plan`](crate::ChangeMap::plan).
    ///
    /// # Errors
    ///
    /// Why nothing of the file can: all of it counts as changed.
    pub fn comparable(&self, path: &str, size: u64, base: Option<u64>) -> Result<u32, WholeReason> {
        let candidate = rules::candidate(path, size, base)?;
        match self.trusted.contains(&(candidate.file.tablespace, candidate.file.database)) {
            true => Ok(candidate.base.min(candidate.now)),
            false => Err(WholeReason::DatabaseCreated),
        }
    }

    /// Whether a page may differ from the base's. The page must be sound: what the header of a torn or
    /// damaged one says is nothing to go by.
    pub fn is_changed(&self, page: &Page) -> bool {
        let lsn = PageHeader::new(page).lsn();
        !lsn.is_valid() || lsn >= self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BaseBackupSpan;
    use walbrook_types::TimelineId;
    use walbrook_wal::TimelineHistory;

    #[test]
    fn only_databases_that_are_the_same_are_compared() {
        let timeline = TimelineId::FIRST;
        let base = BaseBackupSpan { timeline, start: Lsn(800), stop: Lsn(900) };
        let span = Span::new(base, Lsn(1000), &TimelineHistory::root(timeline)).unwrap();
        let mut filter = PageLsnFilter::new(&span);
        let refused = Err(WholeReason::DatabaseCreated);
        assert_eq!(filter.comparable("base/5/16384", 8192, Some(8192)), refused);
        assert_eq!(filter.comparable("global/1262", 16384, Some(8192)), Ok(1));
        filter.trust_database(Tablespace::Default, 5);
        assert_eq!(filter.comparable("base/5/16384", 8192, Some(16384)), Ok(1));
        // The same number in another tablespace is another directory.
        let elsewhere = "pg_tblspc/16400/PG_18_202506291/5/16384";
        assert_eq!(filter.comparable(elsewhere, 8192, Some(8192)), refused);
        assert_eq!(filter.comparable("base/5/16384_vm", 8192, Some(8192)), Err(WholeReason::Fork));
    }
}
