use bytes::Bytes;
use walbrook_types::{Lsn, SegmentNumber};
use walbrook_wal::{Decoder, Record, XactRecord};

use crate::wal_path::WalPath;
use crate::{Error, ErrorKind, Result};

/// Decodes the WAL of a path, record by record, from a position to the end of a segment; a record
/// that goes on behind that is read to its end.
pub(crate) struct Scan<'a> {
    path: &'a WalPath,
    decoder: Decoder,
    next: SegmentNumber,
    last: SegmentNumber,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(path: &'a WalPath, from: Lsn, last: SegmentNumber) -> Self {
        let size = path.size();
        let next = size.segment_of(from);
        let decoder = Decoder::new(next.start(size), size).yield_from(from);
        Self { path, decoder, next, last }
    }

    /// Where the first record begins that `wanted` says yes to.
    pub(crate) async fn find(
        mut self,
        mut wanted: impl FnMut(&Record) -> bool,
    ) -> Result<Option<Lsn>> {
        loop {
            let (decoder, found) = drain(self.decoder, &mut wanted)?;
            self.decoder = decoder;
            if found.is_some() || self.decoder.end().is_some() {
                return Ok(found);
            }
            let within = self.next <= self.last;
            // Past the last segment, only the record that straddles its end is of interest.
            if !within && (self.decoder.buffered() == 0 || self.path.name(self.next).is_none()) {
                return Ok(None);
            }
            if self.next > self.last.next() {
                return Ok(None);
            }
            let content: Vec<Bytes> = self.path.read(self.next).await?;
            for part in content {
                self.decoder.feed(part);
            }
            self.next = self.next.next();
        }
    }
}

/// Looks at all records that the decoder has.
fn drain(
    mut decoder: Decoder,
    wanted: &mut impl FnMut(&Record) -> bool,
) -> Result<(Decoder, Option<Lsn>)> {
    loop {
        let record = decoder.next().map_err(|error| {
            let message = format!("the WAL in the repository can't be decoded: {error}");
            Error::new(ErrorKind::Corrupt, message).with_source(error)
        })?;
        let Some(record) = record else { return Ok((decoder, None)) };
        if wanted(&record) {
            let lsn = record.lsn;
            return Ok((decoder, Some(lsn)));
        }
    }
}

/// The transaction that a record ends, and when; none for any other record.
pub(crate) fn transaction_end(record: &Record) -> Option<(u32, jiff::Timestamp)> {
    match record.xact() {
        Ok(Some(XactRecord::Commit(end) | XactRecord::Abort(end))) => {
            let time = jiff::Timestamp::from_microsecond(end.time.unix_micros()).ok()?;
            Some((end.xid, time))
        }
        // A record whose contents are not understood is none that anybody looks for.
        _ => None,
    }
}
