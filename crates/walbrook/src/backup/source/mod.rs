//! Where the pages of a backup come from.
//!
//! A [`PageSource`] begins a backup on a server, lists its files, reads any ranges of them, many
//! files at a time, and ends the backup. [`SqlSource`] does so over ordinary SQL connections,
//! [`LocalSource`] in the data directory itself. What they yield goes into the same repository
//! that `BASE_BACKUP` fills, which has no random access and stays a source of its own kind.
//!
//! A backup is [`begin`](PageSource::begin), [`files`](PageSource::files),
//! [`read`](PageSource::read) up to its end, [`control_file`](PageSource::control_file) and
//! [`end`](PageSource::end), in this order: PostgreSQL wants `pg_control` to be the last file that
//! is read, for on a standby it says up to where WAL must be replayed.

mod check;
mod exclude;
mod lanes;
mod list;
mod local;
mod side;
mod sql;
mod walk;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use walbrook_replication::Checkpoint;
use walbrook_repo::{DamageReport, TablespaceRecord};
use walbrook_types::{Lsn, TimelineId};

pub use lanes::Pieces;
pub use list::{FileInfo, FileKind, FileList};
pub use local::LocalSource;
pub use sql::{REQUIRED_FUNCTIONS, SqlSource, grants};
pub(crate) use sql::{session, timeline_now};

use crate::Result;

/// A server's files, readable at random while a backup is under way.
///
/// Dropping a source in the midst of a backup ends the backup on the server.
pub trait PageSource: Send {
    /// Begins the backup with a checkpoint. `label` goes into `backup_label`.
    fn begin(
        &mut self,
        label: &str,
        checkpoint: Checkpoint,
    ) -> impl Future<Output = Result<SourceStart>> + Send;

    /// The history file of the timeline that the backup is on; none for the first timeline.
    fn timeline_history(
        &mut self,
        timeline: TimelineId,
    ) -> impl Future<Output = Result<Option<Vec<u8>>>> + Send;

    /// Lists what a backup consists of, by path: what `BASE_BACKUP` would send, but for
    /// `backup_label`, `backup_manifest` and `global/pg_control`.
    fn files(&mut self) -> impl Future<Output = Result<FileList>> + Send;

    /// Reads what is requested, until the sender of requests is dropped. What comes back is in
    /// the order of the requests. Requests should be sent well ahead: they are what is read at
    /// once.
    fn read(
        &mut self,
        requests: mpsc::Receiver<ReadRequest>,
    ) -> impl Future<Output = Result<Pieces>> + Send;

    /// The content of `global/pg_control`, whole and untorn. To be read after everything else.
    fn control_file(&mut self) -> impl Future<Output = Result<FileContents>> + Send;

    /// Ends the backup.
    fn end(&mut self) -> impl Future<Output = Result<SourceEnd>> + Send;
}

/// How a backup began.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceStart {
    /// Where replay begins: every page changed after this is in the WAL from here on.
    pub lsn: Lsn,
    /// The timeline of that position.
    pub timeline: TimelineId,
    /// The tablespaces that are outside of the data directory.
    pub tablespaces: Vec<TablespaceRecord>,
}

/// How a backup ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceEnd {
    /// Up to where WAL is needed for the copy to be consistent.
    pub lsn: Lsn,
    /// The timeline that the server was on then.
    pub timeline: TimelineId,
    /// The file without which a restored copy must not be started.
    pub backup_label: FileContents,
    /// Pages that stayed unsound however often they were read.
    pub damage: DamageReport,
}

/// A small file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContents {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// When it was last modified, in seconds since 1970.
    pub mtime: i64,
}

/// What is wanted of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// Its path relative to the data directory.
    pub path: Arc<str>,
    /// Which bytes, in ascending order and without overlaps. In relation files they begin at
    /// multiples of the page size; the last may end where the file ends.
    pub ranges: Vec<Range<u64>>,
}

/// A part of the answer to a [`ReadRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of a requested range; the pieces of a range follow one another without gaps.
    Data {
        /// Where they are in the file.
        offset: u64,
        /// What they are.
        bytes: Bytes,
    },
    /// The request is answered; the next piece belongs to the next request.
    End(ReadEnd),
}

/// How reading a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadEnd {
    /// All ranges were read whole.
    Complete,
    /// The file ended, at this size, before the ranges did: it was cut since it was listed. WAL of
    /// the backup does the same to the copy.
    Shorter(u64),
    /// There is no such file any more.
    Vanished,
}
