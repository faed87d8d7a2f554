use std::fmt;
use std::io::{ErrorKind as IoErrorKind, Read, Write};

use walbrook_page::Page;
use walbrook_types::{BLOCK_SIZE, BlockNumber};

use super::header::bad;
use super::{IncrementalDecoder, IncrementalEvent, IncrementalHeader};
use crate::{Error, ErrorKind};

/// Reads an incremental file block by block.
pub struct IncrementalReader<R> {
    inner: R,
    header: IncrementalHeader,
    next: usize,
}

impl<R> fmt::Debug for IncrementalReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncrementalReader").field("next", &self.next).finish_non_exhaustive()
    }
}

impl<R: Read> IncrementalReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// [`BadIncremental`](ErrorKind::BadIncremental), [`Truncated`](ErrorKind::Truncated),
    /// [`Io`](ErrorKind::Io).
    pub fn new(mut inner: R) -> Result<Self, Error> {
        let mut decoder = IncrementalDecoder::new();
        let mut fixed = [0; IncrementalHeader::FIXED];
        read_exact(&mut inner, &mut fixed)?;
        let (count, _) = IncrementalHeader::parse_fixed(&fixed)?;
        let mut numbers = vec![0; 4 * count];
        read_exact(&mut inner, &mut numbers)?;
        for mut part in [fixed.as_slice(), numbers.as_slice()] {
            if let Some(IncrementalEvent::Header(header)) = decoder.next(&mut part)? {
                let padding = header.size() as usize - fixed.len() - numbers.len();
                read_exact(&mut inner, &mut [0; BLOCK_SIZE][..padding])?;
                return Ok(Self { inner, header, next: 0 });
            }
        }
        Err(bad("no header"))
    }

    /// Which blocks the file holds.
    pub fn header(&self) -> &IncrementalHeader {
        &self.header
    }

    /// Reads the next block's content into `page`, and answers its number; none behind the last.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn next_block(&mut self, page: &mut Page) -> Result<Option<BlockNumber>, Error> {
        let Some(block) = self.header.blocks().get(self.next).copied() else {
            return match self.inner.read(&mut [0]) {
                Ok(0) => Ok(None),
                Ok(_) => Err(bad("bytes behind its last block")),
                Err(error) if error.kind() == IoErrorKind::Interrupted => self.next_block(page),
                Err(error) => Err(error.into()),
            };
        };
        read_exact(&mut self.inner, page)?;
        self.next += 1;
        Ok(Some(block))
    }
}

fn read_exact(inner: &mut impl Read, buffer: &mut [u8]) -> Result<(), Error> {
    inner.read_exact(buffer).map_err(|error| match error.kind() {
        IoErrorKind::UnexpectedEof => {
            Error::new(ErrorKind::Truncated, "incremental file ends too early")
        }
        _ => error.into(),
    })
}

/// Writes an incremental file.
pub struct IncrementalWriter<W> {
    inner: W,
    left: usize,
}

impl<W> fmt::Debug for IncrementalWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncrementalWriter").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<W: Write> IncrementalWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io).
    pub fn new(mut inner: W, header: &IncrementalHeader) -> Result<Self, Error> {
        inner.write_all(&header.to_bytes())?;
        Ok(Self { inner, left: header.blocks().len() })
    }

    /// Writes the next of the blocks that the header names.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io), and [`BadIncremental`](ErrorKind::BadIncremental) for one too many.
    pub fn write_block(&mut self, page: &Page) -> Result<(), Error> {
        self.left =
            self.left.checked_sub(1).ok_or_else(|| bad("more blocks than its header names"))?;
        Ok(self.inner.write_all(page)?)
    }

    /// Ends the file, and gives back what it was written to.
    ///
    /// # Errors
    ///
    /// [`BadIncremental`](ErrorKind::BadIncremental) when blocks that the header names are missing.
    pub fn finish(self) -> Result<W, Error> {
        match self.left {
            0 => Ok(self.inner),
            left => Err(bad(format!("{left} blocks less than its header names"))),
        }
    }
}
