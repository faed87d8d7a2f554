//! The WAL archive: one object for each WAL file.
//!
//! [`WalArchive`] puts files in and gets them out; [`WalInfo`] is what an object tells of itself
//! at the cost of one small read; [`WalRange`] is a run of segments without a gap.

mod archive;
mod content;
mod encode;
mod info;
mod ranges;
mod stored;

pub use archive::{Put, PutOutcome, WalArchive};
pub use info::{RestorePoint, SegmentContent, Transactions, WalInfo};
pub use ranges::WalRange;
pub use stored::StoredWal;
