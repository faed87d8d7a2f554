//! Which blocks WAL changes.
//!
//! [`BlockSummary`] is the answer: for each fork of each relation the changed blocks, a [`BlockSet`],
//! and the least length that the fork had. [`WalSummary`] is that of one segment, made in one pass by
//! [`SegmentScanner`](crate::SegmentScanner); those of segments that follow each other
//! [merge](WalSummary::merge), and [`WalSummary::encode`] is how it is kept beside an archived segment.
//! [`BlockSummaryBuilder`] makes one of any range of decoded records. [`PgSummary`] reads and writes the
//! files that PostgreSQL 17 and later keep in `pg_wal/summaries`.

mod blocks;
mod builder;
mod collect;
mod decode;
mod effects;
mod encode;
mod gather;
mod head;
mod pg_file;
mod range;
mod skim;
mod table;
mod walk;

pub use blocks::BlockSet;
pub use builder::BlockSummaryBuilder;
pub(crate) use collect::Collector;
pub use pg_file::{PgSummary, PgSummaryName};
pub use range::WalSummary;
pub use table::{BlockSummary, ForkSummary};
