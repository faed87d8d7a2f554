use walbrook_types::{BLOCK_SIZE, BlockNumber, Fork, Oid, Tablespace};

use crate::{Error, ErrorKind, RecordHeader, Xid};

/// Ids of fragments that are no block references (`XLR_BLOCK_ID_*`).
const ID_TOPLEVEL_XID: u8 = 252;
const ID_ORIGIN: u8 = 253;
const ID_DATA_LONG: u8 = 254;
const ID_DATA_SHORT: u8 = 255;
/// The greatest id of a block reference (`XLR_MAX_BLOCK_ID`).
const MAX_BLOCK_ID: u8 = 32;

/// Bits of a block reference's `fork_flags` (`BKPBLOCK_*`).
const FORK_MASK: u8 = 0x0F;
const HAS_IMAGE: u8 = 0x10;
const HAS_DATA: u8 = 0x20;
const WILL_INIT: u8 = 0x40;
const SAME_REL: u8 = 0x80;

/// Bits of an image's `bimg_info` (`BKPIMAGE_*`), as they are since PostgreSQL 15.
const HAS_HOLE: u8 = 0x01;
const APPLY: u8 = 0x02;
const COMPRESSED_PGLZ: u8 = 0x04;
const COMPRESSED_LZ4: u8 = 0x08;
const COMPRESSED_ZSTD: u8 = 0x10;

/// What a record is made of (`DecodeXLogRecord` in PostgreSQL's `access/transam/xlogreader.c`,
/// layouts in `access/xlogrecord.h`).
///
/// All of it is checked when this is made, so that going through [`blocks`](Self::blocks) can't
/// fail. Nothing is copied and nothing allocated.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Between the record's header and its data: the fragments' headers.
    headers: &'a [u8],
    /// Images and data of all blocks, in the order of their headers.
    block_data: &'a [u8],
    main_data: &'a [u8],
    origin: Option<u16>,
    toplevel_xid: Option<Xid>,
}

impl<'a> Parts<'a> {
    /// Takes a whole record apart, header included. Its CRC should have been checked.
    ///
    /// # Errors
    ///
    /// [`BadContents`](ErrorKind::BadContents).
    pub fn parse(record: &'a [u8]) -> Result<Self, Error> {
        Self::parse_prefix(record, record.len())
    }

    /// The same for the first bytes of a record that is `total_len` long: the headers must be
    /// among them; of the data, what is not there is left out.
    pub(crate) fn parse_prefix(record: &'a [u8], total_len: usize) -> Result<Self, Error> {
        let body = record.get(RecordHeader::LEN..).ok_or_else(bad)?;
        let mut walk = Walk::new(body);
        let (mut main_len, mut blocks_len) = (0, 0);
        let (mut origin, mut toplevel_xid) = (None, None);
        let body_len = total_len.saturating_sub(RecordHeader::LEN);
        // As long as there is more than the data that the headers have announced, there is
        // another header.
        while body_len.saturating_sub(walk.at) > main_len + blocks_len {
            match walk.fragment()? {
                Fragment::Block(block) => blocks_len += block.image_len() + block.data_len,
                Fragment::Main(len) => main_len = len,
                Fragment::Origin(id) => origin = Some(id),
                Fragment::ToplevelXid(xid) => toplevel_xid = Some(xid),
            }
        }
        let data_at = walk.at;
        if body_len.saturating_sub(data_at) != main_len + blocks_len {
            return Err(bad());
        }
        let part = |from: usize, len: usize| {
            let from = from.min(body.len());
            body.get(from..(from + len).min(body.len())).unwrap_or_default()
        };
        Ok(Self {
            headers: part(0, data_at),
            block_data: part(data_at, blocks_len),
            main_data: part(data_at + blocks_len, main_len),
            origin,
            toplevel_xid,
        })
    }

    /// The blocks that the record is about, in the order of their ids.
    pub fn blocks(&self) -> BlockRefs<'a> {
        BlockRefs { walk: Walk::new(self.headers), data: self.block_data }
    }

    /// What the record says apart from what belongs to blocks.
    pub fn main_data(&self) -> &'a [u8] {
        self.main_data
    }

    /// The replication origin that the change came from.
    pub fn origin(&self) -> Option<u16> {
        self.origin
    }

    /// The top-level transaction, when the record's own is a subtransaction not known yet
    /// (`wal_level=logical` only).
    pub fn toplevel_xid(&self) -> Option<Xid> {
        self.toplevel_xid
    }
}

