//! The simple query protocol, and reading the result sets that every command answers with.

use std::ops::Range;
use std::str::FromStr;

use bytes::Bytes;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::Message;

use crate::wire::{Incoming, Wire, garbled};
use crate::{Error, Session};

/// The rows that a statement returned, with values in text form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultSet {
    columns: Vec<String>,
    rows: Vec<Row>,
}

/// One row of a [`ResultSet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    buffer: Bytes,
    values: Vec<Option<Range<usize>>>,
}

impl Row {
    /// The value of a column as the server sent it; `None` for NULL, and for a column that is not there.
    pub fn bytes(&self, column: usize) -> Option<&[u8]> {
        let range = self.values.get(column)?.clone()?;
        self.buffer.get(range)
    }

    /// The value of a column as text; `None` for NULL, for a column that is not there, and for bytes
    /// that are not UTF-8 (which `client_encoding` rules out, but a `SQL_ASCII` database may hold).
    pub fn get(&self, column: usize) -> Option<&str> {
        std::str::from_utf8(self.bytes(column)?).ok()
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the row has no columns.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A value that must be there, or the error that the command's answer is not as documented.
    pub(crate) fn require<T: FromStr>(&self, column: usize, what: &str) -> Result<T, Error> {
        self.parse(column, what)?
            .ok_or_else(|| Error::protocol(format!("the server sent no {what}")))
    }

    /// A value that may be NULL.
    pub(crate) fn parse<T: FromStr>(&self, column: usize, what: &str) -> Result<Option<T>, Error> {
        let Some(bytes) = self.bytes(column) else { return Ok(None) };
        let text = String::from_utf8_lossy(bytes);
        text.parse().map(Some).map_err(|_| {
            let shown: String = text.chars().take(80).collect();
            Error::protocol(format!("the server sent {shown:?} for the {what}"))
        })
    }
}

impl ResultSet {
    /// The columns' names.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows, in the server's order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The text of the first column of the only row.
    pub(crate) fn single(&self, during: &str) -> Result<&str, Error> {
        self.only_row(during)?
            .get(0)
            .ok_or_else(|| Error::protocol(format!("the server answered {during} with no value")))
    }

    pub(crate) fn only_row(&self, during: &str) -> Result<&Row, Error> {
        match self.rows.as_slice() {
            [row] => Ok(row),
            rows => Err(Error::protocol(format!(
                "the server answered {during} with {} rows where one was expected",
                rows.len()
            ))),
        }
    }

    /// Runs a command from start to end on an idle connection; the last result set counts.
    pub(crate) async fn of(wire: &mut Wire, sql: &str, during: &str) -> Result<Self, Error> {
        wire.query(sql).await?;
        let mut result = Self::default();
        loop {
            let incoming = match wire.receive(during).await {
                Ok(incoming) => incoming,
                Err(error) => return Err(wire.recover(error, during).await),
            };
            match incoming {
                Incoming::Message(Message::ReadyForQuery(_)) => {
                    wire.busy = false;
                    return Ok(result);
                }
                Incoming::Message(Message::CommandComplete(_) | Message::EmptyQueryResponse) => {}
                other => result.take(other, during)?,
            }
        }
    }

    /// Reads one result set up to its end, as a part of a command's answer.
    ///
    /// `end` says whether a CommandComplete follows that belongs to it.
    pub(crate) async fn part(wire: &mut Wire, during: &str) -> Result<Self, Error> {
        let mut result = Self::default();
        loop {
            match wire.receive(during).await {
                Ok(Incoming::Message(Message::CommandComplete(_))) => return Ok(result),
                Ok(other) => result.take(other, during)?,
                Err(error) => return Err(wire.recover(error, during).await),
            }
        }
    }

    /// Takes a RowDescription or a DataRow.
    pub(crate) fn take(&mut self, incoming: Incoming, during: &str) -> Result<(), Error> {
        match incoming {
            Incoming::Message(Message::RowDescription(body)) => {
                let names = body.fields().map(|field| Ok(field.name().to_owned())).collect();
                self.columns = names.map_err(garbled)?;
                self.rows.clear();
                Ok(())
            }
            Incoming::Message(Message::DataRow(body)) => {
                let values = body.ranges().collect().map_err(garbled)?;
                self.rows.push(Row { buffer: body.buffer_bytes().clone(), values });
                Ok(())
            }
            other => Err(other.unexpected(during)),
        }
    }
}

impl Session {
    /// Runs SQL by the simple query protocol, with values in text form.
    ///
    /// Of several statements, the result of the last that has one is returned; the first error ends
    /// them all, and the session stays usable. A physical replication session understands
    /// replication commands only. All rows are kept in memory: this is for answers of modest size.
    pub async fn simple_query(&mut self, sql: &str) -> Result<ResultSet, Error> {
        ResultSet::of(self.wire_mut(), sql, "query").await
    }
}
