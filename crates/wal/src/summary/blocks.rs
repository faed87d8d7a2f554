use walbrook_types::BlockNumber;

/// Blocks in one chunk: what a 16-bit offset reaches.
const CHUNK_BLOCKS: usize = 1 << 16;
/// Words of a chunk's bitmap.
const WORDS: usize = CHUNK_BLOCKS / 64;
/// A chunk with as many blocks as this is a bitmap: it takes no more memory than the list then.
const DENSE: usize = CHUNK_BLOCKS / 16;

/// A set of block numbers in ascending order.
///
/// It is kept in chunks of 65,536 blocks, each of which is a sorted list of 16-bit offsets, or a bitmap
/// of 8 KiB where that is smaller: the two forms that PostgreSQL's block reference tables have too
/// (`common/blkreftable.c`). Two sets of the same blocks are always represented alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockSet {
    /// Ascending by their numbers, none empty.
    chunks: Vec<(u16, Chunk)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Ascending, fewer than [`DENSE`].
    List(Vec<u16>),
    /// Bit `n % 64` of word `n / 64` is the block with offset `n`; and how many are set.
    Bitmap(Box<[u64; WORDS]>, u32),
}

impl BlockSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many blocks are in it.
    pub fn len(&self) -> u64 {
        self.chunks.iter().map(|(_, chunk)| chunk.len() as u64).sum()
    }

    /// Whether this block is in it.
    pub fn contains(&self, block: BlockNumber) -> bool {
        let (number, offset) = split(block);
        let at = self.chunks.binary_search_by_key(&number, |(number, _)| *number);
        at.ok().and_then(|at| self.chunks.get(at)).is_some_and(|(_, chunk)| chunk.contains(offset))
    }

    /// Adds a block. Answers whether it is new.
    pub fn insert(&mut self, block: BlockNumber) -> bool {
        let (number, offset) = split(block);
        self.chunk_mut(number).insert(offset)
    }

    /// Removes this block and all behind it.
    pub fn truncate(&mut self, limit: BlockNumber) {
        let (number, offset) = split(limit);
        let keep = self.chunks.partition_point(|(n, _)| *n <= number);
        self.chunks.truncate(keep);
        let Some((_, chunk)) = self.chunks.last_mut().filter(|(n, _)| *n == number) else { return };
        chunk.truncate(offset);
        if chunk.len() == 0 {
            self.chunks.pop();
        }
    }

    /// Adds all blocks of another set.
    pub fn union(&mut self, other: &Self) {
        for (number, chunk) in &other.chunks {
            match self.chunks.binary_search_by_key(number, |(number, _)| *number) {
                Err(at) => self.chunks.insert(at, (*number, chunk.clone())),
                Ok(at) => {
                    if let Some((_, mine)) = self.chunks.get_mut(at) {
                        mine.union(chunk);
                    }
                }
            }
        }
    }

    /// The blocks in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = BlockNumber> + '_ {
        self.chunks.iter().flat_map(|(number, chunk)| {
            let first = u32::from(*number) << 16;
            chunk.iter().map(move |offset| first | u32::from(offset))
        })
    }

    /// The blocks from `first` up to but not including `end`, in ascending order: one file of a fork,
    /// for example.
    pub fn range(
        &self,
        first: BlockNumber,
        end: BlockNumber,
    ) -> impl Iterator<Item = BlockNumber> + '_ {
        let from = self.chunks.partition_point(|(number, _)| *number < split(first).0);
        let to = self.chunks.partition_point(|(number, _)| u32::from(*number) << 16 < end);
        let chunks = self.chunks.get(from..to).unwrap_or_default();
        chunks
            .iter()
            .flat_map(|(number, chunk)| {
                let base = u32::from(*number) << 16;
                chunk.iter().map(move |offset| base | u32::from(offset))
            })
            .filter(move |block| (first..end).contains(block))
    }

    /// From blocks that ascend without repetition.
    pub(super) fn from_sorted(blocks: &[BlockNumber]) -> Self {
        let mut set = Self::new();
        for run in blocks.chunk_by(|a, b| a >> 16 == b >> 16) {
            let Some(first) = run.first() else { continue };
            let chunk = Chunk::from_sorted(run.iter().map(|block| *block as u16), run.len());
            set.chunks.push(((first >> 16) as u16, chunk));
        }
        set
    }

    pub(super) fn chunks(&self) -> &[(u16, Chunk)] {
        &self.chunks
    }

    /// Adds a chunk behind all others; none when it is empty. Answers whether that is where it
    /// belongs.
    pub(super) fn push_chunk(&mut self, number: u16, chunk: Chunk) -> bool {
        if self.chunks.last().is_some_and(|(last, _)| *last >= number) {
            return false;
        }
        if chunk.len() > 0 {
            self.chunks.push((number, chunk));
        }
        true
    }

    fn chunk_mut(&mut self, number: u16) -> &mut Chunk {
        // Blocks come in ascending order more often than not.
        let at = match self.chunks.last() {
            Some((last, _)) if *last == number => self.chunks.len() - 1,
            _ => match self.chunks.binary_search_by_key(&number, |(number, _)| *number) {
                Ok(at) => at,
                Err(at) => {
                    self.chunks.insert(at, (number, Chunk::List(Vec::new())));
                    at
                }
            },
        };
        &mut self.chunks[at].1
    }
}

