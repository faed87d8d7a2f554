use walbrook_types::{Lsn, SystemId, TimelineId, WalSegmentSize};

use crate::{Error, ErrorKind, WAL_PAGE_SIZE, WalVersion};

/// The page begins with the rest of a record of the page before (`XLP_FIRST_IS_CONTRECORD`).
const FIRST_IS_CONTRECORD: u16 = 0x0001;
/// The header has [`PageIdentity`] too (`XLP_LONG_HEADER`).
const LONG_HEADER: u16 = 0x0002;
/// The record that should go on here was given up (`XLP_FIRST_IS_OVERWRITE_CONTRECORD`).
const FIRST_IS_OVERWRITE_CONTRECORD: u16 = 0x0008;
/// All bits in use (`XLP_ALL_FLAGS`).
const ALL_FLAGS: u16 = 0x000F;

/// The header of a WAL page (`XLogPageHeaderData` and `XLogLongPageHeaderData` in PostgreSQL's
/// `access/xlog_internal.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// The format, from `xlp_magic`.
    pub version: WalVersion,
    /// `xlp_info`: flag bits.
    pub flags: u16,
    /// `xlp_tli`: the timeline of the first record on the page.
    pub timeline: TimelineId,
    /// `xlp_pageaddr`: the position of the page's first byte. A recycled segment still carries
    /// the positions of its former life where it was not overwritten yet.
    pub address: Lsn,
    /// `xlp_rem_len`: bytes still to come of a record of the page before.
    pub rem_len: u32,
    /// What the first page of each segment says in addition.
    pub identity: Option<PageIdentity>,
}

/// The additional fields of a segment's first page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageIdentity {
    /// `xlp_sysid`: which cluster wrote it.
    pub system_id: SystemId,
    /// `xlp_seg_size`.
    pub segment_size: WalSegmentSize,
}

impl PageHeader {
    /// Length of a header without [`PageIdentity`] in bytes (`SizeOfXLogShortPHD`).
    pub const SHORT_LEN: usize = 24;
    /// Length of a header with [`PageIdentity`] in bytes (`SizeOfXLogLongPHD`).
    pub const LONG_LEN: usize = 40;

    /// Reads the header from a page's first bytes: [`LONG_LEN`](Self::LONG_LEN) are always enough,
    /// [`SHORT_LEN`](Self::SHORT_LEN) unless it is a long one.
    ///
    /// # Errors
    ///
    /// [`UnknownMagic`](ErrorKind::UnknownMagic), [`BadPage`](ErrorKind::BadPage) for fields that
    /// are impossible, [`Truncated`](ErrorKind::Truncated).
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let Some(short) = bytes.first_chunk::<{ Self::SHORT_LEN }>() else {
            return Err(truncated(bytes.len()));
        };
        let magic = u16::from_le_bytes([short[0], short[1]]);
        let version = WalVersion::from_magic(magic).ok_or_else(|| unknown_magic(magic))?;
        let flags = u16::from_le_bytes([short[2], short[3]]);
        if flags & !ALL_FLAGS != 0 {
            return Err(Error::new(
                ErrorKind::BadPage,
                format!("WAL page with undefined flag bits {flags:#06x}"),
            ));
        }
        let timeline = u32::from_le_bytes([short[4], short[5], short[6], short[7]]);
        let timeline = TimelineId::new(timeline)
            .ok_or_else(|| Error::new(ErrorKind::BadPage, "WAL page without a timeline"))?;
        let [.., a, b, c, d, e, f, g, h, r0, r1, r2, r3, _, _, _, _] = *short;
        let identity = match flags & LONG_HEADER {
            0 => None,
            _ => Some(PageIdentity::parse(bytes)?),
        };
        Ok(Self {
            version,
            flags,
            timeline,
            address: Lsn(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
            rem_len: u32::from_le_bytes([r0, r1, r2, r3]),
            identity,
        })
    }

    /// Its own length in bytes; what the page holds begins behind it.
    pub fn header_len(&self) -> usize {
        match self.identity {
            Some(_) => Self::LONG_LEN,
            None => Self::SHORT_LEN,
        }
    }

    /// Whether the page begins with the rest of a record of the page before.
    pub fn continues_record(&self) -> bool {
        self.flags & FIRST_IS_CONTRECORD != 0
    }

    /// Whether the record that should go on here was given up after a crash: something else
    /// follows in its place, beginning with an `OVERWRITE_CONTRECORD` record.
    pub fn overwrites_record(&self) -> bool {
        self.flags & FIRST_IS_OVERWRITE_CONTRECORD != 0
    }
}

