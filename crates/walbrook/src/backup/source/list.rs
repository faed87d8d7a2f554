use walbrook_repo::{PathSorter, SortedPaths};

use crate::{Error, ErrorKind, Result};

/// A file, directory or link that a backup consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Its path relative to the data directory.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Its size in bytes when it was listed; what is behind that is for the WAL to bring.
    pub size: u64,
    /// When it was last modified, in seconds since 1970.
    pub mtime: i64,
    /// Its permission bits.
    pub mode: u32,
}

/// What a [`FileInfo`] is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A tablespace's link in `pg_tblspc`.
    TablespaceLink {
        /// Where the tablespace is on the server.
        target: String,
    },
}

/// The files of a backup in the order of their paths. They are not all in memory: a long list is
/// in a temporary file.
#[derive(Debug)]
pub struct FileList {
    sorted: SortedPaths,
    files: u64,
    bytes: u64,
}

impl FileList {
    /// Regular files in the list.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// Their sizes together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next of them.
    #[expect(clippy::should_implement_trait, reason = "reading may fail")]
    pub fn next(&mut self) -> Result<Option<FileInfo>> {
        let Some((path, body)) = self.sorted.next_record()? else { return Ok(None) };
        match decode(path, &body) {
            Some(file) => Ok(Some(file)),
            None => Err(Error::new(ErrorKind::Io, "the temporary list of files is damaged")),
        }
    }
}

/// Collects files in any order.
#[derive(Debug, Default)]
pub(crate) struct FileListBuilder {
    sorter: PathSorter,
    files: u64,
    bytes: u64,
}

const FILE: u8 = 0;
const DIRECTORY: u8 = 1;
const LINK: u8 = 2;

impl FileListBuilder {
    pub(crate) fn push(&mut self, file: FileInfo) -> Result<()> {
        if file.kind == FileKind::File {
            self.files += 1;
            self.bytes += file.size;
        }
        let (tag, target) = match &file.kind {
            FileKind::File => (FILE, ""),
            FileKind::Directory => (DIRECTORY, ""),
            FileKind::TablespaceLink { target } => (LINK, target.as_str()),
        };
        let mut body = vec![tag];
        body.extend_from_slice(&file.size.to_le_bytes());
        body.extend_from_slice(&file.mtime.to_le_bytes());
        body.extend_from_slice(&file.mode.to_le_bytes());
        body.extend_from_slice(target.as_bytes());
        Ok(self.sorter.push(file.path, body)?)
    }

    pub(crate) fn finish(self) -> Result<FileList> {
        let Self { sorter, files, bytes } = self;
        Ok(FileList { sorted: sorter.finish()?, files, bytes })
    }
}

fn decode(path: String, body: &[u8]) -> Option<FileInfo> {
    let (tag, rest) = body.split_first()?;
    let (size, rest) = rest.split_first_chunk()?;
    let (mtime, rest) = rest.split_first_chunk()?;
    let (mode, target) = rest.split_first_chunk()?;
    let kind = match *tag {
        FILE => FileKind::File,
        DIRECTORY => FileKind::Directory,
        LINK => {
            let target = std::str::from_utf8(target).ok()?.to_owned();
            FileKind::TablespaceLink { target }
        }
        _ => return None,
    };
    let (size, mtime) = (u64::from_le_bytes(*size), i64::from_le_bytes(*mtime));
    Some(FileInfo { path, kind, size, mtime, mode: u32::from_le_bytes(*mode) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_sorted_and_whole() {
        let file = |path: &str, kind: FileKind| FileInfo {
            path: path.to_owned(),
            kind,
            size: 1 << 40,
            mtime: -7,
            mode: 0o640,
        };
        let link = FileKind::TablespaceLink { target: "/srv/ü".to_owned() };
        let expected = [
            file("base", FileKind::Directory),
            file("base/1", FileKind::File),
            file("pg_tblspc/9", link),
        ];
        let mut builder = FileListBuilder::default();
        for file in expected.iter().rev() {
            builder.push(file.clone()).expect("in memory");
        }
        let mut list = builder.finish().expect("in memory");
        assert_eq!((list.files(), list.bytes()), (1, 1 << 40));
        for file in expected {
            assert_eq!(list.next().expect("reads"), Some(file));
        }
        assert_eq!(list.next().expect("reads"), None);
    }
}
