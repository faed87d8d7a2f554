use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Mutex;
use walbrook_replication::Session;
use walbrook_types::Lsn;

use super::sql::{read_pieces, session::SameServer};
use crate::{Error, ErrorKind, Result};

/// A connection beside those that read: for questions that come up in the midst of a statement.
pub(crate) struct Side {
    session: Mutex<Session>,
    server: Arc<SameServer>,
    /// How far the server's WAL is known to reach.
    known: AtomicU64,
}

/// Where the server's WAL ends now. A page of a standby may carry the position of a record that
/// is only just being replayed.
const REACHED: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN \
                       greatest(pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn()) \
                       ELSE pg_current_wal_insert_lsn() END";

impl Side {
    pub(crate) async fn open(server: Arc<SameServer>) -> Result<Self> {
        let session = Mutex::new(server.open_another().await?);
        Ok(Self { session, server, known: AtomicU64::new(0) })
    }

    /// Opens the session again when that is why a question failed: it is idle for long, and
    /// something may have ended it.
    async fn renew(&self, session: &mut Session, error: Error) -> Result<()> {
        if !error.is_lost_connection() {
            return Err(error);
        }
        *session = self.server.open_again(error).await?;
        Ok(())
    }

    /// Whether the server's WAL has reached this position. No page can be newer than that.
    pub(crate) async fn has_reached(&self, lsn: Lsn) -> Result<bool> {
        if lsn <= self.known() {
            return Ok(true);
        }
        let mut session = self.session.lock().await;
        let answer = match session.simple_query(REACHED).await {
            Ok(answer) => answer,
            Err(error) => {
                self.renew(&mut session, error.into()).await?;
                session.simple_query(REACHED).await?
            }
        };
        drop(session);
        let reached = answer.rows().first().and_then(|row| row.get(0)?.parse::<Lsn>().ok());
        let reached = reached.ok_or_else(|| {
            Error::new(ErrorKind::Server, "the server does not say how far its WAL reaches")
        })?;
        self.known.fetch_max(reached.0, Ordering::Relaxed);
        Ok(lsn <= reached)
    }

    /// How far the WAL is known to reach.
    pub(crate) fn known(&self) -> Lsn {
        Lsn(self.known.load(Ordering::Relaxed))
    }

    /// Reads one piece of a file; none when there is no such file.
    pub(crate) async fn read(&self, path: &str, offset: u64, len: u32) -> Result<Option<Bytes>> {
        let pieces = [(path, offset, len)];
        let mut session = self.session.lock().await;
        let read = match read_pieces(&mut session, &pieces).await {
            Ok(read) => read,
            Err(error) => {
                self.renew(&mut session, error).await?;
                read_pieces(&mut session, &pieces).await?
            }
        };
        Ok(read.into_iter().next().flatten())
    }
}
