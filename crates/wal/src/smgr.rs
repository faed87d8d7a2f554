use walbrook_types::{BlockNumber, Fork};

use crate::fields::Fields;
use crate::{Error, RecordHeader, RelLocator};

/// `SMGR_TRUNCATE_HEAP`, `SMGR_TRUNCATE_VM` and `SMGR_TRUNCATE_FSM`.
const TRUNCATE_MAIN: u32 = 1 << 0;
const TRUNCATE_VM: u32 = 1 << 1;
const TRUNCATE_FSM: u32 = 1 << 2;

/// What a record of the `Storage` resource manager says: which files of relations come and are cut
/// short (layouts in PostgreSQL's `catalog/storage_xlog.h`). Which ones go is told by the ends of
/// transactions: [`XactEnd::dropped_relations`](crate::XactEnd::dropped_relations).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SmgrRecord {
    /// `CREATE`: the files of a fork come into being, empty. So does a table anew when it is
    /// truncated or rewritten.
    Create {
        /// The relation.
        relation: RelLocator,
        /// Which of its forks.
        fork: Fork,
    },
    /// `TRUNCATE`: the relation ends before this block from now on. Vacuum does so; `TRUNCATE`, the
    /// command, doing so is the exception: for a table made in the same transaction.
    Truncate(SmgrTruncate),
    /// Any other operation: its bits of `xl_info`.
    Other(u8),
}

/// How a relation is cut short (`xl_smgr_truncate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SmgrTruncate {
    /// The relation.
    pub relation: RelLocator,
    /// How many blocks of the main fork remain: the number of the first that goes. The other forks
    /// are cut to what belongs to these.
    pub blocks: BlockNumber,
    /// Whether the main fork is cut.
    pub main: bool,
    /// Whether the visibility map is.
    pub visibility_map: bool,
    /// Whether the free space map is.
    pub free_space_map: bool,
}

impl SmgrRecord {
    /// From a record's header and main data.
    ///
    /// # Errors
    ///
    /// [`BadContents`](crate::ErrorKind::BadContents) when the data are too short, or name no fork.
    pub fn parse(header: &RecordHeader, data: &[u8]) -> Result<Self, Error> {
        let f = Fields(data);
        Ok(match header.operation() {
            0x10 => Self::Create { relation: f.relation(0)?, fork: f.fork(12)? },
            0x20 => {
                let flags = f.u32(16)?;
                Self::Truncate(SmgrTruncate {
                    relation: f.relation(4)?,
                    blocks: f.u32(0)?,
                    main: flags & TRUNCATE_MAIN != 0,
                    visibility_map: flags & TRUNCATE_VM != 0,
                    free_space_map: flags & TRUNCATE_FSM != 0,
                })
            }
            other => Self::Other(other),
        })
    }
}
