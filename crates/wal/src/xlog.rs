use walbrook_types::{Lsn, Oid, PgTimestamp, TimelineId};

use crate::fields::Fields;
use crate::{Error, ErrorKind, RecordHeader, WalVersion, Xid};

/// What a record of the log's own resource manager says (`xlog_redo` in PostgreSQL's
/// `access/transam/xlog.c`; operations in `catalog/pg_control.h`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum XlogRecord {
    /// `CHECKPOINT_SHUTDOWN`: nothing was running; replay begins at the record itself.
    CheckpointShutdown(Checkpoint),
    /// `CHECKPOINT_ONLINE`.
    CheckpointOnline(Checkpoint),
    /// `CHECKPOINT_REDO`, since version 17: replay from the online checkpoint that will follow
    /// begins here. Before, it begins wherever the log had come to.
    CheckpointRedo {
        /// The server's `wal_level`.
        wal_level: WalLevel,
    },
    /// `NEXTOID`: object identifiers up to this one may be in use.
    NextOid(Oid),
    /// `SWITCH`: the rest of the segment is unused.
    Switch,
    /// `BACKUP_END`: a base backup that began at this redo position is consistent from here on.
    BackupEnd {
        /// The backup's start LSN.
        start_lsn: Lsn,
    },
    /// `PARAMETER_CHANGE`: settings that a standby must match.
    ParameterChange(ParameterChange),
    /// `FPW_CHANGE`: whether `full_page_writes` is on from here on.
    FullPageWrites(bool),
    /// `FPI`: nothing but images of pages. Indexes and rewritten tables come like this.
    Fpi,
    /// `FPI_FOR_HINT`: an image of a page in which only hints change, written for its checksum's
    /// sake.
    FpiForHint,
    /// `NOOP`: nothing.
    Noop,
    /// `RESTORE_POINT`, by `pg_create_restore_point`.
    RestorePoint {
        /// Its name; bytes that are not UTF-8 are replaced.
        name: String,
        /// When it was made.
        time: PgTimestamp,
    },
    /// `END_OF_RECOVERY`: a promotion, the first record of a new timeline.
    EndOfRecovery {
        /// When.
        time: PgTimestamp,
        /// The timeline that begins.
        timeline: TimelineId,
        /// The timeline that it comes from.
        previous_timeline: TimelineId,
        /// The server's `wal_level`; since version 17.
        wal_level: Option<WalLevel>,
    },
    /// `OVERWRITE_CONTRECORD`: the record at this position was given up after a crash.
    OverwriteContrecord {
        /// Where it begins.
        overwritten_lsn: Lsn,
        /// When it was given up.
        time: PgTimestamp,
    },
    /// Any other operation: `info` without the bits that are not the resource manager's.
    Other(u8),
}

impl XlogRecord {
    pub(crate) const CHECKPOINT_SHUTDOWN: u8 = 0x00;
    pub(crate) const SWITCH: u8 = 0x40;
    pub(crate) const RESTORE_POINT: u8 = 0x70;
    pub(crate) const END_OF_RECOVERY: u8 = 0x90;

    /// From a record's header and main data.
    ///
    /// # Errors
    ///
    /// [`BadContents`](ErrorKind::BadContents) when the data are too short.
    pub fn parse(header: &RecordHeader, data: &[u8]) -> Result<Self, Error> {
        let f = Fields(data);
        Ok(match header.operation() {
            Self::CHECKPOINT_SHUTDOWN => Self::CheckpointShutdown(Checkpoint::parse(f)?),
            0x10 => Self::CheckpointOnline(Checkpoint::parse(f)?),
            0x20 => Self::Noop,
            0x30 => Self::NextOid(f.u32(0)?),
            Self::SWITCH => Self::Switch,
            0x50 => Self::BackupEnd { start_lsn: f.lsn(0)? },
            0x60 => Self::ParameterChange(ParameterChange::parse(f)?),
            Self::RESTORE_POINT => {
                let name = f.rest(8)?;
                let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                Self::RestorePoint {
                    name: String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned(),
                    time: f.time(0)?,
                }
            }
            0x80 => Self::FullPageWrites(f.array::<1>(0)? != [0]),
            Self::END_OF_RECOVERY => Self::EndOfRecovery {
                time: f.time(0)?,
                timeline: f.timeline(8)?,
                previous_timeline: f.timeline(12)?,
                wal_level: f.u32(16).ok().map(WalLevel::parse).transpose()?,
            },
            0xA0 => Self::FpiForHint,
            0xB0 => Self::Fpi,
            0xD0 => Self::OverwriteContrecord { overwritten_lsn: f.lsn(0)?, time: f.time(8)? },
            // Not used before version 17.
            0xE0 => Self::CheckpointRedo { wal_level: WalLevel::parse(f.u32(0)?)? },
            other => Self::Other(other),
        })
    }
}

