use walbrook_types::{Lsn, PgTimestamp, TimelineId};

use crate::{Error, ErrorKind, RecordHeader, Xid};

/// What a record of the log's own resource manager says (`xlog_redo` in PostgreSQL's
/// `access/transam/xlog.c`; operations in `catalog/pg_control.h`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum XlogRecord {
    /// `CHECKPOINT_SHUTDOWN`: nothing was running; replay begins at the record itself.
    CheckpointShutdown(Checkpoint),
    /// `CHECKPOINT_ONLINE`.
    CheckpointOnline(Checkpoint),
    /// `SWITCH`: the rest of the segment is unused.
    Switch,
    /// `BACKUP_END`: a base backup that began at this redo position is consistent from here on.
    BackupEnd {
        /// The backup's start LSN.
        start_lsn: Lsn,
    },
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
            Self::SWITCH => Self::Switch,
            0x50 => Self::BackupEnd { start_lsn: f.lsn(0)? },
            Self::RESTORE_POINT => {
                let name = f.rest(8)?;
                let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                Self::RestorePoint {
                    name: String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned(),
                    time: f.time(0)?,
                }
            }
            Self::END_OF_RECOVERY => Self::EndOfRecovery {
                time: f.time(0)?,
                timeline: f.timeline(8)?,
                previous_timeline: f.timeline(12)?,
            },
            0xD0 => Self::OverwriteContrecord { overwritten_lsn: f.lsn(0)?, time: f.time(8)? },
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
    pub next_oid: u32,
    /// The oldest transaction ID still to be found in any database.
    pub oldest_xid: Xid,
    /// The oldest transaction that was running, for an online checkpoint; zero otherwise.
    pub oldest_active_xid: Xid,
    /// When the checkpoint began; whole seconds.
    pub time: PgTimestamp,
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
        })
    }
}

/// Little-endian fields of main data at fixed offsets, each checked against the end.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn rest(self, at: usize) -> Result<&'a [u8], Error> {
        self.0.get(at..).ok_or_else(short)
    }

    pub(crate) fn array<const N: usize>(self, at: usize) -> Result<[u8; N], Error> {
        self.rest(at)?.first_chunk().copied().ok_or_else(short)
    }

    pub(crate) fn u32(self, at: usize) -> Result<u32, Error> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(self, at: usize) -> Result<u64, Error> {
        self.array(at).map(u64::from_le_bytes)
    }

    pub(crate) fn lsn(self, at: usize) -> Result<Lsn, Error> {
        self.u64(at).map(Lsn)
    }

    pub(crate) fn time(self, at: usize) -> Result<PgTimestamp, Error> {
        self.array(at).map(i64::from_le_bytes).map(PgTimestamp)
    }

    pub(crate) fn timeline(self, at: usize) -> Result<TimelineId, Error> {
        TimelineId::new(self.u32(at)?)
            .ok_or_else(|| Error::new(ErrorKind::BadContents, "record with timeline zero"))
    }
}

pub(crate) fn short() -> Error {
    Error::new(ErrorKind::BadContents, "record with too little data for its operation")
}
