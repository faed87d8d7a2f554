mod resync;

use bytes::{Bytes, BytesMut};
use walbrook_types::{Lsn, SystemId, TimelineId, WalSegmentSize};

use crate::input::Input;
use crate::page::{Expectation, PageKind};
use crate::record::{RecordCrc, check_len};
use crate::{Error, ErrorKind, PageHeader, Record, RecordHeader, WAL_PAGE_SIZE, WalVersion};

/// Why the log ends where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// Zeroes stand where a record or a page should begin: the segment is filled up to here only.
    Zeroed,
    /// A page of the segment's former life follows.
    Recycled,
}

/// Where the log ends. Not an error: every log does, and the last segment of a timeline does so
/// somewhere in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndOfWal {
    /// Just behind the last whole record.
    pub lsn: Lsn,
    /// How it could be told.
    pub reason: EndReason,
    /// Where a record begins that does not end: the server had not written its rest yet.
    pub incomplete: Option<Lsn>,
}

/// A decoder of WAL that is fed bytes in pieces of any size and yields whole, checked records.
///
/// It does what PostgreSQL's `XLogReader` does (`access/transam/xlogreader.c`): checks each page's
/// header and position, each record's length, resource manager, back link and CRC, puts records
/// together that lie on several pages or segments, passes over the padding behind a segment switch,
/// and sees where the log ends.
///
/// ```
/// use bytes::Bytes;
/// use walbrook_types::{Lsn, WalSegmentSize};
/// use walbrook_wal::Decoder;
///
/// # fn read_some() -> Bytes { Bytes::from_static(&[0; 8192]) }
/// let mut decoder = Decoder::new(Lsn(0x100_0000), WalSegmentSize::DEFAULT);
/// decoder.feed(read_some());
/// while let Some(record) = decoder.next()? {
///     let header = record.header;
///     let _line = format!("{} {} {} bytes", record.lsn, header.rmgr, header.total_len);
/// }
/// assert!(decoder.end().is_some(), "zeroes are no WAL");
/// # Ok::<(), walbrook_wal::Error>(())
/// ```
///
/// # Where it begins
///
/// Input begins at a page boundary, in practice at a segment's start. If the page there begins with
/// the rest of an earlier record, that rest is passed over; the first record yielded is the first
/// that begins in the input. [`from_record`](Self::from_record) begins at a record instead, and
/// [`yield_from`](Self::yield_from) holds back records before a position.
///
/// # Memory
///
/// It holds what was fed and not consumed yet, and the one record that it is putting together.
/// That grows as bytes come in and never by what a length field promises.
#[derive(Debug)]
pub struct Decoder {
    size: WalSegmentSize,
    expect: Expectation,
    input: Input,
    /// Position of the next byte of the input.
    at: Lsn,
    /// Where the record before lies; none at the beginning and after a resync.
    prev: Option<Lsn>,
    /// Just behind the last whole record.
    end_of_last: Lsn,
    yield_from: Lsn,
    /// Where reading can begin anew when the step at hand fails.
    anew: Anew,
    /// Whether that is being done: nothing is said of what can't be read until a record can.
    searching: bool,
    /// While it is, where the last record lay before the damage: later records can't link to
    /// earlier ones.
    floor: Option<Lsn>,
    state: State,
}

/// Where reading can begin anew after an error.
#[derive(Debug, Clone, Copy)]
enum Anew {
    /// Nobody knows: at one of the positions behind this one.
    Somewhere,
    /// Behind so many bytes more of the broken record.
    Behind(u32),
}

#[derive(Debug)]
enum State {
    /// A record comes, after padding and a page header where due.
    Record,
    /// A record is being put together.
    Assemble {
        lsn: Lsn,
        bytes: BytesMut,
        remaining: u32,
    },
    /// The rest of a record that began before the input is being passed over.
    PassOver {
        remaining: u32,
    },
    /// Everything up to this position is being passed over.
    Skip {
        until: Lsn,
    },
    /// A record is looked for, from this position on.
    Search {
        from: Lsn,
    },
    Ended(EndOfWal),
    Failed(Error),
}

