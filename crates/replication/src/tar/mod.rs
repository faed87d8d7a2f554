//! The tar archives of a base backup, as `src/port/tar.c` and `basebackup.c` in PostgreSQL write them.

mod header;

use std::path::PathBuf;

use bytes::{Buf, Bytes, BytesMut};

use crate::{Error, ErrorKind};

/// Unit of the archive: headers have this size, and contents are padded to a multiple of it.
const BLOCK: usize = 512;

/// A member of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TarEntry {
    /// The path below the archive's root: relative, without `.` or `..`, not empty.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of content that follow; zero for anything but a file.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Modification time in seconds since the Unix epoch.
    pub mtime: u64,
    /// The owner's user ID on the server.
    pub uid: u64,
    /// The owner's group ID on the server.
    pub gid: u64,
}

/// What a member of the archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this target: a tablespace's location, usually absolute.
    Symlink(PathBuf),
}

/// What [`TarReader::next`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TarEvent {
    /// A member begins. A file's [`Data`](Self::Data) and [`EndOfFile`](Self::EndOfFile) follow.
    Entry(TarEntry),
    /// Content of the current file, never empty, not copied from what was fed.
    Data(Bytes),
    /// The current file is complete; comes for empty files too, and for files only.
    EndOfFile,
}

/// Reads a tar archive without doing I/O: bytes go in by [`feed`](Self::feed), in pieces of any size,
/// and events come out of [`next`](Self::next).
///
/// Only what PostgreSQL writes is accepted: regular files, directories and symbolic links, with
/// `ustar` headers whose checksum is right, and paths that can't lead out of where they are written.
/// At the end, [`finish`](Self::finish) tells whether the archive was complete.
#[derive(Debug, Default)]
pub struct TarReader {
    input: Bytes,
    state: State,
    /// A header, or an end block, of which only a part has come yet.
    partial: BytesMut,
    /// Bytes of archive taken so far, for messages.
    position: u64,
    failed: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    Content {
        left: u64,
        padding: usize,
    },
    Padding {
        left: usize,
    },
    /// One block of zeros was seen.
    FirstEndBlock,
    /// The archive has ended; PostgreSQL sends nothing more, and other writers zeros.
    Ended,
}

impl TarReader {
    /// A reader at the beginning of an archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the bytes that come next in the archive.
    ///
    /// [`next`](Self::next) should have returned `None` before; otherwise what is left has to be
    /// copied together with the new bytes.
    pub fn feed(&mut self, bytes: Bytes) {
        if self.input.is_empty() {
            self.input = bytes;
        } else {
            let mut joined = BytesMut::with_capacity(self.input.len() + bytes.len());
            joined.extend_from_slice(&self.input);
            joined.extend_from_slice(&bytes);
            self.input = joined.freeze();
        }
    }

    /// The next event, or `None` when more bytes are needed.
    ///
    /// An error is of kind [`Archive`](ErrorKind::Archive) and final: it comes again on each call.
    #[allow(clippy::should_implement_trait)] // It is no iterator: `None` is not the end.
    pub fn next(&mut self) -> Result<Option<TarEvent>, Error> {
        if self.failed {
            return Err(self.error("the archive was found to be damaged before"));
        }
        let result = self.advance();
        self.failed = result.is_err();
        result
    }

    /// Whether the archive was complete.
    pub fn finish(&self) -> Result<(), Error> {
        match self.state {
            State::Ended if self.input.is_empty() && !self.failed => Ok(()),
            _ => Err(self.error("the archive is not complete")),
        }
    }

    fn advance(&mut self) -> Result<Option<TarEvent>, Error> {
        loop {
            match self.state {
                State::Header | State::FirstEndBlock => {
                    let Some(block) = self.block() else { return Ok(None) };
                    let zeros = block.iter().all(|byte| *byte == 0);
                    match (self.state, zeros) {
                        (State::Header, true) => self.state = State::FirstEndBlock,
                        (_, true) => self.state = State::Ended,
                        (State::Header, false) => {
                            let entry = header::parse(&block).map_err(|why| self.error(&why))?;
                            if entry.kind == EntryKind::File {
                                // The remainder of a division by 512 fits any integer.
                                let over = (entry.size % BLOCK as u64) as usize;
                                let padding = (BLOCK - over) % BLOCK;
                                self.state = State::Content { left: entry.size, padding };
                            }
                            return Ok(Some(TarEvent::Entry(entry)));
                        }
                        (_, false) => {
                            return Err(self.error("data follows on the end of the archive"));
                        }
                    }
                }
                State::Content { left: 0, padding } => {
                    self.state = State::Padding { left: padding };
                    return Ok(Some(TarEvent::EndOfFile));
                }
                State::Content { left, padding } => {
                    if self.input.is_empty() {
                        return Ok(None);
                    }
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
                    let data = self.take(length);
                    self.state = State::Content { left: left - length as u64, padding };
                    return Ok(Some(TarEvent::Data(data)));
                }
                State::Padding { left: 0 } => self.state = State::Header,
                State::Padding { left } => {
                    if self.input.is_empty() {
                        return Ok(None);
                    }
                    let taken = self.take(left.min(self.input.len()));
                    self.state = State::Padding { left: left - taken.len() };
                }
                State::Ended => {
                    let rest = self.take(self.input.len());
                    return match rest.iter().all(|byte| *byte == 0) {
                        true => Ok(None),
                        false => Err(self.error("data follows on the end of the archive")),
                    };
                }
            }
        }
    }

    /// A whole block, once it has come.
    fn block(&mut self) -> Option<[u8; BLOCK]> {
        let missing = BLOCK - self.partial.len();
        let taken = self.take(missing.min(self.input.len()));
        self.partial.extend_from_slice(&taken);
        let block = <[u8; BLOCK]>::try_from(&self.partial[..]).ok()?;
        self.partial.clear();
        Some(block)
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.position += length as u64;
        let taken = self.input.slice(..length);
        self.input.advance(length);
        taken
    }

    fn error(&self, why: &str) -> Error {
        let position = self.position;
        Error::new(
            ErrorKind::Archive,
            format!("tar archive of the base backup at byte {position}: {why}"),
        )
    }
}

#[cfg(test)]
mod tests;
