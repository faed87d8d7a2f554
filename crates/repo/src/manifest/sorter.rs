use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::wire::{Put, Reader};
use crate::{Error, Result};

/// Sorts records by path in bounded memory, whatever their number: runs are sorted in memory,
/// spilled to an unnamed temporary file, and merged.
///
/// A backup meets a cluster's files in the order of its directories; its manifest must be in the
/// order of paths. Ten million files do not fit in memory, and need not.
#[derive(Debug)]
pub struct PathSorter {
    run: Vec<(String, Vec<u8>)>,
    run_bytes: usize,
    run_limit: usize,
    spill: Option<Spill>,
}

#[derive(Debug)]
struct Spill {
    file: Arc<File>,
    len: u64,
    /// Where each run begins and ends in the file.
    runs: Vec<(u64, u64)>,
}

/// Memory that one run may take.
const RUN_LIMIT: usize = 16 << 20;

/// What a merge reads of each run at a time.
const READ_SIZE: u64 = 64 << 10;

impl Default for PathSorter {
    fn default() -> Self {
        Self::with_run_limit(RUN_LIMIT)
    }
}

impl PathSorter {
    fn with_run_limit(run_limit: usize) -> Self {
        Self { run: Vec::new(), run_bytes: 0, run_limit, spill: None }
    }

    /// Adds a record. Several may have the same path: they come out in the order they went in.
    pub fn push(&mut self, path: String, body: Vec<u8>) -> Result<()> {
        self.run_bytes += path.len() + body.len() + 64;
        self.run.push((path, body));
        if self.run_bytes >= self.run_limit { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        let failed = |e| Error::local("a temporary file for the manifest can't be written", e);
        if self.spill.is_none() {
            let file = Arc::new(tempfile::tempfile().map_err(failed)?);
            self.spill = Some(Spill { file, len: 0, runs: Vec::new() });
        }
        let Some(spill) = &mut self.spill else { return Ok(()) };
        self.run.sort_by(|a, b| a.0.cmp(&b.0));
        self.run_bytes = 0;
        let begin = spill.len;
        let mut out = BufWriter::with_capacity(1 << 20, &*spill.file);
        let mut record = Vec::new();
        for (path, body) in self.run.drain(..) {
            record.clear();
            record.put_bytes(path.as_bytes());
            record.put_bytes(&body);
            out.write_all(&(record.len() as u32).to_le_bytes()).map_err(failed)?;
            out.write_all(&record).map_err(failed)?;
            spill.len += 4 + record.len() as u64;
        }
        out.flush().map_err(failed)?;
        spill.runs.push((begin, spill.len));
        Ok(())
    }

    /// The records in the order of their paths.
    pub fn finish(mut self) -> Result<SortedPaths> {
        if self.spill.is_none() {
            self.run.sort_by(|a, b| a.0.cmp(&b.0));
            return Ok(SortedPaths {
                memory: self.run.into_iter(),
                heap: BinaryHeap::new(),
                runs: vec![],
            });
        }
        if !self.run.is_empty() {
            self.spill()?;
        }
        let mut runs: Vec<_> = self
            .spill
            .into_iter()
            .flat_map(|s| {
                let file = s.file;
                s.runs.into_iter().map(move |(at, end)| RunReader::new(file.clone(), at, end))
            })
            .collect();
        let mut heap = BinaryHeap::with_capacity(runs.len());
        for (number, run) in runs.iter_mut().enumerate() {
            if let Some((path, body)) = run.next()? {
                heap.push(Reverse((path, number, body)));
            }
        }
        Ok(SortedPaths { memory: Vec::new().into_iter(), heap, runs })
    }
}

/// What a [`PathSorter`] has sorted.
#[derive(Debug)]
pub struct SortedPaths {
    memory: std::vec::IntoIter<(String, Vec<u8>)>,
    heap: BinaryHeap<Reverse<(String, usize, Vec<u8>)>>,
    runs: Vec<RunReader>,
}

impl SortedPaths {
    /// The next record.
    pub fn next_record(&mut self) -> Result<Option<(String, Vec<u8>)>> {
        let Some(mut least) = self.heap.peek_mut() else { return Ok(self.memory.next()) };
        let number = least.0.1;
        let out = match self.runs[number].next()? {
            Some((path, body)) => std::mem::replace(&mut *least, Reverse((path, number, body))),
            None => PeekMut::pop(least),
        };
        Ok(Some((out.0.0, out.0.2)))
    }
}

/// Reads one run, a piece at a time.
#[derive(Debug)]
struct RunReader {
    file: Arc<File>,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl RunReader {
    fn new(file: Arc<File>, at: u64, end: u64) -> Self {
        Self { file, at, end, buffer: Vec::new(), used: 0 }
    }

    /// Makes sure that `len` bytes are buffered.
    fn fill(&mut self, len: usize) -> Result<()> {
        let have = self.buffer.len() - self.used;
        if have >= len {
            return Ok(());
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let want = ((len - have) as u64).max(READ_SIZE).min(self.end - self.at) as usize;
        self.buffer.resize(have + want, 0);
        self.file
            .read_exact_at(&mut self.buffer[have..], self.at)
            .map_err(|e| Error::local("a temporary file for the manifest can't be read", e))?;
        self.at += want as u64;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(String, Vec<u8>)>> {
        if self.at == self.end && self.used == self.buffer.len() {
            return Ok(None);
        }
        let damaged = || {
            let cause = std::io::Error::from(std::io::ErrorKind::InvalidData);
            Error::local("a temporary file for the manifest changed under us", cause)
        };
        self.fill(4)?;
        let len = self.buffer[self.used..].first_chunk().ok_or_else(damaged)?;
        let len = u32::from_le_bytes(*len) as usize;
        self.used += 4;
        self.fill(len)?;
        let record = self.buffer.get(self.used..self.used + len).ok_or_else(damaged)?;
        let mut reader = Reader(record);
        let path = reader.text().ok_or_else(damaged)?.to_owned();
        let body = reader.bytes().ok_or_else(damaged)?.to_vec();
        self.used += len;
        Ok(Some((path, body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spilled_runs_merge_into_one_order() {
        for run_limit in [usize::MAX, 1, 700, 5_000] {
            let mut sorter = PathSorter::with_run_limit(run_limit);
            for n in 0..1_000u64 {
                let path = format!("base/{}", n.wrapping_mul(7_919) % 500);
                sorter.push(path, n.to_le_bytes().to_vec()).expect("pushes");
            }
            let mut sorted = sorter.finish().expect("sorts");
            let mut seen = Vec::new();
            while let Some(record) = sorted.next_record().expect("reads") {
                seen.push(record);
            }
            assert_eq!(seen.len(), 1_000);
            assert!(seen.is_sorted_by_key(|(path, body)| {
                (path.clone(), u64::from_le_bytes(body[..].try_into().expect("eight bytes")))
            }));
        }
    }
}