impl PageIdentity {
    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let long = bytes
            .get(PageHeader::SHORT_LEN..)
            .and_then(|rest| rest.first_chunk::<16>())
            .ok_or_else(|| truncated(bytes.len()))?;
        let [a, b, c, d, e, f, g, h, s0, s1, s2, s3, p0, p1, p2, p3] = *long;
        let segment_size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        let page_size = u32::from_le_bytes([p0, p1, p2, p3]);
        if page_size as usize != WAL_PAGE_SIZE {
            return Err(Error::new(
                ErrorKind::BadPage,
                format!("WAL with pages of {page_size} bytes; only {WAL_PAGE_SIZE} are supported"),
            ));
        }
        let segment_size = WalSegmentSize::new(segment_size).ok_or_else(|| {
            Error::new(
                ErrorKind::BadPage,
                format!("WAL page with an impossible segment size of {segment_size} bytes"),
            )
        })?;
        let system_id = SystemId(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        Ok(Self { system_id, segment_size })
    }
}

/// What the first bytes of a segment file say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The format, and with it the major version of the server.
    pub version: WalVersion,
    /// The timeline of the segment's first page. A segment in which a promotion fell begins with
    /// the former timeline's records: the timeline in its file name can be greater.
    pub timeline: TimelineId,
    /// The position of its first byte.
    pub start: Lsn,
    /// Which cluster wrote it.
    pub system_id: SystemId,
    /// How long it is.
    pub segment_size: WalSegmentSize,
}

impl SegmentHeader {
    /// Reads it from the first [`PageHeader::LONG_LEN`] bytes, or more, of a segment.
    ///
    /// # Errors
    ///
    /// As [`PageHeader::parse`], and [`BadPage`](ErrorKind::BadPage) for the header of a page that
    /// can't be a segment's first.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let page = PageHeader::parse(bytes)?;
        let identity = page.identity.ok_or_else(|| {
            Error::at(ErrorKind::BadPage, page.address, "WAL segment begins with a short header")
        })?;
        if identity.segment_size.offset_of(page.address) != 0 {
            return Err(Error::at(
                ErrorKind::BadPage,
                page.address,
                format!("WAL page is not the first of a segment of {}", identity.segment_size),
            ));
        }
        Ok(Self {
            version: page.version,
            timeline: page.timeline,
            start: page.address,
            system_id: identity.system_id,
            segment_size: identity.segment_size,
        })
    }
}

/// What a page turned out to be for a reader that goes through the log in order.
pub(crate) enum PageKind {
    /// It is the page that belongs here.
    Here(PageHeader),
    /// All zero where the header should be: nothing was written here yet.
    Zeroed,
    /// A page of the segment's former life: nothing was written here since.
    Recycled,
}

/// What a reader knows about the log when it comes to a page, and checks the page against
/// (`XLogReaderValidatePageHeader` in PostgreSQL's `access/transam/xlogreader.c`).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expectation {
    pub(crate) version: Option<WalVersion>,
    pub(crate) timeline: Option<TimelineId>,
    pub(crate) system_id: Option<SystemId>,
}

impl Expectation {
    /// Reads and checks the header of the page at `lsn`, and remembers what it says for the next.
    pub(crate) fn page(
        &mut self,
        bytes: &[u8],
        lsn: Lsn,
        size: WalSegmentSize,
    ) -> Result<PageKind, Error> {
        if bytes.iter().take(PageHeader::SHORT_LEN).all(|byte| *byte == 0) {
            return Ok(PageKind::Zeroed);
        }
        let header = PageHeader::parse(bytes).map_err(|error| error.or_at(lsn))?;
        let bad = |message: String| Err(Error::at(ErrorKind::BadPage, lsn, message));
        // First of all: what an older page says otherwise does not matter.
        if header.address < lsn {
            return Ok(PageKind::Recycled);
        }
        if header.address > lsn {
            return bad(format!("WAL page claims to lie at {}", header.address));
        }
        if self.version.is_some_and(|version| version != header.version) {
            return bad(format!("WAL page of PostgreSQL {}", header.version.major()));
        }
        match header.identity {
            None if size.offset_of(lsn) == 0 => {
                return bad("WAL segment begins with a short header".to_owned());
            }
            None => {}
            Some(identity) => {
                if identity.segment_size != size {
                    return bad(format!("WAL page of a segment of {}", identity.segment_size));
                }
                if self.system_id.is_some_and(|system_id| system_id != identity.system_id) {
                    return Err(Error::at(
                        ErrorKind::ForeignSystem,
                        lsn,
                        format!("WAL of another cluster, system identifier {}", identity.system_id),
                    ));
                }
                self.system_id = Some(identity.system_id);
            }
        }
        if let Some(before) = self.timeline.filter(|before| *before > header.timeline) {
            return Err(Error::at(
                ErrorKind::TimelineOrder,
                lsn,
                format!("WAL page of timeline {} after timeline {before}", header.timeline),
            ));
        }
        self.version = Some(header.version);
        self.timeline = Some(header.timeline);
        Ok(PageKind::Here(header))
    }
}

fn truncated(len: usize) -> Error {
    Error::new(ErrorKind::Truncated, format!("WAL page header ends after {len} bytes"))
}

fn unknown_magic(magic: u16) -> Error {
    Error::new(
        ErrorKind::UnknownMagic,
        format!(
            "{magic:#06X} is the WAL magic number of no supported version (PostgreSQL 15 to 18)"
        ),
    )
}