/// The body of a checkpoint record (`CheckPoint` in PostgreSQL's `catalog/pg_control.h`), as far as
/// backups need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Where replay from this checkpoint begins.
    pub redo: Lsn,
    /// The timeline that it was written on.
    pub timeline: TimelineId,
    /// The timeline before, if this record begins a new one; else the same.
    pub previous_timeline: TimelineId,
    /// Whether `full_page_writes` was on.
    pub full_page_writes: bool,
    /// The next transaction ID with its epoch in the high 32 bits.
    pub next_xid: u64,
    /// The next object identifier.
    pub next_oid: Oid,
    /// The oldest transaction ID still to be found in any database.
    pub oldest_xid: Xid,
    /// The oldest transaction that was running, for an online checkpoint; zero otherwise.
    pub oldest_active_xid: Xid,
    /// When the checkpoint began; whole seconds.
    pub time: PgTimestamp,
    wal_level: u32,
}

impl Checkpoint {
    fn parse(f: Fields<'_>) -> Result<Self, Error> {
        Ok(Self {
            redo: f.lsn(0)?,
            timeline: f.timeline(8)?,
            previous_timeline: f.timeline(12)?,
            full_page_writes: f.array::<1>(16)? != [0],
            next_xid: f.u64(24)?,
            next_oid: f.u32(32)?,
            oldest_xid: f.u32(44)?,
            oldest_active_xid: f.u32(80)?,
            time: PgTimestamp::from_unix_seconds(f.array(64).map(i64::from_le_bytes)?),
            wal_level: f.u32(20)?,
        })
    }

    /// The server's `wal_level`, if it was recorded in a log of this version: since 17.
    pub fn wal_level(&self, version: WalVersion) -> Option<WalLevel> {
        if version < WalVersion::V17 {
            return None;
        }
        WalLevel::parse(self.wal_level).ok()
    }
}

/// How much the server writes to its log (`WalLevel` in PostgreSQL's `access/xlog.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WalLevel {
    /// `minimal`: only what crash recovery needs. What was written at this level can't be restored
    /// from a backup made before it.
    Minimal,
    /// `replica`.
    Replica,
    /// `logical`.
    Logical,
}

impl WalLevel {
    fn parse(number: u32) -> Result<Self, Error> {
        match number {
            0 => Ok(Self::Minimal),
            1 => Ok(Self::Replica),
            2 => Ok(Self::Logical),
            _ => Err(Error::new(
                ErrorKind::BadContents,
                format!("record with the unknown wal_level {number}"),
            )),
        }
    }

    /// As the setting is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Replica => "replica",
            Self::Logical => "logical",
        }
    }
}

/// The settings that a standby's must not be lower than, when one of them changed
/// (`xl_parameter_change` in PostgreSQL's `access/xlog_internal.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParameterChange {
    /// `max_connections`.
    pub max_connections: u32,
    /// `max_worker_processes`.
    pub max_worker_processes: u32,
    /// `max_wal_senders`.
    pub max_wal_senders: u32,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: u32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_transaction: u32,
    /// `wal_level`.
    pub wal_level: WalLevel,
    /// `wal_log_hints`.
    pub wal_log_hints: bool,
    /// `track_commit_timestamp`.
    pub track_commit_timestamp: bool,
}

impl ParameterChange {
    fn parse(f: Fields<'_>) -> Result<Self, Error> {
        Ok(Self {
            max_connections: f.u32(0)?,
            max_worker_processes: f.u32(4)?,
            max_wal_senders: f.u32(8)?,
            max_prepared_transactions: f.u32(12)?,
            max_locks_per_transaction: f.u32(16)?,
            wal_level: WalLevel::parse(f.u32(20)?)?,
            wal_log_hints: f.array::<1>(24)? != [0],
            track_commit_timestamp: f.array::<1>(25)? != [0],
        })
    }
}
