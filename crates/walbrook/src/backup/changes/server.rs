//! The WAL summaries that PostgreSQL 17 and later keep.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use walbrook_delta::{ChangeMap, ChangeMapBuilder, Span};
use walbrook_replication::{ConnInfo, Session};
use walbrook_types::{Lsn, TimelineId};
use walbrook_wal::RelLocator;

use super::unknown;
use crate::backup::server::Server;
use crate::backup::source::session::{open, unexpected};
use crate::{Error, ErrorKind, Result};

/// The first major version that has them.
pub(crate) const SINCE: u32 = 17;

/// How long the summarizer may stand still before it is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Part of the log that the server has a summary of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Available {
    pub(super) timeline: TimelineId,
    pub(super) from: Lsn,
    pub(super) to: Lsn,
}

/// A session in which the server's summaries can be read.
pub(super) async fn open_for_summaries(info: &ConnInfo, server: &Server) -> Result<Session> {
    let version = server.facts.pg_version;
    if version.major() < SINCE {
        let message = format!("PostgreSQL {version} keeps no WAL summaries");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let (session, identity) = open(info).await?;
    if !identity.starts_with(&format!("{}@", server.facts.system_identifier.0 as i64)) {
        let message = "the connection for its WAL summaries reached another server";
        return Err(Error::new(ErrorKind::ServerChanged, message));
    }
    Ok(session)
}

/// The map of the server's own summaries.
pub(super) async fn map(info: &ConnInfo, server: &Server, span: Span) -> Result<ChangeMap> {
    let mut session = open_for_summaries(info, server).await?;
    let available = wait(&mut session, &span).await?;
    let mut builder = ChangeMapBuilder::new(span);
    for Available { timeline, from, to } in available {
        if !builder.wants(timeline, from, to) {
            continue;
        }
        // Other forks are read whole whatever happened to them; the entry that stands for a whole
        // database is one for its main forks.
        let sql = format!(
            "COPY (SELECT reltablespace::int8, reldatabase::int8, relfilenode::int8, \
             relforknumber::int4, relblocknumber::int8, is_limit_block \
             FROM pg_wal_summary_contents({timeline}, '{from}', '{to}') \
             WHERE relforknumber = 0) TO STDOUT (FORMAT binary)"
        );
        let mut rows = session.copy_out(&sql).await?;
        let mut notes = builder.summary(timeline, from, to);
        while let Some(row) = rows.next().await? {
            let oid = |column| row.int8(column).and_then(|oid| u32::try_from(oid).ok());
            let number = || {
                let (tablespace_oid, database, number) = (oid(0)?, oid(1)?, oid(2)?);
                let relation = RelLocator { tablespace_oid, database, number };
                let fork = row.int4(3).and_then(|fork| i16::try_from(fork).ok())?;
                Some((relation, fork, row.int8(4)?, row.boolean(5)?))
            };
            let (relation, fork, block, limit) = number().ok_or_else(|| {
                let message = format!("a row of the WAL summary from {from} can't be read");
                Error::new(ErrorKind::Server, message)
            })?;
            notes.server_row(relation, fork, block, limit);
        }
        notes.complete();
    }
    builder.finish().map_err(unknown)
}

/// Waits until the server has summarised the span, or it is clear that it will not.
async fn wait(session: &mut Session, span: &Span) -> Result<Vec<Available>> {
    let (mut last, mut since) = (Lsn(0), Instant::now());
    loop {
        // The state first: what it says is done is among the files that are listed after.
        let state = "SELECT summarized_lsn, coalesce(pending_lsn, '0/0'), \
                     summarizer_pid IS NOT NULL FROM pg_get_wal_summarizer_state()";
        let answer = session.simple_query(state).await?;
        let row = answer.rows().first();
        let value = |column: usize| row.and_then(|row| row.get(column));
        let lsn = |column| value(column).and_then(|lsn| lsn.parse::<Lsn>().ok());
        let (Some(summarized), Some(pending)) = (lsn(0), lsn(1)) else {
            return Err(unexpected(session.peer(), state));
        };
        let running = value(2) == Some("t");
        let available = list(session).await?;
        let gap = missing(&available, span);
        let Some(gap) = gap else { return Ok(available) };
        if !running {
            let message = "the server makes no WAL summaries: summarize_wal is off";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if summarized >= span.to() {
            return Err(unknown(gap));
        }
        let reached = summarized.max(pending);
        if reached > last {
            (last, since) = (reached, Instant::now());
        } else if since.elapsed() > PATIENCE {
            let message = format!(
                "the server's WAL summarizer stands at {reached} and does not come to {}",
                span.to()
            );
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

pub(super) async fn list(session: &mut Session) -> Result<Vec<Available>> {
    let sql = "SELECT tli, start_lsn, end_lsn FROM pg_available_wal_summaries()";
    let answer = session.simple_query(sql).await?;
    let parsed = answer.rows().iter().map(|row| {
        Some(Available {
            timeline: row.get(0)?.parse().ok()?,
            from: row.get(1)?.parse().ok()?,
            to: row.get(2)?.parse().ok()?,
        })
    });
    parsed.collect::<Option<_>>().ok_or_else(|| unexpected(session.peer(), sql))
}

/// What the summaries lack of the span; none when they cover it.
fn missing(available: &[Available], span: &Span) -> Option<walbrook_delta::Error> {
    let mut probe = ChangeMapBuilder::new(span.clone());
    for Available { timeline, from, to } in available {
        probe.summary(*timeline, *from, *to).complete();
    }
    probe.finish().err()
}
