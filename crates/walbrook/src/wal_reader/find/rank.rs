use std::cmp::Reverse;
use std::collections::HashMap;

use walbrook_wal::RelLocator;

use super::changes::{RelationChanges, RowCounts, TransactionChanges};
use super::options::{FindOptions, FindSort, RelationFilter};
use crate::Result;
use crate::wal_reader::names::{RelationClass, RelationName, RelationNames};

/// The best transactions seen so far, and those that have yet to be named and compared.
pub(super) struct Ranking<'a> {
    options: &'a FindOptions,
    best: Vec<TransactionChanges>,
    waiting: Vec<TransactionChanges>,
    matched: u64,
}

/// How many wait before they are named together.
const BATCH: usize = 4096;

/// How far a chain of files that took each other's place is followed.
const CHAIN: usize = 64;

impl<'a> Ranking<'a> {
    pub(super) fn new(options: &'a FindOptions) -> Self {
        Self { options, best: Vec::new(), waiting: Vec::new(), matched: 0 }
    }

    /// Takes a transaction; tells whether it is time to [`settle`](Self::settle).
    pub(super) fn add(&mut self, ended: TransactionChanges) -> bool {
        let options = self.options;
        let wanted = (ended.committed || options.aborted)
            && options.xid.is_none_or(|xid| xid == ended.xid)
            && (options.min_deletes == 0 || ended.rows().deleted >= options.min_deletes);
        if wanted {
            self.waiting.push(ended);
        }
        self.waiting.len() >= BATCH
    }

    /// Names, filters and ranks those that wait.
    pub(super) async fn settle(
        &mut self,
        mut names: Option<&mut RelationNames>,
        replaced: &HashMap<RelLocator, RelLocator>,
    ) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if let Some(names) = &mut names {
            let relations = waiting.iter().flat_map(|transaction| &transaction.relations);
            let chains = relations.flat_map(|r| chain(r, replaced)).collect::<Vec<_>>();
            names.resolve(&chains).await?;
        }
        for mut transaction in waiting {
            for change in &mut transaction.relations {
                let known = |file| names.as_ref().and_then(|names| names.get(file));
                let names = chain(change, replaced);
                // Only tables have rows.
                let fits = |name: &&RelationName| {
                    change.rows.total() == 0 || name.class != RelationClass::Index
                };
                change.name = best_name(names.iter().filter_map(known).filter(fits));
            }
            self.sort_out(&mut transaction);
            let told =
                !transaction.relations.is_empty() || !transaction.dropped_databases.is_empty();
            if told && transaction.rows().deleted >= self.options.min_deletes {
                self.matched += 1;
                self.best.push(transaction);
            }
        }
        self.sort();
        self.best.truncate(self.options.limit);
        Ok(())
    }

    pub(super) fn finish(self) -> (Vec<TransactionChanges>, u64) {
        (self.best, self.matched)
    }

    /// Leaves what is to be told, most rows first, and adds up the rest.
    fn sort_out(&self, transaction: &mut TransactionChanges) {
        let changes = std::mem::take(&mut transaction.relations);
        let (mut told, others): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| self.is_told(change));
        let mut rows = RowCounts::default();
        others.iter().for_each(|change| rows.add(&change.rows));
        told.sort_by_key(|change| {
            let went = change.truncated || change.dropped;
            (Reverse((went, change.rows.deleted, change.rows.total())), change.relation)
        });
        transaction.others = rows;
        transaction.relations = told;
        if !self.options.relations.is_empty() {
            transaction.dropped_databases.clear();
        }
    }

    fn is_told(&self, change: &RelationChanges) -> bool {
        let wanted = &self.options.relations;
        if !wanted.is_empty() {
            return wanted.iter().any(|filter| match *filter {
                RelationFilter::Files(files) => {
                    change.relation == files || change.new_files == Some(files)
                }
                RelationFilter::Object { database, oid } => change
                    .name
                    .as_ref()
                    .is_some_and(|name| (name.database_oid, name.oid) == (database, oid)),
            });
        }
        self.options.all || class(change) == RelationClass::Table
    }

    fn sort(&mut self) {
        let sort = self.options.sort;
        self.best.sort_by_cached_key(|transaction| {
            let rows = transaction.rows();
            let (truncated, dropped) = (transaction.truncated(), transaction.dropped());
            let went = (truncated + dropped) as u64;
            let key = match sort {
                FindSort::Damage => (went, rows.deleted, rows.updated),
                FindSort::Deletes => (rows.deleted, went, rows.updated),
                FindSort::Updates => (rows.updated, rows.deleted, went),
                FindSort::Truncates => (truncated as u64, rows.deleted, rows.updated),
                FindSort::Time => (0, 0, 0),
            };
            (Reverse(key), transaction.lsn)
        });
    }
}

/// What kind of relation it is; without a name, as far as its number tells.
fn class(change: &RelationChanges) -> RelationClass {
    match &change.name {
        Some(name) => name.class,
        // FirstNormalObjectId in access/transam.h: below are the catalogs as initdb made them.
        None if change.relation.number < 16_384 => RelationClass::Catalog,
        None => RelationClass::Table,
    }
}

/// The files that a change is about, and those that took their place since.
fn chain(change: &RelationChanges, replaced: &HashMap<RelLocator, RelLocator>) -> Vec<RelLocator> {
    let mut files = vec![change.relation];
    let mut next = change.new_files.or_else(|| replaced.get(&change.relation).copied());
    while let Some(file) = next.filter(|file| !files.contains(file) && files.len() < CHAIN) {
        files.push(file);
        next = replaced.get(&file).copied();
    }
    files
}

/// The name of files that a relation has now, rather than one that was told by an OID.
fn best_name<'n>(names: impl Iterator<Item = &'n RelationName>) -> Option<RelationName> {
    let mut guess = None;
    for name in names {
        if !name.former {
            return Some(name.clone());
        }
        guess.get_or_insert(name);
    }
    guess.cloned()
}
