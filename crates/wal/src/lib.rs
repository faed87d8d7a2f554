//! PostgreSQL's physical write-ahead log, read from bytes.
//!
//! [`Decoder`] is fed WAL in pieces of any size and yields [`Record`]s, checked and whole, until the
//! log ends; after damage it can go on at the next record ([`Decoder::resync`]). A record's
//! [`operation_name`](Record::operation_name) is the one that `pg_waldump` prints, its
//! [`parts`](Record::parts) are its block references and its main data. What the main data mean is
//! told by [`XlogRecord`], [`XactRecord`], [`SmgrRecord`], [`DbaseRecord`], [`TablespaceRecord`] and
//! [`RelmapUpdate`] for the resource managers that a backup lives by; [`Record::changes`] counts the
//! rows that heap records insert, update and delete.
//!
//! [`SegmentScanner`] and [`scan_segment`] look at one segment alone and only as closely as an
//! archive needs: where its records begin and end, which commits and restore points it holds. They
//! run at memory speed rather than at the decoder's. [`SegmentHeader`] reads the first bytes of a
//! segment: version, timeline, position, cluster.
//!
//! [`TimelineHistory`] reads the `.history` files that say how timelines descend from each other, and
//! from which one's files a segment is to be read.
//!
//! Everything is synchronous and does no I/O: the caller brings the bytes. Bytes from outside never
//! cause a panic, nor more memory than the record that they hold. The layouts are those of
//! PostgreSQL 15 to 18 on 64-bit little-endian machines with WAL pages of 8 KiB.
#![forbid(unsafe_code)]

mod dbase;
mod decoder;
mod error;
mod fields;
mod heap;
mod history;
mod image;
mod input;
mod operation;
mod page;
mod parts;
mod record;
mod relmap;
mod rmgr;
mod scan;
mod smgr;
mod summary;
mod tblspc;
mod version;
mod xact;
mod xlog;

pub use dbase::{DatabaseDrop, DbaseRecord};
pub use decoder::{Decoder, EndOfWal, EndReason};
pub use error::{Error, ErrorKind};
pub use heap::{HeapChange, HeapTruncate, TupleChanges};
pub use history::{HistoryEntry, TimelineHistory};
pub use page::{PageHeader, PageIdentity, SegmentHeader};
pub use parts::{BlockRef, BlockRefs, Compression, PageImage, Parts, RelLocator};
pub use record::{Record, RecordHeader};
pub use relmap::RelmapUpdate;
pub use rmgr::RmgrId;
pub use scan::{
    Continuation, Crossing, FileCopy, RestorePoint, SegmentFacts, SegmentScanner, Straddling, join,
    scan_segment, summarize_segment,
};
pub use smgr::{SmgrRecord, SmgrTruncate};
pub use summary::{
    BlockSet, BlockSummary, BlockSummaryBuilder, ForkSummary, PgSummary, PgSummaryName, WalSummary,
};
pub use tblspc::TablespaceRecord;
pub use version::WalVersion;
pub use xact::{XactAssignment, XactEnd, XactPrepare, XactRecord};
pub use xlog::{Checkpoint, ParameterChange, WalLevel, XlogRecord};

/// Size of a WAL page in bytes: PostgreSQL's default `XLOG_BLCKSZ`, the only one supported.
pub const WAL_PAGE_SIZE: usize = 8192;

/// The longest record in bytes that PostgreSQL writes (`XLogRecordMaxSize` in
/// `access/xlogrecord.h`); a greater length is damage.
pub const MAX_RECORD_LEN: u32 = 1020 * 1024 * 1024;

/// A transaction ID without its epoch (`TransactionId`); zero for none.
pub type Xid = u32;
