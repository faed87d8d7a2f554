//! Writes WAL by hand, laid out as PostgreSQL lays it out.

use walbrook_wal::WalVersion;

pub(crate) const MIB: u64 = 1 << 20;
/// The start of the first segment that is made.
pub(crate) const BASE: u64 = 3 * MIB;
const CONTRECORD: u16 = 1;
const LONG: u16 = 2;
pub(crate) const OVERWRITE: u16 = 8;

/// Writes WAL, of segments of 1 MiB unless told otherwise.
pub(crate) struct Writer {
    pub(crate) base: u64,
    pub(crate) segment: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) prev: u64,
    pub(crate) version: WalVersion,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self::of(WalVersion::V17)
    }

    pub(crate) fn of(version: WalVersion) -> Self {
        Self { base: BASE, segment: MIB, bytes: Vec::new(), prev: 0, version }
    }

    pub(crate) fn at(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    pub(crate) fn page(&mut self, flags: u16, rem_len: u32) {
        let at = self.at();
        assert_eq!(at % 8192, 0);
        let long = at.is_multiple_of(self.segment);
        self.bytes.extend(self.version.magic().to_le_bytes());
        self.bytes.extend((flags | if long { LONG } else { 0 }).to_le_bytes());
        self.bytes.extend(1u32.to_le_bytes());
        self.bytes.extend(at.to_le_bytes());
        self.bytes.extend(rem_len.to_le_bytes());
        self.bytes.extend([0; 4]);
        if long {
            self.bytes.extend(77u64.to_le_bytes());
            self.bytes.extend((self.segment as u32).to_le_bytes());
            self.bytes.extend(8192u32.to_le_bytes());
        }
    }

    /// A record with this much main data; answers its position.
    pub(crate) fn record(&mut self, rmgr: u8, info: u8, data: &[u8]) -> u64 {
        let mut body = Vec::new();
        match u8::try_from(data.len()) {
            Ok(len) => body.extend([255, len]),
            Err(_) => {
                body.push(254);
                body.extend((data.len() as u32).to_le_bytes());
            }
        }
        body.extend(data);
        self.raw(rmgr, info, &body)
    }

    /// A record with this behind its header; answers its position.
    pub(crate) fn raw(&mut self, rmgr: u8, info: u8, body: &[u8]) -> u64 {
        let mut record = Vec::new();
        record.extend((24 + body.len() as u32).to_le_bytes());
        record.extend(9u32.to_le_bytes());
        record.extend(self.prev.to_le_bytes());
        record.extend([info, rmgr, 0, 0]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(body), &record);
        record.extend(crc.to_le_bytes());
        record.extend(body);
        self.place(&record)
    }

    pub(crate) fn place(&mut self, record: &[u8]) -> u64 {
        if self.at().is_multiple_of(8192) {
            self.page(0, 0);
        }
        let lsn = self.at();
        let mut rest = record;
        loop {
            let (here, more) = rest.split_at(rest.len().min(8192 - (self.at() % 8192) as usize));
            self.bytes.extend(here);
            rest = more;
            if rest.is_empty() {
                break;
            }
            self.page(CONTRECORD, rest.len() as u32);
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.prev = lsn;
        lsn
    }

    /// Fills up so that this many bytes are left before the next multiple of `unit`.
    pub(crate) fn leave(&mut self, left: u64, unit: u64) {
        loop {
            let gap = (unit - self.at() % unit + unit - left) % unit;
            if gap == 0 {
                return;
            }
            // Within one page, so that no header comes between.
            let page_left = 8192 - self.at() % 8192;
            let len = match gap {
                // The next record must not be left less than its own header and length.
                32.. if gap <= page_left && gap - 26 <= 255 => gap - 26,
                _ => 100,
            };
            self.record(21, 0, &vec![1; len as usize]);
        }
    }

    pub(crate) fn padded(mut self, len: u64) -> Vec<u8> {
        self.bytes.resize(len as usize, 0);
        self.bytes
    }
}
