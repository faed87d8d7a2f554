//! What one segment holds, found without decoding it.

mod event;
mod facts;
mod pending;

pub use event::{FileCopy, RestorePoint};
pub use facts::{Continuation, Crossing, SegmentFacts, Straddling, join};

use event::{inspect, matters};
use pending::Pending;
use walbrook_types::{Lsn, WalSegmentSize};

use crate::page::{Expectation, PageKind};
use crate::record::{RecordCrc, check_len};
use crate::summary::Collector;
use crate::{
    EndReason, Error, ErrorKind, PageHeader, RecordHeader, SegmentHeader, WAL_PAGE_SIZE, WalSummary,
};

/// Looks at a whole segment; see [`SegmentScanner`].
///
/// # Errors
///
/// As [`SegmentScanner::feed`] and [`SegmentScanner::finish`].
pub fn scan_segment(bytes: &[u8], verify_crc: bool) -> Result<SegmentFacts, Error> {
    let mut scanner = SegmentScanner::new(verify_crc);
    scanner.feed(bytes)?;
    scanner.finish()
}

/// Makes the block summary of a whole segment; see [`SegmentScanner::summarize`].
///
/// # Errors
///
/// As [`SegmentScanner::feed`] and [`SegmentScanner::finish`].
pub fn summarize_segment(bytes: &[u8], verify_crc: bool) -> Result<WalSummary, Error> {
    let mut scanner = SegmentScanner::new(verify_crc).summarize();
    scanner.feed(bytes)?;
    let (facts, summary) = scanner.finish_with_summary()?;
    summary.ok_or_else(|| Error::at(ErrorKind::Truncated, facts.header.start, "no WAL segment"))
}

/// Gathers [`SegmentFacts`] about one segment that is fed from its start in pieces of any size.
///
/// It goes from record header to record header and looks into nothing but ends of transactions,
/// restore points and switches. Page headers, lengths, resource managers and back links are all
/// checked, record CRCs only on demand: they are what costs time. Memory is bounded by 64 KiB and
/// the facts themselves, however long the segment and its records are.
#[derive(Debug)]
pub struct SegmentScanner {
    verify_crc: bool,
    expect: Expectation,
    /// What was fed of a page that is not complete yet.
    page: Vec<u8>,
    fed: u64,
    facts: Option<SegmentFacts>,
    prev: Option<Lsn>,
    pending: Option<Pending>,
    done: bool,
    summarize: bool,
    /// Makes the block summary, if one is wanted, from the first page on.
    collector: Option<Collector>,
}

impl SegmentScanner {
    /// A scanner, which checks the CRC of every record that begins and ends in the segment if
    /// `verify_crc` says so.
    pub fn new(verify_crc: bool) -> Self {
        Self {
            verify_crc,
            expect: Expectation::default(),
            page: Vec::new(),
            fed: 0,
            facts: None,
            prev: None,
            pending: None,
            done: false,
            summarize: false,
            collector: None,
        }
    }

    /// Makes a [`WalSummary`] in the same pass, which [`finish_with_summary`](Self::finish_with_summary)
    /// answers. It never makes the scan fail: what it can't understand it says itself. It needs memory
    /// for the blocks that it names, and up to 4 MiB for a record that began in the segment before.
    #[must_use]
    pub fn summarize(mut self) -> Self {
        self.summarize = true;
        self
    }

