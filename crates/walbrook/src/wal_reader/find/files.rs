//! What became of relations whose files a transaction made and removed.

use std::collections::HashSet;

use walbrook_types::{Lsn, Oid};
use walbrook_wal::RelLocator;

/// A file that a transaction made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NewFile {
    /// Where that was logged.
    pub(super) lsn: Lsn,
    pub(super) relation: RelLocator,
    /// Whether something other than rows was written into it: indexes get pages at once, tables
    /// that were truncated don't.
    pub(super) has_pages: bool,
}

/// What became of one relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Created(RelLocator),
    Dropped(RelLocator),
    /// New files, empty at first: `TRUNCATE`, or `REINDEX` where they have pages.
    Emptied {
        old: RelLocator,
        new: RelLocator,
        has_pages: bool,
    },
    /// The files went, and what they held is in others, which are uncertain unless it is one.
    Rewritten {
        old: RelLocator,
        new: Option<RelLocator>,
    },
}

/// Puts a transaction's new files and those that went together.
///
/// `TRUNCATE` and `REINDEX` exchange the files of one relation after the other
/// (`RelationSetNewRelfilenumber` in PostgreSQL's `utils/cache/relcache.c`), so that the files come
/// in the order in which the old ones are marked to go; the commit record lists these backwards
/// (`smgrGetPendingDeletes` in `catalog/storage.c`). What rewrites a table makes another table
/// first (`make_new_heap` in `commands/cluster.c`), of which the log says by its OID that it is
/// locked, and a new table's first file has its OID for a number.
pub(super) fn fates(
    mut made: Vec<NewFile>,
    dropped: impl Iterator<Item = RelLocator>,
    locked: &HashSet<(Oid, Oid)>,
) -> Vec<Fate> {
    made.sort_by_key(|file| file.lsn);
    let mut gone: Vec<RelLocator> = dropped.collect();
    gone.reverse();
    // Made and removed by the same transaction: nobody else ever saw it.
    let passing: HashSet<RelLocator> =
        made.iter().map(|file| file.relation).filter(|file| gone.contains(file)).collect();
    made.retain(|file| !passing.contains(&file.relation));
    gone.retain(|file| !passing.contains(file));

    let is_new = |file: &NewFile| locked.contains(&(file.relation.database, file.relation.number));
    let mut fates = Vec::with_capacity(made.len() + gone.len());
    if made.len() == gone.len() && made.iter().any(is_new) {
        // Its indexes come last and go first.
        let new = made.first().filter(|_| made.len() == 1).map(|file| file.relation);
        fates.extend(gone.iter().map(|old| Fate::Rewritten { old: *old, new }));
        return fates;
    }
    if made.len() != gone.len() {
        let (new, exchanged): (Vec<_>, Vec<_>) = made.into_iter().partition(is_new);
        fates.extend(new.iter().map(|file| Fate::Created(file.relation)));
        made = exchanged;
    }
    if made.len() == gone.len() {
        let pairs = made.iter().zip(&gone);
        fates.extend(pairs.map(|(new, old)| Fate::Emptied {
            old: *old,
            new: new.relation,
            has_pages: new.has_pages,
        }));
    } else {
        fates.extend(made.iter().map(|file| Fate::Created(file.relation)));
        fates.extend(gone.iter().map(|file| Fate::Dropped(*file)));
    }
    fates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: Oid) -> RelLocator {
        RelLocator { tablespace_oid: 1663, database: 5, number }
    }

    fn made(numbers: &[(Oid, bool)]) -> Vec<NewFile> {
        let file = |(at, (number, has_pages)): (usize, &(Oid, bool))| NewFile {
            lsn: Lsn(at as u64),
            relation: file(*number),
            has_pages: *has_pages,
        };
        numbers.iter().enumerate().map(file).rev().collect()
    }

    fn told(new: &[(Oid, bool)], gone: &[Oid], locked: &[Oid]) -> Vec<Fate> {
        let locked = locked.iter().map(|oid| (5, *oid)).collect();
        fates(made(new), gone.iter().map(|number| file(*number)), &locked)
    }

    #[test]
    fn truncate_of_a_table_with_an_index() {
        assert_eq!(
            told(&[(30, false), (31, true)], &[21, 20], &[20]),
            [
                Fate::Emptied { old: file(20), new: file(30), has_pages: false },
                Fate::Emptied { old: file(21), new: file(31), has_pages: true },
            ]
        );
    }

    #[test]
    fn truncate_beside_a_new_table() {
        assert_eq!(
            told(&[(40, false), (30, false)], &[20], &[40, 20]),
            [
                Fate::Created(file(40)),
                Fate::Emptied { old: file(20), new: file(30), has_pages: false }
            ]
        );
    }

    #[test]
    fn drop_create_and_rewrite() {
        assert_eq!(told(&[], &[20], &[20]), [Fate::Dropped(file(20))]);
        assert_eq!(told(&[(20, false)], &[], &[]), [Fate::Created(file(20))]);
        assert_eq!(
            told(&[(30, true)], &[20], &[20, 30]),
            [Fate::Rewritten { old: file(20), new: Some(file(30)) }]
        );
        assert_eq!(
            told(&[(30, false), (31, true)], &[20, 21], &[20, 30]),
            [21, 20].map(|old| Fate::Rewritten { old: file(old), new: None })
        );
        assert_eq!(told(&[(30, true)], &[30], &[30]), []);
    }
}
