//! Messages over a byte stream: framing, limits, and what every command shares.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend::{Header, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{Error, ErrorKind, ServerError};

/// The longest message that is accepted of the kinds that can be long: PostgreSQL's own bound,
/// `MaxAllocSize`, is one byte less.
const MAX_MESSAGE: usize = 1 << 30;
/// The longest message of any other kind; libpq allows 30 000 bytes.
const MAX_SHORT_MESSAGE: usize = 64 << 10;
/// Room that is made for each read. Data messages of a base backup have 32 KiB or more, so that
/// with this much the remainder that moves to the next buffer is a small part.
const READ_SIZE: usize = 1 << 20;
/// Room that is not worth a system call; and what is added, so that a message of a round number of
/// bytes and its header fit.
const SPARE: usize = 64 << 10;
/// The most room that is made because a header announces so much: a liar gets no more.
const MAX_ROOM: usize = 4 << 20;
/// How many warnings of one command are kept.
const MAX_NOTICES: usize = 1000;

const COPY_BOTH_RESPONSE: u8 = b'W';
const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
const BACKEND_KEY_DATA: u8 = b'K';

pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Transport for T {}

/// A message that a command has to look at; the rest is dealt with while receiving.
pub(crate) enum Incoming {
    Message(Message),
    /// `W`, which postgres-protocol does not know.
    CopyBoth,
}

impl Incoming {
    /// For messages about what was not expected.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::CopyBoth => "CopyBothResponse",
            Self::Message(message) => match message {
                Message::CommandComplete(_) => "CommandComplete",
                Message::CopyData(_) => "CopyData",
                Message::CopyDone => "CopyDone",
                Message::CopyInResponse(_) => "CopyInResponse",
                Message::CopyOutResponse(_) => "CopyOutResponse",
                Message::DataRow(_) => "DataRow",
                Message::EmptyQueryResponse => "EmptyQueryResponse",
                Message::ReadyForQuery(_) => "ReadyForQuery",
                Message::RowDescription(_) => "RowDescription",
                Message::AuthenticationOk => "AuthenticationOk",
                _ => "a message of another kind",
            },
        }
    }

    pub(crate) fn unexpected(&self, during: &str) -> Error {
        Error::protocol(format!("unexpected {} from the server during {during}", self.name()))
    }
}

pub(crate) struct Wire {
    stream: Box<dyn Transport>,
    input: BytesMut,
    output: BytesMut,
    /// The server's address and the user, for messages.
    pub(crate) peer: String,
    pub(crate) user: String,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) notices: Vec<ServerError>,
    /// Before authentication nothing long is accepted from whoever answers.
    pub(crate) trusted: bool,
    /// Whether a command runs: set when it is sent, cleared by ReadyForQuery.
    pub(crate) busy: bool,
}

