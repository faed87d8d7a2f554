//! What is read of a file, and what of it the base stands for.

use std::collections::HashMap;
use std::ops::Range;

use walbrook_delta::FilePlan;
use walbrook_page::Page;
use walbrook_repo::{BackupWriter, BaseIndex, FileNumber};
use walbrook_types::{BLOCK_SIZE, RelFile};

use crate::Result;
use crate::backup::changes::Changes;
use crate::backup::source::FileInfo;

const BLOCK: u64 = BLOCK_SIZE as u64;

/// How a file gets into the backup.
pub(crate) enum Reading {
    /// Nothing of it is read: all of it is as in the base.
    Reused,
    /// All of it is read, and the writer compares it with the base.
    Whole,
    /// These bytes are read; all others are as in the base.
    Parts(Vec<Range<u64>>),
    /// All of it is read; below this block, pages without a change since the base are as in it.
    Filtered(u32),
}

/// Decides how files get into the backup.
pub(crate) struct Plans<'a> {
    changes: &'a Changes,
    base: Option<BaseIndex>,
    /// Blocks within files that the base has damaged: they are read again whatever the log says.
    damaged: HashMap<String, Vec<u32>>,
}

impl<'a> Plans<'a> {
    pub(crate) fn new(changes: &'a Changes, base: Option<BaseIndex>) -> Self {
        let mut damaged: HashMap<String, Vec<u32>> = HashMap::new();
        let listed = base.iter().flat_map(|base| &base.record().damage.listed);
        for page in listed {
            let first = RelFile::from_path(&page.path).map_or(0, |file| file.first_block());
            let block = page.block.saturating_sub(first);
            damaged.entry(page.path.clone()).or_default().push(block);
        }
        Self { changes, base, damaged }
    }

    /// How this file gets into the backup.
    pub(crate) fn reading(&self, file: &FileInfo) -> Result<Reading> {
        let (Some(base), false) = (&self.base, matches!(self.changes, Changes::Compare)) else {
            return Ok(Reading::Whole);
        };
        let of_base = base.lookup(&file.path)?.map(|file| file.size());
        let mut blocks = match self.changes {
            Changes::Compare => return Ok(Reading::Whole),
            Changes::Map(map) => match map.plan(&file.path, file.size, of_base) {
                FilePlan::Whole(_) => return Ok(Reading::Whole),
                FilePlan::Unchanged => Vec::new(),
                FilePlan::Blocks(blocks) => blocks,
            },
            Changes::PageLsn(filter) => {
                return Ok(match filter.comparable(&file.path, file.size, of_base) {
                    Ok(blocks) if blocks > 0 => Reading::Filtered(blocks),
                    _ => Reading::Whole,
                });
            }
        };
        if let Some(damaged) = self.damaged.get(&file.path) {
            let now = file.size / BLOCK;
            let damaged = damaged.iter().filter(|block| u64::from(**block) < now);
            blocks.extend(damaged.map(|block| *block..block + 1));
            blocks = joined(blocks);
        }
        if blocks.is_empty() {
            return Ok(Reading::Reused);
        }
        let bytes =
            |blocks: Range<u32>| u64::from(blocks.start) * BLOCK..u64::from(blocks.end) * BLOCK;
        Ok(Reading::Parts(blocks.into_iter().map(bytes).collect()))
    }

    /// Opens a file of which the base has parts.
    pub(crate) fn open(&self, writer: &mut BackupWriter, file: &FileInfo) -> Result<FileNumber> {
        let base = match &self.base {
            Some(base) => base.lookup(&file.path)?,
            None => None,
        };
        Ok(writer.open_file(&file.path, file.mode, file.mtime, base)?)
    }

    /// Stores what was read of a file at `offset`, but for pages that the base stands for.
    pub(crate) async fn store(
        &self,
        writer: &mut BackupWriter,
        number: FileNumber,
        file: &FileInfo,
        reading: &Reading,
        offset: u64,
        bytes: &[u8],
    ) -> Result<()> {
        let (Reading::Filtered(limit), Changes::PageLsn(filter)) = (reading, self.changes) else {
            return Ok(writer.write_at(number, offset, bytes).await?);
        };
        let damaged = self.damaged.get(&file.path);
        let is_kept = |block: u64, page: &[u8]| {
            let Ok(page) = <&Page>::try_from(page) else { return false };
            block < u64::from(*limit)
                && !filter.is_changed(page)
                && !damaged.is_some_and(|blocks| blocks.iter().any(|b| u64::from(*b) == block))
        };
        let pages: Vec<(u64, bool, &[u8])> = bytes
            .chunks(BLOCK_SIZE)
            .zip(0..)
            .map(|(page, index)| {
                let at = offset + index * BLOCK;
                (at, is_kept(at / BLOCK, page), page)
            })
            .collect();
        for run in pages.chunk_by(|a, b| a.1 == b.1) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let range = first.0..last.0 + last.2.len() as u64;
            match first.1 {
                true => writer.reuse(number, range)?,
                false => {
                    let within = (range.start - offset) as usize..(range.end - offset) as usize;
                    let content = bytes.get(within).unwrap_or_default();
                    writer.write_at(number, range.start, content).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends a file of `size` bytes: what was not read of it is as in the base.
    pub(crate) fn close(
        &self,
        writer: &mut BackupWriter,
        number: FileNumber,
        reading: &Reading,
        size: u64,
    ) -> Result<()> {
        let read: &[Range<u64>] = match reading {
            Reading::Parts(read) => read,
            Reading::Reused => &[],
            Reading::Whole | Reading::Filtered(_) => return Ok(writer.close_file(number, size)?),
        };
        let mut at = 0;
        for range in read {
            if range.start > at {
                writer.reuse(number, at..range.start.min(size).max(at))?;
            }
            at = range.end.min(size).max(at);
            if at >= size {
                break;
            }
        }
        if at < size {
            writer.reuse(number, at..size)?;
        }
        Ok(writer.close_file(number, size)?)
    }
}

/// Ranges in any order, put together where they touch or overlap.
fn joined(mut ranges: Vec<Range<u32>>) -> Vec<Range<u32>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u32>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut().filter(|last| last.end >= range.start) {
            Some(last) => last.end = last.end.max(range.end),
            None => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined() {
        assert_eq!(joined(vec![7..8, 1..3, 3..4, 2..3, 9..10]), [1..4, 7..8, 9..10]);
        assert_eq!(joined(vec![]), Vec::<Range<u32>>::new());
    }
}
