use super::effects;
use super::gather::{Gather, Outcome};
use super::walk::{self, Layout, MAX_HEADERS, Stop};
use crate::{RecordHeader, WalVersion};

/// A record that lies in several pieces, of which only what a summary needs is kept: the headers, and
/// the main data of the few kinds of record whose main data matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skim {
    total_len: u32,
    /// How much of it came by.
    taken: u32,
    /// Its first bytes: all headers, or as much of them as came by.
    prefix: Vec<u8>,
    layout: Option<Layout>,
    /// The first bytes of the main data, as far as needed.
    main: Vec<u8>,
    /// Something was not laid out as PostgreSQL does, or bytes that are needed were not kept.
    lost: bool,
}

impl Skim {
    pub(super) fn new(total_len: u32) -> Self {
        Self {
            total_len,
            taken: 0,
            prefix: Vec::new(),
            layout: None,
            main: Vec::new(),
            lost: false,
        }
    }

    /// From what [`pieces`](Self::pieces) gave; none when these can't belong to such a record.
    pub(super) fn restore(total_len: u32, taken: u32, prefix: &[u8], main: &[u8]) -> Option<Self> {
        let mut skim = Self::new(total_len);
        skim.feed(prefix);
        if skim.prefix.len() != prefix.len() || taken > total_len {
            return None;
        }
        if let Some(layout) = skim.layout {
            let main_at = total_len.checked_sub(u32::try_from(layout.main).ok()?)?;
            if !main.is_empty() {
                skim.skip(main_at.checked_sub(skim.taken)?);
                skim.feed(main);
            }
        }
        // Passing over what is not there would make it lost, unless it is not needed.
        skim.skip(taken.checked_sub(skim.taken)?);
        (skim.main.len() == main.len()).then_some(skim)
    }

    pub(super) fn total_len(&self) -> u32 {
        self.total_len
    }

    pub(super) fn taken(&self) -> u32 {
        self.taken
    }

    pub(super) fn remaining(&self) -> u32 {
        self.total_len.saturating_sub(self.taken)
    }

    /// The bytes that are kept: the record's first, and the first of its main data.
    pub(super) fn pieces(&self) -> (&[u8], &[u8]) {
        (&self.prefix, &self.main)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// Its fixed part, once that came by.
    pub(super) fn header(&self) -> Option<RecordHeader> {
        RecordHeader::parse(&self.prefix)
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, mut part: &[u8]) {
        if self.layout.is_none() && !self.lost {
            part = self.headers(part);
        }
        if let (Some(layout), Some(header)) = (self.layout, self.header()) {
            let main_at = (self.total_len as usize).saturating_sub(layout.main);
            let into = main_at.saturating_sub(self.taken as usize).min(part.len());
            let data = part.get(into..).unwrap_or_default();
            if !data.is_empty() && effects::can_have(&header) {
                self.keep_main(&header, layout.main, data);
            }
        }
        self.advance(part.len());
    }

    /// Takes note that the next bytes are not there.
    pub(super) fn skip(&mut self, len: u32) {
        if len == 0 {
            return;
        }
        match (self.layout, self.header()) {
            (Some(layout), Some(header)) if effects::can_have(&header) => {
                // How much of the main data has to have come by, and will have.
                let wanted = effects::needed(&header, &self.main, layout.main);
                let main_at = (self.total_len as usize).saturating_sub(layout.main);
                let behind = (self.taken.saturating_add(len) as usize).saturating_sub(main_at);
                self.lost |= behind > self.main.len() && self.main.len() < wanted;
            }
            (Some(_), Some(_)) => {}
            _ => self.lost = true,
        }
        self.advance(len as usize);
    }

    /// Notes what the record does, now that all of it came by.
    pub(super) fn finish(&self, version: WalVersion, gather: &mut Gather) -> Outcome {
        let (Some(header), Some(_), false) = (self.header(), self.layout, self.lost) else {
            return Outcome::Unknown;
        };
        let seen = walk::walk(&self.prefix, self.total_len as usize, |relation, fork, block| {
            gather.mark(relation, fork, block);
        });
        match seen {
            Ok(_) if effects::can_have(&header) => gather.main_data(version, &header, &self.main),
            Ok(_) => Outcome::Noted,
            Err(_) => Outcome::Unknown,
        }
    }

    /// Takes what belongs to the headers. Answers the rest.
    fn headers<'a>(&mut self, part: &'a [u8]) -> &'a [u8] {
        // Nearly always they are all in the first piece.
        if self.prefix.is_empty()
            && let Ok(layout) = walk::walk(part, self.total_len as usize, |_, _, _| ())
            && let Some((own, rest)) = part.split_at_checked(layout.headers)
        {
            self.layout = Some(layout);
            self.prefix.extend_from_slice(own);
            self.advance(own.len());
            return rest;
        }
        let before = self.prefix.len();
        let room = MAX_HEADERS.saturating_sub(before).min(part.len());
        self.prefix.extend_from_slice(part.get(..room).unwrap_or_default());
        match walk::walk(&self.prefix, self.total_len as usize, |_, _, _| ()) {
            Ok(layout) if layout.headers <= self.prefix.len() => {
                self.layout = Some(layout);
                self.prefix.truncate(layout.headers);
                let own = layout.headers.saturating_sub(before);
                self.advance(own);
                return part.get(own..).unwrap_or_default();
            }
            Ok(_) | Err(Stop::More) if self.prefix.len() < MAX_HEADERS => {}
            _ => self.lost = true,
        }
        part
    }

    fn keep_main(&mut self, header: &RecordHeader, len: usize, data: &[u8]) {
        // What is needed is known step by step: each list says its length first.
        let mut data = data;
        loop {
            let wanted = effects::needed(header, &self.main, len);
            let missing = wanted.saturating_sub(self.main.len()).min(data.len());
            if missing == 0 {
                return;
            }
            let (head, tail) = data.split_at(missing);
            self.main.extend_from_slice(head);
            data = tail;
        }
    }

    fn advance(&mut self, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.taken = self.taken.saturating_add(len).min(self.total_len);
    }
}
