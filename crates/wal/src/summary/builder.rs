use super::gather::{Gather, Outcome};
use super::table::BlockSummary;
use crate::{Error, ErrorKind, Record};

/// Makes a [`BlockSummary`] of records that a [`Decoder`](crate::Decoder) yields, in their order:
/// that of any range of WAL, also one that begins or ends within a segment.
#[derive(Debug, Default)]
pub struct BlockSummaryBuilder {
    gather: Gather,
}

impl BlockSummaryBuilder {
    /// One that has seen no record yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes what the next record does.
    ///
    /// # Errors
    ///
    /// [`BadContents`](ErrorKind::BadContents) when the record is not laid out as PostgreSQL does,
    /// [`IncompleteSummary`](ErrorKind::IncompleteSummary) when it says that WAL is, or was until
    /// here, written with `wal_level=minimal`, which lacks changes. No summary of such a range can
    /// be relied on.
    pub fn record(&mut self, record: &Record) -> Result<(), Error> {
        match self.gather.record(record.version, &record.header, &record.bytes) {
            Outcome::Noted => Ok(()),
            Outcome::Minimal => Err(Error::at(
                ErrorKind::IncompleteSummary,
                record.lsn,
                "WAL is written with wal_level=minimal, which lacks changes,",
            )),
            Outcome::Unknown => Err(Error::at(
                ErrorKind::BadContents,
                record.lsn,
                "record is not laid out as PostgreSQL does",
            )),
        }
    }

    /// The summary of all records seen.
    pub fn finish(self) -> BlockSummary {
        self.gather.finish()
    }
}
