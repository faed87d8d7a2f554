use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use walbrook_repo::{BackupRecord, Entry, EntryKind};

use crate::{Error, Result};

/// PostgreSQL's own manifest of a backup, which `pg_verifybackup` and `pg_combinebackup` read.
pub(crate) const BACKUP_MANIFEST: &str = "backup_manifest";

/// Writes the `backup_manifest` of a backup that came without the server's, in the form of
/// PostgreSQL's `backup/backup_manifest.c`. Its checksums are those that the files had when they
/// were read.
pub(crate) struct ManifestWriter {
    out: BufWriter<File>,
    digest: Context,
    first: bool,
}

impl ManifestWriter {
    /// Creates the file in this directory, which must not have it.
    pub(crate) fn create(root: &Path, record: &BackupRecord) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(root.join(BACKUP_MANIFEST)).map_err(failed)?;
        let mut this =
            Self { out: BufWriter::new(file), digest: Context::new(&SHA256), first: true };
        // Version 2, which names the system, came with PostgreSQL 17; older tools refuse it.
        let server = &record.server;
        this.put(&match server.pg_version.major() {
            ..17 => "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [".to_owned(),
            _ => format!(
                "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {},\n\
                 \"Files\": [",
                server.system_identifier
            ),
        })?;
        Ok(this)
    }

    /// Adds an entry, if it is a file.
    pub(crate) fn add(&mut self, entry: &Entry) -> Result<()> {
        let EntryKind::File(content) = &entry.kind else { return Ok(()) };
        let separator = if std::mem::replace(&mut self.first, false) { "\n" } else { ",\n" };
        let path = serde_json::to_string(&entry.path).map_err(|e| failed(e.into()))?;
        let modified = Timestamp::from_second(entry.mtime).unwrap_or_default();
        let modified = modified.strftime("%Y-%m-%d %H:%M:%S GMT");
        let size = content.size;
        let mut line = format!(
            "{separator}{{ \"Path\": {path}, \"Size\": {size}, \"Last-Modified\": \"{modified}\""
        );
        if let Some(crc32c) = content.crc32c {
            // PostgreSQL writes the bytes of the number as they lie in memory.
            let swapped = crc32c.swap_bytes();
            line +=
                &format!(", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"{swapped:08x}\"");
        }
        line += " }";
        self.put(&line)
    }

    pub(crate) fn finish(mut self, record: &BackupRecord) -> Result<()> {
        let span = &record.span;
        let (timeline, start, stop) = (span.timeline, span.start_lsn, span.stop_lsn);
        self.put(&format!(
            "\n],\n\"WAL-Ranges\": [\n{{ \"Timeline\": {timeline}, \"Start-LSN\": \"{start}\", \
             \"End-LSN\": \"{stop}\" }}\n],\n"
        ))?;
        let digest = self.digest.clone().finish();
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.put(&format!("\"Manifest-Checksum\": \"{hex}\"}}\n"))?;
        self.out.flush().map_err(failed)
    }

    fn put(&mut self, text: &str) -> Result<()> {
        self.digest.update(text.as_bytes());
        self.out.write_all(text.as_bytes()).map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("backup_manifest can't be written", error)
}
