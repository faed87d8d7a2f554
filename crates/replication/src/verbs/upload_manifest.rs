//! UPLOAD_MANIFEST: tells the server what a base backup has, of which the next one is to send the
//! differences (PostgreSQL 17 and later; `UploadManifest` in `replication/walsender.c`).
//!
//! The answer is a CopyInResponse; after our CopyDone comes CommandComplete, or the error that the
//! server's parser found. One that it finds before is sent at once, and the server then passes over
//! what still comes.

use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::{self, CopyData};

use crate::wire::{Incoming, Wire};
use crate::{Error, Session};

const DURING: &str = "UPLOAD_MANIFEST";

/// What is buffered before it is sent.
const BUFFER: usize = 64 << 10;

/// A backup manifest on its way to the server, for the [incremental](crate::BaseBackupOptions::incremental)
/// base backup that is to be taken in the same session.
///
/// It borrows its session. [`finish`](Self::finish) it: one that is dropped before leaves the session
/// unusable.
#[derive(Debug)]
pub struct ManifestUpload<'a> {
    wire: &'a mut Wire,
}

impl Session {
    /// UPLOAD_MANIFEST: begins to send the manifest of the backup that
    /// [`base_backup`](Self::base_backup) is to be incremental to.
    ///
    /// The server reads version 2 of the format, as `pg_basebackup` stores it in `backup_manifest`, and
    /// keeps the names and sizes of its files in memory. A relation file that is not in it is sent
    /// whole. A server before PostgreSQL 17 answers with a syntax error.
    pub async fn upload_manifest(&mut self) -> Result<ManifestUpload<'_>, Error> {
        let wire = self.wire_mut();
        wire.query("UPLOAD_MANIFEST").await?;
        match wire.receive(DURING).await {
            Ok(Incoming::Message(Message::CopyInResponse(_))) => Ok(ManifestUpload { wire }),
            Ok(other) => Err(other.unexpected(DURING)),
            Err(error) => Err(wire.recover(error, DURING).await),
        }
    }
}

impl ManifestUpload<'_> {
    /// Sends the next bytes of the manifest, in pieces of any size.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for piece in bytes.chunks(BUFFER) {
            self.wire.put(|buffer| {
                CopyData::new(piece)?.write(buffer);
                Ok(())
            })?;
            if self.wire.output_len() >= BUFFER {
                self.wire.flush().await?;
            }
        }
        Ok(())
    }

    /// Ends the manifest, and waits for what the server makes of it.
    ///
    /// An error of the server's says that it can't be read, or is of another system; the session can
    /// go on.
    pub async fn finish(self) -> Result<(), Error> {
        self.wire.put(|buffer| {
            frontend::copy_done(buffer);
            Ok(())
        })?;
        self.wire.flush().await?;
        self.wire.until_ready(DURING).await
    }
}
