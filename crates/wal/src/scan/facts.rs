use walbrook_types::{Lsn, PgTimestamp, TimelineId};

use super::event::{Event, FileCopy, RestorePoint, inspect, precedes};
use crate::record::RecordCrc;
use crate::{EndReason, Error, ErrorKind, RecordHeader, SegmentHeader, Xid};

/// What one segment holds, as far as an archive wants to know.
///
/// A record that lies in two segments begins in one of them, and counts there among `records` and
/// for `last_record_lsn`. What it *says* is known only with both: neither segment's commits, times,
/// transactions, restore points or copies include it. [`join`] tells what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentFacts {
    /// Version, position, cluster, size, and the timeline of the first page.
    pub header: SegmentHeader,
    /// The timeline of the last record, as far as pages and promotions tell: greater than the first
    /// page's when a promotion happened in this segment.
    pub last_timeline: TimelineId,
    /// How many records begin here.
    pub records: u64,
    /// Where the first of them begins.
    pub first_record_lsn: Option<Lsn>,
    /// Where the last of them begins.
    pub last_record_lsn: Option<Lsn>,
    /// Where valid WAL ends: just behind the last whole record, or the segment's end when a record
    /// crosses that or a switch filled it up.
    pub end_lsn: Lsn,
    /// Why valid WAL ends before the segment; none when it does not, or when a switch filled it up.
    pub end: Option<EndReason>,
    /// Whether a segment switch filled it up.
    pub switch: bool,
    /// Whether the segment ends within a record.
    pub crosses_into_next: bool,
    /// Where a record begins that is not complete though the segment goes on: the server had not
    /// written it or gave it up.
    pub incomplete: Option<Lsn>,
    /// How many transactions commit.
    pub commits: u64,
    /// How many transactions abort. Those that had no transaction ID leave no trace.
    pub aborts: u64,
    /// The time in the first record that ends a transaction.
    pub first_xact_time: Option<PgTimestamp>,
    /// The time in the last one. Not always the latest: the server's sessions take their times
    /// before they write.
    pub last_xact_time: Option<PgTimestamp>,
    /// The earliest of these times.
    pub min_xact_time: Option<PgTimestamp>,
    /// The latest of these times.
    pub max_xact_time: Option<PgTimestamp>,
    /// The oldest transaction that ends here, in the order of transaction IDs, which wraps.
    pub oldest_xid: Option<Xid>,
    /// The newest transaction that ends here, likewise.
    pub newest_xid: Option<Xid>,
    /// Named restore points in the order of their positions.
    pub restore_points: Vec<RestorePoint>,
    /// Databases that were copied file by file, in the order of their positions.
    pub file_copies: Vec<FileCopy>,
    /// The rest of a record of the segment before.
    pub leading: Option<Continuation>,
    /// The beginning of a record that goes on in the next segment.
    pub crossing: Option<Crossing>,
    pub(super) next_page: Lsn,
}

/// The rest of a record that began in the segment before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    /// How many bytes of it were missing at the segment's start.
    pub rem_len: u32,
    /// The first of them, up to 512.
    pub bytes: Vec<u8>,
    /// Whether it ends in this segment.
    pub ends: bool,
}

/// The beginning of a record that goes on in the next segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    /// Where it begins.
    pub lsn: Lsn,
    /// How long it is in all.
    pub total_len: u32,
    /// How many bytes of it lie in this segment, page headers not counted.
    pub here: u32,
    /// The first of them: up to 512 of a record that can matter, up to 24 of any other.
    pub bytes: Vec<u8>,
}

/// What a record that lies in two segments says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Straddling {
    /// The end of a transaction.
    XactEnd {
        /// Where the record begins.
        lsn: Lsn,
        /// Whether it commits.
        commit: bool,
        /// The transaction; zero when the record is too long for it to be known.
        xid: Xid,
        /// When.
        time: PgTimestamp,
    },
    /// A restore point.
    RestorePoint(RestorePoint),
    /// A copy of a database's files.
    FileCopy(FileCopy),
    /// Nothing that facts are about.
    Other,
    /// The record was given up after a crash, and something else stands in its place.
    GivenUp,
}

