//! The WAL archive: one object for each WAL file.
//!
//! [`WalArchive`] puts files in and gets them out; [`WalInfo`] is what an object tells of itself
//! at the cost of one small read; [`WalRange`] is a run of segments without a gap. Next to each
//! segment lies its block summary, made in the same pass ([`WalArchive::summary`]). [`WalIndex`] tells
//! which segments there are without all of them being listed.

mod archive;
mod content;
mod encode;
mod index;
mod info;
mod ranges;
mod segment_set;
mod stored;
mod summary;

pub use archive::{Put, PutOutcome, WalArchive};
pub use index::WalIndex;
pub use info::{FileCopy, RestorePoint, SegmentContent, Transactions, WalInfo};
pub use ranges::WalRange;
pub use segment_set::SegmentSet;
pub use stored::StoredWal;
