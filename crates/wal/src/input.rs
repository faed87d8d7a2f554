use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// What was fed and not taken yet: pieces of any size, read as one.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Input {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Puts back what was taken last.
    pub(crate) fn push_front(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_front(piece);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.len = 0;
    }

    /// The next `N` bytes, if there are as many.
    pub(crate) fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        if let Some(bytes) = self.pieces.front().and_then(|piece| piece.first_chunk()) {
            return Some(*bytes);
        }
        if self.len < N {
            return None;
        }
        let mut bytes = [0; N];
        let all = self.pieces.iter().flat_map(|piece| piece.iter());
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = *from;
        }
        Some(bytes)
    }

    /// Copies the bytes behind the next `skip`, as many as there are and fit; says how many.
    pub(crate) fn peek_at(&self, mut skip: usize, to: &mut [u8]) -> usize {
        let mut filled = 0;
        for piece in &self.pieces {
            let part = piece.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(piece.len());
            for (to, from) in to.iter_mut().skip(filled).zip(part) {
                *to = *from;
                filled += 1;
            }
        }
        filled
    }

    /// Takes exactly this many bytes, if there are as many; without copying when they lie in one
    /// piece.
    pub(crate) fn take(&mut self, len: usize) -> Option<Bytes> {
        if self.len < len {
            return None;
        }
        if self.pieces.front().is_some_and(|front| front.len() >= len) {
            return Some(self.take_front(len));
        }
        let mut joined = BytesMut::with_capacity(len);
        while joined.len() < len {
            let part = self.take_front(len - joined.len());
            if part.is_empty() {
                return None;
            }
            joined.extend_from_slice(&part);
        }
        Some(joined.freeze())
    }

    /// Takes up to this many bytes, as many as lie in the first piece.
    pub(crate) fn take_front(&mut self, len: usize) -> Bytes {
        let Some(front) = self.pieces.front_mut() else {
            return Bytes::new();
        };
        let part = front.split_to(len.min(front.len()));
        if front.is_empty() {
            self.pieces.pop_front();
        }
        self.len -= part.len();
        part
    }

    /// Drops up to this many bytes and says how many.
    pub(crate) fn skip(&mut self, len: u64) -> u64 {
        let mut left = len.min(self.len as u64) as usize;
        let skipped = left as u64;
        self.len -= left;
        while left > 0 {
            let Some(front) = self.pieces.front_mut() else { break };
            let part = left.min(front.len());
            front.advance(part);
            if front.is_empty() {
                self.pieces.pop_front();
            }
            left -= part;
        }
        skipped
    }
}
