use walbrook_types::{Fork, Lsn, PgTimestamp, TimelineId};

use crate::parts::{RelLocator, fork};
use crate::{Error, ErrorKind};

/// Little-endian fields of main data at fixed offsets, each checked against the end.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn rest(self, at: usize) -> Result<&'a [u8], Error> {
        self.0.get(at..).ok_or_else(short)
    }

    pub(crate) fn array<const N: usize>(self, at: usize) -> Result<[u8; N], Error> {
        self.rest(at)?.first_chunk().copied().ok_or_else(short)
    }

    pub(crate) fn u32(self, at: usize) -> Result<u32, Error> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(self, at: usize) -> Result<u64, Error> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// Items of this length each, as many as the 32 bits at `count_at` say.
    pub(crate) fn list(self, count_at: usize, at: usize, item: usize) -> Result<&'a [u8], Error> {
        let count = usize::try_from(self.u32(count_at)?).map_err(|_| short())?;
        let len = count.checked_mul(item).ok_or_else(short)?;
        self.rest(at)?.get(..len).ok_or_else(short)
    }

    pub(crate) fn lsn(self, at: usize) -> Result<Lsn, Error> {
        self.u64(at).map(Lsn)
    }

    pub(crate) fn relation(self, at: usize) -> Result<RelLocator, Error> {
        self.array(at).map(|bytes| RelLocator::from_bytes(&bytes))
    }

    /// A fork's number as an `int` (`ForkNumber`).
    pub(crate) fn fork(self, at: usize) -> Result<Fork, Error> {
        let number = u8::try_from(self.u32(at)?).ok();
        number.and_then(fork).ok_or_else(short)
    }

    pub(crate) fn time(self, at: usize) -> Result<PgTimestamp, Error> {
        self.array(at).map(i64::from_le_bytes).map(PgTimestamp)
    }

    pub(crate) fn timeline(self, at: usize) -> Result<TimelineId, Error> {
        TimelineId::new(self.u32(at)?)
            .ok_or_else(|| Error::new(ErrorKind::BadContents, "record with timeline zero"))
    }
}

pub(crate) fn short() -> Error {
    Error::new(ErrorKind::BadContents, "record with too little data for its operation")
}