impl Wire {
    pub(crate) fn new(stream: Box<dyn Transport>, peer: String, user: String) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            peer,
            user,
            parameters: BTreeMap::new(),
            notices: Vec::new(),
            trusted: false,
            busy: true,
        }
    }

    /// The next message that matters. Cancel-safe: what was read stays buffered.
    ///
    /// An ErrorResponse comes back as it is; see [`receive`](Self::receive) for the usual handling.
    pub(crate) async fn receive_raw(&mut self) -> Result<Incoming, Error> {
        loop {
            while let Some(incoming) = self.parse()? {
                match incoming {
                    Incoming::Message(Message::ParameterStatus(body)) => {
                        let (name, value) = (body.name(), body.value());
                        let (name, value) = (name.map_err(garbled)?, value.map_err(garbled)?);
                        self.parameters.insert(name.to_owned(), value.to_owned());
                    }
                    Incoming::Message(Message::NoticeResponse(body)) => {
                        let notice = ServerError::from_fields(body.fields()).map_err(garbled)?;
                        tracing::debug!(server = %self.peer, %notice, "notice");
                        if self.notices.len() < MAX_NOTICES {
                            self.notices.push(notice);
                        }
                    }
                    Incoming::Message(Message::NotificationResponse(_)) => {}
                    incoming => return Ok(incoming),
                }
            }
            // No more than what arrives is ever buffered, whatever length a header announces.
            self.make_room();
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return Err(self.lost("the server closed the connection", None)),
                Ok(_) => {}
                Err(error) => return Err(self.lost(&error.to_string(), Some(error))),
            }
        }
    }

    /// The next message; an ErrorResponse is an `Err`.
    pub(crate) async fn receive(&mut self, during: &str) -> Result<Incoming, Error> {
        match self.receive_raw().await? {
            Incoming::Message(Message::ErrorResponse(body)) => {
                let error = ServerError::from_fields(body.fields()).map_err(garbled)?;
                Err(self.server_error(during, error))
            }
            incoming => Ok(incoming),
        }
    }

    pub(crate) fn server_error(&self, during: &str, error: ServerError) -> Error {
        let user = &self.user;
        let denied = error.code() == ServerError::INSUFFICIENT_PRIVILEGE
            && (error.message().contains("WAL sender") || error.message().contains("walsender"));
        let error = Error::server(during, error).prefixed(&self.peer);
        match denied {
            true => error.with_remedy(format!("ALTER ROLE {} REPLICATION", quote_identifier(user))),
            false => error,
        }
    }

    fn parse(&mut self) -> Result<Option<Incoming>, Error> {
        loop {
            let Some(header) = Header::parse(&self.input).map_err(garbled)? else {
                return Ok(None);
            };
            let (tag, length) = (header.tag(), header.len() as usize);
            self.check_length(tag, length)?;
            if self.input.len() < length + 1 {
                return Ok(None);
            }
            match tag {
                COPY_BOTH_RESPONSE => {
                    self.input.advance(length + 1);
                    return Ok(Some(Incoming::CopyBoth));
                }
                // Nothing newer than 3.0 is asked for, so that there is nothing to agree on; and a
                // cancel key, whose length protocol 3.2 made variable, is of no use here.
                NEGOTIATE_PROTOCOL_VERSION | BACKEND_KEY_DATA => self.input.advance(length + 1),
                _ => {
                    return match Message::parse(&mut self.input) {
                        Ok(message) => Ok(message.map(Incoming::Message)),
                        Err(error) => Err(garbled(error).prefixed(&self.peer)),
                    };
                }
            }
        }
    }

    /// Makes room for the next read. What is left of a message moves when the buffer does, so it
    /// moves only when there is no room worth a system call; and the rest of a long message that
    /// has begun to arrive gets a buffer that it fills, so that nothing moves after it.
    fn make_room(&mut self) {
        let room = self.input.capacity() - self.input.len();
        let (enough, wanted) =
            if self.trusted { (SPARE, READ_SIZE + SPARE) } else { (1 << 10, 8 << 10) };
        let missing = match Header::parse(&self.input) {
            // Its length was checked when it was looked at.
            Ok(Some(header)) => (header.len() as usize + 1).saturating_sub(self.input.len()),
            _ => 0,
        };
        if room < missing.min(READ_SIZE) || room < enough {
            self.input.reserve(wanted.max(missing.min(MAX_ROOM)));
        }
    }

    fn check_length(&self, tag: u8, length: usize) -> Result<(), Error> {
        // The kinds that libpq lets be long (VALID_LONG_MESSAGE_TYPE in its fe-protocol3.c).
        let long = self.trusted && matches!(tag, b'T' | b'D' | b'd' | b'V' | b'E' | b'N' | b'A');
        let limit = if long { MAX_MESSAGE } else { MAX_SHORT_MESSAGE };
        if length <= limit {
            return Ok(());
        }
        let shown = char::from(tag).escape_default();
        Err(Error::protocol(format!(
            "{}: message of type '{shown}' announces {length} bytes, more than the {limit} that are \
             allowed; is this a PostgreSQL server?",
            self.peer
        )))
    }

    /// Puts messages into the output buffer; [`flush`](Self::flush) sends them.
    pub(crate) fn put(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), Error> {
        let before = self.output.len();
        write(&mut self.output).map_err(|error| {
            self.output.truncate(before);
            Error::config(format!("the text can't be sent to the server: {error}"))
        })
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Bytes that wait to be sent.
    pub(crate) fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Sends what is buffered. Cancel-safe: what was not sent yet stays buffered.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        while !self.output.is_empty() {
            match self.stream.write_buf(&mut self.output).await {
                Ok(0) => return Err(self.lost("the connection takes no more data", None)),
                Ok(_) => {}
                Err(error) => return Err(self.lost_while_sending(error).await),
            }
        }
        match self.stream.flush().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.lost_while_sending(error).await),
        }
    }

    /// A server that hangs up says why before: that is worth more than "broken pipe".
    async fn lost_while_sending(&mut self, error: io::Error) -> Error {
        let patience = std::time::Duration::from_secs(1);
        loop {
            match tokio::time::timeout(patience, self.receive_raw()).await {
                Ok(Ok(Incoming::Message(Message::ErrorResponse(body)))) => {
                    if let Ok(server) = ServerError::from_fields(body.fields()) {
                        return self.server_error("sending", server);
                    }
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return self.lost(&error.to_string(), Some(error)),
            }
        }
    }

    fn lost(&self, why: &str, source: Option<io::Error>) -> Error {
        let error = Error::new(
            ErrorKind::ConnectionLost,
            format!("connection to {} lost: {why}", self.peer),
        );
        match source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }

    /// Starts a command on an idle connection.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<(), Error> {
        if self.busy {
            return Err(Error::protocol(format!(
                "{}: an earlier command on this connection was abandoned before its end",
                self.peer
            ))
            .with_remedy("open a new session"));
        }
        tracing::debug!(server = %self.peer, command = sql, "sending");
        self.notices.clear();
        self.put(|buffer| frontend::query(sql, buffer))?;
        self.busy = true;
        self.flush().await
    }

    /// Skips to ReadyForQuery, after which the connection is idle; the first error is returned.
    pub(crate) async fn until_ready(&mut self, during: &str) -> Result<(), Error> {
        let mut failed = None;
        loop {
            match self.receive(during).await {
                Ok(Incoming::Message(Message::ReadyForQuery(_))) => {
                    self.busy = false;
                    return failed.map_or(Ok(()), Err);
                }
                Ok(Incoming::Message(
                    Message::CommandComplete(_)
                    | Message::DataRow(_)
                    | Message::RowDescription(_)
                    | Message::EmptyQueryResponse
                    | Message::CopyData(_)
                    | Message::CopyDone,
                )) => {}
                Ok(other) => return Err(other.unexpected(during)),
                Err(error) if error.server_error().is_some() => failed = failed.or(Some(error)),
                // A server that reports an error and hangs up has said what matters.
                Err(error) => return Err(failed.unwrap_or(error)),
            }
        }
    }

    /// After a server's error: waits for ReadyForQuery, so that the session can go on, and gives
    /// the error back. Other errors end the session anyway.
    pub(crate) async fn recover(&mut self, error: Error, during: &str) -> Error {
        if error.server_error().is_some() {
            // What comes now can only be less telling than the error itself.
            let _ = self.until_ready(during).await;
        }
        error
    }
}

