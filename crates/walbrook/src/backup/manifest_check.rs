use bytes::Bytes;
use serde::Deserialize;
use walbrook_repo::{Entry, EntryKind, PathSorter, SortedPaths};

use crate::backup::native::folded_path;
use crate::{Error, ErrorKind, Result};

/// The name of PostgreSQL's own manifest, which is stored as a file of the backup so that
/// `pg_verifybackup` can be run on what is restored.
pub(crate) const BACKUP_MANIFEST: &str = "backup_manifest";

/// Reads the manifest that the server sends after the files, and compares it with what was
/// stored: every file, its size and its CRC-32C. What the server read from its disk is then known
/// to be what is in the repository. Files that are not stored as they came, such as those of an
/// incremental backup, are compared as they [came](Self::received).
///
/// The manifest has one file to a line (`AddFileToBackupManifest` in PostgreSQL's
/// `backup/backup_manifest.c`), so it is read line by line, however long it is.
pub(crate) struct ManifestReader {
    incremental: bool,
    line: Vec<u8>,
    files: PathSorter,
    /// Files that are stored in another form: what the manifest has to say of them.
    received: PathSorter,
    complete: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FileLine {
    path: Option<String>,
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    size: u64,
    #[serde(rename = "Checksum-Algorithm")]
    checksum_algorithm: String,
    checksum: String,
}

impl ManifestReader {
    /// Of a backup that may be incremental.
    pub(crate) fn new(incremental: bool) -> Self {
        let (files, received) = (PathSorter::default(), PathSorter::default());
        Self { incremental, line: Vec::new(), files, received, complete: false }
    }

    /// Notes the length and the checksum of a file that came in another form than it is stored in,
    /// under this path.
    pub(crate) fn received(&mut self, path: String, size: u64, crc32c: u32) -> Result<()> {
        Ok(self.received.push(path, body(size, crc32c.to_le_bytes()))?)
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            let line = std::mem::take(&mut self.line);
            self.take_line(&line)?;
            self.line = line;
            self.line.clear();
            bytes = &bytes[end + 1..];
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() > 1 << 20 {
            return Err(malformed("a line of it is longer than 1 MiB"));
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8]) -> Result<()> {
        let line = line.trim_ascii().strip_suffix(b",").unwrap_or(line.trim_ascii());
        if line.starts_with(b"\"Manifest-Checksum\"") {
            self.complete = true;
        }
        if !line.starts_with(b"{ \"Path\"") && !line.starts_with(b"{ \"Encoded-Path\"") {
            return Ok(());
        }
        let file: FileLine =
            serde_json::from_slice(line).map_err(|e| malformed("a line of it").with_source(e))?;
        let path = match (file.path, file.encoded_path) {
            (Some(path), _) => path,
            (None, Some(hex)) => {
                let bytes = from_hex(&hex).ok_or_else(|| malformed("an encoded path"))?;
                String::from_utf8(bytes).map_err(|e| malformed("an encoded path").with_source(e))?
            }
            (None, None) => return Err(malformed("a file without a path")),
        };
        let crc: [u8; 4] = from_hex(&file.checksum)
            .filter(|_| file.checksum_algorithm == "CRC32C")
            .and_then(|crc| crc.try_into().ok())
            .ok_or_else(|| malformed("a checksum that is no CRC32C"))?;
        let folded = if self.incremental { folded_path(&path) } else { None };
        // PostgreSQL writes the bytes of the number as they lie in memory.
        self.files.push(folded.unwrap_or(path), body(file.size, crc))?;
        Ok(())
    }

