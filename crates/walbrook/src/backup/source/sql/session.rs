use std::sync::Arc;

use bytes::Bytes;
use walbrook_replication::{ConnInfo, Session};

use crate::{Error, ErrorKind, Result};

/// Nothing of the role's or the database's own settings may end a backup or change what a
/// statement means. Names of files travel as the bytes that they are.
const SETTINGS: &str = "SET search_path = pg_catalog; SET standard_conforming_strings = on; \
    SET client_encoding = 'SQL_ASCII'; SET jit = off; SET max_parallel_workers_per_gather = 0; \
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout', \
    'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', \
    'transaction_timeout')";

/// Which run of which server a session is connected to.
const IDENTITY: &str = "SELECT system_identifier || '@' || pg_postmaster_start_time() \
    FROM pg_control_system()";

/// The database of a role that has none of its own name.
const FALLBACK_DATABASE: &str = "postgres";

/// The settings of an ordinary session for backups.
pub(crate) fn in_database(info: &ConnInfo) -> ConnInfo {
    info.clone().with_fallback_dbname(FALLBACK_DATABASE)
}

/// The server that a backup's first session is connected to, for others to reach the same.
#[derive(Debug)]
pub(crate) struct SameServer {
    info: ConnInfo,
    identity: String,
    /// The process of the first session on the server.
    first: u32,
}

/// Opens a backup's first session.
pub(crate) async fn open_first(info: &ConnInfo) -> Result<(Session, Arc<SameServer>)> {
    let (mut session, identity) = open(info).await?;
    let first = parsed(&mut session, "SELECT pg_backend_pid()").await?;
    Ok((session, Arc::new(SameServer { info: info.clone(), identity, first })))
}

/// Opens an ordinary session. Returns what identifies its server as well.
pub(crate) async fn open(info: &ConnInfo) -> Result<(Session, String)> {
    let mut session = Session::sql(&in_database(info)).await?;
    session.simple_query(SETTINGS).await?;
    let identity = value(&mut session, IDENTITY).await?;
    Ok((session, identity))
}

impl SameServer {
    /// Opens another session to it.
    pub(crate) async fn open_another(&self) -> Result<Session> {
        let (session, identity) = open(&self.info).await?;
        if identity == self.identity {
            return Ok(session);
        }
        let message = format!(
            "another connection of the same backup reached another server, at {}: name one \
             server, or see that it does not restart meanwhile",
            session.peer()
        );
        Err(Error::new(ErrorKind::ServerChanged, message))
    }

    /// Opens a session in the place of one that was lost, as long as the backup is under way.
    pub(crate) async fn open_again(&self, lost: Error) -> Result<Session> {
        tracing::warn!(error = %lost, "a connection is lost; connecting again");
        let mut session = self.open_another().await?;
        self.check_first(&mut session).await?;
        Ok(session)
    }

    /// Fails when the first session is gone: the server has given the backup up with it.
    pub(crate) async fn check_first(&self, session: &mut Session) -> Result<()> {
        let first = self.first;
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {first}");
        if value(session, &sql).await? != "0" {
            return Ok(());
        }
        Err(given_up(&format!("there is no process {first} on it any more")))
    }
}

/// The first session is lost.
pub(crate) fn given_up(why: &dyn std::fmt::Display) -> Error {
    let message = format!(
        "the connection that began the backup is lost ({why}), and the server has given the backup \
         up with it: take it again"
    );
    Error::new(ErrorKind::Server, message)
}

/// The only value of a query's only row.
pub(crate) async fn value(session: &mut Session, sql: &str) -> Result<String> {
    let rows = session.simple_query(sql).await?;
    let value = rows.rows().first().and_then(|row| row.get(0));
    value.map(str::to_owned).ok_or_else(|| unexpected(session.peer(), sql))
}

/// The same, as something else than text.
pub(crate) async fn parsed<T: std::str::FromStr>(session: &mut Session, sql: &str) -> Result<T> {
    value(session, sql).await?.parse().map_err(|_| unexpected(session.peer(), sql))
}

pub(crate) fn unexpected(peer: &str, what: &str) -> Error {
    let message = format!("{peer}: an answer that is not understood to {what:?}");
    Error::new(ErrorKind::Server, message)
}

/// A string constant.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An array constant of texts.
pub(crate) fn text_array<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = texts
        .map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{}::text[]", literal(&format!("{{{}}}", quoted.join(","))))
}

/// An array constant of numbers.
pub(crate) fn number_array(numbers: impl Iterator<Item = u64>) -> String {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    format!("'{{{}}}'::int8[]", numbers.join(","))
}

/// A statement that reads pieces of files, each a path, an offset and a length: a row for each,
/// in this order, with its number from 1 on and its bytes, NULL for a file that is not there.
pub(crate) fn read_statement<'a>(
    pieces: impl Iterator<Item = (&'a str, u64, u32)> + Clone,
) -> String {
    format!(
        "COPY (SELECT t.n::int4, pg_read_binary_file(t.p, t.o, t.l, true) FROM unnest({}, {}, {}) \
         WITH ORDINALITY AS t(p, o, l, n)) TO STDOUT (FORMAT binary)",
        text_array(pieces.clone().map(|piece| piece.0)),
        number_array(pieces.clone().map(|piece| piece.1)),
        number_array(pieces.map(|piece| u64::from(piece.2))),
    )
}

/// Reads a few small pieces of files.
pub(crate) async fn read_pieces(
    session: &mut Session,
    pieces: &[(&str, u64, u32)],
) -> Result<Vec<Option<Bytes>>> {
    let mut rows = session.copy_out(&read_statement(pieces.iter().copied())).await?;
    let mut read = Vec::new();
    while let Some(mut row) = rows.next().await? {
        read.push(row.take(1));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(text_array(["a", "b'\"\\"].into_iter()), r#"'{"a","b''\"\\"}'::text[]"#);
        assert_eq!(number_array([1, 2].into_iter()), "'{1,2}'::int8[]");
    }
}
