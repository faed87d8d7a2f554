use std::fmt;

/// An object identifier (`Oid` in PostgreSQL's `postgres_ext.h`).
pub type Oid = u32;

/// The number of a block in a relation fork, counted from the fork's start (`storage/block.h`).
pub type BlockNumber = u32;

/// One of the forks of a relation (`ForkNumber` in PostgreSQL's `common/relpath.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fork {
    /// The relation's own pages.
    Main,
    /// The free space map, `_fsm`.
    FreeSpaceMap,
    /// The visibility map, `_vm`.
    VisibilityMap,
    /// What an unlogged relation is reset to after a crash, `_init`.
    Init,
}

impl Fork {
    /// The suffix in file names, with its underscore; empty for the main fork.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::FreeSpaceMap => "_fsm",
            Self::VisibilityMap => "_vm",
            Self::Init => "_init",
        }
    }
}

/// Where a relation file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tablespace {
    /// `pg_default`: `base/<database>/`.
    Default,
    /// `pg_global`: `global/`, shared by all databases.
    Global,
    /// Any other: `pg_tblspc/<oid>/PG_<major>_<catalog version>/<database>/`.
    Other(Oid),
}

/// The file of a relation fork that a path inside the data directory stands for.
///
/// Temporary relations (`t<backend>_<number>`) are none of these: backups leave them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelFile {
    /// Where it lies.
    pub tablespace: Tablespace,
    /// The database's OID; zero for shared relations.
    pub database: Oid,
    /// The relation's file number (`relfilenode`).
    pub number: Oid,
    /// Which fork.
    pub fork: Fork,
    /// Which file of the fork: a fork is cut into files of [`BLOCKS_PER_FILE`](crate::BLOCKS_PER_FILE)
    /// blocks.
    pub segment: u32,
}

impl RelFile {
    /// Recognises a path relative to the data directory, with `/` between its parts; none when it
    /// is not the file of a permanent relation.
    ///
    /// ```
    /// use walbrook_types::{Fork, RelFile};
    ///
    /// let file = RelFile::from_path("base/5/16384_vm.1").expect("a relation file");
    /// assert_eq!((file.database, file.number), (5, 16384));
    /// assert_eq!((file.fork, file.segment), (Fork::VisibilityMap, 1));
    /// assert!(RelFile::from_path("base/5/PG_VERSION").is_none());
    /// ```
    pub fn from_path(path: &str) -> Option<Self> {
        let mut parts = path.split('/');
        let (tablespace, database, name) = match parts.next()? {
            "global" => (Tablespace::Global, 0, parts.next()?),
            "base" => (Tablespace::Default, oid(parts.next()?)?, parts.next()?),
            "pg_tblspc" => {
                let tablespace = Tablespace::Other(oid(parts.next()?)?);
                parts.next()?.strip_prefix("PG_")?;
                (tablespace, oid(parts.next()?)?, parts.next()?)
            }
            _ => return None,
        };
        if parts.next().is_some() {
            return None;
        }
        let (stem, segment) = match name.split_once('.') {
            Some((stem, segment)) => (stem, oid(segment)?),
            None => (name, 0),
        };
        let (number, fork) = match stem.split_once('_') {
            None => (stem, Fork::Main),
            Some((number, "fsm")) => (number, Fork::FreeSpaceMap),
            Some((number, "vm")) => (number, Fork::VisibilityMap),
            Some((number, "init")) => (number, Fork::Init),
            Some(_) => return None,
        };
        Some(Self { tablespace, database, number: oid(number)?, fork, segment })
    }

    /// The number of the file's first block within the fork.
    pub fn first_block(&self) -> BlockNumber {
        self.segment.saturating_mul(crate::BLOCKS_PER_FILE)
    }
}

impl fmt::Display for RelFile {
    /// The file's name without its directory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.fork.suffix())?;
        if self.segment > 0 { write!(f, ".{}", self.segment) } else { Ok(()) }
    }
}

/// A positive decimal number without leading zeros, as PostgreSQL writes it in file names
/// (`parse_filename_for_nontemp_relation` in `storage/file/reinit.c`).
fn oid(text: &str) -> Option<Oid> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}
