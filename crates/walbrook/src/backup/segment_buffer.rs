use std::fs::File;
use std::io::{self, Read, Seek, Write};

use bytes::Bytes;
use walbrook_types::{SegmentNumber, WalSegmentSize};

use crate::{Error, Result};

/// Collects a WAL stream into whole segments: in memory while they are of an ordinary size, in an
/// unnamed temporary file when they are larger.
pub(crate) struct SegmentBuffer {
    number: SegmentNumber,
    size: WalSegmentSize,
    filled: u64,
    content: Content,
}

/// Segments up to this size are collected in memory.
const IN_MEMORY: u64 = 64 << 20;

enum Content {
    Memory(Vec<Bytes>),
    File(File),
}

/// A whole segment's content, to be read as often as needed.
pub(crate) struct Segment(Content);

impl SegmentBuffer {
    pub(crate) fn new(first: SegmentNumber, size: WalSegmentSize) -> Self {
        Self { number: first, size, filled: 0, content: Content::Memory(Vec::new()) }
    }

    /// Adds the bytes that follow; returns the segments that they complete.
    pub(crate) fn push(&mut self, mut bytes: Bytes) -> Result<Vec<(SegmentNumber, Segment)>> {
        let mut complete = Vec::new();
        while !bytes.is_empty() {
            let room = self.size.bytes() - self.filled;
            let part = bytes.split_to(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.filled += part.len() as u64;
            self.keep(part)
                .map_err(|e| Error::io("a temporary file for WAL can't be written", e))?;
            if self.filled == self.size.bytes() {
                let content = std::mem::replace(&mut self.content, Content::Memory(Vec::new()));
                complete.push((self.number, Segment(content)));
                self.number = self.number.next();
                self.filled = 0;
            }
        }
        Ok(complete)
    }

    fn keep(&mut self, part: Bytes) -> io::Result<()> {
        if self.size.bytes() > IN_MEMORY && matches!(self.content, Content::Memory(_)) {
            self.content = Content::File(tempfile::tempfile()?);
        }
        match &mut self.content {
            Content::Memory(parts) => {
                parts.push(part);
                Ok(())
            }
            Content::File(file) => file.write_all(&part),
        }
    }
}

impl Segment {
    /// Its content from the start.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read>> {
        match &self.0 {
            Content::Memory(parts) => Ok(Box::new(Parts { parts: parts.clone(), next: 0 })),
            Content::File(file) => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                Ok(Box::new(file))
            }
        }
    }
}

struct Parts {
    parts: Vec<Bytes>,
    next: usize,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(part) = self.parts.get_mut(self.next) {
            let len = part.len().min(buffer.len());
            if len > 0 || buffer.is_empty() {
                buffer[..len].copy_from_slice(&part.split_to(len));
                return Ok(len);
            }
            self.next += 1;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_any_pieces_becomes_whole_segments() {
        let size = WalSegmentSize::new(1 << 20).expect("a size");
        let stream: Bytes = (0..700_000u32).flat_map(u32::to_le_bytes).collect();
        for piece in [1_000, 1 << 20, 3_000_000] {
            let mut buffer = SegmentBuffer::new(SegmentNumber(7), size);
            let mut whole = Vec::new();
            for start in (0..stream.len()).step_by(piece) {
                let end = stream.len().min(start + piece);
                whole.extend(buffer.push(stream.slice(start..end)).expect("pushes"));
            }
            assert_eq!(whole.iter().map(|(n, _)| n.0).collect::<Vec<_>>(), [7, 8]);
            for (n, segment) in &whole {
                let mut content = Vec::new();
                segment.open().expect("opens").read_to_end(&mut content).expect("reads");
                let start = (n.0 as usize - 7) << 20;
                assert_eq!(content, stream[start..start + (1 << 20)]);
            }
        }
    }
}
