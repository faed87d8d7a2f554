//! COPY … TO STDOUT (FORMAT binary), as the manual's page of `COPY` lays it out ("Binary Format").
//!
//! The answer to the statement is `H d… c C Z`. Each CopyData message holds one row, which the
//! protocol promises ("Messages sent from the backend will always correspond to single data rows",
//! in "Message Formats"); the file header comes before the first.

use bytes::{Buf, Bytes};
use postgres_protocol::message::backend::Message;

use crate::wire::{Incoming, Wire};
use crate::{Error, Session};

const DURING: &str = "COPY";

/// `PGCOPY\n\377\r\n\0`: the format, and whether line ends or the eighth bit were lost on the way.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xFF\r\n\0";

/// The flags that a reader must know: the upper half. None is in use today.
const CRITICAL_FLAGS: u32 = 0xFFFF_0000;

/// The rows of a COPY under way, which [`next`](Self::next) yields one by one.
///
/// It borrows its session. Read it to its end: one that is dropped before leaves the session
/// unusable, for the rest of the data is still on its way.
#[derive(Debug)]
pub struct CopyOut<'a> {
    wire: &'a mut Wire,
    header_seen: bool,
    trailer_seen: bool,
    done: bool,
}

/// One row of a [`CopyOut`], with its values in the binary form of their types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRow {
    values: Vec<Option<Bytes>>,
}

impl CopyRow {
    /// The value of a column, not copied from the receive buffer; `None` for NULL, and for a column
    /// that is not there.
    pub fn get(&self, column: usize) -> Option<&Bytes> {
        self.values.get(column)?.as_ref()
    }

    /// Takes the value of a column out of the row.
    pub fn take(&mut self, column: usize) -> Option<Bytes> {
        self.values.get_mut(column)?.take()
    }

    /// The value of an `int4` column; `None` for what is none.
    pub fn int4(&self, column: usize) -> Option<i32> {
        Some(i32::from_be_bytes(self.get(column)?[..].try_into().ok()?))
    }

    /// The value of an `int8` column; `None` for what is none.
    pub fn int8(&self, column: usize) -> Option<i64> {
        Some(i64::from_be_bytes(self.get(column)?[..].try_into().ok()?))
    }

