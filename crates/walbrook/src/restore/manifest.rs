use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use walbrook_repo::{BackupRecord, Entry, EntryKind};

use crate::pg_manifest::{ManifestFile, ManifestText};
use crate::{Error, Result};

/// PostgreSQL's own manifest of a backup, which `pg_verifybackup` and `pg_combinebackup` read.
pub(crate) const BACKUP_MANIFEST: &str = "backup_manifest";

/// Writes the `backup_manifest` of a backup that came without the server's. Its checksums are those
/// that the files had when they were read.
pub(crate) struct ManifestWriter {
    out: BufWriter<File>,
    text: ManifestText,
    buffer: Vec<u8>,
}

impl ManifestWriter {
    /// Creates the file in this directory, which must not have it.
    pub(crate) fn create(root: &Path, record: &BackupRecord) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(root.join(BACKUP_MANIFEST)).map_err(failed)?;
        let server = &record.server;
        let mut buffer = Vec::new();
        let text = ManifestText::begin(server.pg_version, server.system_identifier, &mut buffer);
        Ok(Self { out: BufWriter::new(file), text, buffer })
    }

    /// Adds an entry, if it is a file.
    pub(crate) fn add(&mut self, entry: &Entry) -> Result<()> {
        let EntryKind::File(content) = &entry.kind else { return Ok(()) };
        let file = ManifestFile {
            path: &entry.path,
            size: content.size,
            modified: Some(entry.mtime),
            crc32c: content.crc32c,
        };
        self.text.file(&file, &mut self.buffer);
        self.put()
    }

    pub(crate) fn finish(mut self, record: &BackupRecord) -> Result<()> {
        let span = &record.span;
        self.put()?;
        self.text.end(span.timeline, span.start_lsn, span.stop_lsn, &mut self.buffer);
        self.out.write_all(&self.buffer).map_err(failed)?;
        self.out.flush().map_err(failed)
    }

    fn put(&mut self) -> Result<()> {
        self.out.write_all(&self.buffer).map_err(failed)?;
        self.buffer.clear();
        Ok(())
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("backup_manifest can't be written", error)
}
