use walbrook_types::{BLOCKS_PER_FILE, BlockNumber};

use super::IncrementalHeader;
use super::header::bad;
use crate::Error;

/// Where each block of a relation file comes from: a full file, with the incremental files of the
/// backups after it laid over it one by one.
///
/// Each incremental file is laid over what the ones before it gave, as the server compared it with
/// that. `pg_combinebackup` does the same in one pass and differs in one case: for a block that the
/// newest backup leaves out, and at whose place the file *ended* in a backup in between, it goes back
/// to what stood there still earlier; here such a block is zeros, which is what the server has when
/// it extended the file without logging it.
///
/// ```
/// use walbrook_delta::{IncrementalHeader, Layout, Place};
///
/// let mut layout = Layout::full(3)?;
/// layout.apply(&IncrementalHeader::new(4, vec![1])?);
/// let runs: Vec<_> = layout.runs().iter().map(|run| (run.first, run.count, run.place)).collect();
/// assert_eq!(
///     runs,
///     [
///         (0, 1, Place::Layer { layer: 0, index: 0 }),
///         (1, 1, Place::Layer { layer: 1, index: 0 }),
///         (2, 1, Place::Layer { layer: 0, index: 2 }),
///         (3, 1, Place::Zeros),
///     ]
/// );
/// # Ok::<(), walbrook_delta::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    runs: Vec<Run>,
    layers: usize,
}

/// Consecutive blocks of a file that come from consecutive places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first block, within the file.
    pub first: BlockNumber,
    /// How many there are; never none.
    pub count: u32,
    /// Where the first of them comes from; the others follow it there.
    pub place: Place,
}

/// Where a block comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A file.
    Layer {
        /// Which: 0 is the full file, 1 the first incremental one.
        layer: usize,
        /// Which of the blocks stored there, from 0. In a full file that is the block's number;
        /// in an incremental one the contents begin at [`IncrementalHeader::size`].
        index: u32,
    },
    /// No file has it: it is all zeros.
    Zeros,
}

impl Run {
    fn end(&self) -> BlockNumber {
        self.first + self.count
    }

    /// The part of the run in `[from, to)`.
    fn part(&self, from: BlockNumber, to: BlockNumber) -> Option<Run> {
        let (from, to) = (from.max(self.first), to.min(self.end()));
        let place = match self.place {
            Place::Layer { layer, index } => {
                Place::Layer { layer, index: index + from.checked_sub(self.first)? }
            }
            Place::Zeros => Place::Zeros,
        };
        (from < to).then(|| Run { first: from, count: to - from, place })
    }
}

impl Layout {
    /// Of a full file with this many blocks.
    ///
    /// # Errors
    ///
    /// [`BadIncremental`](crate::ErrorKind::BadIncremental) when no relation file can have so many.
    pub fn full(blocks: u32) -> Result<Self, Error> {
        if blocks > BLOCKS_PER_FILE {
            return Err(bad(format!("a full file of {blocks} blocks below it")));
        }
        let run = Run { first: 0, count: blocks, place: Place::Layer { layer: 0, index: 0 } };
        Ok(Self { runs: if blocks > 0 { vec![run] } else { Vec::new() }, layers: 1 })
    }

    /// Lays the incremental file of the next backup over it. Not one of a relation that was truncated in
    /// between: see [`Truncations`](crate::Truncations).
    pub fn apply(&mut self, header: &IncrementalHeader) {
        let layer = self.layers;
        self.layers += 1;
        let keep = header.truncation_block_length();
        let end = header.reconstructed_length();
        let mut merged =
            Merge { runs: Vec::with_capacity(self.runs.len()), old: &self.runs, at: 0 };
        let mut done = 0;
        for (index, &block) in header.blocks().iter().enumerate() {
            merged.keep(done, block, keep);
            let place = Place::Layer { layer, index: index as u32 };
            merged.push(Run { first: block, count: 1, place });
            done = block + 1;
        }
        merged.keep(done, end, keep);
        self.runs = merged.runs;
    }

    /// The file from its first block to its last, without gaps.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The file's length in blocks.
    pub fn blocks(&self) -> u32 {
        self.runs.last().map_or(0, Run::end)
    }
}

/// A layout that is being made of an older one.
struct Merge<'a> {
    runs: Vec<Run>,
    old: &'a [Run],
    /// The first of `old` that does not end before what was asked for so far.
    at: usize,
}

impl Merge<'_> {
    /// Takes blocks `[from, to)` as they were, as far as they are below `keep` and were there.
    fn keep(&mut self, from: BlockNumber, to: BlockNumber, keep: BlockNumber) {
        let mut from = from;
        while let Some(run) = self.old.get(self.at).filter(|run| run.first < to.min(keep)) {
            if let Some(part) = run.part(from, to.min(keep)) {
                from = part.end();
                self.push(part);
            }
            if run.end() > to {
                break;
            }
            self.at += 1;
        }
        if from < to {
            self.push(Run { first: from, count: to - from, place: Place::Zeros });
        }
    }

    /// Adds a run, as part of the last one where it continues that.
    fn push(&mut self, run: Run) {
        if let Some(last) = self.runs.last_mut() {
            let continues = match (last.place, run.place) {
                (Place::Layer { layer, index }, Place::Layer { layer: other, index: next }) => {
                    layer == other && index + last.count == next
                }
                (Place::Zeros, Place::Zeros) => true,
                _ => false,
            };
            if continues && last.end() == run.first {
                last.count += run.count;
                return;
            }
        }
        self.runs.push(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Block by block: which layer and index, or none for zeros.
    fn naive(full: u32, headers: &[IncrementalHeader]) -> Vec<Option<(usize, u32)>> {
        let mut file: Vec<_> = (0..full).map(|block| Some((0, block))).collect();
        for (layer, header) in headers.iter().enumerate() {
            let mut next = vec![None; header.reconstructed_length() as usize];
            for (block, slot) in next.iter_mut().enumerate() {
                *slot = match header.blocks().binary_search(&(block as u32)) {
                    Ok(index) => Some((layer + 1, index as u32)),
                    Err(_) if block < header.truncation_block_length() as usize => {
                        file.get(block).copied().flatten()
                    }
                    Err(_) => None,
                };
            }
            file = next;
        }
        file
    }

    fn header() -> impl Strategy<Value = IncrementalHeader> {
        (0..60u32, proptest::collection::btree_set(0..60u32, 0..20))
            .prop_map(|(len, set)| IncrementalHeader::new(len, set.into_iter().collect()).unwrap())
    }

    proptest! {
        #[test]
        fn equals_a_model(full in 0..60u32, headers in proptest::collection::vec(header(), 0..6)) {
            let mut layout = Layout::full(full).unwrap();
            headers.iter().for_each(|header| layout.apply(header));
            let mut file = Vec::new();
            for run in layout.runs() {
                prop_assert!(run.count > 0);
                prop_assert_eq!(run.first as usize, file.len());
                file.extend((0..run.count).map(|n| match run.place {
                    Place::Layer { layer, index } => Some((layer, index + n)),
                    Place::Zeros => None,
                }));
            }
            prop_assert_eq!(file.len(), layout.blocks() as usize);
            prop_assert_eq!(file, naive(full, &headers));
            let neighbours = layout.runs().windows(2);
            for pair in neighbours {
                let (a, b) = (pair[0], pair[1]);
                prop_assert!(!(a.place == Place::Zeros && b.place == Place::Zeros));
            }
        }
    }
}
