//! Which relations the server's own incremental files get wrong.

use walbrook_delta::{Span, TruncationsBuilder};
use walbrook_replication::{ConnInfo, Session};
use walbrook_types::BlockNumber;
use walbrook_wal::RelLocator;

use super::server::{Available, list, open_for_summaries};
use super::unknown;
use crate::backup::server::Server;
use crate::{Error, ErrorKind, Result};

/// Reads of the server's WAL summaries what was truncated. They are read by SQL, which any role may:
/// the replication protocol does not give them.
pub(crate) struct TruncationReader {
    session: Session,
}

impl TruncationReader {
    /// Connects to the server, if it is one that keeps summaries.
    ///
    /// It must be the very same, for a standby's summaries of the same log may begin and end elsewhere.
    pub(crate) async fn connect(info: &ConnInfo, server: &Server) -> Result<Self> {
        let session = open_for_summaries(info, server).await?;
        if session.peer() != server.peer {
            let (other, peer) = (session.peer(), &server.peer);
            let message =
                format!("the connection for its WAL summaries reached {other}, not {peer}");
            return Err(Error::new(ErrorKind::ServerChanged, message));
        }
        Ok(Self { session })
    }

    /// The truncations in that part of the log, as far as it is summarised.
    pub(crate) async fn read(&mut self, span: &Span) -> Result<TruncationsBuilder> {
        let mut builder = TruncationsBuilder::new(span);
        for Available { timeline, from, to } in list(&mut self.session).await? {
            if !builder.wants(timeline, from, to) {
                continue;
            }
            let sql = format!(
                "COPY (SELECT reltablespace::int8, reldatabase::int8, relfilenode::int8, \
                 relblocknumber::int8 FROM pg_wal_summary_contents({timeline}, '{from}', '{to}') \
                 WHERE is_limit_block AND relforknumber = 0) TO STDOUT (FORMAT binary)"
            );
            let mut rows = self.session.copy_out(&sql).await?;
            while let Some(row) = rows.next().await? {
                let oid = |column| row.int8(column).and_then(|oid| u32::try_from(oid).ok());
                let limit = row.int8(3).and_then(|limit| BlockNumber::try_from(limit).ok());
                let (Some(tablespace_oid), Some(database), Some(number), Some(limit)) =
                    (oid(0), oid(1), oid(2), limit)
                else {
                    let message = format!("a row of the WAL summary from {from} can't be read");
                    return Err(Error::new(ErrorKind::Server, message));
                };
                // What was created or truncated to nothing is sent whole.
                if limit > 0 {
                    let relation = RelLocator { tablespace_oid, database, number };
                    builder.note(relation).map_err(unknown)?;
                }
            }
            builder.known(timeline, from, to);
        }
        Ok(builder)
    }
}
