use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use walbrook_types::{Lsn, Oid, SystemId, WalFileName, WalSegmentSize};

use crate::Digest;
use crate::document::Document;

/// What a WAL object says of itself, in its last frame: enough to plan a restore without reading
/// the segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalInfo {
    /// The file's name in `pg_wal`.
    pub name: WalFileName,
    /// The cluster's system identifier.
    pub system_identifier: SystemId,
    /// The size of the cluster's WAL segments.
    pub wal_segment_size: WalSegmentSize,
    /// The file's size in bytes.
    pub size: u64,
    /// The digest of the file.
    pub blake3: Digest,
    /// When it was archived, by the clock of the machine that did.
    pub archived_at: Timestamp,
    /// Whether a backup streamed it, and no archiver brought it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub streamed: bool,
    /// What is in it, for a segment or a part of one.
    pub content: Option<SegmentContent>,
}

impl Document for WalInfo {
    const FORMAT: &'static str = "walbrook-wal";
    const VERSION: u32 = 1;
}

/// What the records of one segment tell that a restore asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentContent {
    /// The major version of the server that wrote it.
    pub pg_major: u32,
    /// Where the first record begins that begins in this segment.
    pub first_record: Option<Lsn>,
    /// Where the last record begins that begins in this segment; it may end in the next one.
    pub last_record: Option<Lsn>,
    /// Where valid WAL ends in this segment.
    pub end_lsn: Lsn,
    /// The commits and aborts that lie wholly in this segment.
    pub transactions: Option<Transactions>,
    /// The restore points, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restore_points: Vec<RestorePoint>,
    /// Databases that were copied file by file, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_copies: Vec<FileCopy>,
}

/// A database's directory that was copied whole: by `CREATE DATABASE` with that strategy or, when both
/// are one database, by `ALTER DATABASE … SET TABLESPACE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCopy {
    /// Where its record begins.
    pub lsn: Lsn,
    /// The database that came.
    pub database: Oid,
    /// The database that was copied.
    pub source_database: Oid,
}

/// Commits and aborts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transactions {
    /// How many.
    pub count: u64,
    /// The earliest time at which one ended, by the server's clock.
    pub first_time: Timestamp,
    /// The latest.
    pub last_time: Timestamp,
    /// The oldest transaction among them, in the order of transaction IDs, which wraps.
    pub oldest_xid: u32,
    /// The newest.
    pub newest_xid: u32,
}

/// What `pg_create_restore_point` left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePoint {
    /// Its name.
    pub name: String,
    /// Where its record begins.
    pub lsn: Lsn,
    /// When, by the server's clock.
    pub time: Timestamp,
}