    /// The value of a `bool` column; `None` for what is none.
    pub fn boolean(&self, column: usize) -> Option<bool> {
        match self.get(column)?[..] {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the row has no columns.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl Session {
    /// Runs a `COPY … TO STDOUT (FORMAT binary)` and yields its rows as they come.
    ///
    /// Memory is bounded by the largest row: a server sends at most 1 GiB in one, and as much as
    /// the query makes of it.
    pub async fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>, Error> {
        let wire = self.wire_mut();
        wire.query(sql).await?;
        match wire.receive(DURING).await {
            Ok(Incoming::Message(Message::CopyOutResponse(body))) if body.format() == 1 => {}
            Ok(other) => return Err(other.unexpected("a binary COPY")),
            Err(error) => return Err(wire.recover(error, DURING).await),
        }
        Ok(CopyOut { wire, header_seen: false, trailer_seen: false, done: false })
    }
}

impl CopyOut<'_> {
    /// The next row, or `None` after the last, when the statement has succeeded and the session is
    /// ready for the next command. Cancel-safe up to the last row.
    pub async fn next(&mut self) -> Result<Option<CopyRow>, Error> {
        if self.done {
            return Ok(None);
        }
        loop {
            let message = match self.wire.receive(DURING).await {
                Ok(Incoming::Message(Message::CopyData(body))) => body.into_bytes(),
                Ok(Incoming::Message(Message::CopyDone)) if self.trailer_seen => {
                    self.wire.until_ready(DURING).await?;
                    self.done = true;
                    return Ok(None);
                }
                Ok(other) => return Err(other.unexpected(DURING)),
                Err(error) => return Err(self.wire.recover(error, DURING).await),
            };
            if let Some(row) = self.take(message)? {
                return Ok(Some(row));
            }
        }
    }

    /// Takes a message apart: the header, if it is due, then a row or the trailer.
    fn take(&mut self, mut message: Bytes) -> Result<Option<CopyRow>, Error> {
        if !self.header_seen {
            take_header(&mut message)?;
            self.header_seen = true;
            if message.is_empty() {
                return Ok(None);
            }
        }
        if self.trailer_seen {
            return Err(malformed("data after its trailer"));
        }
        let row = take_row(&mut message)?;
        self.trailer_seen = row.is_none();
        match message.is_empty() {
            true => Ok(row),
            false => Err(malformed("more than a row in one message")),
        }
    }
}

fn take_header(message: &mut Bytes) -> Result<(), Error> {
    let signature = message.len() >= SIGNATURE.len() + 8 && message.starts_with(SIGNATURE);
    if !signature {
        return Err(malformed("no header"));
    }
    message.advance(SIGNATURE.len());
    let flags = message.get_u32();
    if flags & CRITICAL_FLAGS != 0 {
        return Err(malformed("flags that are not known"));
    }
    let extension = message.get_u32() as usize;
    if extension > message.len() {
        return Err(malformed("a header that is cut off"));
    }
    message.advance(extension);
    Ok(())
}

/// A row, or `None` for the trailer, which has -1 for the number of columns.
fn take_row(message: &mut Bytes) -> Result<Option<CopyRow>, Error> {
    let cut_off = || malformed("a row that is cut off");
    let columns = message.try_get_i16().map_err(|_| cut_off())?;
    if columns == -1 {
        return Ok(None);
    }
    let columns = usize::try_from(columns).map_err(|_| malformed("a row of no columns"))?;
    let mut values = Vec::with_capacity(columns.min(16));
    for _ in 0..columns {
        let length = message.try_get_i32().map_err(|_| cut_off())?;
        values.push(match length {
            -1 => None,
            length => {
                let length = usize::try_from(length).map_err(|_| malformed("a negative length"))?;
                if length > message.len() {
                    return Err(cut_off());
                }
                Some(message.split_to(length))
            }
        });
    }
    Ok(Some(CopyRow { values }))
}

fn malformed(what: &str) -> Error {
    Error::protocol(format!("the server's binary COPY has {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bytes: &[u8]) -> Result<Option<CopyRow>, Error> {
        take_row(&mut Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn rows() {
        let bytes = b"\x00\x03\x00\x00\x00\x04\x00\x00\x00\x07\xFF\xFF\xFF\xFF\x00\x00\x00\x01\x01";
        let row_ = row(bytes).unwrap().unwrap();
        assert_eq!(
            (row_.len(), row_.int4(0), row_.get(1), row_.boolean(2)),
            (3, Some(7), None, Some(true))
        );
        assert_eq!((row_.int8(0), row_.int4(3)), (None, None));
        assert!(row(b"\xFF\xFF").unwrap().is_none());
        for cut in 0..bytes.len() {
            assert!(row(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(row(b"\xFF\xFE").is_err());
        assert!(row(b"\x00\x01\xFF\xFF\xFF\xFE").is_err());
    }

    #[test]
    fn headers() {
        let header = |flags: u32, extension: &[u8]| {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend(flags.to_be_bytes());
            bytes.extend((extension.len() as u32).to_be_bytes());
            bytes.extend(extension);
            bytes
        };
        let take = |bytes: &[u8]| take_header(&mut Bytes::copy_from_slice(bytes));
        assert!(take(&header(0, b"")).is_ok());
        assert!(take(&header(1, b"later")).is_ok());
        assert!(take(&header(1 << 16, b"")).is_err());
        let whole = header(0, b"later");
        for cut in 0..whole.len() {
            assert!(take(&whole[..cut]).is_err(), "{cut}");
        }
    }
}
