use std::fmt;

/// A resource manager: the part of PostgreSQL that wrote a record and replays it (`RmgrId`, listed
/// in `access/rmgrlist.h`). Prints the name that `pg_waldump` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RmgrId(pub u8);

/// In the order of their numbers; the same in PostgreSQL 15 to 18.
const NAMES: [&str; 22] = [
    "XLOG",
    "Transaction",
    "Storage",
    "CLOG",
    "Database",
    "Tablespace",
    "MultiXact",
    "RelMap",
    "Standby",
    "Heap2",
    "Heap",
    "Btree",
    "Hash",
    "Gin",
    "Gist",
    "Sequence",
    "SPGist",
    "BRIN",
    "CommitTs",
    "ReplicationOrigin",
    "Generic",
    "LogicalMessage",
];

impl RmgrId {
    /// The log itself: checkpoints, segment switches, restore points.
    pub const XLOG: Self = Self(0);
    /// Ends of transactions.
    pub const XACT: Self = Self(1);
    /// Creation and truncation of relation files.
    pub const SMGR: Self = Self(2);
    /// Creation and removal of databases.
    pub const DBASE: Self = Self(4);
    /// Creation and removal of tablespaces.
    pub const TABLESPACE: Self = Self(5);
    /// The map from catalogs to files.
    pub const RELMAP: Self = Self(7);
    /// Heaps: vacuum, multi-insert and other rarer operations.
    pub const HEAP2: Self = Self(9);
    /// Heaps: insert, update, delete.
    pub const HEAP: Self = Self(10);
    /// B-tree indexes.
    pub const BTREE: Self = Self(11);
    /// Changes of pages by extensions, through the generic interface.
    pub const GENERIC: Self = Self(20);
    /// Messages that only logical decoding sees.
    pub const LOGICAL_MESSAGE: Self = Self(21);

    /// The name of a resource manager of PostgreSQL itself; none for those of extensions.
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(usize::from(self.0)).copied()
    }

    /// Whether it belongs to an extension (`RmgrIdIsCustom`).
    pub fn is_custom(self) -> bool {
        self.0 >= 128
    }

    /// Whether PostgreSQL accepts it in a record (`RmgrIdIsValid`).
    pub fn is_valid(self) -> bool {
        usize::from(self.0) < NAMES.len() || self.is_custom()
    }
}

impl fmt::Display for RmgrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "custom{:03}", self.0),
        }
    }
}