    /// The manifest has been read to its end.
    pub(crate) fn finish(self) -> Result<ManifestCheck> {
        if !self.complete {
            return Err(malformed("it ends too early"));
        }
        let mut files = self.files.finish()?;
        let next = files.next_record()?;
        let mut received = self.received.finish()?;
        let next_received = received.next_record()?;
        Ok(ManifestCheck { files, next, received, next_received })
    }
}

/// What is compared of a file.
fn body(size: u64, crc32c: [u8; 4]) -> Vec<u8> {
    [&size.to_le_bytes()[..], &crc32c].concat()
}

fn malformed(what: &str) -> Error {
    let message = format!("the server's backup manifest is malformed: {what}");
    Error::new(ErrorKind::ServerChanged, message)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

/// The server's manifest in the order of paths, to be compared with the files stored, which come
/// in the same order.
pub(crate) struct ManifestCheck {
    files: SortedPaths,
    next: Option<(String, Vec<u8>)>,
    received: SortedPaths,
    next_received: Option<(String, Vec<u8>)>,
}

impl ManifestCheck {
    /// Looks at the next entry that was stored.
    pub(crate) fn inspect(&mut self, entry: &Entry) -> Result<(), String> {
        let EntryKind::File(content) = &entry.kind else { return Ok(()) };
        if entry.path == BACKUP_MANIFEST {
            return Ok(());
        }
        let expected = match self.next.take() {
            Some((path, body)) if path == entry.path => body,
            Some((path, _)) if path < entry.path => {
                return Err(format!("the server's manifest names {path:?}, which it did not send"));
            }
            _ => {
                return Err(format!(
                    "the server sent {:?}, which its manifest does not name",
                    entry.path
                ));
            }
        };
        let came = match self.next_received.take_if(|(path, _)| *path == entry.path) {
            Some((_, body)) => {
                self.next_received = self.received.next_record().map_err(|e| e.to_string())?;
                body
            }
            None => body(content.size, content.crc32c.unwrap_or_default().to_le_bytes()),
        };
        if came != expected {
            return Err(format!(
                "{:?} is not what the server's manifest says: it was changed on the way, or in \
                 memory; take the backup again",
                entry.path
            ));
        }
        self.next = self.files.next_record().map_err(|e| e.to_string())?;
        Ok(())
    }

    /// All entries have been seen: nothing may be left in the manifest.
    pub(crate) fn finish(self) -> Result<()> {
        match self.next {
            None => Ok(()),
            Some((path, _)) => {
                let message =
                    format!("the server's manifest names {path:?}, which it did not send");
                Err(Error::new(ErrorKind::ServerChanged, message))
            }
        }
    }
}

/// Keeps a small file's content while it passes by.
#[derive(Default)]
pub(crate) struct SmallFile(Vec<u8>);

impl SmallFile {
    /// Files that are kept are a few KiB; what is longer is not what it should be.
    const LIMIT: usize = 1 << 20;

    pub(crate) fn push(&mut self, bytes: &Bytes) {
        if self.0.len() < Self::LIMIT {
            self.0.extend_from_slice(bytes);
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use walbrook_repo::FileContent;

    const MANIFEST: &str = concat!(
        "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n",
        "\"System-Identifier\": 7,\n",
        "\"Files\": [\n",
        "{ \"Path\": \"b\", \"Size\": 3, \"Last-Modified\": \"2026-11-22 03:45:12 GMT\", ",
        "\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"04030201\" },\n",
        "{ \"Encoded-Path\": \"61\", \"Size\": 5, \"Last-Modified\": \"2026-11-22 03:45:12 GMT\", ",
        "\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"ff000000\" }\n",
        "],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": \"0/2\", \"End-LSN\": \"0/3\" }\n],\n",
        "\"Manifest-Checksum\": \"00\"}\n"
    );

    fn file(path: &str, size: u64, crc: u32) -> Entry {
        let content = FileContent { size, crc32c: Some(crc), extents: Vec::new() };
        Entry { path: path.to_owned(), mode: 0, mtime: 0, kind: EntryKind::File(content) }
    }

    fn check(entries: &[Entry]) -> Result<(), String> {
        let mut reader = ManifestReader::new(false);
        for piece in MANIFEST.as_bytes().chunks(7) {
            reader.feed(piece).map_err(|e| e.to_string())?;
        }
        let mut check = reader.finish().map_err(|e| e.to_string())?;
        entries.iter().try_for_each(|entry| check.inspect(entry))?;
        check.finish().map_err(|e| e.to_string())
    }

    #[test]
    fn files_are_compared_by_name_size_and_checksum() {
        let (a, b) = (file("a", 5, 0xFF), file("b", 3, 0x0102_0304));
        assert_eq!(check(&[a.clone(), b.clone()]), Ok(()));
        assert!(check(std::slice::from_ref(&a)).is_err());
        assert!(check(std::slice::from_ref(&b)).is_err());
        assert!(check(&[a.clone(), b.clone(), file("c", 1, 1)]).is_err());
        assert!(check(&[file("a", 6, 0xFF), b.clone()]).is_err());
        assert!(check(&[file("a", 5, 0xFE), b]).is_err());
    }

    #[test]
    fn what_is_stored_in_another_form_is_compared_as_it_came() {
        let manifest = MANIFEST.replace("\"b\"", "\"base/5/INCREMENTAL.7\"");
        let check = |received: Option<(u64, u32)>, stored: &str| {
            let mut reader = ManifestReader::new(true);
            reader.feed(manifest.as_bytes()).map_err(|e| e.to_string())?;
            if let Some((size, crc32c)) = received {
                let path = "base/5/7".to_owned();
                reader.received(path, size, crc32c).map_err(|e| e.to_string())?;
            }
            let mut check = reader.finish().map_err(|e| e.to_string())?;
            check.inspect(&file("a", 5, 0xFF))?;
            let content = FileContent { size: 8192, crc32c: None, extents: Vec::new() };
            let kind = EntryKind::File(content);
            check.inspect(&Entry { path: stored.to_owned(), mode: 0, mtime: 0, kind })?;
            check.finish().map_err(|e| e.to_string())
        };
        assert_eq!(check(Some((3, 0x0102_0304)), "base/5/7"), Ok(()));
        assert!(check(Some((4, 0x0102_0304)), "base/5/7").is_err());
        assert!(check(Some((3, 0x0102_0305)), "base/5/7").is_err());
        assert!(check(Some((3, 0x0102_0304)), "base/5/8").is_err());
        assert!(check(None, "base/5/7").is_err());
    }

    #[test]
    fn a_manifest_that_is_cut_off_is_refused() {
        let mut reader = ManifestReader::new(false);
        reader.feed(&MANIFEST.as_bytes()[..MANIFEST.len() - 30]).expect("so far it is right");
        assert!(reader.finish().is_err());
    }
}
