use walbrook_types::Oid;

use crate::fields::Fields;
use crate::{Error, RecordHeader};

/// What a record of the `Database` resource manager says: whole directories of databases come and
/// go (layouts in PostgreSQL's `commands/dbcommands_xlog.h`).
///
/// There is none for moving a database to another tablespace: `ALTER DATABASE … SET TABLESPACE` is a
/// `CREATE_FILE_COPY` of the database from itself, then a `DROP` in its old tablespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DbaseRecord<'a> {
    /// `CREATE_FILE_COPY`: a directory is copied whole, and no record says what is in it.
    CreateFileCopy {
        /// The database that comes.
        database: Oid,
        /// The tablespace in which it does.
        tablespace: Oid,
        /// The database that is copied.
        source_database: Oid,
        /// The tablespace in which that lies.
        source_tablespace: Oid,
    },
    /// `CREATE_WAL_LOG`: an empty directory comes, and all that it is to hold follows in the log.
    CreateWalLog {
        /// The database.
        database: Oid,
        /// The tablespace in which it comes.
        tablespace: Oid,
    },
    /// `DROP`: the database's directories in some tablespaces go.
    Drop(DatabaseDrop<'a>),
    /// Any other operation: its bits of `xl_info`.
    Other(u8),
}

/// The removal of a database's directories (`xl_dbase_drop_rec`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabaseDrop<'a> {
    /// The database.
    pub database: Oid,
    tablespaces: &'a [u8],
}

impl<'a> DatabaseDrop<'a> {
    /// The tablespaces in which its directories go.
    pub fn tablespaces(&self) -> impl ExactSizeIterator<Item = Oid> + use<'a> {
        self.tablespaces.as_chunks().0.iter().map(|bytes| Oid::from_le_bytes(*bytes))
    }
}

impl<'a> DbaseRecord<'a> {
    /// From a record's header and main data.
    ///
    /// # Errors
    ///
    /// [`BadContents`](crate::ErrorKind::BadContents) when the data are too short.
    pub fn parse(header: &RecordHeader, data: &'a [u8]) -> Result<Self, Error> {
        let f = Fields(data);
        Ok(match header.operation() {
            0x00 => Self::CreateFileCopy {
                database: f.u32(0)?,
                tablespace: f.u32(4)?,
                source_database: f.u32(8)?,
                source_tablespace: f.u32(12)?,
            },
            0x10 => Self::CreateWalLog { database: f.u32(0)?, tablespace: f.u32(4)? },
            0x20 => Self::Drop(DatabaseDrop { database: f.u32(0)?, tablespaces: f.list(4, 8, 4)? }),
            other => Self::Other(other),
        })
    }
}
