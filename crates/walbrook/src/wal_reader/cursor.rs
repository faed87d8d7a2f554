use std::collections::VecDeque;

use bytes::Bytes;
use tokio::task::JoinHandle;
use walbrook_types::{Lsn, SegmentNumber, SystemId, WalFileName};
use walbrook_wal::{Decoder, Record};

use super::source::{Source, Unit};
use crate::{Error, ErrorKind, Result};

/// How many bytes of segments are read and decompressed before the decoder asks for them.
const AHEAD: u64 = 64 << 20;

/// The records of a source from a position on, segment by segment, read ahead.
pub(super) struct Cursor {
    source: Source,
    /// Runs of segments that are still to come, the current one first.
    runs: VecDeque<(SegmentNumber, SegmentNumber)>,
    skip_missing: bool,
    decoder: Decoder,
    /// What comes next in the current run; none when all of it is being read.
    next: Option<Unit>,
    ahead: VecDeque<Ahead>,
    warnings: Vec<String>,
    system: Option<SystemId>,
    done: bool,
}

/// A unit that is being read. It is given up when it is dropped.
struct Ahead {
    unit: Unit,
    read: JoinHandle<Result<Vec<Bytes>>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.read.abort();
    }
}

impl Cursor {
    /// Records that begin at `from` or later and in the segments up to `last`. The segment of
    /// `from` must be there.
    pub(super) fn new(
        source: Source,
        from: Lsn,
        last: Option<SegmentNumber>,
        skip_missing: bool,
    ) -> Self {
        let size = source.size();
        let first = size.segment_of(from);
        // A record that begins in the last segment may end in the next.
        let limit = last.map(|last| last.next());
        let runs = source.runs().into_iter().filter_map(|(begin, end)| {
            let begin = begin.max(first);
            let end = limit.map_or(end, |limit| end.min(limit));
            (begin <= end).then_some((begin, end))
        });
        let runs: VecDeque<_> = runs.collect();
        let begin = runs.front().map_or(first, |(begin, _)| *begin);
        Self {
            decoder: Decoder::new(begin.start(size), size).yield_from(from),
            next: runs.front().map(|(begin, _)| Source::first_unit(*begin)),
            source,
            runs,
            skip_missing,
            ahead: VecDeque::new(),
            warnings: Vec::new(),
            system: None,
            done: false,
        }
    }

    /// What the reader should be told, once.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// The cluster that wrote the log, once a segment was read.
    pub(super) fn system_id(&self) -> Option<SystemId> {
        self.decoder.system_id().or(self.system)
    }

    /// Just behind the last record.
    pub(super) fn position(&self) -> Lsn {
        self.decoder.position()
    }

    pub(super) async fn next(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.decoder.next().map_err(undecodable)? {
                return Ok(Some(record));
            }
            if self.done {
                return Ok(None);
            }
            if let Some(end) = self.decoder.end() {
                self.ended(end.lsn);
                return Ok(None);
            }
            self.read_ahead();
            match self.ahead.pop_front() {
                Some(mut ahead) => {
                    let content = (&mut ahead.read).await??;
                    self.feed(ahead.unit, content);
                }
                None => self.next_run()?,
            }
        }
    }

    /// The log ends in the middle of a segment: nothing comes behind it, or nothing of this log.
    fn ended(&mut self, lsn: Lsn) {
        self.done = true;
        self.ahead.clear();
        let last = self.runs.back().map(|(_, last)| *last);
        let more = last.is_some_and(|last| last > self.source.size().segment_of(lsn));
        // Behind the end, pg_wal has segments that wait to be written again.
        if more && matches!(self.source, Source::Archive(_)) {
            self.warnings.push(format!(
                "the WAL ends at {lsn}, though there are segments behind it: recovery would end \
                 there as well"
            ));
        }
    }

    fn feed(&mut self, Unit { number, offset }: Unit, content: Vec<Bytes>) {
        let size = self.source.size();
        // Behind the switch, the file of a timeline that was left has what nobody follows.
        let name = self.source.name(number);
        let switch = name.and_then(|name| self.source.switch_lsn(name.timeline()));
        let mut left = match switch.filter(|switch| *switch < number.end(size)) {
            Some(switch) => switch.bytes_since(number.start(size) + offset),
            None => u64::MAX,
        };
        for mut part in content {
            part.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= part.len() as u64;
            self.decoder.feed(part);
        }
    }

    fn read_ahead(&mut self) {
        let most = (AHEAD / self.source.unit_len()).clamp(1, 8) as usize;
        let Some((_, last)) = self.runs.front().copied() else { return };
        while let Some(unit) = self.next.filter(|_| self.ahead.len() < most) {
            let Some(name) = self.source.name(unit.number).filter(|_| unit.number <= last) else {
                self.next = None;
                return;
            };
            self.next = Some(self.source.next_unit(unit));
            let source = self.source.clone();
            let read = tokio::spawn(async move { source.read(unit, name).await });
            self.ahead.push_back(Ahead { unit, read });
        }
    }

    /// The current run of segments is used up: goes on behind the gap, if that is wanted.
    fn next_run(&mut self) -> Result<()> {
        let before = self.runs.pop_front();
        let Some((begin, end)) = self.runs.front().copied() else {
            self.done = true;
            return Ok(());
        };
        let missing = before.map(|(_, last)| {
            // Where numbers go on, it is the first segment of a new timeline that is missing.
            if last.next() == begin { last } else { last.next() }
        });
        let name = missing.map(|number| self.missing_name(number));
        let Some(name) = name.filter(|_| begin <= end) else {
            self.done = true;
            return Ok(());
        };
        let start = begin.start(self.source.size());
        if !self.skip_missing {
            let message = format!(
                "WAL is missing from {name} to {start}: begin at {start} or later, or read on \
                 behind it with --skip-missing; walbrook-wal gaps shows what the archive lacks"
            );
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        self.warnings.push(format!("WAL is missing from {name} to {start}"));
        self.system = self.system_id();
        let decoder = Decoder::new(start, self.source.size());
        self.decoder = match self.system {
            Some(system) => decoder.of_system(system),
            None => decoder,
        };
        self.next = Some(Source::first_unit(begin));
        Ok(())
    }

    fn missing_name(&self, number: SegmentNumber) -> WalFileName {
        self.source.path().wanted_name(number)
    }
}

fn undecodable(error: walbrook_wal::Error) -> Error {
    let message = format!("the WAL can't be decoded: {error}");
    Error::new(ErrorKind::Corrupt, message).with_source(error)
}