impl FromIterator<BlockNumber> for BlockSet {
    fn from_iter<I: IntoIterator<Item = BlockNumber>>(blocks: I) -> Self {
        let mut set = Self::new();
        for block in blocks {
            set.insert(block);
        }
        set
    }
}

fn split(block: BlockNumber) -> (u16, u16) {
    ((block >> 16) as u16, block as u16)
}

impl Chunk {
    /// From offsets that ascend without repetition.
    pub(super) fn from_sorted(offsets: impl Iterator<Item = u16>, len: usize) -> Self {
        if len < DENSE {
            return Self::List(offsets.collect());
        }
        let mut words = Box::new([0; WORDS]);
        for offset in offsets {
            set_bit(&mut words, offset);
        }
        Self::Bitmap(words, len as u32)
    }

    pub(super) fn from_words(words: Box<[u64; WORDS]>) -> Self {
        let count: u32 = words.iter().map(|word| word.count_ones()).sum();
        let mut chunk = Self::Bitmap(words, count);
        chunk.normalize();
        chunk
    }

    pub(super) fn words(&self) -> Box<[u64; WORDS]> {
        match self {
            Self::Bitmap(words, _) => words.clone(),
            Self::List(list) => {
                let mut words = Box::new([0; WORDS]);
                for offset in list {
                    set_bit(&mut words, *offset);
                }
                words
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Bitmap(_, count) => *count as usize,
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }

    pub(super) fn iter(&self) -> Offsets<'_> {
        match self {
            Self::List(list) => Offsets::List(list.iter()),
            Self::Bitmap(words, _) => Offsets::Bitmap { words, at: 0, word: words[0] },
        }
    }

    fn contains(&self, offset: u16) -> bool {
        match self {
            Self::List(list) => list.binary_search(&offset).is_ok(),
            Self::Bitmap(words, _) => words[usize::from(offset / 64)] & (1 << (offset % 64)) != 0,
        }
    }

    fn insert(&mut self, offset: u16) -> bool {
        match self {
            Self::List(list) => {
                let at = match list.last() {
                    Some(last) if *last < offset => list.len(),
                    None => 0,
                    Some(_) => match list.binary_search(&offset) {
                        Ok(_) => return false,
                        Err(at) => at,
                    },
                };
                list.insert(at, offset);
                if list.len() >= DENSE {
                    *self = Self::from_sorted(std::mem::take(list).into_iter(), DENSE);
                }
                true
            }
            Self::Bitmap(words, count) => {
                let new = set_bit(words, offset);
                *count += u32::from(new);
                new
            }
        }
    }

    fn truncate(&mut self, limit: u16) {
        match self {
            Self::List(list) => list.truncate(list.partition_point(|offset| *offset < limit)),
            Self::Bitmap(words, count) => {
                let (word, bit) = (usize::from(limit / 64), limit % 64);
                words[word] &= (1 << bit) - 1;
                words[word + 1..].fill(0);
                *count = words.iter().map(|word| word.count_ones()).sum();
                self.normalize();
            }
        }
    }

    fn union(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Bitmap(words, count), _) => {
                match other {
                    Self::Bitmap(theirs, _) => {
                        for (word, theirs) in words.iter_mut().zip(theirs.iter()) {
                            *word |= theirs;
                        }
                    }
                    Self::List(list) => {
                        for offset in list {
                            set_bit(words, *offset);
                        }
                    }
                }
                *count = words.iter().map(|word| word.count_ones()).sum();
            }
            (Self::List(list), Self::Bitmap(words, _)) => {
                let mut words = words.clone();
                for offset in list {
                    set_bit(&mut words, *offset);
                }
                *self = Self::from_words(words);
            }
            (Self::List(list), Self::List(theirs)) => {
                let mut merged = Vec::with_capacity(list.len() + theirs.len());
                merged.extend_from_slice(list);
                merged.extend_from_slice(theirs);
                // Two ascending runs: the sort finds them and merges.
                merged.sort();
                merged.dedup();
                let len = merged.len();
                *self = match len < DENSE {
                    true => Self::List(merged),
                    false => Self::from_sorted(merged.into_iter(), len),
                };
            }
        }
    }

    /// A bitmap with few blocks becomes a list.
    fn normalize(&mut self) {
        if self.len() < DENSE && !self.is_list() {
            *self = Self::List(self.iter().collect());
        }
    }
}

fn set_bit(words: &mut [u64; WORDS], offset: u16) -> bool {
    let (word, bit) = (&mut words[usize::from(offset / 64)], 1 << (offset % 64));
    let new = *word & bit == 0;
    *word |= bit;
    new
}

/// The offsets in a chunk, ascending.
#[derive(Debug)]
pub(super) enum Offsets<'a> {
    List(std::slice::Iter<'a, u16>),
    Bitmap { words: &'a [u64; WORDS], at: usize, word: u64 },
}

impl Iterator for Offsets<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        match self {
            Self::List(list) => list.next().copied(),
            Self::Bitmap { words, at, word } => {
                while *word == 0 {
                    *at += 1;
                    *word = *words.get(*at)?;
                }
                let bit = word.trailing_zeros() as usize;
                *word &= *word - 1;
                Some((*at * 64 + bit) as u16)
            }
        }
    }
}
