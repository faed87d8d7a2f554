//! Reading WAL from wherever it is kept: a repository, a directory, single files.
//!
//! [`WalReader`] yields the records of a [`WalInput`] between two positions or moments, as
//! [`ReadOptions`] ask for; it follows a timeline's history through its ancestors, reads ahead and
//! decompresses beside the decoder, and holds no more than a few segments. What is done with the
//! records:
//!
//! - [`RecordFilter`] chooses among them,
//! - [`WalStats`] adds them up as `pg_waldump --stats` does,
//! - [`changed_blocks`] tells which blocks they change,
//! - [`find_transactions`] tells which transactions inserted, updated, deleted or truncated how
//!   much in which relation, and [`RelationNames`] what these relations are called by a live server,
//! - [`find_gaps`] reads no records: it tells which segments an archive lacks.

mod archive;
mod changed;
mod cursor;
mod filter;
mod find;
mod gaps;
mod local;
mod names;
mod options;
mod reader;
mod restorable;
mod source;
mod stats;
mod time;

pub use changed::changed_blocks;
pub use filter::{RecordFilter, relation_text};
pub use find::{
    FindOptions, FindSort, Found, RelationChanges, RelationFilter, RowCounts, TransactionChanges,
    find_transactions,
};
pub use gaps::{GapReport, MissingHistory, MissingWal, SystemGaps, find_gaps};
pub use names::{RelationClass, RelationName, RelationNames};
pub use options::{ReadOptions, WalInput};
pub use reader::WalReader;
pub use restorable::Restorable;
pub use stats::{StatsRow, StatsTotals, WalStats, operation_text};

/// A record whose CRC is right, but whose inside is not understood.
fn garbled(error: crate::wal::Error) -> crate::Error {
    let message = format!("a WAL record can't be understood: {error}");
    crate::Error::new(crate::ErrorKind::Corrupt, message).with_source(error)
}
