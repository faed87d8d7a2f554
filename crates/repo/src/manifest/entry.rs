use walbrook_types::Oid;

use crate::manifest::extents;
use crate::wire::{Put, Reader};

/// A file, directory or symbolic link of the data directory, and where its content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path relative to the data directory, with `/` between its parts. Files of a tablespace
    /// are below `pg_tblspc/<oid>`.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// When it was last modified, in seconds since 1970.
    pub mtime: i64,
    /// What it is.
    pub kind: EntryKind,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File(FileContent),
    /// A directory.
    Directory,
    /// A symbolic link: those of `pg_tblspc` only.
    Symlink {
        /// Where it points to.
        target: String,
    },
}

/// Where a file's content is: its extents, in order and without gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileContent {
    /// In bytes; the sum of the extents.
    pub size: u64,
    /// The CRC-32C of the whole content, as PostgreSQL's own `backup_manifest` has it; none for a
    /// file of which some parts were taken over from an earlier backup without being read.
    pub crc32c: Option<u32>,
    /// The extents.
    pub extents: Vec<Extent>,
}

/// A run of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Its length in bytes; never zero.
    pub len: u64,
    /// Where they are.
    pub place: Place,
}

/// Where the bytes of an [`Extent`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: they are all zero.
    Zero,
    /// In a frame.
    Frame {
        /// Which, in the table of frames.
        frame: u64,
        /// Where they begin in the frame's content, in bytes.
        offset: u32,
    },
}

const FILE: u8 = 0;
const FILE_WITH_CRC: u8 = 1;
const DIRECTORY: u8 = 2;
const SYMLINK: u8 = 3;

impl Entry {
    /// Appends everything but the path. Frames are written as the difference to the frame before,
    /// which `last_frame` carries from entry to entry.
    pub(crate) fn encode(&self, last_frame: &mut u64, out: &mut Vec<u8>) {
        out.push(match &self.kind {
            EntryKind::File(FileContent { crc32c: None, .. }) => FILE,
            EntryKind::File(_) => FILE_WITH_CRC,
            EntryKind::Directory => DIRECTORY,
            EntryKind::Symlink { .. } => SYMLINK,
        });
        out.put_number(u64::from(self.mode));
        out.put_signed(self.mtime);
        match &self.kind {
            EntryKind::Directory => {}
            EntryKind::Symlink { target } => out.put_bytes(target.as_bytes()),
            EntryKind::File(content) => {
                if let Some(crc) = content.crc32c {
                    out.extend_from_slice(&crc.to_le_bytes());
                }
                out.put_number(content.size);
                out.put_number(content.extents.len() as u64);
                extents::encode(&content.extents, last_frame, out);
            }
        }
    }

    /// Reads back what [`Entry::encode`] wrote. `None` when it is malformed, when extents are
    /// empty, or when they do not add up to the size.
    pub(crate) fn decode(path: String, last_frame: &mut u64, r: &mut Reader<'_>) -> Option<Self> {
        let tag = r.byte()?;
        let mode = r.number_as()?;
        let mtime = r.signed()?;
        let kind = match tag {
            DIRECTORY => EntryKind::Directory,
            SYMLINK => EntryKind::Symlink { target: r.text()?.to_owned() },
            FILE | FILE_WITH_CRC => EntryKind::File(decode_content(tag, last_frame, r)?),
            _ => return None,
        };
        Some(Self { path, mode, mtime, kind })
    }

    /// The tablespace whose link this is, if it is one: `pg_tblspc/<oid>`.
    pub fn tablespace_link(&self) -> Option<(Oid, &str)> {
        let EntryKind::Symlink { target } = &self.kind else { return None };
        let oid = self.path.strip_prefix("pg_tblspc/")?.parse().ok()?;
        Some((oid, target))
    }
}

fn decode_content(tag: u8, last_frame: &mut u64, r: &mut Reader<'_>) -> Option<FileContent> {
    let crc32c = match tag {
        FILE_WITH_CRC => Some(u32::from_le_bytes(r.array()?)),
        _ => None,
    };
    let size = r.number()?;
    let extents = extents::decode(size, last_frame, r)?;
    Some(FileContent { size, crc32c, extents })
}

/// The most bytes that a path may have.
pub(crate) const MAX_PATH: usize = 4096;

/// Whether a path from a manifest stays inside the directory that it is joined to.
pub(crate) fn is_safe_path(path: &str) -> bool {
    path.len() <= MAX_PATH
        && !path.contains('\0')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_directory_are_not_safe() {
        for path in ["base/1/2", "PG_VERSION", "pg_tblspc/16385/PG_15_202209061/5/16390"] {
            assert!(is_safe_path(path), "{path}");
        }
        for path in ["", "/etc/passwd", "..", "base/../..", "a//b", "a/", "./a", "a\0b"] {
            assert!(!is_safe_path(path), "{path:?}");
        }
    }
}
