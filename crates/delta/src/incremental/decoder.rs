use std::fmt;

use walbrook_page::Page;
use walbrook_types::{BLOCK_SIZE, BLOCKS_PER_FILE, BlockNumber};

use super::header::{IncrementalHeader, bad};
use crate::{Error, ErrorKind};

/// Reads an incremental file that comes in pieces of any size.
///
/// Holds the header, of half a MiB at most, and one block; nothing is allocated that was not
/// received.
pub struct IncrementalDecoder {
    state: State,
    buffer: Vec<u8>,
}

enum State {
    Fixed,
    Numbers { count: usize, truncation_block_length: u32 },
    Padding { left: usize, header: IncrementalHeader },
    Blocks { header: IncrementalHeader, next: usize },
    Failed,
}

/// What an [`IncrementalDecoder`] has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncrementalEvent {
    /// The header; comes first.
    Header(IncrementalHeader),
    /// A block: [`IncrementalDecoder::page`] is its content until more is read.
    Block(BlockNumber),
}

impl Default for IncrementalDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for IncrementalDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncrementalDecoder").finish_non_exhaustive()
    }
}

impl IncrementalDecoder {
    /// At the beginning of a file.
    pub fn new() -> Self {
        Self { state: State::Fixed, buffer: Vec::new() }
    }

    /// Takes bytes from the front of `input` up to the next event; none when all were taken and
    /// more are needed.
    ///
    /// # Errors
    ///
    /// [`BadIncremental`](ErrorKind::BadIncremental); every later call fails as well.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<IncrementalEvent>, Error> {
        let result = self.step(input);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    fn step(&mut self, input: &mut &[u8]) -> Result<Option<IncrementalEvent>, Error> {
        loop {
            match &mut self.state {
                State::Fixed => {
                    let Some(fixed) = fill(&mut self.buffer, IncrementalHeader::FIXED, input)
                    else {
                        return Ok(None);
                    };
                    let fixed = fixed.first_chunk().ok_or_else(|| bad("no header"))?;
                    let (count, truncation_block_length) = IncrementalHeader::parse_fixed(fixed)?;
                    self.buffer.clear();
                    self.state = State::Numbers { count, truncation_block_length };
                }
                State::Numbers { count, truncation_block_length } => {
                    let Some(numbers) = fill(&mut self.buffer, 4 * *count, input) else {
                        return Ok(None);
                    };
                    let (numbers, _) = numbers.as_chunks::<4>();
                    let blocks = numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
                    let header = IncrementalHeader::new(*truncation_block_length, blocks)?;
                    self.buffer.clear();
                    let left = header.size() as usize - IncrementalHeader::FIXED - 4 * *count;
                    self.state = State::Padding { left, header: header.clone() };
                    return Ok(Some(IncrementalEvent::Header(header)));
                }
                State::Padding { left, header } => {
                    let here = (*left).min(input.len());
                    *input = input.get(here..).unwrap_or_default();
                    *left -= here;
                    if *left > 0 {
                        return Ok(None);
                    }
                    let empty = IncrementalHeader::new(0, Vec::new())?;
                    let header = std::mem::replace(header, empty);
                    self.state = State::Blocks { header, next: 0 };
                }
                State::Blocks { header, next } => {
                    let Some(block) = header.blocks().get(*next).copied() else {
                        return match input.is_empty() {
                            true => Ok(None),
                            false => Err(bad("bytes behind its last block")),
                        };
                    };
                    // The page before was looked at by now.
                    if self.buffer.len() == BLOCK_SIZE {
                        self.buffer.clear();
                    }
                    if fill(&mut self.buffer, BLOCK_SIZE, input).is_none() {
                        return Ok(None);
                    }
                    *next += 1;
                    return Ok(Some(IncrementalEvent::Block(block)));
                }
                State::Failed => return Err(bad("been refused before")),
            }
        }
    }

    /// The content of the block that was read last; none when none was.
    pub fn page(&self) -> Option<&Page> {
        match self.state {
            State::Blocks { .. } => self.buffer.as_slice().try_into().ok(),
            _ => None,
        }
    }

    /// Says that the file ends here.
    ///
    /// # Errors
    ///
    /// [`Truncated`](ErrorKind::Truncated) when more was announced than came.
    pub fn finish(self) -> Result<(), Error> {
        match self.state {
            State::Blocks { header, next } if next == header.blocks().len() => Ok(()),
            State::Padding { left: 0, header } if header.blocks().is_empty() => Ok(()),
            State::Failed => Err(bad("been refused before")),
            _ => Err(Error::new(ErrorKind::Truncated, "incremental file ends too early")),
        }
    }
}

/// Moves bytes from `input` until `buffer` has `len` of them; none when `input` has too few.
fn fill<'a>(buffer: &'a mut Vec<u8>, len: usize, input: &mut &[u8]) -> Option<&'a [u8]> {
    debug_assert!(len <= 4 * BLOCKS_PER_FILE as usize);
    let here = len.saturating_sub(buffer.len()).min(input.len());
    let (now, later) = input.split_at(here);
    buffer.extend_from_slice(now);
    *input = later;
    (buffer.len() == len).then_some(buffer.as_slice())
}
