use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;

use crate::id::BackupId;
use crate::manifest::{FrameRef, PackRef};
use crate::{Digest, Error, Result};

/// Frames by number, in an unnamed temporary file: a hundred million of them do not fit in
/// memory.
pub(crate) struct FrameTable {
    out: BufWriter<File>,
    count: u64,
}

const RECORD_LEN: usize = BackupId::LEN + 4 + 8 + 4 + 4 + Digest::LEN;

fn failed(error: std::io::Error) -> Error {
    Error::local("a temporary file for the table of frames can't be used", error)
}

impl FrameTable {
    pub(crate) fn new() -> Result<Self> {
        let file = tempfile::tempfile().map_err(failed)?;
        Ok(Self { out: BufWriter::with_capacity(RECORD_LEN * 1024, file), count: 0 })
    }

    /// Adds a frame and tells its number. `frame.pack` is passed over: `pack` says which it is.
    pub(crate) fn push(&mut self, pack: &PackRef, frame: &FrameRef) -> Result<u64> {
        let mut record = [0; RECORD_LEN];
        let (id, rest) = record.split_at_mut(BackupId::LEN);
        id.copy_from_slice(pack.backup.as_str().as_bytes());
        rest[..4].copy_from_slice(&pack.number.to_le_bytes());
        rest[4..12].copy_from_slice(&frame.offset.to_le_bytes());
        rest[12..16].copy_from_slice(&frame.stored_len.to_le_bytes());
        rest[16..20].copy_from_slice(&frame.raw_len.to_le_bytes());
        rest[20..].copy_from_slice(frame.digest.as_bytes());
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

/// Answers which frame a number stands for, and in which pack it is.
pub(crate) struct FrameLookup {
    file: File,
}

impl FrameLookup {
    pub(crate) fn get(&self, number: u64) -> Result<(PackRef, FrameRef)> {
        let mut record = [0; RECORD_LEN];
        let at = number.saturating_mul(RECORD_LEN as u64);
        self.file.read_exact_at(&mut record, at).map_err(failed)?;
        let (id, rest) = record.split_at(BackupId::LEN);
        let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
        let backup = id.ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| rest[at + i]));
        let mut digest = [0; Digest::LEN];
        digest.copy_from_slice(&rest[20..]);
        let frame = FrameRef {
            pack: 0,
            offset: u64::from(word(4)) | u64::from(word(8)) << 32,
            stored_len: word(12),
            raw_len: word(16),
            digest: Digest::from_bytes(digest),
        };
        Ok((PackRef { backup, number: word(0) }, frame))
    }
}
