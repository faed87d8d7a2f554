//! Walbrook's repository: what is stored, in which format, and how it is written so that a crash
//! at any instant leaves it valid.
//!
//! A [`Repository`] is a [`Store`](walbrook_store::Store) with a `walbrook.json` in it. It holds
//! [`Cluster`]s by name. A cluster has backups, each taken with a [`BackupWriter`], described by a
//! [`BackupRecord`] and read with a [`BackupReader`]; and for each of its system identifiers a
//! [`WalArchive`].
//!
//! Three rules carry everything (`docs/format.md` gives them in full, with the bytes):
//!
//! - an object is never changed after it was created, and is created whole or not at all;
//! - a backup exists when its commit object, `backup.json`, does, and that one is created last;
//! - every byte is covered by a digest, and every read checks it.
//!
//! This crate does not talk to PostgreSQL and knows no data directory: the crate `walbrook` joins
//! it with both.
#![forbid(unsafe_code)]

mod backup;
pub mod checksum;
mod cluster;
mod codec;
mod digest;
mod document;
mod error;
mod expiry;
mod frame;
mod id;
mod layout;
mod manifest;
mod put;
mod repository;
mod wal;
mod wire;

pub use backup::{
    BackupIntent, BackupReader, BackupRecord, BackupSize, BackupSpan, BackupWriter, BaseFile,
    BaseIndex, ChangeFacts, CompactionOptions, DamageReport, DamagedPage, FileNumber, IndexedFrame,
    InterruptedBackup, LockFacts, PackIndex, PageCheck, Piece, ResumedBackups, ServerFacts,
    ShardRecord, SourceFacts, StoredFrames, TablespaceRecord, UncommittedBackup, WornPacks,
    WriterOptions, Written,
};
pub use cluster::{Cluster, DamagedBackup, SystemRecord};
pub use codec::Codec;
pub use digest::{Digest, PageDigest};
pub use error::{Error, ErrorKind, Result};
pub use expiry::{
    BackupPin, ExpiryMark, ExpiryReport, ExpiryRequest, ExpiryState, KeptBackup, KeptReason,
    Refusals, UnfinishedBackup, WalSpan,
};
pub use id::BackupId;
pub use manifest::{
    Entry, EntryKind, Extent, FileContent, FrameRef, PackRef, PathSorter, Place, Shard, SortedPaths,
};
pub use repository::Repository;
pub use wal::{
    FileCopy, Put, PutOutcome, RestorePoint, SegmentContent, SegmentSet, StoredWal, Transactions,
    WalArchive, WalIndex, WalInfo, WalRange,
};

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
