use walbrook_types::{BLOCK_SIZE, BLOCKS_PER_FILE, BlockNumber};

use crate::{Error, ErrorKind};

/// What the name of an incremental file begins with; the relation file's own name follows.
pub const INCREMENTAL_PREFIX: &str = "INCREMENTAL.";

const MAGIC: u32 = 0xd3ae_1f0d;

/// The beginning of an incremental file: which blocks it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncrementalHeader {
    truncation_block_length: u32,
    blocks: Vec<BlockNumber>,
}

impl IncrementalHeader {
    /// Length in bytes of what stands before the blocks' numbers.
    pub(super) const FIXED: usize = 12;

    /// Of a file that holds these blocks, numbered within the file.
    ///
    /// `truncation_block_length` is the least length of the reconstructed file: a block below it that
    /// is not among `blocks` is as it was in the backup before, and zeros if that had none there.
    ///
    /// # Errors
    ///
    /// [`BadIncremental`](ErrorKind::BadIncremental) when the numbers do not ascend, or one is
    /// beyond a file's [`BLOCKS_PER_FILE`].
    pub fn new(truncation_block_length: u32, blocks: Vec<BlockNumber>) -> Result<Self, Error> {
        if truncation_block_length > BLOCKS_PER_FILE {
            let what = format!("a truncation block length of {truncation_block_length}");
            return Err(bad(what));
        }
        if !blocks.is_sorted_by(|a, b| a < b) {
            return Err(bad("block numbers that do not ascend"));
        }
        if let Some(last) = blocks.last().filter(|last| **last >= BLOCKS_PER_FILE) {
            return Err(bad(format!("block {last}, which no file of 1 GiB has")));
        }
        Ok(Self { truncation_block_length, blocks })
    }

    /// The first twelve bytes: how many blocks there are, and the truncation block length.
    ///
    /// A greater one than a file can have is cut to that: servers before the minor releases of
    /// early 2026 wrote it for truncated relations of several files.
    pub(super) fn parse_fixed(bytes: &[u8; Self::FIXED]) -> Result<(usize, u32), Error> {
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if number(0) != MAGIC {
            return Err(bad(format!("the magic number {:#010x}", number(0))));
        }
        let count = number(4);
        if count > BLOCKS_PER_FILE {
            return Err(bad(format!("{count} blocks, more than a file of 1 GiB has")));
        }
        Ok((count as usize, number(8).min(BLOCKS_PER_FILE)))
    }

    /// The least length of the reconstructed file, in blocks.
    pub fn truncation_block_length(&self) -> u32 {
        self.truncation_block_length
    }

    /// The blocks that follow, ascending, numbered within the file.
    pub fn blocks(&self) -> &[BlockNumber] {
        &self.blocks
    }

    /// The length of the reconstructed file, in blocks.
    pub fn reconstructed_length(&self) -> u32 {
        self.blocks.last().map_or(0, |last| last + 1).max(self.truncation_block_length)
    }

    /// Where the blocks' contents begin, in bytes.
    pub fn size(&self) -> u64 {
        let unpadded = Self::FIXED + 4 * self.blocks.len();
        match self.blocks.is_empty() {
            true => unpadded as u64,
            false => unpadded.next_multiple_of(BLOCK_SIZE) as u64,
        }
    }

    /// The length of the whole incremental file, in bytes.
    pub fn file_size(&self) -> u64 {
        self.size() + (self.blocks.len() * BLOCK_SIZE) as u64
    }

    /// The header's bytes, padding included.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size() as usize);
        let fixed = [MAGIC, self.blocks.len() as u32, self.truncation_block_length];
        for number in fixed.iter().chain(&self.blocks) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.resize(self.size() as usize, 0);
        bytes
    }
}

pub(super) fn bad(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadIncremental, format!("incremental file has {}", what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_there_only_with_blocks() {
        assert_eq!(IncrementalHeader::new(7, vec![]).unwrap().to_bytes().len(), 12);
        let full: Vec<u32> = (0..2045).collect();
        assert_eq!(IncrementalHeader::new(0, full.clone()).unwrap().size(), 8192);
        let more: Vec<u32> = (0..2046).collect();
        assert_eq!(IncrementalHeader::new(0, more).unwrap().size(), 16384);
        assert_eq!(IncrementalHeader::new(0, full).unwrap().reconstructed_length(), 2045);
    }

    #[test]
    fn what_postgres_never_writes_is_refused() {
        assert!(IncrementalHeader::new(0, vec![3, 3]).is_err());
        assert!(IncrementalHeader::new(0, vec![4, 3]).is_err());
        assert!(IncrementalHeader::new(0, vec![BLOCKS_PER_FILE]).is_err());
        assert!(IncrementalHeader::new(BLOCKS_PER_FILE + 1, vec![]).is_err());
    }
}