/// The block references of a record; made by [`Parts::blocks`].
#[derive(Debug, Clone)]
pub struct BlockRefs<'a> {
    walk: Walk<'a>,
    data: &'a [u8],
}

impl<'a> Iterator for BlockRefs<'a> {
    type Item = BlockRef<'a>;

    fn next(&mut self) -> Option<BlockRef<'a>> {
        while self.walk.at < self.walk.bytes.len() {
            let Fragment::Block(header) = self.walk.fragment().ok()? else { continue };
            let (image, rest) = self.data.split_at_checked(header.image_len())?;
            let (data, rest) = rest.split_at_checked(header.data_len)?;
            self.data = rest;
            return Some(BlockRef {
                id: header.id,
                relation: header.relation,
                fork: header.fork,
                block: header.block,
                will_init: header.flags & WILL_INIT != 0,
                image: header.image.map(|info| PageImage {
                    bytes: image,
                    hole_offset: info.hole_offset,
                    hole_len: info.hole_len,
                    apply: info.bits & APPLY != 0,
                    compression: info.compression(),
                }),
                data,
            });
        }
        None
    }
}

/// A block that a record changes or refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRef<'a> {
    /// Its number within the record.
    pub id: u8,
    /// Of which relation.
    pub relation: RelLocator,
    /// In which fork.
    pub fork: Fork,
    /// Its number in that fork.
    pub block: BlockNumber,
    /// Whether replay begins with an empty page instead of reading it.
    pub will_init: bool,
    /// The page as it was when the record was written.
    pub image: Option<PageImage<'a>>,
    /// What the record says about this block.
    pub data: &'a [u8],
}

/// A full-page image within a record, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageImage<'a> {
    /// The page without its hole, compressed if [`compression`](Self::compression) says so.
    pub bytes: &'a [u8],
    /// Where the hole of zero bytes begins that was left out.
    pub hole_offset: u16,
    /// How long it is; zero for none.
    pub hole_len: u16,
    /// Whether replay restores it (`BKPIMAGE_APPLY`): the images written for
    /// `wal_consistency_checking` are only compared.
    pub apply: bool,
    /// How it is compressed.
    pub compression: Compression,
}

/// How a full-page image is compressed (`wal_compression`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// By PostgreSQL's own method.
    Pglz,
    /// By LZ4, one block without a frame.
    Lz4,
    /// By Zstandard, one frame.
    Zstd,
}

/// What identifies a relation's files (`RelFileLocator` in `storage/relfilelocator.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelLocator {
    /// The tablespace's OID; 1663 is `pg_default`, 1664 `pg_global`.
    pub tablespace_oid: Oid,
    /// The database's OID; zero for shared relations.
    pub database: Oid,
    /// The relation's file number (`relfilenode`).
    pub number: Oid,
}

impl RelLocator {
    /// Length in bytes, as it stands in records.
    pub(crate) const LEN: usize = 12;

    pub(crate) fn from_bytes(b: &[u8; Self::LEN]) -> Self {
        let oid = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        Self { tablespace_oid: oid(0), database: oid(4), number: oid(8) }
    }

    /// The tablespace in the sense of a path in the data directory.
    pub fn tablespace(&self) -> Tablespace {
        match self.tablespace_oid {
            1663 => Tablespace::Default,
            1664 => Tablespace::Global,
            other => Tablespace::Other(other),
        }
    }
}

enum Fragment {
    Block(BlockHeader),
    Main(usize),
    Origin(u16),
    ToplevelXid(Xid),
}

struct BlockHeader {
    id: u8,
    flags: u8,
    fork: Fork,
    data_len: usize,
    image: Option<ImageInfo>,
    relation: RelLocator,
    block: BlockNumber,
}

impl BlockHeader {
    fn image_len(&self) -> usize {
        self.image.map_or(0, |image| usize::from(image.len))
    }
}

