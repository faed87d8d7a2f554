//! PostgreSQL backup as a library: what the `walbrook-*` commands do, for Rust programs.
//!
//! [`backup`] takes a full backup of a running server over the replication protocol; [`push`] and
//! [`fetch`] are the work of an `archive_command` and a `restore_command`; [`list`] tells what a
//! repository holds and what can be recovered from it; [`plan_restore`] plans a restore, and
//! [`RestorePlan::execute`] carries it out; [`plan_expiry`] tells what a retention policy keeps, and [`expire`] removes the rest. Each takes its options as a value that is made with
//! `new` and then adjusted, and returns an [`Error`] that says what failed and what to do.
//!
//! [`wal_reader`] reads WAL, archived or not: its records, what the archive lacks, and which
//! transaction did the damage.
//!
//! All are futures for a tokio runtime with I/O and time, and are cancelled by being dropped: a
//! repository stays valid, and a directory that was being restored is cleared. A [`Progress`]
//! watches the long ones. Nothing prints, and nothing exits.
//!
//! Underneath, and of use by themselves, are [`replication`], [`repo`], [`store`], [`wal`],
//! [`page`] and [`types`].
#![forbid(unsafe_code)]

mod archive;
mod backup;
mod catalog;
mod error;
mod expire;
mod host;
mod known_wal;
mod lock;
mod pg_manifest;
mod progress;
mod restore;
mod segment_path;
mod wal_path;
pub mod wal_reader;

pub use archive::{FetchOptions, FetchOutcome, PushOptions, fetch, prefetch, push, wants_prefetch};
pub use backup::{BackupOptions, Base, ChangeDetection, Source, WalMode, backup, source};
pub use catalog::{
    BackupListing, ClusterListing, DamagedListing, RecoveryWindow, SystemListing, WalGap, list,
    list_by, measure,
};
pub use error::{Error, ErrorKind, Result};
pub use expire::{ExpiryOptions, ExpiryPlan, expire, pin, plan_expiry, unpin};
pub use known_wal::WalCheck;
pub use lock::LockOptions;
pub use progress::{NoProgress, Phase, Progress};
pub use restore::{
    RestoreOptions, RestorePlan, RestoreReport, TablespacePlan, Target, TargetAction,
    TargetTimeline, plan_restore,
};

pub use walbrook_page as page;
pub use walbrook_replication as replication;
pub use walbrook_repo as repo;
pub use walbrook_retention as retention;
pub use walbrook_store as store;
pub use walbrook_types as types;
pub use walbrook_wal as wal;

pub use walbrook_replication::{Checkpoint, ConnInfo, Environment};
pub use walbrook_repo::{
    BackupId, BackupPin, BackupRecord, Codec, ExpiryReport, KeptBackup, KeptReason, PutOutcome,
    Refusals,
};
pub use walbrook_store::{LockUntil, StoreUrl};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
