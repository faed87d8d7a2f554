use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use crate::wire::{Put, Reader};
use crate::{Error, Result};

/// Records in the order of their paths, in an unnamed temporary file, for looking them up in any
/// order: a directory is listed in an order of its own, and ten million records do not fit in
/// memory.
///
/// The file is cut into blocks; in memory is the first path of each.
pub(crate) struct PathTableBuilder {
    out: BufWriter<File>,
    len: u64,
    block_len: usize,
    record: Vec<u8>,
    blocks: Vec<(Box<str>, u64)>,
}

/// A block ends with the record that fills it.
const BLOCK_LEN: usize = 32 << 10;

fn failed(error: std::io::Error) -> Error {
    Error::local("a temporary file for looking up paths can't be used", error)
}

impl PathTableBuilder {
    pub(crate) fn new() -> Result<Self> {
        let file = tempfile::tempfile().map_err(failed)?;
        Ok(Self {
            out: BufWriter::with_capacity(1 << 18, file),
            len: 0,
            block_len: BLOCK_LEN,
            record: Vec::new(),
            blocks: Vec::new(),
        })
    }

    /// Adds a record; its path is past that of the record before.
    pub(crate) fn push(&mut self, path: &str, body: &[u8]) -> Result<()> {
        if self.block_len >= BLOCK_LEN {
            self.blocks.push((path.into(), self.len));
            self.block_len = 0;
        }
        self.record.clear();
        self.record.put_bytes(path.as_bytes());
        self.record.put_bytes(body);
        self.out.write_all(&self.record).map_err(failed)?;
        self.len += self.record.len() as u64;
        self.block_len += self.record.len();
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<PathTable> {
        let file = self.out.into_inner().map_err(|e| failed(e.into_error()))?;
        Ok(PathTable { file, len: self.len, blocks: self.blocks, recent: Mutex::default() })
    }
}

/// Finds a record by its path.
pub(crate) struct PathTable {
    file: File,
    len: u64,
    blocks: Vec<(Box<str>, u64)>,
    /// The blocks that were read last, the newest first. Paths are looked up in order, or nearly: once
    /// when a file is about to be read, and once when its content has come.
    recent: Mutex<[Option<Block>; 2]>,
}

/// A block in memory.
struct Block {
    number: usize,
    content: Vec<u8>,
    /// Where the record begins at which the last search ended.
    at: usize,
}

impl PathTable {
    /// The body of the record of this path.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let after = self.blocks.partition_point(|(first, _)| first.as_ref() <= path);
        let Some(number) = after.checked_sub(1) else { return Ok(None) };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_here = |block: &Option<Block>| block.as_ref().is_some_and(|b| b.number == number);
        if !is_here(&recent[0]) {
            recent.swap(0, 1);
        }
        if !is_here(&recent[0]) {
            let begin = self.blocks[number].1;
            let end = self.blocks.get(after).map_or(self.len, |(_, at)| *at);
            let mut content = recent[0].take().map(|block| block.content).unwrap_or_default();
            content.resize((end - begin) as usize, 0);
            self.file.read_exact_at(&mut content, begin).map_err(failed)?;
            recent[0] = Some(Block { number, content, at: 0 });
        }
        let [Some(block), _] = &mut *recent else { return Ok(None) };
        block.find(path.as_bytes())
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The records of a block, in the order of their paths; those of the next are past them.
    pub(crate) fn block(&self, number: usize) -> Result<Vec<(String, Vec<u8>)>> {
        let Some((_, begin)) = self.blocks.get(number) else { return Ok(Vec::new()) };
        let end = self.blocks.get(number + 1).map_or(self.len, |(_, at)| *at);
        let mut content = vec![0; (end - begin) as usize];
        self.file.read_exact_at(&mut content, *begin).map_err(failed)?;
        let mut reader = Reader(&content);
        let mut records = Vec::new();
        while !reader.is_empty() {
            let record = reader.bytes().zip(reader.bytes());
            let record = record.and_then(|(path, body)| {
                Some((std::str::from_utf8(path).ok()?.to_owned(), body.to_vec()))
            });
            records.push(record.ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))?);
        }
        Ok(records)
    }
}

impl Block {
    fn find(&mut self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut reader = Reader(&self.content[self.at..]);
        let mut begun_inside = self.at > 0;
        loop {
            let at = self.content.len() - reader.0.len();
            let record = reader.bytes().zip(reader.bytes());
            let (found, body) =
                record.ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))?;
            self.at = at;
            match found.cmp(path) {
                Ordering::Less => {}
                Ordering::Equal => return Ok(Some(body.to_vec())),
                // It may be before the place where the last search ended.
                Ordering::Greater if begun_inside => reader = Reader(&self.content),
                Ordering::Greater => return Ok(None),
            }
            begun_inside = false;
            if reader.is_empty() {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_found_and_no_other() {
        let mut builder = PathTableBuilder::new().expect("a temporary file");
        let path = |n: u32| format!("base/{n:06}");
        for n in (0..20_000u32).step_by(2) {
            let body = n.to_le_bytes().repeat(n as usize % 7);
            builder.push(&path(n), &body).expect("pushes");
        }
        let table = builder.finish().expect("writes");
        assert!(table.blocks.len() > 5);
        for n in (0..20_000u32).map(|n| n.wrapping_mul(7_919) % 20_000) {
            let body = n.to_le_bytes().repeat(n as usize % 7);
            let expected = (n % 2 == 0).then_some(body);
            assert_eq!(table.get(&path(n)).expect("reads"), expected, "{n}");
        }
        // Two at a time, as a backup goes through them, and backwards.
        for n in (0..10_000u32).step_by(2).flat_map(|n| [n + 10_000, n]).chain((0..999).rev()) {
            assert_eq!(table.get(&path(n)).expect("reads").is_some(), n % 2 == 0, "{n}");
        }
        let records = (0..table.blocks()).flat_map(|n| table.block(n).expect("reads"));
        let paths: Vec<String> = records.map(|(path, _)| path).collect();
        assert_eq!(paths, (0..20_000).step_by(2).map(path).collect::<Vec<_>>());
        for outside in ["", "base", "base/0000000", "base/0199999", "c"] {
            assert_eq!(table.get(outside).expect("reads"), None, "{outside}");
        }
        let empty = PathTableBuilder::new().and_then(PathTableBuilder::finish).expect("writes");
        assert_eq!(empty.get("base").expect("reads"), None);
    }
}
