//! START_REPLICATION … PHYSICAL: WAL as it is written.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::{self, CopyData};
use walbrook_types::{Lsn, PgTimestamp, TimelineId};

use super::{ResultSet, Row};
use crate::wire::{Incoming, Wire, quote_identifier};
use crate::{Error, Session};

const DURING: &str = "START_REPLICATION";

/// A stream of WAL.
///
/// [`next`](Self::next) yields messages, [`send_status`](Self::send_status) tells the server how far
/// they were dealt with; it must be called now and then (within `wal_sender_timeout`), and whenever a
/// keepalive asks for it. Dropping the stream closes the connection; [`stop`](Self::stop) ends it in
/// good order and gives the session back.
#[derive(Debug)]
pub struct WalStream {
    wire: Wire,
    state: State,
}

#[derive(Debug)]
enum State {
    Streaming,
    /// The server sent CopyDone; its result set is being read.
    Ending(ResultSet),
    Ended(Option<(TimelineId, Lsn)>),
}

/// What [`WalStream::next`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalMessage {
    /// WAL: it follows without a gap on what came before.
    Data {
        /// The position of the first byte.
        start: Lsn,
        /// How far WAL is written on the server.
        end_of_server_wal: Lsn,
        /// The server's clock when it sent this.
        server_time: PgTimestamp,
        /// The WAL itself, not copied from the receive buffer.
        bytes: Bytes,
    },
    /// A sign of life.
    KeepAlive {
        /// How far WAL is written on the server.
        end_of_server_wal: Lsn,
        /// The server's clock when it sent this.
        server_time: PgTimestamp,
        /// Whether the server wants a status now; otherwise it may take us for dead soon.
        reply_requested: bool,
    },
    /// No more WAL comes on this timeline. [`WalStream::stop`] gives the session back.
    Ended {
        /// The timeline to go on with and the position from which it differs from this one; `None`
        /// when the server ended the stream for another reason, such as its shutdown.
        next_timeline: Option<(TimelineId, Lsn)>,
    },
}

impl Session {
    /// START_REPLICATION: streams WAL of a timeline from a position on, through a slot if one is named.
    ///
    /// A position in the middle of a segment is allowed, but a receiver that stores whole segments
    /// starts at the beginning of one. That the WAL is no longer there shows here or at the first
    /// [`WalStream::next`], as an error with SQLSTATE `58P01`.
    pub async fn start_replication(
        self,
        slot: Option<&str>,
        start: Lsn,
        timeline: TimelineId,
    ) -> Result<WalStream, Error> {
        let slot = slot.map(|name| format!("SLOT {} ", quote_identifier(name))).unwrap_or_default();
        let command = format!("START_REPLICATION {slot}PHYSICAL {start} TIMELINE {timeline}");
        let mut wire = self.into_wire();
        wire.query(&command).await?;
        match wire.receive(DURING).await? {
            Incoming::CopyBoth => Ok(WalStream { wire, state: State::Streaming }),
            // A timeline that ended at this very position has nothing to stream.
            first @ Incoming::Message(Message::RowDescription(_)) => {
                let mut rows = ResultSet::default();
                rows.take(first, DURING)?;
                Ok(WalStream { wire, state: State::Ending(rows) })
            }
            other => Err(other.unexpected(DURING)),
        }
    }
}

impl WalStream {
    /// The next message. Cancel-safe: a call that is dropped loses nothing, so that it can be one
    /// branch of a `select!`.
    ///
    /// After [`WalMessage::Ended`] it yields that again.
    pub async fn next(&mut self) -> Result<WalMessage, Error> {
        loop {
            if self.wire.has_output() {
                self.wire.flush().await?;
            }
            match &mut self.state {
                State::Ended(next_timeline) => {
                    return Ok(WalMessage::Ended { next_timeline: *next_timeline });
                }
                State::Streaming => match self.wire.receive(DURING).await? {
                    Incoming::Message(Message::CopyData(body)) => {
                        return message(body.into_bytes());
                    }
                    Incoming::Message(Message::CopyDone) => {
                        self.state = State::Ending(ResultSet::default());
                        self.put_copy_done()?;
                    }
                    // A server that shuts down, once its last WAL was confirmed, says only this
                    // (WalSndDone in walsender.c) and then closes the connection.
                    Incoming::Message(Message::CommandComplete(_)) => {
                        self.state = State::Ended(None);
                    }
                    other => return Err(other.unexpected(DURING)),
                },
                State::Ending(rows) => match self.wire.receive(DURING).await? {
                    Incoming::Message(Message::ReadyForQuery(_)) => {
                        self.wire.busy = false;
                        let next = rows.rows().first().map(next_timeline).transpose()?;
                        self.state = State::Ended(next);
                    }
                    Incoming::Message(Message::CommandComplete(_) | Message::CopyData(_)) => {}
                    other => rows.take(other, DURING)?,
                },
            }
        }
    }

