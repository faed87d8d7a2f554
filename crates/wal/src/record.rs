use std::fmt;

use bytes::Bytes;
use walbrook_types::Lsn;

use crate::{
    DbaseRecord, Error, ErrorKind, MAX_RECORD_LEN, Parts, RelmapUpdate, RmgrId, SmgrRecord,
    TablespaceRecord, WalVersion, XactRecord, Xid, XlogRecord,
};

/// Bits of `xl_info` that belong to the resource manager (`XLR_RMGR_INFO_MASK`).
const RMGR_INFO: u8 = 0xF0;

/// The fixed part of a record (`XLogRecord` in PostgreSQL's `access/xlogrecord.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// `xl_tot_len`: the record's length in bytes, this header included.
    pub total_len: u32,
    /// `xl_xid`: the transaction, or zero. A subtransaction has its own.
    pub xid: Xid,
    /// `xl_prev`: where the record before lies.
    pub prev: Lsn,
    /// `xl_info`: the high four bits are the resource manager's operation.
    pub info: u8,
    /// `xl_rmid`: who wrote it.
    pub rmgr: RmgrId,
    /// `xl_crc`: CRC-32C of everything behind the header, then of the header before this field.
    pub crc: u32,
}

impl RecordHeader {
    /// Its length in bytes (`SizeOfXLogRecord`).
    pub const LEN: usize = 24;

    /// Reads it from a record's first bytes; none when there are too few.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let b = bytes.first_chunk::<{ Self::LEN }>()?;
        let u32_at = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        Some(Self {
            total_len: u32_at(0),
            xid: u32_at(4),
            prev: Lsn(u64::from(u32_at(12)) << 32 | u64::from(u32_at(8))),
            info: b[16],
            rmgr: RmgrId(b[17]),
            crc: u32_at(20),
        })
    }

    /// The operation: `xl_info` without the bits that are not the resource manager's.
    pub fn operation(&self) -> u8 {
        self.info & RMGR_INFO
    }

    /// Whether this is `XLOG_SWITCH`: nothing but padding follows up to the segment's end.
    pub fn is_switch(&self) -> bool {
        self.rmgr == RmgrId::XLOG && self.operation() == XlogRecord::SWITCH
    }

    /// What `ValidXLogRecordHeader` checks. `prev` is where the record before was found; without
    /// it all that can be said is that it must lie before this one.
    pub(crate) fn check(&self, lsn: Lsn, prev: Option<Lsn>) -> Result<(), Error> {
        check_len(self.total_len, lsn)?;
        if !self.rmgr.is_valid() {
            return Err(Error::at(
                ErrorKind::BadRecord,
                lsn,
                format!("record of the unknown resource manager {}", self.rmgr.0),
            ));
        }
        let linked = match prev {
            Some(prev) => self.prev == prev,
            None => self.prev < lsn,
        };
        if !linked {
            let prev = self.prev;
            return Err(Error::at(
                ErrorKind::BadRecord,
                lsn,
                format!("record with the wrong back link {prev}"),
            ));
        }
        Ok(())
    }
}

/// Whether a record can have this length.
pub(crate) fn check_len(total_len: u32, lsn: Lsn) -> Result<(), Error> {
    if (RecordHeader::LEN as u32..=MAX_RECORD_LEN).contains(&total_len) {
        return Ok(());
    }
    let message = format!("record with an impossible length of {total_len} bytes");
    Err(Error::at(ErrorKind::BadRecord, lsn, message))
}

/// The checksum of a record, computed from everything behind its header in pieces, and last from
/// the header.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RecordCrc(u32);

impl RecordCrc {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    pub(crate) fn check(mut self, header: &[u8], lsn: Lsn) -> Result<(), Error> {
        // The checksum's own four bytes come last in the header and are left out.
        self.add(header.get(..RecordHeader::LEN - 4).unwrap_or_default());
        match RecordHeader::parse(header) {
            Some(parsed) if parsed.crc == self.0 => Ok(()),
            _ => Err(Error::at(
                ErrorKind::BadChecksum,
                lsn,
                "record does not match its CRC: the WAL is damaged",
            )),
        }
    }
}

