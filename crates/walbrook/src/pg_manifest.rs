//! The text of PostgreSQL's own backup manifests, which `pg_verifybackup` reads, and servers from
//! version 17 on.

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use walbrook_types::{Lsn, PgVersion, SystemId, TimelineId};

/// Writes a manifest piece by piece, in the form of PostgreSQL's `backup/backup_manifest.c`, into
/// buffers that the caller empties.
pub(crate) struct ManifestText {
    digest: Context,
    first: bool,
}

/// A file in a manifest.
pub(crate) struct ManifestFile<'a> {
    pub(crate) path: &'a str,
    pub(crate) size: u64,
    /// In seconds since 1970. PostgreSQL writes it and never reads it.
    pub(crate) modified: Option<i64>,
    pub(crate) crc32c: Option<u32>,
}

impl ManifestText {
    /// Begins the manifest of a server of this version.
    pub(crate) fn begin(version: PgVersion, system: SystemId, out: &mut Vec<u8>) -> Self {
        let mut this = Self { digest: Context::new(&SHA256), first: true };
        // Version 2, which names the system, came with PostgreSQL 17; older tools refuse it.
        let head = match version.major() {
            ..17 => "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [".to_owned(),
            _ => format!(
                "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {system},\n\
                 \"Files\": ["
            ),
        };
        this.put(&head, out);
        this
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, file: &ManifestFile<'_>, out: &mut Vec<u8>) {
        let separator = if std::mem::replace(&mut self.first, false) { "\n" } else { ",\n" };
        // A JSON string of its own displays as one.
        let path = serde_json::Value::from(file.path);
        let mut line = format!("{separator}{{ \"Path\": {path}, \"Size\": {}", file.size);
        if let Some(modified) = file.modified {
            let modified = Timestamp::from_second(modified).unwrap_or_default();
            let modified = modified.strftime("%Y-%m-%d %H:%M:%S GMT");
            line += &format!(", \"Last-Modified\": \"{modified}\"");
        }
        if let Some(crc32c) = file.crc32c {
            // PostgreSQL writes the bytes of the number as they lie in memory.
            let swapped = crc32c.swap_bytes();
            line +=
                &format!(", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"{swapped:08x}\"");
        }
        line += " }";
        self.put(&line, out);
    }

    /// Ends it, with the WAL that the backup needs.
    pub(crate) fn end(mut self, timeline: TimelineId, start: Lsn, stop: Lsn, out: &mut Vec<u8>) {
        let wal = format!(
            "\n],\n\"WAL-Ranges\": [\n{{ \"Timeline\": {timeline}, \"Start-LSN\": \"{start}\", \
             \"End-LSN\": \"{stop}\" }}\n],\n"
        );
        self.put(&wal, out);
        // Of all that stands before the line with the checksum.
        let digest = self.digest.finish();
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        out.extend_from_slice(format!("\"Manifest-Checksum\": \"{hex}\"}}\n").as_bytes());
    }

    fn put(&mut self, text: &str, out: &mut Vec<u8>) {
        self.digest.update(text.as_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_as_postgresql_writes_it() {
        let version = PgVersion::from_num(170_000).expect("a version");
        let mut out = Vec::new();
        let mut text = ManifestText::begin(version, SystemId(7), &mut out);
        let full = ManifestFile {
            path: "base/5/1\"\n",
            size: 8192,
            modified: Some(1),
            crc32c: Some(0x0102_0304),
        };
        text.file(&full, &mut out);
        text.file(&ManifestFile { path: "b", size: 0, modified: None, crc32c: None }, &mut out);
        text.end(TimelineId::FIRST, Lsn(0x100_0028), Lsn(0x100_0100), &mut out);
        let expected = "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 7,\n\
            \"Files\": [\n\
            { \"Path\": \"base/5/1\\\"\\n\", \"Size\": 8192, \"Last-Modified\": \"1970-01-01 00:00:01 GMT\", \
            \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"04030201\" },\n\
            { \"Path\": \"b\", \"Size\": 0 }\n],\n\
            \"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": \"0/1000028\", \"End-LSN\": \"0/1000100\" }\n],\n";
        let written = String::from_utf8(out).expect("UTF-8");
        let (content, checksum) = written.split_at(expected.len());
        assert_eq!(content, expected);
        let digest = aws_lc_rs::digest::digest(&SHA256, content.as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(checksum, format!("\"Manifest-Checksum\": \"{hex}\"}}\n"));
    }
}
