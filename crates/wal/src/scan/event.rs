use walbrook_types::{Lsn, Oid, PgTimestamp, TimelineId};

use crate::{
    DbaseRecord, Error, Parts, RecordHeader, RmgrId, WalVersion, XactEnd, XactRecord, Xid,
    XlogRecord,
};

/// A named restore point (`pg_create_restore_point`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePoint {
    /// Its name, at most 63 bytes. Names may recur.
    pub name: String,
    /// Where its record begins.
    pub lsn: Lsn,
    /// When it was made.
    pub time: PgTimestamp,
}

/// A database's directory that was copied whole (`CREATE_FILE_COPY`): `CREATE DATABASE` with that strategy,
/// or, when source and copy are one database, `ALTER DATABASE … SET TABLESPACE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileCopy {
    /// Where its record begins.
    pub lsn: Lsn,
    /// The database that comes.
    pub database: Oid,
    /// The database that is copied.
    pub source_database: Oid,
}

/// What the facts of a segment count.
#[derive(Debug)]
pub(crate) enum Event {
    Commit {
        xid: Xid,
        time: PgTimestamp,
    },
    Abort {
        xid: Xid,
        time: PgTimestamp,
    },
    RestorePoint {
        name: String,
        time: PgTimestamp,
    },
    /// A record that begins a timeline or goes on with one.
    Timeline(TimelineId),
    Switch,
    FileCopy {
        database: Oid,
        source_database: Oid,
    },
    Other,
}

/// Whether records of a resource manager can be events.
pub(crate) fn matters(rmgr: RmgrId) -> bool {
    matches!(rmgr, RmgrId::XLOG | RmgrId::XACT | RmgrId::DBASE)
}

/// What a record of `XLOG`, `Transaction` or `Database` means, from its beginning: all of it unless it is long.
pub(crate) fn inspect(
    version: WalVersion,
    header: &RecordHeader,
    record: &[u8],
) -> Result<Event, Error> {
    let total_len = header.total_len as usize;
    if header.rmgr == RmgrId::XLOG {
        return match header.operation() {
            XlogRecord::SWITCH => Ok(Event::Switch),
            XlogRecord::RESTORE_POINT
            | XlogRecord::CHECKPOINT_SHUTDOWN
            | XlogRecord::END_OF_RECOVERY => {
                let parts = Parts::parse_prefix(record, total_len)?;
                Ok(match XlogRecord::parse(header, parts.main_data())? {
                    XlogRecord::RestorePoint { name, time } => Event::RestorePoint { name, time },
                    // A promotion is recorded by one of these two. The page's header still has
                    // the timeline that the page began with.
                    XlogRecord::CheckpointShutdown(checkpoint) => {
                        Event::Timeline(checkpoint.timeline)
                    }
                    XlogRecord::EndOfRecovery { timeline, .. } => Event::Timeline(timeline),
                    _ => Event::Other,
                })
            }
            _ => Ok(Event::Other),
        };
    }
    if header.rmgr == RmgrId::DBASE {
        let parts = Parts::parse_prefix(record, total_len)?;
        return Ok(match DbaseRecord::parse(header, parts.main_data())? {
            DbaseRecord::CreateFileCopy { database, source_database, .. } => {
                Event::FileCopy { database, source_database }
            }
            _ => Event::Other,
        });
    }
    if header.rmgr != RmgrId::XACT || !XactRecord::is_end(header) {
        return Ok(Event::Other);
    }
    let data = Parts::parse_prefix(record, total_len)?.main_data();
    if record.len() < total_len {
        // Too long to be kept whole: its time and its own transaction come first.
        let (xid, time) = XactEnd::parse_start(header, data)?;
        return Ok(match XactRecord::is_commit(header) {
            true => Event::Commit { xid, time },
            false => Event::Abort { xid, time },
        });
    }
    Ok(match XactRecord::parse(version, header, data)? {
        XactRecord::Commit(end) => Event::Commit { xid: end.xid, time: end.time },
        XactRecord::Abort(end) => Event::Abort { xid: end.xid, time: end.time },
        _ => Event::Other,
    })
}

/// Whether `a` comes before `b` on the circle of transaction IDs (`TransactionIdPrecedes`).
pub(crate) fn precedes(a: Xid, b: Xid) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
