//! BASE_BACKUP, as the manual's "Streaming Replication Protocol" has it.
//!
//! The answer is `T D C | T D C | H d… c | T D C | C Z`: where the backup starts, the tablespaces,
//! the data as one COPY, where the backup ends, and the end of the command. Both the last result set
//! and an error after it matter: the server reports pages with wrong checksums at the very end.

use bytes::{Buf, Bytes};
use postgres_protocol::message::backend::Message;
use walbrook_types::{Lsn, Oid, TimelineId};

use super::{BaseBackupOptions, ResultSet, Row};
use crate::wire::{Incoming, Wire};
use crate::{Error, ServerError, Session};

const DURING: &str = "BASE_BACKUP";

/// A base backup under way.
///
/// [`next`](Self::next) yields its data; then [`stop`](Self::stop) tells where it ends and
/// [`finish`](Self::finish) whether the server stands by it. Dropping it closes the connection, which
/// ends the backup on the server.
#[derive(Debug)]
pub struct BaseBackup {
    wire: Wire,
    start: (Lsn, TimelineId),
    tablespaces: Vec<TablespaceInfo>,
    stop: Option<(Lsn, TimelineId)>,
    data_ended: bool,
}

/// A tablespace in the answer to BASE_BACKUP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TablespaceInfo {
    /// The tablespace's OID; `None` for the data directory itself, which comes last.
    pub oid: Option<Oid>,
    /// Where it is on the server; `None` for the data directory.
    pub location: Option<String>,
    /// Its estimated size in KiB, when progress was asked for.
    pub size_kib: Option<u64>,
}

/// A piece of a base backup's data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BaseBackupEvent {
    /// A tar archive begins; [`Data`](Self::Data) is its content from here on.
    Archive {
        /// The file name that the server suggests, such as `base.tar` or `16385.tar`.
        name: String,
        /// The tablespace's location, or `None` for the data directory.
        location: Option<String>,
    },
    /// The backup manifest begins; [`Data`](Self::Data) is its content from here on.
    Manifest,
    /// Content of the current archive or of the manifest, not copied from the receive buffer.
    Data(Bytes),
    /// Bytes that the server has processed of the current tablespace.
    Progress(u64),
}

/// The end of a base backup that the server stands by.
#[derive(Debug)]
#[non_exhaustive]
pub struct BackupEnd {
    /// Where the backup ends: WAL up to here is needed to restore it.
    pub stop: (Lsn, TimelineId),
    /// Warnings and notices that came with it.
    pub warnings: Vec<ServerError>,
    /// The session, ready for the next command.
    pub session: Session,
}

impl Session {
    /// BASE_BACKUP: takes the session over until the backup is finished.
    ///
    /// Returns once the server's first checkpoint is done.
    pub async fn base_backup(self, options: &BaseBackupOptions) -> Result<BaseBackup, Error> {
        let command = options.command()?;
        let mut wire = self.into_wire();
        wire.query(&command).await?;
        let start = ResultSet::part(&mut wire, DURING).await?;
        let start = position(start.only_row(DURING)?)?;
        let tablespaces = ResultSet::part(&mut wire, DURING).await?;
        let tablespaces = tablespaces.rows().iter().map(tablespace).collect::<Result<_, _>>()?;
        match wire.receive(DURING).await? {
            Incoming::Message(Message::CopyOutResponse(_)) => {}
            other => return Err(other.unexpected(DURING)),
        }
        Ok(BaseBackup { wire, start, tablespaces, stop: None, data_ended: false })
    }
}

fn position(row: &Row) -> Result<(Lsn, TimelineId), Error> {
    Ok((row.require(0, "backup's WAL position")?, row.require(1, "backup's timeline")?))
}

fn tablespace(row: &Row) -> Result<TablespaceInfo, Error> {
    Ok(TablespaceInfo {
        oid: row.parse(0, "tablespace's OID")?,
        location: row.parse(1, "tablespace's location")?,
        size_kib: row.parse(2, "tablespace's size")?,
    })
}

impl BaseBackup {
    /// Where the backup starts: recovery begins at this position's checkpoint.
    pub fn start(&self) -> (Lsn, TimelineId) {
        self.start
    }

