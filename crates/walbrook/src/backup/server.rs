use walbrook_replication::{ConnInfo, Session};
use walbrook_repo::{ServerFacts, SystemRecord};
use walbrook_types::{BLOCK_SIZE, Lsn, PgVersion, SystemId, TimelineId, WalSegmentSize};

use crate::backup::source::timeline_now;
use crate::{Error, ErrorKind, Result};

/// A server that is about to be backed up.
pub(crate) struct Server {
    pub(crate) facts: ServerFacts,
    pub(crate) timeline: TimelineId,
    /// How far its WAL was flushed.
    pub(crate) flushed: Lsn,
    /// Where no backup that begins from now on can start before; none when that is not known.
    pub(crate) wal_from: Option<Lsn>,
    /// Whether the server says that it archives what it writes or, on a standby, receives.
    pub(crate) archives: bool,
    /// Where it is, for messages and the record.
    pub(crate) peer: String,
}

impl Server {
    /// Connects for replication, and asks what has to be known before a backup begins.
    pub(crate) async fn connect(info: &ConnInfo) -> Result<(Session, Self)> {
        let mut session = Session::replication(info).await?;
        let peer = session.peer().to_owned();
        let identity = session.identify_system().await?;
        let facts = Facts::read(&mut session).await?;
        let (pg_version, archives) = (session.server_version(), facts.archives);
        let server = Self {
            facts: facts.of(identity.system_id, pg_version),
            timeline: identity.timeline,
            flushed: identity.flushed,
            // A primary's backup begins with a checkpoint to come, a standby's with one long past.
            wal_from: (!facts.in_recovery).then_some(identity.flushed),
            archives,
            peer,
        };
        Ok((session, server))
    }

    /// Asks the same over an ordinary session.
    pub(crate) async fn of_sql(session: &mut Session) -> Result<Self> {
        let peer = session.peer().to_owned();
        let facts = Facts::read(session).await?;
        let (pg_version, archives) = (session.server_version(), facts.archives);
        let in_recovery = facts.in_recovery;
        let flushed =
            if in_recovery { "pg_last_wal_replay_lsn()" } else { "pg_current_wal_flush_lsn()" };
        let sql = format!(
            "SELECT system_identifier, {flushed}, redo_lsn \
             FROM pg_control_system(), pg_control_checkpoint()"
        );
        let answer = session.simple_query(&sql).await?;
        let row = answer.rows().first();
        let value = |column: usize| row.and_then(|row| row.get(column));
        let (Some(system_id), Some(flushed), wal_from) = (
            // The server shows its 64 bits as a signed number.
            value(0).and_then(|id| id.parse::<i64>().ok()).map(|id| SystemId(id as u64)),
            value(1).and_then(|lsn| lsn.parse().ok()),
            // Of the last checkpoint, or restartpoint: none that follows goes back behind it.
            value(2).and_then(|lsn| lsn.parse().ok()),
        ) else {
            let message = format!("the server at {peer} does not say which system it is");
            return Err(Error::new(ErrorKind::Server, message));
        };
        let timeline = timeline_now(session, in_recovery).await?;
        let facts = facts.of(system_id, pg_version);
        Ok(Self { facts, timeline, flushed, wal_from, archives, peer })
    }

    /// What a repository notes of the server's system.
    pub(crate) fn system_record(&self) -> SystemRecord {
        SystemRecord {
            system_identifier: self.facts.system_identifier,
            pg_version: self.facts.pg_version,
            wal_segment_size: self.facts.wal_segment_size,
            registered_at: jiff::Timestamp::now(),
        }
    }
}

/// What any session can show.
struct Facts {
    wal_segment_size: WalSegmentSize,
    data_checksums: bool,
    in_recovery: bool,
    archives: bool,
}

impl Facts {
    async fn read(session: &mut Session) -> Result<Self> {
        let peer = session.peer().to_owned();
        let pg_version = session.server_version();
        if pg_version.major() < PgVersion::OLDEST_MAJOR {
            let message = format!(
                "the server at {peer} is PostgreSQL {pg_version}; Walbrook backs up versions from \
                 {} on",
                PgVersion::OLDEST_MAJOR
            );
            return Err(Error::new(ErrorKind::Server, message));
        }
        let segment_size = session.show("wal_segment_size").await?;
        let wal_segment_size = segment_size.parse().map_err(|e| {
            let message = format!(
                "the server at {peer} has wal_segment_size {segment_size:?}, which is not known"
            );
            Error::new(ErrorKind::Server, message).with_source(e)
        })?;
        let block_size = session.show("block_size").await?;
        if block_size != BLOCK_SIZE.to_string() {
            let message = format!(
                "the server at {peer} has pages of {block_size} bytes; Walbrook supports those of \
                 {BLOCK_SIZE} only"
            );
            return Err(Error::new(ErrorKind::Server, message));
        }
        let data_checksums = session.show("data_checksums").await? == "on";
        let in_recovery = session.show("in_hot_standby").await? == "on";
        let archive_mode = session.show("archive_mode").await?;
        let archives = archive_mode == "always" || (archive_mode == "on" && !in_recovery);
        Ok(Self { wal_segment_size, data_checksums, in_recovery, archives })
    }

    fn of(&self, system_identifier: SystemId, pg_version: PgVersion) -> ServerFacts {
        ServerFacts {
            system_identifier,
            pg_version,
            wal_segment_size: self.wal_segment_size,
            block_size: BLOCK_SIZE as u32,
            data_checksums: self.data_checksums,
        }
    }
}
