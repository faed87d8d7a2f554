use super::skim::Skim;

/// How much is kept of the rest of a record in one segment. Only the end of a transaction that drops
/// hundreds of thousands of relations can need more.
pub(super) const KEEP: u32 = 4 << 20;

/// The rest of a record that began before. What of it matters can't be told without its beginning,
/// so it is kept as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// How many bytes were missing at the start.
    pub(super) rem_len: u32,
    /// How many of them came by.
    pub(super) taken: u32,
    /// Where each piece lies from the start of the rest, ascending, without overlap or touch.
    pub(super) pieces: Vec<(u32, Vec<u8>)>,
    pub(super) end: HeadEnd,
}

/// How the rest of a record ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadEnd {
    /// Not here: it goes on in what follows, or the log ends before it does.
    Open,
    /// Completely.
    Whole,
    /// The server gave the record up after a crash: it never was.
    GivenUp,
}

impl Head {
    pub(super) fn new(rem_len: u32) -> Self {
        Self { rem_len, taken: 0, pieces: Vec::new(), end: HeadEnd::Open }
    }

    /// One whose record was given up where the WAL here begins.
    pub(super) fn given_up() -> Self {
        Self { end: HeadEnd::GivenUp, ..Self::new(0) }
    }

    pub(super) fn remaining(&self) -> u32 {
        self.rem_len.saturating_sub(self.taken)
    }

    pub(super) fn feed(&mut self, part: &[u8]) {
        let room = KEEP.saturating_sub(self.taken) as usize;
        let kept = part.get(..room.min(part.len())).unwrap_or_default();
        if !kept.is_empty() {
            self.keep(self.taken, kept);
        }
        self.taken = self.taken.saturating_add(part.len() as u32).min(self.rem_len);
    }

    pub(super) fn end(&mut self, end: HeadEnd) {
        self.end = end;
        if end == HeadEnd::GivenUp {
            self.pieces.clear();
        }
    }

    /// Goes on with what follows directly.
    pub(super) fn append(&mut self, next: &Self) {
        for (at, bytes) in &next.pieces {
            self.keep(self.taken.saturating_add(*at), bytes);
        }
        self.taken = self.taken.saturating_add(next.taken).min(self.rem_len);
        self.end(next.end);
    }

    /// Lets the record whose rest this is see it.
    pub(super) fn feed_into(&self, skim: &mut Skim) {
        let mut at = 0;
        for (from, bytes) in &self.pieces {
            skim.skip(from.saturating_sub(at));
            skim.feed(bytes);
            at = from.saturating_add(bytes.len() as u32);
        }
        skim.skip(self.taken.saturating_sub(at));
    }

    fn keep(&mut self, at: u32, bytes: &[u8]) {
        match self.pieces.last_mut() {
            Some((from, kept)) if *from as usize + kept.len() == at as usize => {
                kept.extend_from_slice(bytes);
            }
            _ => self.pieces.push((at, bytes.to_vec())),
        }
    }
}