/// Tells what the record is that begins in `first` and goes on in `second`, the segment that
/// follows; none when no record does.
///
/// # Errors
///
/// [`BadContinuation`](ErrorKind::BadContinuation) when `second` does not follow `first`, or goes on
/// with another record; [`BadChecksum`](ErrorKind::BadChecksum) when all bytes of the record are at
/// hand and do not match its CRC.
pub fn join(first: &SegmentFacts, second: &SegmentFacts) -> Result<Option<Straddling>, Error> {
    let end = first.header.start + first.header.segment_size.bytes();
    if second.header.start != end || second.header.system_id != first.header.system_id {
        let what = format!("WAL segment of {} does not follow", second.header.start);
        return Err(Error::at(ErrorKind::BadContinuation, end, what));
    }
    let Some(crossing) = &first.crossing else { return Ok(None) };
    let Some(leading) = &second.leading else { return Ok(Some(Straddling::GivenUp)) };
    if crossing.total_len.checked_sub(crossing.here) != Some(leading.rem_len) {
        let what = format!("WAL segment does not continue the record of {}", crossing.lsn);
        return Err(Error::at(ErrorKind::BadContinuation, end, what));
    }
    let mut record = crossing.bytes.clone();
    // Bytes that were left out would have to come between.
    let seamless = record.len() == crossing.here as usize;
    if seamless {
        record.extend_from_slice(&leading.bytes);
    }
    let Some(header) = RecordHeader::parse(&record) else { return Ok(Some(Straddling::Other)) };
    header.check(crossing.lsn, None)?;
    if record.len() == header.total_len as usize {
        let mut crc = RecordCrc::default();
        crc.add(record.get(RecordHeader::LEN..).unwrap_or_default());
        crc.check(&record, crossing.lsn)?;
    }
    let lsn = crossing.lsn;
    let event =
        inspect(first.header.version, &header, &record).map_err(|error| error.or_at(lsn))?;
    Ok(Some(match event {
        Event::Commit { xid, time } => Straddling::XactEnd { lsn, commit: true, xid, time },
        Event::Abort { xid, time } => Straddling::XactEnd { lsn, commit: false, xid, time },
        Event::RestorePoint { name, time } => {
            Straddling::RestorePoint(RestorePoint { name, lsn, time })
        }
        Event::FileCopy { database, source_database } => {
            Straddling::FileCopy(FileCopy { lsn, database, source_database })
        }
        Event::Timeline(_) | Event::Switch | Event::Other => Straddling::Other,
    }))
}

impl SegmentFacts {
    pub(super) fn new(header: SegmentHeader) -> Self {
        Self {
            header,
            last_timeline: header.timeline,
            records: 0,
            first_record_lsn: None,
            last_record_lsn: None,
            end_lsn: header.start,
            end: None,
            switch: false,
            crosses_into_next: false,
            incomplete: None,
            commits: 0,
            aborts: 0,
            first_xact_time: None,
            last_xact_time: None,
            min_xact_time: None,
            max_xact_time: None,
            oldest_xid: None,
            newest_xid: None,
            restore_points: Vec::new(),
            file_copies: Vec::new(),
            leading: None,
            crossing: None,
            next_page: header.start,
        }
    }

    pub(super) fn begins(&mut self, lsn: Lsn) {
        self.records += 1;
        self.first_record_lsn.get_or_insert(lsn);
        self.last_record_lsn = Some(lsn);
    }

    /// Notes what a record says. Answers whether it was a switch.
    pub(super) fn note(&mut self, lsn: Lsn, event: Event) -> bool {
        match event {
            Event::Commit { xid, time } => {
                self.commits += 1;
                self.xact_end(xid, time);
            }
            Event::Abort { xid, time } => {
                self.aborts += 1;
                self.xact_end(xid, time);
            }
            Event::RestorePoint { name, time } => {
                self.restore_points.push(RestorePoint { name, lsn, time });
            }
            Event::Timeline(timeline) => self.last_timeline = self.last_timeline.max(timeline),
            Event::Switch => return true,
            Event::FileCopy { database, source_database } => {
                self.file_copies.push(FileCopy { lsn, database, source_database });
            }
            Event::Other => {}
        }
        false
    }

    fn xact_end(&mut self, xid: Xid, time: PgTimestamp) {
        self.first_xact_time.get_or_insert(time);
        self.last_xact_time = Some(time);
        self.min_xact_time = Some(self.min_xact_time.map_or(time, |min| min.min(time)));
        self.max_xact_time = Some(self.max_xact_time.map_or(time, |max| max.max(time)));
        if xid == 0 {
            return;
        }
        if self.oldest_xid.is_none_or(|oldest| precedes(xid, oldest)) {
            self.oldest_xid = Some(xid);
        }
        if self.newest_xid.is_none_or(|newest| precedes(newest, xid)) {
            self.newest_xid = Some(xid);
        }
    }
}
