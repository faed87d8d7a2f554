use std::collections::BTreeMap;
use std::ops::Range;

use walbrook_types::BlockNumber;

/// Blocks per chunk.
const CHUNK: u32 = 1 << 16;

/// Blocks of a chunk from which on a bitmap of 8 KiB is smaller than a list.
const DENSE: usize = 4096;

/// Bytes of a bitmap.
const BITMAP: usize = CHUNK as usize / 8;

/// A set of block numbers: two bytes for each of a few, 8 KiB for each half GiB with many.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlockSet(BTreeMap<u16, Chunk>);

#[derive(Debug, Clone)]
enum Chunk {
    /// Ascending.
    Sparse(Vec<u16>),
    Dense(Box<[u64; CHUNK as usize / 64]>),
    /// Every block of the chunk, were they inserted or not.
    All,
}

impl BlockSet {
    /// Inserts a block; when `coarse`, and this would take memory, all blocks of its half GiB, which
    /// takes none. Answers how many bytes more, or fewer, the set takes.
    pub(crate) fn insert(&mut self, block: BlockNumber, coarse: bool) -> isize {
        let (chunk, offset) = ((block / CHUNK) as u16, (block % CHUNK) as u16);
        let chunk = self.0.entry(chunk).or_insert_with(|| Chunk::Sparse(Vec::new()));
        let before = chunk.bytes();
        chunk.insert(offset);
        if coarse && chunk.bytes() > before {
            *chunk = Chunk::All;
        }
        chunk.bytes() as isize - before as isize
    }

    /// The members in `range`, ascending.
    pub(crate) fn range(&self, range: Range<BlockNumber>) -> impl Iterator<Item = BlockNumber> {
        let (first, last) = (range.start / CHUNK, range.end.saturating_sub(1) / CHUNK);
        // An empty range might have its ends in the wrong order, which `range` does not allow.
        let chunks = (first as u16)..=(last.max(first) as u16);
        let members = self.0.range(chunks).flat_map(|(chunk, members)| {
            let base = u32::from(*chunk) * CHUNK;
            members.iter().map(move |offset| base + u32::from(offset))
        });
        members.filter(move |block| range.contains(block))
    }
}

impl Chunk {
    fn bytes(&self) -> usize {
        match self {
            Self::Sparse(list) => 2 * list.capacity(),
            Self::Dense(_) => BITMAP,
            Self::All => 0,
        }
    }

    fn insert(&mut self, offset: u16) {
        match self {
            Self::Sparse(list) => {
                let Err(at) = list.binary_search(&offset) else { return };
                list.insert(at, offset);
                if list.len() > DENSE {
                    let mut bits = Box::new([0u64; CHUNK as usize / 64]);
                    list.iter().for_each(|offset| set(&mut bits, *offset));
                    *self = Self::Dense(bits);
                }
            }
            Self::Dense(bits) => set(bits, offset),
            Self::All => {}
        }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = u16> + '_> {
        match self {
            Self::Sparse(list) => Box::new(list.iter().copied()),
            Self::All => Box::new(0..=u16::MAX),
            Self::Dense(bits) => Box::new(bits.iter().enumerate().flat_map(|(word, bits)| {
                let at = word as u32 * 64;
                let set = (0..64).filter(move |bit| bits & (1 << bit) != 0);
                // A chunk has 65536 members at most: the number fits.
                set.map(move |bit| (at + bit) as u16)
            })),
        }
    }
}

fn set(bits: &mut [u64; CHUNK as usize / 64], offset: u16) {
    bits[usize::from(offset) / 64] |= 1 << (offset % 64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_coarse_set_has_more_and_takes_less() {
        let mut set = BlockSet::default();
        let fine: isize = (0..100).map(|n| set.insert(n * 3, false)).sum();
        assert!(fine >= 200, "{fine}");
        // What is there already needs no more.
        assert_eq!(set.insert(3, true), 0);
        assert_eq!(set.range(0..9).collect::<Vec<_>>(), [0, 3, 6]);
        let mut coarse = fine;
        coarse += (300..900).map(|n| set.insert(n, true)).sum::<isize>();
        assert_eq!(coarse, 0);
        assert_eq!(
            set.range(65_530..70_000).collect::<Vec<_>>(),
            (65_530..65_536).collect::<Vec<_>>()
        );
        assert_eq!(set.insert(70_000, true), 0);
        assert_eq!(set.range(69_999..70_001).count(), 2);
    }

    proptest! {
        #[test]
        fn equals_a_set(
            few in proptest::collection::vec(any::<u32>(), 0..50),
            (start, step, count) in (0u32..200_000, 1u32..4, 0u32..9000),
            (from, len) in (0u32..220_000, 0u32..100_000),
        ) {
            let mut set = BlockSet::default();
            let mut model = BTreeSet::new();
            for block in few.into_iter().chain((0..count).map(|n| start + n * step)) {
                set.insert(block, false);
                model.insert(block);
            }
            for range in [from..from + len, 0..u32::MAX, len..from.min(len)] {
                let expected: Vec<u32> =
                    model.iter().copied().filter(|block| range.contains(block)).collect();
                prop_assert_eq!(set.range(range).collect::<Vec<_>>(), expected);
            }
        }
    }
}
