//! Which PostgreSQL backups and which WAL to keep, and why: retention as a pure function.
//!
//! An [`Inventory`] says what there is: [`Backup`]s, [`WalRange`]s, how timelines descend from each
//! other. A [`Policy`] says what to keep. [`plan`] takes both and a moment in a time zone, and makes
//! a [`Plan`]: for each backup and each stretch of WAL an [`Action`] and the reasons for it, as data
//! ([`BackupReason`], [`WalReason`]) that print as words. [`plan_removal`] plans the removal of
//! backups by name. [`Simulation`] tells what a policy would have kept over a year. [`WalFolder`] makes
//! ranges from millions of segment names.
//!
//! Nothing here does I/O or looks at a clock; carrying out a plan is the caller's, in the order that
//! [`Plan::removals`] gives. What a plan promises:
//!
//! - Every backup that stays keeps the WAL that makes it consistent.
//! - With a window, whatever moment of it could be restored before can be restored afterwards, on
//!   every timeline; without one, the cluster's present can.
//! - The newest backup that can be restored stays, and so does the WAL after it.
//! - A backup that can't be restored never counts in place of one that can.
//! - Where the clock can't be right, or nothing that there is can be restored, nothing is removed, and
//!   [`Plan::holds`] says why.
//! - What isn't known is kept: WAL of a timeline whose history is missing, of a system that may be
//!   about to get its first backup, and while a backup is being taken all of its system's WAL.
#![forbid(unsafe_code)]

mod count;
mod error;
mod facts;
mod fold;
mod guard;
mod inventory;
mod lineage;
mod period;
mod plan;
mod policy;
mod reason;
mod rules;
mod simulate;
mod text;
mod wal;

#[cfg(feature = "serde")]
mod serde_impls;

pub use count::Count;
pub use error::{Error, ErrorKind, Result};
pub use facts::Restorable;
pub use fold::WalFolder;
pub use inventory::{Backup, Inventory, Pin, RunningBackup, SystemInfo, TimelineOrigin, WalRange};
pub use period::{Length, Period};
pub use plan::{
    Action, BackupDecision, Plan, Removal, WalDecision, plan, plan_removal, plan_removal_even_last,
};
pub use policy::{Policy, WalRule};
pub use reason::{BackupReason, Hold, WalReason};
pub use simulate::{Simulation, Step};

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
