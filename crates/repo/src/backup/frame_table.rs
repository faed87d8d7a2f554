use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;

use crate::manifest::FrameRef;
use crate::{Digest, Error, Result};

/// The frames that a backup has written, in an unnamed temporary file: a hundred million of them
/// do not fit in memory.
pub(crate) struct FrameTable {
    out: BufWriter<File>,
    count: u64,
}

const RECORD_LEN: usize = 4 + 8 + 4 + 4 + Digest::LEN;

fn failed(error: std::io::Error) -> Error {
    Error::local("a temporary file for the table of frames can't be used", error)
}

impl FrameTable {
    pub(crate) fn new() -> Result<Self> {
        let file = tempfile::tempfile().map_err(failed)?;
        Ok(Self { out: BufWriter::with_capacity(RECORD_LEN * 1024, file), count: 0 })
    }

    /// Adds a frame; its number is how many there were before. `frame.pack` is the number of the
    /// pack of this backup.
    pub(crate) fn push(&mut self, frame: &FrameRef) -> Result<u64> {
        let mut record = [0; RECORD_LEN];
        record[..4].copy_from_slice(&frame.pack.to_le_bytes());
        record[4..12].copy_from_slice(&frame.offset.to_le_bytes());
        record[12..16].copy_from_slice(&frame.stored_len.to_le_bytes());
        record[16..20].copy_from_slice(&frame.raw_len.to_le_bytes());
        record[20..].copy_from_slice(frame.digest.as_bytes());
        self.out.write_all(&record).map_err(failed)?;
        self.count += 1;
        Ok(self.count - 1)
    }

    /// No more frames will come: they can be looked up now.
    pub(crate) fn finish(self) -> Result<FrameLookup> {
        let file = self.out.into_inner().map_err(|e| failed(e.into_error()))?;
        Ok(FrameLookup { file })
    }
}

/// Answers which frame a number stands for.
pub(crate) struct FrameLookup {
    file: File,
}

impl FrameLookup {
    pub(crate) fn get(&self, number: u64) -> Result<FrameRef> {
        let mut record = [0; RECORD_LEN];
        self.file.read_exact_at(&mut record, number * RECORD_LEN as u64).map_err(failed)?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| record[at + i]));
        let mut digest = [0; Digest::LEN];
        digest.copy_from_slice(&record[20..]);
        Ok(FrameRef {
            pack: word(0),
            offset: u64::from(word(4)) | u64::from(word(8)) << 32,
            stored_len: word(12),
            raw_len: word(16),
            digest: Digest::from_bytes(digest),
        })
    }
}