/// The outcome of one step of the decoder.
enum Step {
    Yield(Record),
    Again,
    NeedInput,
}

impl Decoder {
    /// A decoder of input that begins at this page boundary, of a log with segments of this size.
    pub fn new(start: Lsn, size: WalSegmentSize) -> Self {
        Self {
            size,
            expect: Expectation::default(),
            input: Input::default(),
            at: start,
            prev: None,
            end_of_last: start,
            yield_from: start,
            anew: Anew::Somewhere,
            searching: false,
            floor: None,
            state: State::Record,
        }
    }

    /// A decoder of input that begins with a record in the middle of a page, such as the position
    /// that an earlier decoder has reached. The version can't be read off there and must be known.
    pub fn from_record(start: Lsn, size: WalSegmentSize, version: WalVersion) -> Self {
        let mut decoder = Self::new(start, size);
        decoder.expect.version = Some(version);
        decoder
    }

    /// Takes only WAL of this cluster; without this, all segments must be of the same one.
    #[must_use]
    pub fn of_system(mut self, system_id: SystemId) -> Self {
        self.expect.system_id = Some(system_id);
        self
    }

    /// Yields only records that begin at this position or later.
    #[must_use]
    pub fn yield_from(mut self, lsn: Lsn) -> Self {
        self.yield_from = lsn;
        self
    }

    /// Adds the bytes that follow those fed before.
    pub fn feed(&mut self, bytes: impl Into<Bytes>) {
        if !matches!(self.state, State::Ended(_)) {
            self.input.push(bytes.into());
        }
    }

    /// The next record; none when more bytes are needed or the log has [ended](Self::end).
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the next page or record. The same error comes again until
    /// [`resync`](Self::resync) is called.
    #[allow(clippy::should_implement_trait, reason = "none does not mean the end")]
    pub fn next(&mut self) -> Result<Option<Record>, Error> {
        loop {
            match self.step() {
                Ok(Step::Yield(record)) => {
                    self.searching = false;
                    if record.lsn >= self.yield_from {
                        return Ok(Some(record));
                    }
                }
                Ok(Step::Again) => {}
                Ok(Step::NeedInput) => return Ok(None),
                Err(_) if self.searching => self.begin_anew(),
                Err(error) => {
                    self.state = State::Failed(error.clone());
                    return Err(error);
                }
            }
        }
    }

