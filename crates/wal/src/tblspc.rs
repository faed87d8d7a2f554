use walbrook_types::Oid;

use crate::fields::Fields;
use crate::{Error, RecordHeader};

/// What a record of the `Tablespace` resource manager says (layouts in PostgreSQL's
/// `commands/tablespace.h`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TablespaceRecord<'a> {
    /// `CREATE`.
    Create {
        /// The tablespace.
        tablespace: Oid,
        /// Its directory, in the server's encoding; empty for one within the data directory.
        path: &'a [u8],
    },
    /// `DROP`.
    Drop {
        /// The tablespace.
        tablespace: Oid,
    },
    /// Any other operation: its bits of `xl_info`.
    Other(u8),
}

impl<'a> TablespaceRecord<'a> {
    /// From a record's header and main data.
    ///
    /// # Errors
    ///
    /// [`BadContents`](crate::ErrorKind::BadContents) when the data are too short.
    pub fn parse(header: &RecordHeader, data: &'a [u8]) -> Result<Self, Error> {
        let f = Fields(data);
        Ok(match header.operation() {
            0x00 => {
                let path = f.rest(4)?;
                let path = path.strip_suffix(b"\0").unwrap_or(path);
                Self::Create { tablespace: f.u32(0)?, path }
            }
            0x10 => Self::Drop { tablespace: f.u32(0)? },
            other => Self::Other(other),
        })
    }
}
