use walbrook_types::Lsn;

use super::event::{inspect, matters};
use super::facts::{Continuation, Crossing, SegmentFacts};
use crate::record::RecordCrc;
use crate::{Error, RecordHeader};

/// How much is kept of a record that lies on several pages: a commit with thousands of
/// subtransactions is longer, but what matters most comes first.
const KEEP: usize = 64 << 10;

/// How much is kept of a record that lies in two segments. Small, because the facts carry it.
const KEEP_CUT: usize = 512;

/// A record that is not at its end yet.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Where it begins; none for one of the segment before.
    lsn: Option<Lsn>,
    total_len: u32,
    taken: u32,
    kept: Vec<u8>,
    crc: RecordCrc,
}

impl Pending {
    pub(crate) fn new(lsn: Lsn, total_len: u32) -> Self {
        Self { lsn: Some(lsn), total_len, taken: 0, kept: Vec::new(), crc: RecordCrc::default() }
    }

    /// The rest of a record of the segment before.
    pub(crate) fn leading(rem_len: u32) -> Self {
        Self {
            lsn: None,
            total_len: rem_len,
            taken: 0,
            kept: Vec::new(),
            crc: RecordCrc::default(),
        }
    }

    pub(crate) fn lsn(&self) -> Option<Lsn> {
        self.lsn
    }

    pub(crate) fn remaining(&self) -> u32 {
        self.total_len.saturating_sub(self.taken)
    }

    /// Takes the next part, and checks the record's header when that becomes complete.
    pub(crate) fn add(
        &mut self,
        part: &[u8],
        verify_crc: bool,
        prev: Option<Lsn>,
    ) -> Result<(), Error> {
        let Some(lsn) = self.lsn else {
            self.keep(part, KEEP_CUT);
            self.taken = self.taken.saturating_add(part.len() as u32);
            return Ok(());
        };
        let missing = RecordHeader::LEN.saturating_sub(self.taken as usize).min(part.len());
        let (head, body) = part.split_at(missing);
        self.keep(head, RecordHeader::LEN);
        if let (false, Some(header)) = (head.is_empty(), RecordHeader::parse(&self.kept)) {
            header.check(lsn, prev)?;
        }
        if self.matters() {
            self.keep(body, KEEP);
        }
        if verify_crc {
            self.crc.add(body);
        }
        self.taken = self.taken.saturating_add(part.len() as u32);
        Ok(())
    }

    fn keep(&mut self, part: &[u8], limit: usize) {
        let room = limit.saturating_sub(self.kept.len()).min(part.len());
        self.kept.extend_from_slice(part.get(..room).unwrap_or_default());
    }

    /// Whether anything but its header is of interest.
    fn matters(&self) -> bool {
        let rmgr = RecordHeader::parse(&self.kept).map(|header| header.rmgr);
        rmgr.is_some_and(matters)
    }

    /// Notes the record, now that it is whole. Answers whether it was a switch.
    pub(crate) fn complete(
        self,
        verify_crc: bool,
        facts: &mut SegmentFacts,
    ) -> Result<bool, Error> {
        let Some(lsn) = self.lsn else {
            facts.leading =
                Some(Continuation { rem_len: self.total_len, bytes: self.kept, ends: true });
            return Ok(false);
        };
        if verify_crc {
            self.crc.check(&self.kept, lsn)?;
        }
        if !self.matters() {
            return Ok(false);
        }
        let Some(header) = RecordHeader::parse(&self.kept) else { return Ok(false) };
        let event = inspect(facts.header.version, &header, &self.kept);
        Ok(facts.note(lsn, event.map_err(|error| error.or_at(lsn))?))
    }

    /// Notes the record as one that goes on in the next segment.
    pub(crate) fn cut_off(mut self, facts: &mut SegmentFacts) {
        self.kept.truncate(KEEP_CUT);
        match self.lsn {
            Some(lsn) => {
                facts.crossing = Some(Crossing {
                    lsn,
                    total_len: self.total_len,
                    here: self.taken,
                    bytes: self.kept,
                });
            }
            None => {
                facts.leading =
                    Some(Continuation { rem_len: self.total_len, bytes: self.kept, ends: false });
            }
        }
    }
}
