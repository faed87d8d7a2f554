//! PostgreSQL's own names, as Rust types.
//!
//! The principal types are [`Lsn`], a position in the write-ahead log; [`TimelineId`], the history
//! that a position belongs to; [`WalFileName`], the name of a file in `pg_wal` or in an archive,
//! computed from the two and a [`WalSegmentSize`]; [`SystemId`], which tells one cluster from
//! another; [`PgTimestamp`], a moment as WAL records carry it; [`PgVersion`], the server's version; and [`RelFile`], the relation fork segment that a
//! path inside the data directory stands for.
//!
//! [`BackupLabel`] reads the `backup_label` file that a base backup carries.
//!
//! Every type parses from and prints in the text form that PostgreSQL itself uses, so that what a
//! log line, a file name or `pg_waldump` shows can be fed straight back in. Nothing here does I/O,
//! and nothing panics on input from outside.
#![forbid(unsafe_code)]

mod error;
mod label;
mod lsn;
mod relfile;
mod segment;
mod system;
mod timeline;
mod timestamp;
mod version;
mod wal_name;

#[cfg(feature = "serde")]
mod serde_impls;

pub use error::{ParseError, ParseErrorKind};
pub use label::BackupLabel;
pub use lsn::Lsn;
pub use relfile::{BlockNumber, Fork, Oid, RelFile, Tablespace};
pub use segment::{SegmentNumber, WalSegmentSize};
pub use system::SystemId;
pub use timeline::TimelineId;
pub use timestamp::PgTimestamp;
pub use version::PgVersion;
pub use wal_name::WalFileName;

/// Size of a data page in bytes: PostgreSQL's default `BLCKSZ`, the only one that Walbrook supports.
pub const BLOCK_SIZE: usize = 8192;

/// Blocks in one file of a relation fork: `RELSEG_SIZE` of a default build, 1 GiB of pages.
pub const BLOCKS_PER_FILE: u32 = 131_072;