    /// Tells the server how far WAL was written, flushed and applied here.
    ///
    /// `flushed` is a promise: the server may remove WAL before it from a slot, and count a commit
    /// before it as safe. With `reply`, it answers with a keepalive. Cancel-safe: a status that was
    /// not sent completely goes out with the next call of anything.
    pub async fn send_status(
        &mut self,
        written: Lsn,
        flushed: Lsn,
        applied: Lsn,
        reply: bool,
    ) -> Result<(), Error> {
        if !matches!(self.state, State::Streaming) {
            return Ok(());
        }
        // "Standby status update" in the manual's "Streaming Replication Protocol".
        let mut status = BytesMut::with_capacity(34);
        status.put_u8(b'r');
        status.put_u64(written.0);
        status.put_u64(flushed.0);
        status.put_u64(applied.0);
        status.put_i64(now().0);
        status.put_u8(u8::from(reply));
        self.wire.put(|buffer| {
            CopyData::new(status)?.write(buffer);
            Ok(())
        })?;
        self.wire.flush().await
    }

    /// Ends the stream and gives the session back; WAL still under way is dropped.
    ///
    /// When the stream had ended because the server shut down, there is no session to give back:
    /// that is an error of kind [`ConnectionLost`](crate::ErrorKind::ConnectionLost).
    pub async fn stop(mut self) -> Result<Session, Error> {
        if matches!(self.state, State::Streaming) {
            self.put_copy_done()?;
            self.wire.flush().await?;
        }
        if self.wire.busy {
            self.wire.until_ready(DURING).await?;
        }
        Ok(Session::from_wire(self.wire))
    }

    fn put_copy_done(&mut self) -> Result<(), Error> {
        self.wire.put(|buffer| {
            frontend::copy_done(buffer);
            Ok(())
        })
    }
}

/// The present moment by this machine's clock.
fn now() -> PgTimestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    PgTimestamp::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn next_timeline(row: &Row) -> Result<(TimelineId, Lsn), Error> {
    Ok((row.require(0, "next timeline")?, row.require(1, "next timeline's start")?))
}

fn message(mut body: Bytes) -> Result<WalMessage, Error> {
    let lsn = |body: &mut Bytes| Lsn(body.get_u64());
    match body.first() {
        Some(b'w') if body.len() >= 25 => {
            body.advance(1);
            Ok(WalMessage::Data {
                start: lsn(&mut body),
                end_of_server_wal: lsn(&mut body),
                server_time: PgTimestamp(body.get_i64()),
                bytes: body,
            })
        }
        Some(b'k') if body.len() == 18 => {
            body.advance(1);
            Ok(WalMessage::KeepAlive {
                end_of_server_wal: lsn(&mut body),
                server_time: PgTimestamp(body.get_i64()),
                reply_requested: body.get_u8() != 0,
            })
        }
        _ => Err(Error::protocol(format!(
            "the server sent a message of {} bytes that is neither WAL nor a keepalive",
            body.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let mut wal = vec![b'w'];
        wal.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        wal.extend([0, 0, 0, 1, 0, 0, 0, 9]);
        wal.extend([0, 0, 0, 0, 0, 0, 0, 5]);
        wal.extend(b"abc");
        let expected = WalMessage::Data {
            start: Lsn(0x1_0000_0002),
            end_of_server_wal: Lsn(0x1_0000_0009),
            server_time: PgTimestamp(5),
            bytes: Bytes::from_static(b"abc"),
        };
        assert_eq!(message(Bytes::from(wal.clone())).unwrap(), expected);
        for bad in [&b""[..], b"k", b"w", &wal[..24], b"z12345"] {
            assert!(message(Bytes::copy_from_slice(bad)).is_err());
        }
    }
}