    /// Takes the next bytes of the segment.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with a page or a record, and [`BadPage`](ErrorKind::BadPage) for more bytes
    /// than the segment is long. A scanner must not be fed after an error, but
    /// [`facts`](Self::facts) still says what was found before it.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        self.fed += bytes.len() as u64;
        if self.done {
            return self.check_fed();
        }
        if !self.page.is_empty() {
            let missing = WAL_PAGE_SIZE - self.page.len();
            let (head, tail) = bytes.split_at(missing.min(bytes.len()));
            self.page.extend_from_slice(head);
            bytes = tail;
            if self.page.len() < WAL_PAGE_SIZE {
                return Ok(());
            }
            let page = std::mem::take(&mut self.page);
            if let Some(page) = page.first_chunk() {
                self.scan_page(page)?;
            }
            // Kept for its memory only.
            self.page = page;
            self.page.clear();
        }
        let (pages, rest) = bytes.as_chunks();
        for page in pages {
            if self.done {
                break;
            }
            self.scan_page(page)?;
        }
        if !self.done {
            self.page.extend_from_slice(rest);
        }
        self.check_fed()
    }

    /// What was found so far; none before the first page was seen.
    pub fn facts(&self) -> Option<&SegmentFacts> {
        self.facts.as_ref()
    }

    /// What the segment holds, when all of it was fed.
    ///
    /// # Errors
    ///
    /// [`Truncated`](ErrorKind::Truncated) when it was not.
    pub fn finish(self) -> Result<SegmentFacts, Error> {
        self.finish_with_summary().map(|(facts, _)| facts)
    }

    /// The same with the block summary, if one was [asked for](Self::summarize).
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub fn finish_with_summary(mut self) -> Result<(SegmentFacts, Option<WalSummary>), Error> {
        let Some(mut facts) = self.facts.take() else {
            let message = format!("WAL segment ends after {} bytes", self.fed);
            return Err(Error::new(ErrorKind::Truncated, message));
        };
        let size = facts.header.segment_size.bytes();
        if self.fed != size {
            let message = format!("WAL segment ends after {} of {size} bytes", self.fed);
            return Err(Error::at(ErrorKind::Truncated, facts.header.start, message));
        }
        if let (Some(pending), false) = (self.pending, self.done) {
            facts.end_lsn = facts.header.start + size;
            facts.crosses_into_next = true;
            pending.cut_off(&mut facts);
        }
        let summary = self
            .collector
            .map(|collector| collector.finish(facts.last_timeline, facts.end_lsn, facts.end));
        Ok((facts, summary))
    }

    fn check_fed(&self) -> Result<(), Error> {
        match &self.facts {
            Some(facts) if self.fed > facts.header.segment_size.bytes() => {
                let message = format!("more bytes than a segment of {}", facts.header.segment_size);
                Err(Error::at(ErrorKind::BadPage, facts.header.start, message))
            }
            _ => Ok(()),
        }
    }

    fn scan_page(&mut self, page: &[u8; WAL_PAGE_SIZE]) -> Result<(), Error> {
        // Taken out so that the facts and the rest can be changed side by side.
        let mut facts = match self.facts.take() {
            Some(facts) => facts,
            None => {
                let header = SegmentHeader::parse(page)?;
                self.collector = self.summarize.then(|| Collector::new(&header));
                SegmentFacts::new(header)
            }
        };
        let result = self.scan_page_into(page, &mut facts);
        self.facts = Some(facts);
        result
    }

    fn scan_page_into(
        &mut self,
        page: &[u8; WAL_PAGE_SIZE],
        facts: &mut SegmentFacts,
    ) -> Result<(), Error> {
        let size: WalSegmentSize = facts.header.segment_size;
        let page_at = facts.next_page;
        if page_at >= facts.header.start + size.bytes() {
            // More than a segment; the caller hears of it when the count is checked.
            self.done = true;
            return Ok(());
        }
        facts.next_page = page_at + WAL_PAGE_SIZE as u64;
        let header = match self.expect.page(page, page_at, size)? {
            PageKind::Here(header) => header,
            PageKind::Zeroed => return self.ends(facts, EndReason::Zeroed),
            PageKind::Recycled => return self.ends(facts, EndReason::Recycled),
        };
        facts.last_timeline = facts.last_timeline.max(header.timeline);
        let Some(at) = self.continue_pending(page, page_at, &header, facts)? else { return Ok(()) };
        self.scan_records(page, page_at, at, facts)
    }

    /// The log ends before the segment does.
    fn ends(&mut self, facts: &mut SegmentFacts, reason: EndReason) -> Result<(), Error> {
        facts.end = Some(reason);
        if let Some(lsn) = self.pending.take().and_then(|pending| pending.lsn()) {
            facts.incomplete = Some(lsn);
        }
        self.done = true;
        Ok(())
    }

    /// Reads on in what the page before left unfinished. Answers where on this page records begin;
    /// none when they do not.
    fn continue_pending(
        &mut self,
        page: &[u8; WAL_PAGE_SIZE],
        page_at: Lsn,
        header: &PageHeader,
        facts: &mut SegmentFacts,
    ) -> Result<Option<usize>, Error> {
        let begin = header.header_len();
        let bad = |what: &str| Error::at(ErrorKind::BadContinuation, page_at, what);
        if self.pending.is_none() {
            if !header.continues_record() {
                if header.overwrites_record() && page_at == facts.header.start {
                    self.collect(Collector::given_up);
                }
                return Ok(Some(begin));
            }
            if page_at != facts.header.start {
                return Err(bad("WAL page continues a record that is complete"));
            }
            self.pending = Some(Pending::leading(header.rem_len));
            self.collect(|collector| collector.rest(header.rem_len));
        }
        let Some(pending) = &mut self.pending else { return Ok(Some(begin)) };
        if header.overwrites_record() {
            // Given up after a crash: it never was.
            facts.incomplete = pending.lsn();
            self.pending = None;
            self.collect(Collector::given_up);
            return Ok(Some(begin));
        }
        if !header.continues_record() || header.rem_len != pending.remaining() {
            return Err(bad("WAL page does not continue the record of the page before"));
        }
        let here = (pending.remaining() as usize).min(WAL_PAGE_SIZE - begin);
        let part = page.get(begin..begin + here).unwrap_or_default();
        pending.add(part, self.verify_crc, self.prev)?;
        let open = pending.remaining() > 0;
        self.collect(|collector| collector.part(part));
        if open {
            return Ok(None);
        }
        self.collect(Collector::whole);
        let at = (begin + here).next_multiple_of(8);
        facts.end_lsn = page_at + at as u64;
        if let Some(pending) = self.pending.take() {
            if let Some(lsn) = pending.lsn() {
                self.prev = Some(lsn);
            }
            let switch = pending.complete(self.verify_crc, facts)?;
            if switch {
                return self.switched(facts).map(|()| None);
            }
        }
        Ok(Some(at))
    }

    #[inline]
    fn collect(&mut self, note: impl FnOnce(&mut Collector)) {
        if let Some(collector) = &mut self.collector {
            note(collector);
        }
    }

    fn switched(&mut self, facts: &mut SegmentFacts) -> Result<(), Error> {
        facts.switch = true;
        facts.end_lsn = facts.header.start + facts.header.segment_size.bytes();
        self.done = true;
        Ok(())
    }

    fn scan_records(
        &mut self,
        page: &[u8; WAL_PAGE_SIZE],
        page_at: Lsn,
        mut at: usize,
        facts: &mut SegmentFacts,
    ) -> Result<(), Error> {
        while at < WAL_PAGE_SIZE {
            let lsn = page_at + at as u64;
            let rest = page.get(at..).unwrap_or_default();
            let Some(total_len) = rest.first_chunk().map(|len| u32::from_le_bytes(*len)) else {
                break;
            };
            if total_len == 0 {
                return self.ends(facts, EndReason::Zeroed);
            }
            check_len(total_len, lsn)?;
            let header = RecordHeader::parse(rest);
            if let Some(header) = &header {
                header.check(lsn, self.prev)?;
            }
            facts.begins(lsn);
            let len = total_len as usize;
            let (Some(header), Some(record)) = (header, rest.get(..len)) else {
                let mut pending = Pending::new(lsn, total_len);
                pending.add(rest, self.verify_crc, self.prev)?;
                self.pending = Some(pending);
                self.collect(|collector| {
                    collector.split(lsn, total_len);
                    collector.part(rest);
                });
                return Ok(());
            };
            if self.verify_crc {
                let mut crc = RecordCrc::default();
                crc.add(record.get(RecordHeader::LEN..).unwrap_or_default());
                crc.check(record, lsn)?;
            }
            self.prev = Some(lsn);
            self.collect(|collector| collector.record(lsn, &header, record));
            at = (at + len).next_multiple_of(8);
            facts.end_lsn = page_at + at as u64;
            if matters(header.rmgr) {
                let version = facts.header.version;
                let event = inspect(version, &header, record).map_err(|error| error.or_at(lsn))?;
                if facts.note(lsn, event) {
                    return self.switched(facts);
                }
            }
        }
        Ok(())
    }
}
