use walbrook_types::Oid;
use walbrook_wal::{RelLocator, Xid};

/// Which transactions are wanted, and how many.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FindOptions {
    /// This one, or the one that this is a subtransaction of.
    pub xid: Option<Xid>,
    /// Those that changed one of these relations; of others, nothing is told then.
    pub relations: Vec<RelationFilter>,
    /// Those that deleted at least so many rows of what is told.
    pub min_deletes: u64,
    /// Aborted ones as well.
    pub aborted: bool,
    /// Catalogs, TOAST tables and indexes count like tables.
    pub all: bool,
    /// Which come first.
    pub sort: FindSort,
    /// How many are kept.
    pub limit: usize,
}

impl Default for FindOptions {
    fn default() -> Self {
        Self {
            xid: None,
            relations: Vec::new(),
            min_deletes: 0,
            aborted: false,
            all: false,
            sort: FindSort::default(),
            limit: 20,
        }
    }
}

/// A relation that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelationFilter {
    /// By its files.
    Files(RelLocator),
    /// By what a live server says that it is: database and OID. Finds it by its former files, too.
    Object {
        /// The database's OID; zero for shared relations.
        database: Oid,
        /// The relation's OID.
        oid: Oid,
    },
}

/// Which transactions come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FindSort {
    /// Those with the most relations truncated or dropped; among equals, those with the most rows
    /// deleted, and then updated.
    #[default]
    Damage,
    /// Those with the most rows deleted.
    Deletes,
    /// Those with the most rows updated.
    Updates,
    /// Those with the most relations truncated.
    Truncates,
    /// The earliest, in the order of the log.
    Time,
}
