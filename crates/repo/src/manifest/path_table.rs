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
        Ok(PathTable { file, len: self.len, blocks: self.blocks, last: Mutex::default() })
    }
}

/// Finds a record by its path.
pub(crate) struct PathTable {
    file: File,
    len: u64,
    blocks: Vec<(Box<str>, u64)>,
    /// The number and content of the block that was read last: in most directories' order
    /// neighbours follow each other.
    last: Mutex<(Option<usize>, Vec<u8>)>,
}

impl PathTable {
    /// The body of the record of this path.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let after = self.blocks.partition_point(|(first, _)| first.as_ref() <= path);
        let Some(number) = after.checked_sub(1) else { return Ok(None) };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != Some(number) {
            let begin = self.blocks[number].1;
            let end = self.blocks.get(after).map_or(self.len, |(_, at)| *at);
            last.0 = None;
            last.1.resize((end - begin) as usize, 0);
            self.file.read_exact_at(&mut last.1, begin).map_err(failed)?;
            last.0 = Some(number);
        }
        let mut reader = Reader(&last.1);
        while !reader.is_empty() {
            let record = reader.bytes().zip(reader.bytes());
            let (found, body) =
                record.ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))?;
            match found.cmp(path.as_bytes()) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(body.to_vec())),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
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
        for outside in ["", "base", "base/0000000", "base/0199999", "c"] {
            assert_eq!(table.get(outside).expect("reads"), None, "{outside}");
        }
        let empty = PathTableBuilder::new().and_then(PathTableBuilder::finish).expect("writes");
        assert_eq!(empty.get("base").expect("reads"), None);
    }
}
