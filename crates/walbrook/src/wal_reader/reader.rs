use std::fmt;

use jiff::Timestamp;
use walbrook_types::{Lsn, SegmentNumber, SystemId, TimelineId, WalFileName, WalSegmentSize};
use walbrook_wal::{Record, TimelineHistory};

use super::cursor::Cursor;
use super::options::ReadOptions;
use super::source::Source;
use super::time::{end_time, segment_before};
use crate::{Error, ErrorKind, Result};

/// The records of a [`WalInput`](super::WalInput) within the bounds of [`ReadOptions`], one by one.
///
/// Segments are read ahead, and decompressed on other threads than the one that decodes: at most
/// 64 MiB of them or one segment, whichever is more, apart from the one being decoded.
pub struct WalReader {
    source: Source,
    cursor: Cursor,
    from: Lsn,
    to: Lsn,
    to_time: Option<Timestamp>,
    ended: bool,
}

impl WalReader {
    /// Finds out what there is and where reading begins.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when there is no WAL where reading would begin.
    pub async fn open(options: &ReadOptions) -> Result<Self> {
        let source = Source::open(options).await?;
        let size = source.size();
        let runs = source.runs();
        let (Some((first, _)), Some((last_run, end))) = (runs.first(), runs.last()) else {
            return Err(Error::new(ErrorKind::NotFound, "there is no WAL to read"));
        };
        let last = match &options.to_segment {
            Some(name) => Some(number_of(name, size)?),
            None => None,
        };
        let mut from = None;
        if let Some(name) = &options.from_segment {
            from = Some(number_of(name, size)?.start(size));
        }
        from = from.max(options.from_lsn);
        if let Some(time) = options.from_time {
            let before = segment_before(&source, time, *first, *end).await?;
            from = from.max(Some(behind_last_end(&source, time, before).await?));
        }
        let from = from.unwrap_or_else(|| last_run.start(size));
        let begin = begin(&source, &runs, from, options.skip_missing)?;
        let begin = lead_in(&runs, begin, options.lead_in, size);
        let mut to = last.map_or(Lsn(u64::MAX), |last| last.end(size));
        to = to.min(options.to_lsn.unwrap_or(to));
        let last = (to < Lsn(u64::MAX)).then(|| size.segment_before(to));
        let cursor = Cursor::new(source.clone(), begin, last, options.skip_missing);
        Ok(Self { source, cursor, from, to, to_time: options.to_time, ended: false })
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) for a segment that is missing in the middle,
    /// [`Corrupt`](ErrorKind::Corrupt) for WAL that can't be decoded, and whatever reading it meets.
    pub async fn next(&mut self) -> Result<Option<Record>> {
        if self.ended {
            return Ok(None);
        }
        let record = self.cursor.next().await?.filter(|record| {
            let late = |end: Timestamp| self.to_time.is_some_and(|to| end > to);
            record.lsn < self.to && !(self.to_time.is_some() && end_time(record).is_some_and(late))
        });
        self.ended = record.is_none();
        Ok(record)
    }

    /// The position from which on records were asked for; those before it are
    /// [led in](ReadOptions::lead_in).
    pub fn from(&self) -> Lsn {
        self.from
    }

    /// Just behind the last record that was decoded.
    pub fn position(&self) -> Lsn {
        self.cursor.position()
    }

    /// The size of the segments.
    pub fn segment_size(&self) -> WalSegmentSize {
        self.source.size()
    }

    /// The history that is followed; its timeline is the one that reading ends on.
    pub fn history(&self) -> &TimelineHistory {
        self.source.path().history()
    }

    /// The timeline of a position.
    pub fn timeline_of(&self, lsn: Lsn) -> TimelineId {
        self.history().timeline_of(lsn)
    }

    /// The cluster that wrote the WAL, once a record was read.
    pub fn system_id(&self) -> Option<SystemId> {
        self.cursor.system_id()
    }

    /// What was noticed since this was last asked: WAL that is missing and was skipped.
    pub fn take_warnings(&mut self) -> Vec<String> {
        self.cursor.take_warnings()
    }
}

impl fmt::Debug for WalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalReader")
            .field("from", &self.from)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

fn number_of(name: &WalFileName, size: WalSegmentSize) -> Result<SegmentNumber> {
    name.segment_number(size).ok_or_else(|| {
        let message = format!("{name} is no segment of a cluster with segments of {size}");
        Error::new(ErrorKind::Invalid, message)
    })
}

/// Behind the last transaction that ended before `time`, when the one that follows it in the log
/// ended at that time or later. Looks from the start of a segment on.
async fn behind_last_end(source: &Source, time: Timestamp, first: SegmentNumber) -> Result<Lsn> {
    let start = first.start(source.size());
    let mut cursor = Cursor::new(source.clone(), start, None, true);
    let mut behind = start;
    while let Some(record) = cursor.next().await? {
        match end_time(&record) {
            Some(end) if end >= time => return Ok(behind),
            Some(_) => behind = record.end_lsn,
            None => {}
        }
    }
    Ok(cursor.position())
}

/// Where reading begins: at `from`, or behind what is missing there.
fn begin(
    source: &Source,
    runs: &[(SegmentNumber, SegmentNumber)],
    from: Lsn,
    skip_missing: bool,
) -> Result<Lsn> {
    let size = source.size();
    let number = size.segment_of(from);
    let Some((first, _)) = runs.iter().find(|(_, last)| number <= *last) else {
        let end = runs.last().map_or(Lsn(0), |(_, last)| last.end(size));
        if from == end {
            return Ok(from);
        }
        let message = format!("{from} is behind the end of the WAL that there is, {end}");
        return Err(Error::new(ErrorKind::NotFound, message));
    };
    if number >= *first || skip_missing {
        return Ok(from.max(first.start(size)));
    }
    let start = first.start(size);
    let missing = source.path().wanted_name(number);
    let message = format!(
        "{missing}, in which {from} lies, is missing: the WAL that there is begins at {start}"
    );
    Err(Error::new(ErrorKind::NotFound, message))
}

/// The start of the segment that lies so many bytes before `begin`, within the same run.
fn lead_in(
    runs: &[(SegmentNumber, SegmentNumber)],
    begin: Lsn,
    bytes: u64,
    size: WalSegmentSize,
) -> Lsn {
    let number = size.segment_of(begin);
    let run = runs.iter().find(|(first, last)| (*first..=*last).contains(&number));
    match run {
        Some((first, _)) if bytes > 0 => size.segment_of(begin - bytes).max(*first).start(size),
        _ => begin,
    }
}