#[derive(Clone, Copy)]
struct ImageInfo {
    len: u16,
    hole_offset: u16,
    hole_len: u16,
    bits: u8,
}

impl ImageInfo {
    fn compression(&self) -> Compression {
        if self.bits & COMPRESSED_PGLZ != 0 {
            Compression::Pglz
        } else if self.bits & COMPRESSED_LZ4 != 0 {
            Compression::Lz4
        } else if self.bits & COMPRESSED_ZSTD != 0 {
            Compression::Zstd
        } else {
            Compression::None
        }
    }

    /// The combinations that PostgreSQL takes for possible.
    fn is_consistent(&self) -> bool {
        let whole = BLOCK_SIZE as u16;
        let compressed = self.compression() != Compression::None;
        let hole = if self.bits & HAS_HOLE != 0 {
            self.hole_offset != 0
                && self.hole_len != 0
                && self.len != whole
                && self.hole_offset.saturating_add(self.hole_len) <= whole
        } else {
            self.hole_offset == 0 && self.hole_len == 0
        };
        let len = if compressed {
            self.len < whole
        } else {
            self.bits & HAS_HOLE != 0 || self.len == whole
        };
        hole && len
    }
}

/// Goes through the headers of a record's fragments, which lie one behind the other, unaligned.
#[derive(Debug, Clone)]
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The relation of the block before, for blocks of the same.
    relation: Option<RelLocator>,
    last_id: Option<u8>,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, relation: None, last_id: None }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes =
            self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()).ok_or_else(bad)?;
        self.at += N;
        Ok(*bytes)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    fn fragment(&mut self) -> Result<Fragment, Error> {
        let [id] = self.array()?;
        match id {
            ID_DATA_SHORT => self.array().map(|[len]| Fragment::Main(usize::from(len))),
            ID_DATA_LONG => self.u32().map(|len| Fragment::Main(len as usize)),
            ID_ORIGIN => self.u16().map(Fragment::Origin),
            ID_TOPLEVEL_XID => self.u32().map(Fragment::ToplevelXid),
            0..=MAX_BLOCK_ID => self.block(id).map(Fragment::Block),
            _ => Err(bad()),
        }
    }

    fn block(&mut self, id: u8) -> Result<BlockHeader, Error> {
        if self.last_id.is_some_and(|last| id <= last) {
            return Err(bad());
        }
        self.last_id = Some(id);
        let [flags] = self.array()?;
        let fork = fork(flags & FORK_MASK).ok_or_else(bad)?;
        let data_len = usize::from(self.u16()?);
        if (flags & HAS_DATA != 0) != (data_len > 0) {
            return Err(bad());
        }
        let image = if flags & HAS_IMAGE != 0 { Some(self.image()?) } else { None };
        if flags & SAME_REL == 0 {
            self.relation = Some(RelLocator::from_bytes(&self.array()?));
        }
        let relation = self.relation.ok_or_else(bad)?;
        Ok(BlockHeader { id, flags, fork, data_len, image, relation, block: self.u32()? })
    }

    fn image(&mut self) -> Result<ImageInfo, Error> {
        let (len, hole_offset) = (self.u16()?, self.u16()?);
        let [bits] = self.array()?;
        let mut info = ImageInfo { len, hole_offset, hole_len: 0, bits };
        if info.compression() == Compression::None {
            info.hole_len = (BLOCK_SIZE as u16).checked_sub(len).ok_or_else(bad)?;
        } else if bits & HAS_HOLE != 0 {
            info.hole_len = self.u16()?;
        }
        if info.is_consistent() { Ok(info) } else { Err(bad()) }
    }
}

/// The fork with this number (`ForkNumber` in PostgreSQL's `common/relpath.h`).
pub(crate) fn fork(number: u8) -> Option<Fork> {
    match number {
        0 => Some(Fork::Main),
        1 => Some(Fork::FreeSpaceMap),
        2 => Some(Fork::VisibilityMap),
        3 => Some(Fork::Init),
        _ => None,
    }
}

fn bad() -> Error {
    Error::new(
        ErrorKind::BadContents,
        "record whose block references and data do not fit its length",
    )
}