/// What was received is not shown: it is the users' data.
impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// As in SQL and in the replication grammar.
pub(crate) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As in SQL with standard_conforming_strings and in the replication grammar.
pub(crate) fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(crate) fn garbled(error: io::Error) -> Error {
    Error::protocol(format!("the server sent a message that can't be parsed: {error}"))
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn first_message(bytes: &[u8], trusted: bool) -> Result<Incoming, Error> {
        let (client, mut server) = tokio::io::duplex(1 << 20);
        server.write_all(bytes).await.unwrap();
        drop(server);
        let mut wire = Wire::new(Box::new(client), "test".into(), "user".into());
        wire.trusted = trusted;
        wire.receive("a test").await
    }

    #[tokio::test]
    async fn a_message_longer_than_the_limit_is_refused_before_it_is_read() {
        for (bytes, trusted) in [
            (b"R\x00\x02\x00\x00".as_slice(), false),
            (b"d\x00\x02\x00\x00".as_slice(), false),
            (b"Z\x00\x02\x00\x00".as_slice(), true),
            (b"d\x40\x00\x00\x01".as_slice(), true),
            (b"HTTP/1.1 400 Bad Request".as_slice(), false),
        ] {
            let error = first_message(bytes, trusted).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            assert!(error.to_string().contains("announces"), "{error}");
        }
        // A long one that is allowed is only waited for.
        let error = first_message(b"d\x30\x00\x00\x00", true).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    }

    #[tokio::test]
    async fn messages_that_postgres_protocol_can_not_parse() {
        let mut bytes = b"v\x00\x00\x00\x0c\x00\x03\x00\x00\x00\x00\x00\x00".to_vec();
        bytes.extend(b"K\x00\x00\x00\x28");
        bytes.extend([7; 36]);
        bytes.extend(b"W\x00\x00\x00\x07\x00\x00\x00");
        assert!(matches!(first_message(&bytes, true).await, Ok(Incoming::CopyBoth)));
    }

    #[tokio::test]
    async fn garbage_is_an_error() {
        for bytes in [
            b"E\x00\x00\x00\x04".as_slice(),
            b"C\x00\x00\x00\x05x",
            b"?\x00\x00\x00\x04",
            b"d\x00\x00\x00\x03",
        ] {
            assert!(first_message(bytes, true).await.is_err());
        }
    }
}
