use std::ops::Range;

use walbrook_types::{BLOCK_SIZE, BLOCKS_PER_FILE, BlockNumber, Fork, RelFile};

/// What is to be done with one file of the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePlan {
    /// All of it is to be read.
    Whole(WholeReason),
    /// Nothing of it: its blocks are as they are in the base, of which it may be the beginning only.
    Unchanged,
    /// These blocks, numbered within the file, are to be read: ranges that ascend, are not empty and
    /// do not touch, up to the file's end. All other blocks are as in the base.
    Blocks(Vec<Range<BlockNumber>>),
}

impl FilePlan {
    /// How many blocks are to be read of a file of `size` bytes.
    pub fn blocks_to_read(&self, size: u64) -> u64 {
        match self {
            Self::Whole(_) => size.div_ceil(BLOCK_SIZE as u64),
            Self::Unchanged => 0,
            Self::Blocks(ranges) => {
                ranges.iter().map(|range| u64::from(range.end - range.start)).sum()
            }
        }
    }
}

/// Why a file is read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WholeReason {
    /// The base has no such file.
    NotInBase,
    /// It is no relation file: its changes are not in the log as blocks.
    NotARelation,
    /// A free space map, which is not fully logged; a visibility map, whose bits are cleared by
    /// records that do not name its blocks; or an init fork, which is tiny.
    Fork,
    /// Its length, or the base's, is none of whole blocks within a segment file.
    OddLength,
    /// Its database was created, or moved to that tablespace, since the base.
    DatabaseCreated,
    /// The relation was created, or truncated to before this file, since the base.
    Created,
}

/// A file that may be read in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) file: RelFile,
    /// Blocks that it has now.
    pub(crate) now: u32,
    /// Blocks that the base has of it.
    pub(crate) base: u32,
}

/// What holds for every way of finding changes: only main forks that the base has, made of whole
/// blocks, are looked at block by block.
pub(crate) fn candidate(
    path: &str,
    size: u64,
    base: Option<u64>,
) -> Result<Candidate, WholeReason> {
    let file = RelFile::from_path(path).ok_or(WholeReason::NotARelation)?;
    if file.fork != Fork::Main {
        return Err(WholeReason::Fork);
    }
    let base = base.ok_or(WholeReason::NotInBase)?;
    let blocks = |size: u64| {
        let whole = size.is_multiple_of(BLOCK_SIZE as u64);
        let blocks = u32::try_from(size / BLOCK_SIZE as u64).ok()?;
        (whole && blocks <= BLOCKS_PER_FILE).then_some(blocks)
    };
    // No fork has more blocks than a block number can count.
    let within = u64::from(file.segment) * u64::from(BLOCKS_PER_FILE) < u64::from(u32::MAX);
    match (blocks(size), blocks(base)) {
        (Some(now), Some(base)) if within => Ok(Candidate { file, now, base }),
        _ => Err(WholeReason::OddLength),
    }
}

/// Puts ascending block numbers together to ranges.
pub(crate) fn ranges(blocks: impl Iterator<Item = BlockNumber>) -> Vec<Range<BlockNumber>> {
    let mut ranges: Vec<Range<BlockNumber>> = Vec::new();
    for block in blocks {
        match ranges.last_mut() {
            Some(last) if block == last.end => last.end += 1,
            _ => ranges.push(block..block + 1),
        }
    }
    ranges
}
