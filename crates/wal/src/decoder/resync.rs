use bytes::Bytes;
use walbrook_types::Lsn;

use super::{Anew, Decoder, State, Step};
use crate::record::{RecordCrc, check_len};
use crate::{Error, ErrorKind, MAX_RECORD_LEN, PageHeader, RecordHeader, WAL_PAGE_SIZE};

/// Records are aligned to as many bytes (`MAXIMUM_ALIGNOF`).
const ALIGNMENT: usize = 8;

/// A record links back to the one before. In between lies nothing but that one's length and, if it
/// is a switch, the rest of a segment of at most 1 GiB.
const MAX_LINK: u64 = MAX_RECORD_LEN as u64 + (1 << 30) + (64 << 20);

impl Decoder {
    /// Goes on after an error, at the next record that can be read. What lies between is lost; the
    /// next record's position tells how much.
    ///
    /// Where the length of what is broken can be trusted, because two pages agree on it, the record
    /// behind it is next. Otherwise each position where a record could begin is tried: what lies
    /// there must have the header of a record, link back to no earlier than the last record before
    /// the damage, and match its CRC; or be continued by the next page just so. Up to one page more
    /// than before is kept in memory for that. A page whose header is broken is searched too.
    ///
    /// Zeroes are no error but the [end](Self::end) of the log: where a log is known to go on behind
    /// them, a new decoder must begin there.
    pub fn resync(&mut self) {
        let State::Failed(error) = &self.state else { return };
        let timeline = error.kind() == ErrorKind::TimelineOrder;
        self.floor = self.prev.take().or(self.floor);
        self.searching = true;
        // Which of the pages has the wrong one nobody knows. The next says what holds from there.
        self.expect.timeline = None;
        if timeline && self.page_left() == WAL_PAGE_SIZE {
            self.state = State::Search { from: self.at };
        } else {
            self.begin_anew();
        }
    }

    /// Takes up reading after a step that failed.
    pub(super) fn begin_anew(&mut self) {
        self.prev = None;
        // Unless its end is known, what failed lies right here: a record, or a page's header.
        let at_page = self.page_left() == WAL_PAGE_SIZE;
        self.state = match self.anew {
            Anew::Behind(0) => State::Record,
            Anew::Behind(remaining) => State::PassOver { remaining },
            Anew::Somewhere if !at_page => State::Search { from: self.at + ALIGNMENT as u64 },
            // The page could be one of the segment's former life. That its records lie before
            // the last one read gives them away, if one was.
            Anew::Somewhere => {
                let len = match self.floor {
                    Some(_) => PageHeader::SHORT_LEN,
                    None => WAL_PAGE_SIZE,
                };
                State::Search { from: self.at + len as u64 }
            }
        };
    }

    /// Makes a record that was taken, and is none, input again.
    pub(super) fn put_back(&mut self, lsn: Lsn, bytes: Bytes) {
        self.at = lsn;
        self.input.push_front(bytes);
        self.anew = Anew::Somewhere;
    }

    /// The same for a record that was to go on in the page that begins here, its second. Answers
    /// whether it was: behind the second page its length is certain.
    pub(super) fn put_first_page_back(&mut self) -> bool {
        let State::Assemble { lsn, bytes, .. } = &mut self.state else { return false };
        let lsn = *lsn;
        if self.at.bytes_since(lsn) > WAL_PAGE_SIZE as u64 {
            return false;
        }
        let bytes = std::mem::take(bytes).freeze();
        self.put_back(lsn, bytes);
        true
    }

    /// Looks for a record from this position on.
    pub(super) fn search(&mut self, from: Lsn) -> Result<Step, Error> {
        if !self.skip_to(from) {
            return Ok(Step::NeedInput);
        }
        let left = self.page_left();
        if left == WAL_PAGE_SIZE {
            return self.search_page();
        }
        let Some(rest) = self.input.take(left) else { return Ok(Step::NeedInput) };
        // All of this is read again, by those who know what to do with it.
        self.input.push_front(rest.clone());
        let found = match self.expect.version {
            Some(_) => self.candidate(&rest),
            // Without a single page header nobody knows what the records mean.
            None => Candidate::None,
        };
        match found {
            Candidate::At(offset) => {
                self.skip_to(self.at + offset as u64);
                self.state = State::Record;
            }
            Candidate::None => self.state = State::Search { from: self.at + left as u64 },
            Candidate::Unknown => return Ok(Step::NeedInput),
        }
        Ok(Step::Again)
    }

    /// Looks at the page that begins here as one to begin anew with.
    fn search_page(&mut self) -> Result<Step, Error> {
        // An error is not about what is known: that stays.
        let known = self.expect;
        let header = match self.page() {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(self.stopped()),
            Err(error) => {
                self.expect = known;
                return Err(error);
            }
        };
        self.take_header(&header);
        self.state = match header.continues_record() {
            true => State::PassOver { remaining: header.rem_len },
            false => State::Record,
        };
        Ok(Step::Again)
    }

    /// Where on the rest of this page a record begins. One that ends on it too is sure by its CRC;
    /// one that does not is the page's last.
    fn candidate(&self, rest: &[u8]) -> Candidate {
        let starts = || {
            (0..rest.len()).step_by(ALIGNMENT).filter_map(|offset| {
                let bytes = rest.get(offset..)?;
                let len = self.plausible(bytes, self.at + offset as u64)?;
                Some((offset, bytes, len))
            })
        };
        let whole = starts().find(|(_, bytes, len)| {
            bytes.get(..*len).is_some_and(|record| {
                let mut crc = RecordCrc::default();
                crc.add(record.get(RecordHeader::LEN..).unwrap_or_default());
                crc.check(record, self.at).is_ok()
            })
        });
        if let Some((offset, ..)) = whole {
            return Candidate::At(offset);
        }
        let mut longer = starts().filter(|(_, bytes, len)| *len > bytes.len()).peekable();
        if longer.peek().is_none() {
            return Candidate::None;
        }
        let mut header = [0; PageHeader::LONG_LEN];
        let there = self.input.peek_at(rest.len(), &mut header);
        let header = match PageHeader::parse(header.get(..there).unwrap_or_default()) {
            Ok(header) => header,
            Err(_) if there < PageHeader::LONG_LEN => return Candidate::Unknown,
            Err(_) => return Candidate::None,
        };
        if header.address != self.at + rest.len() as u64 || !header.continues_record() {
            return Candidate::None;
        }
        longer
            .find(|(_, bytes, len)| header.rem_len as usize == len - bytes.len())
            .map_or(Candidate::None, |(offset, ..)| Candidate::At(offset))
    }

    /// The length of the record that begins with these bytes, if its header, as far as it is there,
    /// can be one.
    fn plausible(&self, bytes: &[u8], lsn: Lsn) -> Option<usize> {
        let total_len = u32::from_le_bytes(*bytes.first_chunk()?);
        check_len(total_len, lsn).ok()?;
        if let Some(header) = RecordHeader::parse(bytes) {
            header.check(lsn, None).ok()?;
            let floor = self.floor.unwrap_or(Lsn(lsn.0.saturating_sub(MAX_LINK)));
            if header.prev < floor {
                return None;
            }
        }
        usize::try_from(total_len).ok()
    }
}

/// What a search of a page found.
enum Candidate {
    /// A record, so many bytes on.
    At(usize),
    None,
    /// The next page must be there to tell.
    Unknown,
}