    /// Where the log ends, once that is known. Nothing more comes then, whatever is fed.
    pub fn end(&self) -> Option<EndOfWal> {
        match self.state {
            State::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// Just behind the last whole record: where reading can begin again later.
    pub fn position(&self) -> Lsn {
        self.end_of_last
    }

    /// How many bytes were fed and not consumed yet.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// The version of the log, once a page was seen.
    pub fn version(&self) -> Option<WalVersion> {
        self.expect.version
    }

    /// The timeline of the latest page.
    pub fn timeline(&self) -> Option<TimelineId> {
        self.expect.timeline
    }

    /// The cluster that wrote the log, once a segment's first page was seen.
    pub fn system_id(&self) -> Option<SystemId> {
        self.expect.system_id
    }

    fn step(&mut self) -> Result<Step, Error> {
        match &self.state {
            State::Ended(_) => return Ok(Step::NeedInput),
            State::Failed(error) => return Err(error.clone()),
            _ => self.anew = Anew::Somewhere,
        }
        match &mut self.state {
            State::Ended(_) | State::Failed(_) => Ok(Step::NeedInput),
            State::Skip { until } => {
                let until = *until;
                if !self.skip_to(until) {
                    return Ok(Step::NeedInput);
                }
                self.state = State::Record;
                Ok(Step::Again)
            }
            State::Search { from } => {
                let from = *from;
                self.search(from)
            }
            State::PassOver { .. } | State::Assemble { .. } => self.continuation(),
            State::Record => self.record(),
        }
    }

    /// Passes over everything up to this position; false when that is not there yet.
    fn skip_to(&mut self, until: Lsn) -> bool {
        self.at = self.at + self.input.skip(until.bytes_since(self.at));
        self.at >= until
    }

    /// The header of the page that begins here; none when input is missing. Where the log ends
    /// instead, that is noted.
    fn page(&mut self) -> Result<Option<PageHeader>, Error> {
        let Some(short) = self.input.peek::<{ PageHeader::SHORT_LEN }>() else { return Ok(None) };
        let long;
        // Only the flags say whether there is more of it; a page that is no page is judged by
        // its short header.
        let bytes: &[u8] = match PageHeader::parse(&short) {
            Err(error) if error.kind() == ErrorKind::Truncated => {
                match self.input.peek::<{ PageHeader::LONG_LEN }>() {
                    None => return Ok(None),
                    Some(bytes) => {
                        long = bytes;
                        &long
                    }
                }
            }
            _ => &short,
        };
        let reason = match self.expect.page(bytes, self.at, self.size)? {
            PageKind::Here(header) => return Ok(Some(header)),
            PageKind::Zeroed => EndReason::Zeroed,
            PageKind::Recycled => EndReason::Recycled,
        };
        self.finish(reason);
        Ok(None)
    }

    fn take_header(&mut self, header: &PageHeader) {
        self.skip_to(self.at + header.header_len() as u64);
    }

    fn finish(&mut self, reason: EndReason) {
        let incomplete = match self.state {
            State::Assemble { lsn, .. } => Some(lsn),
            _ => None,
        };
        self.input.clear();
        self.state = State::Ended(EndOfWal { lsn: self.end_of_last, reason, incomplete });
    }

    /// What a step without its page header comes to: more input, or the end.
    fn stopped(&self) -> Step {
        match self.state {
            State::Ended(_) => Step::Again,
            _ => Step::NeedInput,
        }
    }

    fn page_left(&self) -> usize {
        WAL_PAGE_SIZE - (self.at.0 % WAL_PAGE_SIZE as u64) as usize
    }

    fn record(&mut self) -> Result<Step, Error> {
        // Records are aligned to eight bytes, and so are pages: padding never crosses one.
        if !self.skip_to(Lsn(self.at.0.next_multiple_of(8))) {
            return Ok(Step::NeedInput);
        }
        if self.page_left() == WAL_PAGE_SIZE {
            let page_at = self.at;
            let Some(header) = self.page()? else { return Ok(self.stopped()) };
            self.take_header(&header);
            if header.continues_record() {
                if self.prev.is_some() {
                    self.anew = Anew::Behind(header.rem_len);
                    return Err(Error::at(
                        ErrorKind::BadContinuation,
                        page_at,
                        "WAL page continues a record that is complete",
                    ));
                }
                self.state = State::PassOver { remaining: header.rem_len };
                return Ok(Step::Again);
            }
        }
        let lsn = self.at;
        let Some(total_len) = self.input.peek().map(u32::from_le_bytes) else {
            return Ok(Step::NeedInput);
        };
        if total_len == 0 {
            if self.searching {
                // What could not be read may have been a segment switch, of which this is padding.
                self.state = State::Search { from: self.at + self.page_left() as u64 };
            } else {
                self.finish(EndReason::Zeroed);
            }
            return Ok(Step::Again);
        }
        check_len(total_len, lsn)?;
        let left = self.page_left();
        if left >= RecordHeader::LEN {
            let Some(header) = self.input.peek::<{ RecordHeader::LEN }>() else {
                return Ok(Step::NeedInput);
            };
            if let Some(header) = RecordHeader::parse(&header) {
                header.check(lsn, self.prev)?;
            }
        }
        if total_len as usize <= left {
            let Some(bytes) = self.input.take(total_len as usize) else {
                return Ok(Step::NeedInput);
            };
            self.at = self.at + u64::from(total_len);
            let step = self.whole(lsn, bytes.clone());
            if step.is_err() {
                // Its length may be what is wrong with it.
                self.put_back(lsn, bytes);
            }
            return step;
        }
        self.state = State::Assemble { lsn, bytes: BytesMut::new(), remaining: total_len };
        Ok(Step::Again)
    }

    /// Reads on in a record that lies on several pages.
    fn continuation(&mut self) -> Result<Step, Error> {
        let (lsn, remaining) = match &self.state {
            State::Assemble { lsn, remaining, .. } => (Some(*lsn), *remaining),
            State::PassOver { remaining } => (None, *remaining),
            _ => return Ok(Step::Again),
        };
        // A record that starts on a page's last bytes meets its first page boundary below; the
        // first piece of it never lies at one.
        if self.page_left() == WAL_PAGE_SIZE {
            let page_at = self.at;
            let header = match self.page() {
                Ok(Some(header)) => header,
                Ok(None) => return Ok(self.stopped()),
                Err(error) => {
                    self.put_first_page_back();
                    return Err(error);
                }
            };
            if header.overwrites_record() {
                self.take_header(&header);
                // The record was given up. Something else begins here, and links back to the
                // record before the one given up.
                self.state = State::Record;
                return Ok(Step::Again);
            }
            if !header.continues_record() || header.rem_len != remaining {
                if !self.put_first_page_back() {
                    self.take_header(&header);
                    let rest = if header.continues_record() { header.rem_len } else { 0 };
                    self.anew = Anew::Behind(rest);
                }
                let what = match lsn {
                    Some(lsn) => format!("WAL page does not continue the record of {lsn}"),
                    None => "WAL page does not continue the record of the page before".to_owned(),
                };
                return Err(Error::at(ErrorKind::BadContinuation, page_at, what));
            }
            self.take_header(&header);
        }
        let part = self.input.take_front(self.page_left().min(remaining as usize));
        if part.is_empty() && remaining > 0 {
            return Ok(Step::NeedInput);
        }
        self.at = self.at + part.len() as u64;
        let prev = self.prev;
        let left = remaining - part.len() as u32;
        // Two pages agree on its length: whatever else is wrong, it ends there.
        self.anew = Anew::Behind(left);
        match &mut self.state {
            State::Assemble { lsn, bytes, remaining } => {
                let had_header = bytes.len() >= RecordHeader::LEN;
                bytes.extend_from_slice(&part);
                *remaining = left;
                // A header that itself lay on two pages is checked as soon as it is there.
                if let (false, Some(header)) = (had_header, RecordHeader::parse(bytes)) {
                    header.check(*lsn, prev)?;
                }
                if left == 0 {
                    let (lsn, bytes) = (*lsn, std::mem::take(bytes).freeze());
                    self.state = State::Record;
                    return self.whole(lsn, bytes);
                }
            }
            State::PassOver { remaining } => {
                *remaining = left;
                if left == 0 {
                    self.state = State::Record;
                    self.end_of_last = Lsn(self.at.0.next_multiple_of(8));
                }
            }
            _ => {}
        }
        Ok(Step::Again)
    }

    fn whole(&mut self, lsn: Lsn, bytes: Bytes) -> Result<Step, Error> {
        let (header, body) = bytes.split_at_checked(RecordHeader::LEN).unwrap_or((&bytes, &[]));
        let mut crc = RecordCrc::default();
        crc.add(body);
        crc.check(header, lsn)?;
        let (Some(header), Some(version)) = (RecordHeader::parse(header), self.expect.version)
        else {
            return Err(Error::at(ErrorKind::BadRecord, lsn, "record without header or version"));
        };
        let mut end_lsn = Lsn(self.at.0.next_multiple_of(8));
        if header.is_switch() {
            end_lsn = Lsn(end_lsn.0.next_multiple_of(self.size.bytes()));
            self.state = State::Skip { until: end_lsn };
        }
        self.prev = Some(lsn);
        self.end_of_last = end_lsn;
        Ok(Step::Yield(Record { lsn, end_lsn, version, header, bytes }))
    }
}
