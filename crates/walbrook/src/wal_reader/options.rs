use std::path::PathBuf;

use jiff::Timestamp;
use walbrook_store::StoreUrl;
use walbrook_types::{Lsn, TimelineId, WalFileName};

/// Where WAL is read from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WalInput {
    /// One cluster of a repository; of its systems, that of the newest backup.
    Repository {
        /// The repository.
        repository: StoreUrl,
        /// The cluster's name in it.
        cluster: String,
    },
    /// A directory of segments, such as `pg_wal`, or one that has a `pg_wal` inside.
    Directory(PathBuf),
    /// These segments and no others.
    Files(Vec<PathBuf>),
}

/// What a [`WalReader`](crate::wal_reader::WalReader) reads.
///
/// Without a beginning it reads from where the last run of segments without a gap begins: what lies
/// before it can't be replayed up to the end. Without an end it reads to the end of the WAL.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Where from.
    pub input: WalInput,
    /// The timeline to follow, with its ancestors; the newest when none is given.
    pub timeline: Option<TimelineId>,
    /// Begins with the first record that begins here or later.
    pub from_lsn: Option<Lsn>,
    /// Ends before the first record that begins here or later.
    pub to_lsn: Option<Lsn>,
    /// Begins behind the last transaction that ended before this moment, by the server's clock.
    pub from_time: Option<Timestamp>,
    /// Ends before the first transaction that ended after this moment: where recovery with this
    /// `recovery_target_time` would end.
    pub to_time: Option<Timestamp>,
    /// Begins with this segment.
    pub from_segment: Option<WalFileName>,
    /// Ends with this segment; a record that begins in it and ends in the next is read where that
    /// is there.
    pub to_segment: Option<WalFileName>,
    /// Reads on behind segments that are missing; otherwise they are an error.
    pub skip_missing: bool,
    /// How many bytes of WAL before the beginning are read as well, as far as they are there: for
    /// transactions that had begun before it. [`WalReader::from`](crate::wal_reader::WalReader::from)
    /// tells the records apart.
    pub lead_in: u64,
}

impl ReadOptions {
    /// All of an input's newest timeline.
    pub fn new(input: WalInput) -> Self {
        Self {
            input,
            timeline: None,
            from_lsn: None,
            to_lsn: None,
            from_time: None,
            to_time: None,
            from_segment: None,
            to_segment: None,
            skip_missing: false,
            lead_in: 0,
        }
    }
}