    /// The tablespaces; the data directory itself is the last.
    pub fn tablespaces(&self) -> &[TablespaceInfo] {
        &self.tablespaces
    }

    /// Warnings and notices so far, such as each page whose checksum is wrong (at most 1000).
    pub fn warnings(&self) -> &[ServerError] {
        &self.wire.notices
    }

    /// The next piece of data, or `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<BaseBackupEvent>, Error> {
        if self.data_ended {
            return Ok(None);
        }
        match self.wire.receive(DURING).await? {
            Incoming::Message(Message::CopyData(body)) => event(body.into_bytes()).map(Some),
            Incoming::Message(Message::CopyDone) => {
                self.data_ended = true;
                Ok(None)
            }
            other => Err(other.unexpected(DURING)),
        }
    }

    /// Where the backup ends. Data that was not taken is skipped. Not cancel-safe.
    ///
    /// The server may still fail the backup after this, for pages whose checksum was wrong:
    /// [`finish`](Self::finish) tells.
    pub async fn stop(&mut self) -> Result<(Lsn, TimelineId), Error> {
        while self.next().await?.is_some() {}
        if let Some(stop) = self.stop {
            return Ok(stop);
        }
        let end = ResultSet::part(&mut self.wire, DURING).await?;
        let stop = position(end.only_row(DURING)?)?;
        self.stop = Some(stop);
        Ok(stop)
    }

    /// Waits until the server stands by the backup.
    ///
    /// An error here means that the backup must not be trusted as it is. When pages failed their
    /// checksum, which [`Error::is_checksum_failure`] tells, the data was sent nevertheless.
    pub async fn finish(mut self) -> Result<BackupEnd, Error> {
        let stop = self.stop().await?;
        self.wire.until_ready(DURING).await?;
        let warnings = std::mem::take(&mut self.wire.notices);
        Ok(BackupEnd { stop, warnings, session: Session::from_wire(self.wire) })
    }
}

/// Takes a CopyData message apart: its first byte says what it is.
fn event(mut message: Bytes) -> Result<BaseBackupEvent, Error> {
    if message.is_empty() {
        return Err(Error::protocol("the server sent an empty message in a base backup"));
    }
    match message.get_u8() {
        b'd' => Ok(BaseBackupEvent::Data(message)),
        b'n' => {
            let name = c_string(&mut message)?;
            let location = c_string(&mut message)?;
            let location = (!location.is_empty()).then_some(location);
            Ok(BaseBackupEvent::Archive { name, location })
        }
        b'm' => Ok(BaseBackupEvent::Manifest),
        b'p' if message.len() == 8 => Ok(BaseBackupEvent::Progress(message.get_u64())),
        other => Err(Error::protocol(format!(
            "the server sent a message of unknown type '{}' in a base backup",
            char::from(other).escape_default()
        ))),
    }
}

fn c_string(message: &mut Bytes) -> Result<String, Error> {
    let end = message.iter().position(|byte| *byte == 0);
    let end = end.ok_or_else(|| Error::protocol("the server sent an unterminated string"))?;
    let text = message.split_to(end);
    message.advance(1);
    // A location in another encoding is for display only: the tablespace is known by its OID.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events() {
        let event = |bytes: &'static [u8]| event(Bytes::from_static(bytes));
        let archive = |name: &str, location: Option<&str>| BaseBackupEvent::Archive {
            name: name.into(),
            location: location.map(str::to_owned),
        };
        assert_eq!(event(b"nbase.tar\0\0").unwrap(), archive("base.tar", None));
        assert_eq!(event(b"n1.tar\0/ts\0").unwrap(), archive("1.tar", Some("/ts")));
        assert_eq!(event(b"p\0\0\0\0\0\0\x01\0").unwrap(), BaseBackupEvent::Progress(256));
        assert_eq!(event(b"m").unwrap(), BaseBackupEvent::Manifest);
        for bad in [b"".as_slice(), b"nbase", b"nbase\0", b"p\0", b"x"] {
            assert!(event(bad).is_err());
        }
    }
}
