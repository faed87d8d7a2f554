//! Which pages of a cluster changed since a backup, and PostgreSQL's incremental files.
//!
//! A [`Span`] is the part of the log between the starts of two backups, along the timelines that lead
//! from one to the other; it exists only when the older backup is wholly part of the newer one's past.
//! A [`ChangeMapBuilder`] takes summaries of the log in any order, from the server's WAL summaries or
//! from an archive's, and gives a [`ChangeMap`] once there is no gap left in the span, never before.
//! The map answers for each file with a [`FilePlan`]: read all of it, some blocks, or nothing.
//! [`PageLsnFilter`] is the other way to tell changes: it looks at pages that were read.
//!
//! [`IncrementalHeader`], [`IncrementalDecoder`], [`IncrementalReader`], [`IncrementalWriter`] and
//! [`Layout`] read, write and combine the `INCREMENTAL.*` files that PostgreSQL 17 and later send
//! in an incremental base backup. [`Truncations`] are the relations of which these files must not be
//! believed.
//!
//! # What is always read whole
//!
//! Whatever way of finding changes: all that is no main fork of a permanent relation. Visibility maps
//! too, which PostgreSQL's own incremental backup takes block by block: before the mended minor
//! releases of 2026, records that clear their bits did not name their blocks, and a restored map kept
//! bits that hide rows from index-only scans and keep vacuum away from them. See [`WholeReason`].
//!
//! # When no way but comparing contents is right
//!
//! A block that no record names is taken from the base. So the caller must not use a map or filter
//! when data checksums were switched on or off since the base (`pg_checksums` writes every page
//! without logging it); must read again pages that the base recorded as damaged; and can't know of
//! a server whose storage was set back to a snapshot without a new timeline, or whose files were
//! edited while it was down.
//!
//! Everything is synchronous and does no I/O but that of the readers and writers given to it.
//! Nothing panics on bytes from outside.
#![forbid(unsafe_code)]

mod blocks;
mod error;
mod incremental;
mod map;
mod page_lsn;
mod rules;
mod span;
mod truncations;

pub use error::{Error, ErrorKind};
pub use incremental::{
    INCREMENTAL_PREFIX, IncrementalDecoder, IncrementalEvent, IncrementalHeader, IncrementalReader,
    IncrementalWriter, Layout, Place, Run,
};
pub use map::{ChangeMap, ChangeMapBuilder, SummaryNotes};
pub use page_lsn::PageLsnFilter;
pub use rules::{FilePlan, WholeReason};
pub use span::{BaseBackupSpan, Span};
pub use truncations::{Truncations, TruncationsBuilder};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
