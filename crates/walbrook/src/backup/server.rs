use walbrook_replication::{ConnInfo, Session};
use walbrook_repo::{ServerFacts, SystemRecord};
use walbrook_types::{BLOCK_SIZE, Lsn, PgVersion, TimelineId};

use crate::{Error, ErrorKind, Result};

/// A server that is about to be backed up.
pub(crate) struct Server {
    pub(crate) facts: ServerFacts,
    pub(crate) timeline: TimelineId,
    /// How far its WAL was flushed.
    pub(crate) flushed: Lsn,
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
        let pg_version = session.server_version();
        if pg_version.major() < PgVersion::OLDEST_MAJOR {
            let message = format!(
                "the server at {peer} is PostgreSQL {pg_version}; Walbrook backs up versions from \
                 {} on",
                PgVersion::OLDEST_MAJOR
            );
            return Err(Error::new(ErrorKind::Server, message));
        }
        let identity = session.identify_system().await?;
        let unexpected = |what: &str, value: &str| {
            let message = format!("the server at {peer} has {what} {value:?}, which is not known");
            Error::new(ErrorKind::Server, message)
        };
        let segment_size = session.show("wal_segment_size").await?;
        let wal_segment_size = segment_size
            .parse()
            .map_err(|e| unexpected("wal_segment_size", &segment_size).with_source(e))?;
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
        let facts = ServerFacts {
            system_identifier: identity.system_id,
            pg_version,
            wal_segment_size,
            block_size: BLOCK_SIZE as u32,
            data_checksums,
        };
        let server =
            Self { facts, timeline: identity.timeline, flushed: identity.flushed, archives, peer };
        Ok((session, server))
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
