use jiff::Timestamp;
use walbrook_types::{PgTimestamp, WalFileName};
use walbrook_wal::{SegmentFacts, SegmentHeader, SegmentScanner, WalSummary};

use crate::wal::encode::WalSource;
use crate::wal::info::{FileCopy, RestorePoint, SegmentContent, Transactions};
use crate::{Error, ErrorKind, Result};

/// Looks into a WAL file while it is stored: checks that it is what its name says, and notes what
/// a restore will ask for.
///
/// Only what would put WAL of another cluster, or under another name, into the archive is an
/// error. A record that can't be understood is not: an archive keeps what the server wrote.
pub(crate) struct ContentScanner<'a> {
    source: &'a WalSource,
    scanner: Option<SegmentScanner>,
    begun: bool,
    /// Until the scanner met something that it does not understand; what it had found stays.
    scanning: bool,
}

impl<'a> ContentScanner<'a> {
    pub(crate) fn new(source: &'a WalSource) -> Self {
        let has_records =
            matches!(source.name, WalFileName::Segment { .. } | WalFileName::Partial { .. });
        let scanner = has_records.then(|| match source.name {
            // Only whole segments are part of what a summary proves. What a backup will leave
            // unread because of it rests on the records' CRCs.
            WalFileName::Segment { .. } => SegmentScanner::new(true).summarize(),
            _ => SegmentScanner::new(false),
        });
        Self { source, scanner, begun: false, scanning: true }
    }

    /// Takes the next bytes of the file; the first ones hold at least its header.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(scanner) = &mut self.scanner else { return Ok(()) };
        if !std::mem::replace(&mut self.begun, true) {
            check_header(self.source, bytes)?;
        }
        if self.scanning
            && let Err(error) = scanner.feed(bytes)
        {
            tracing::warn!(file = %self.source.name, %error, "WAL that is not understood");
            self.scanning = false;
        }
        Ok(())
    }

    /// What the file holds, and the blocks that it changes, once all `size` bytes of it were fed.
    pub(crate) fn finish(self, size: u64) -> Result<(Option<SegmentContent>, Option<WalSummary>)> {
        let name = self.source.name;
        let expected = self.source.segment_size.bytes();
        if matches!(name, WalFileName::Segment { .. }) && size != expected {
            let message = format!(
                "{name} has {size} bytes, and a segment of this cluster has {expected}: it is \
                 not complete, or not of this cluster"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let Some(scanner) = self.scanner else { return Ok((None, None)) };
        let content = scanner.facts().map(content);
        // What is not understood has no summary: blocks would be missing in it.
        let summary = match self.scanning.then(|| scanner.finish_with_summary()) {
            Some(Ok((_, summary))) => summary,
            Some(Err(_)) | None => None,
        };
        Ok((content, summary))
    }
}

fn check_header(source: &WalSource, bytes: &[u8]) -> Result<()> {
    let WalSource { name, system, segment_size, pg_major, .. } = *source;
    let wrong = |what: String| Err(Error::new(ErrorKind::Invalid, format!("{name} {what}")));
    let header = match SegmentHeader::parse(bytes) {
        Ok(header) => header,
        Err(error) => return wrong(format!("does not begin as a WAL segment does: {error}")),
    };
    if header.system_id != system {
        return wrong(format!(
            "was written by system {}, not by {system}: check --cluster and --repo",
            header.system_id
        ));
    }
    if header.version.major() != pg_major {
        return wrong(format!(
            "was written by PostgreSQL {}, and this cluster is one of PostgreSQL {pg_major}",
            header.version.major()
        ));
    }
    if header.segment_size != segment_size {
        return wrong(format!(
            "is of a cluster with segments of {}, not of {segment_size}",
            header.segment_size
        ));
    }
    let start = name.segment_number(segment_size).map(|number| number.start(segment_size));
    // The first segment of a timeline begins with what the timeline before it had there.
    if start != Some(header.start) || header.timeline > name.timeline() {
        return wrong(format!(
            "begins at {} of timeline {}, not where its name says: it is an old segment that \
             was not yet written again",
            header.start, header.timeline
        ));
    }
    Ok(())
}

fn content(facts: &SegmentFacts) -> SegmentContent {
    let times = facts.min_xact_time.zip(facts.max_xact_time);
    let xids = facts.oldest_xid.zip(facts.newest_xid);
    let transactions = times.zip(xids).map(|((first, last), (oldest, newest))| Transactions {
        count: facts.commits + facts.aborts,
        first_time: timestamp(first),
        last_time: timestamp(last),
        oldest_xid: oldest,
        newest_xid: newest,
    });
    let restore_points = facts.restore_points.iter().map(|point| RestorePoint {
        name: point.name.clone(),
        lsn: point.lsn,
        time: timestamp(point.time),
    });
    let file_copies = facts.file_copies.iter().map(|copy| FileCopy {
        lsn: copy.lsn,
        database: copy.database,
        source_database: copy.source_database,
    });
    SegmentContent {
        pg_major: facts.header.version.major(),
        first_record: facts.first_record_lsn,
        last_record: facts.last_record_lsn,
        end_lsn: facts.end_lsn,
        transactions,
        restore_points: restore_points.collect(),
        file_copies: file_copies.collect(),
    }
}

/// The server's clock may have stood anywhere; a time that no calendar has becomes the nearest.
fn timestamp(time: PgTimestamp) -> Timestamp {
    let micros = time.unix_micros();
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}