/// One WAL record, whole, its checksum checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it begins: what `pg_waldump` calls its `lsn`.
    pub lsn: Lsn,
    /// Where the next one may begin at the earliest: its end, aligned to eight bytes; for a switch
    /// the end of the segment. PostgreSQL's `EndRecPtr`, the LSN that replaying it reaches.
    pub end_lsn: Lsn,
    /// The format that it is in.
    pub version: WalVersion,
    /// The fixed part.
    pub header: RecordHeader,
    /// The whole record, header included. Shares the decoder's input when the record lay in one
    /// piece there, and is a copy when it had to be put together.
    pub bytes: Bytes,
}

impl fmt::Debug for Record {
    /// Without its bytes: there can be a gigabyte of them, and they hold what users keep secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("lsn", &self.lsn)
            .field("end_lsn", &self.end_lsn)
            .field("version", &self.version)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Record {
    /// Its block references and main data.
    ///
    /// # Errors
    ///
    /// [`BadContents`](ErrorKind::BadContents) when the record is not laid out as PostgreSQL does.
    pub fn parts(&self) -> Result<Parts<'_>, Error> {
        Parts::parse(&self.bytes).map_err(|error| error.or_at(self.lsn))
    }

    /// What the record says to its resource manager, apart from what belongs to blocks.
    ///
    /// # Errors
    ///
    /// As [`parts`](Self::parts).
    pub fn main_data(&self) -> Result<&[u8], Error> {
        self.parts().map(|parts| parts.main_data())
    }

    /// The meaning of a record of the `XLOG` resource manager; none for others.
    ///
    /// # Errors
    ///
    /// [`BadContents`](ErrorKind::BadContents) when its main data are too short.
    pub fn xlog(&self) -> Result<Option<XlogRecord>, Error> {
        self.meaning(RmgrId::XLOG, |data| XlogRecord::parse(&self.header, data))
    }

    /// The meaning of a record of the `Transaction` resource manager; none for others.
    ///
    /// # Errors
    ///
    /// As [`xlog`](Self::xlog).
    pub fn xact(&self) -> Result<Option<XactRecord<'_>>, Error> {
        self.meaning(RmgrId::XACT, |data| XactRecord::parse(self.version, &self.header, data))
    }

    /// The meaning of a record of the `Storage` resource manager; none for others.
    ///
    /// # Errors
    ///
    /// As [`xlog`](Self::xlog).
    pub fn smgr(&self) -> Result<Option<SmgrRecord>, Error> {
        self.meaning(RmgrId::SMGR, |data| SmgrRecord::parse(&self.header, data))
    }

    /// The meaning of a record of the `Database` resource manager; none for others.
    ///
    /// # Errors
    ///
    /// As [`xlog`](Self::xlog).
    pub fn dbase(&self) -> Result<Option<DbaseRecord<'_>>, Error> {
        self.meaning(RmgrId::DBASE, |data| DbaseRecord::parse(&self.header, data))
    }

    /// The meaning of a record of the `Tablespace` resource manager; none for others.
    ///
    /// # Errors
    ///
    /// As [`xlog`](Self::xlog).
    pub fn tablespace(&self) -> Result<Option<TablespaceRecord<'_>>, Error> {
        self.meaning(RmgrId::TABLESPACE, |data| TablespaceRecord::parse(&self.header, data))
    }

    /// The meaning of a record of the `RelMap` resource manager; none for others.
    ///
    /// # Errors
    ///
    /// As [`xlog`](Self::xlog).
    pub fn relmap(&self) -> Result<Option<RelmapUpdate<'_>>, Error> {
        let update = |data| RelmapUpdate::parse(&self.header, data);
        Ok(self.meaning(RmgrId::RELMAP, update)?.flatten())
    }

    fn meaning<'a, T>(
        &'a self,
        rmgr: RmgrId,
        parse: impl FnOnce(&'a [u8]) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.header.rmgr != rmgr {
            return Ok(None);
        }
        parse(self.main_data()?).map(Some).map_err(|error| error.or_at(self.lsn))
    }
}
