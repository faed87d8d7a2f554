use walbrook_types::{Lsn, Oid, PgTimestamp};

use crate::fields::{Fields, short};
use crate::parts::RelLocator;
use crate::{Error, RecordHeader, WalVersion, Xid};

/// The operation within `xl_info` (`XLOG_XACT_OPMASK`), and whether `xinfo` follows the time.
const OPERATION: u8 = 0x70;
const HAS_INFO: u8 = 0x80;

const COMMIT: u8 = 0x00;
const PREPARE: u8 = 0x10;
const ABORT: u8 = 0x20;
const COMMIT_PREPARED: u8 = 0x30;
const ABORT_PREPARED: u8 = 0x40;
const ASSIGNMENT: u8 = 0x50;

/// Which parts follow (`XACT_XINFO_HAS_*`).
const HAS_DBINFO: u32 = 1 << 0;
const HAS_SUBXACTS: u32 = 1 << 1;
const HAS_RELFILES: u32 = 1 << 2;
const HAS_INVALS: u32 = 1 << 3;
const HAS_TWOPHASE: u32 = 1 << 4;
const HAS_ORIGIN: u32 = 1 << 5;
const HAS_GID: u32 = 1 << 7;
const HAS_DROPPED_STATS: u32 = 1 << 8;

/// Size of one invalidation message in bytes (`SharedInvalidationMessage`).
const INVAL_LEN: usize = 16;

/// What a record of the transaction manager says (layouts in PostgreSQL's `access/xact.h`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum XactRecord<'a> {
    /// `COMMIT` and `COMMIT_PREPARED`.
    Commit(XactEnd<'a>),
    /// `ABORT` and `ABORT_PREPARED`.
    Abort(XactEnd<'a>),
    /// `PREPARE`: the first half of a two-phase commit.
    Prepare(XactPrepare<'a>),
    /// `ASSIGNMENT`: whose subtransactions some are. Told in advance when there are many of them;
    /// the end of the transaction names all.
    Assignment(XactAssignment<'a>),
    /// Any other operation, which ends no transaction: its number.
    Other(u8),
}

/// The end of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct XactEnd<'a> {
    /// The transaction that ended: for the second half of a two-phase commit the prepared one, not
    /// the one that ran `COMMIT PREPARED`. Zero for a commit without an ID.
    pub xid: Xid,
    /// When, by the server's clock. What `recovery_target_time` is compared with.
    pub time: PgTimestamp,
    /// Whether this is the second half of a two-phase commit.
    pub prepared: bool,
    /// The name of the prepared transaction; recorded with `wal_level=logical` only.
    pub gid: Option<&'a [u8]>,
    /// The database, where recorded.
    pub database: Option<Oid>,
    /// The position of the commit on the server that the change came from, with its time there.
    pub origin: Option<(Lsn, PgTimestamp)>,
    subxids: &'a [u8],
    dropped: &'a [u8],
}

impl<'a> XactEnd<'a> {
    /// The committed or aborted subtransactions.
    pub fn subxids(&self) -> impl ExactSizeIterator<Item = Xid> + use<'a> {
        xids(self.subxids)
    }

    /// The relations whose files go with it.
    pub fn dropped_relations(&self) -> impl ExactSizeIterator<Item = RelLocator> + use<'a> {
        relations(self.dropped)
    }
}

/// The first half of a two-phase commit (`xl_xact_prepare`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct XactPrepare<'a> {
    /// The transaction.
    pub xid: Xid,
    /// When it was prepared.
    pub time: PgTimestamp,
    /// Its database.
    pub database: Oid,
    /// The name that it is to be committed by.
    pub gid: &'a [u8],
    subxids: &'a [u8],
    dropped_on_commit: &'a [u8],
    dropped_on_abort: &'a [u8],
}

impl<'a> XactPrepare<'a> {
    /// Its subtransactions.
    pub fn subxids(&self) -> impl ExactSizeIterator<Item = Xid> + use<'a> {
        xids(self.subxids)
    }

    /// The relations whose files go when it is committed.
    pub fn dropped_on_commit(&self) -> impl ExactSizeIterator<Item = RelLocator> + use<'a> {
        relations(self.dropped_on_commit)
    }

    /// The relations whose files go when it is rolled back: those that it made.
    pub fn dropped_on_abort(&self) -> impl ExactSizeIterator<Item = RelLocator> + use<'a> {
        relations(self.dropped_on_abort)
    }
}

/// Subtransactions and what they belong to (`xl_xact_assignment`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct XactAssignment<'a> {
    /// The top-level transaction.
    pub xid: Xid,
    subxids: &'a [u8],
}

impl<'a> XactAssignment<'a> {
    /// Some of its subtransactions.
    pub fn subxids(&self) -> impl ExactSizeIterator<Item = Xid> + use<'a> {
        xids(self.subxids)
    }

    fn parse(data: &'a [u8]) -> Result<Self, Error> {
        let f = Fields(data);
        Ok(Self { xid: f.u32(0)?, subxids: f.list(4, 8, 4)? })
    }
}

fn xids(bytes: &[u8]) -> impl ExactSizeIterator<Item = Xid> + use<'_> {
    bytes.as_chunks().0.iter().map(|bytes| Xid::from_le_bytes(*bytes))
}

fn relations(bytes: &[u8]) -> impl ExactSizeIterator<Item = RelLocator> + use<'_> {
    bytes.as_chunks().0.iter().map(RelLocator::from_bytes)
}

impl<'a> XactRecord<'a> {
    /// From a record's header and main data.
    ///
    /// # Errors
    ///
    /// [`BadContents`](crate::ErrorKind::BadContents) when the data are too short.
    pub fn parse(
        version: WalVersion,
        header: &RecordHeader,
        data: &'a [u8],
    ) -> Result<Self, Error> {
        Ok(match header.info & OPERATION {
            COMMIT | COMMIT_PREPARED => Self::Commit(XactEnd::parse(version, header, data)?),
            ABORT | ABORT_PREPARED => Self::Abort(XactEnd::parse(version, header, data)?),
            PREPARE => Self::Prepare(XactPrepare::parse(data)?),
            ASSIGNMENT => Self::Assignment(XactAssignment::parse(data)?),
            other => Self::Other(other),
        })
    }

    /// Whether a record with this header commits a transaction.
    pub(crate) fn is_commit(header: &RecordHeader) -> bool {
        matches!(header.info & OPERATION, COMMIT | COMMIT_PREPARED)
    }

    /// Whether a record with this header commits or aborts a transaction.
    pub(crate) fn is_end(header: &RecordHeader) -> bool {
        Self::is_commit(header) || matches!(header.info & OPERATION, ABORT | ABORT_PREPARED)
    }
}

fn is_prepared(header: &RecordHeader) -> bool {
    matches!(header.info & OPERATION, COMMIT_PREPARED | ABORT_PREPARED)
}

impl<'a> XactEnd<'a> {
    /// `ParseCommitRecord` and `ParseAbortRecord` in `access/rmgrdesc/xactdesc.c`: abort records
    /// have no invalidations, else the two are alike.
    fn parse(version: WalVersion, header: &RecordHeader, data: &'a [u8]) -> Result<Self, Error> {
        let mut end = Self {
            xid: header.xid,
            time: Fields(data).time(0)?,
            prepared: is_prepared(header),
            gid: None,
            database: None,
            origin: None,
            subxids: &[],
            dropped: &[],
        };
        if header.info & HAS_INFO == 0 {
            return Ok(end);
        }
        let mut rest = Fields(data).rest(8)?;
        let xinfo = u32::from_le_bytes(take(&mut rest)?);
        if xinfo & HAS_DBINFO != 0 {
            end.database = Some(u32::from_le_bytes(take(&mut rest)?));
            let _tablespace: [u8; 4] = take(&mut rest)?;
        }
        if xinfo & HAS_SUBXACTS != 0 {
            end.subxids = take_list(&mut rest, 4)?;
        }
        if xinfo & HAS_RELFILES != 0 {
            end.dropped = take_list(&mut rest, RelLocator::LEN)?;
        }
        if xinfo & HAS_DROPPED_STATS != 0 {
            // Object identifiers of statistics grew to 64 bits with version 18.
            take_list(&mut rest, if version >= WalVersion::V18 { 16 } else { 12 })?;
        }
        if xinfo & HAS_INVALS != 0 {
            take_list(&mut rest, INVAL_LEN)?;
        }
        if xinfo & HAS_TWOPHASE != 0 {
            end.xid = u32::from_le_bytes(take(&mut rest)?);
            if xinfo & HAS_GID != 0 {
                let len = rest.iter().position(|byte| *byte == 0).ok_or_else(short)?;
                end.gid = rest.get(..len);
                rest = rest.get(len + 1..).ok_or_else(short)?;
            }
        }
        if xinfo & HAS_ORIGIN != 0 {
            let lsn = Lsn(u64::from_le_bytes(take(&mut rest)?));
            let time = PgTimestamp(i64::from_le_bytes(take(&mut rest)?));
            end.origin = Some((lsn, time));
        }
        Ok(end)
    }

    /// What is certain when only the first bytes of the main data are there: the time, and the
    /// transaction unless it was a prepared one.
    pub(crate) fn parse_start(
        header: &RecordHeader,
        data: &[u8],
    ) -> Result<(Xid, PgTimestamp), Error> {
        let time = Fields(data).time(0)?;
        Ok((if is_prepared(header) { 0 } else { header.xid }, time))
    }
}

impl<'a> XactPrepare<'a> {
    /// The fixed part is 72 bytes long. The name and the lists follow, each aligned to eight bytes
    /// (`ParsePrepareRecord` in `access/rmgrdesc/xactdesc.c`).
    fn parse(data: &'a [u8]) -> Result<Self, Error> {
        let f = Fields(data);
        let mut at = 72;
        let mut part = |len: usize| {
            let part = f.rest(at)?.get(..len).ok_or_else(short)?;
            at = (at + len).next_multiple_of(8);
            Ok(part)
        };
        let gid = part(usize::from(f.array(54).map(u16::from_le_bytes)?))?;
        let mut list = |count_at: usize, item: usize| {
            let count = usize::try_from(f.u32(count_at)?).map_err(|_| short())?;
            part(count.checked_mul(item).ok_or_else(short)?)
        };
        Ok(Self {
            xid: f.u32(8)?,
            time: f.time(16)?,
            database: f.u32(12)?,
            gid: gid.strip_suffix(b"\0").unwrap_or(gid),
            subxids: list(28, 4)?,
            dropped_on_commit: list(32, RelLocator::LEN)?,
            dropped_on_abort: list(36, RelLocator::LEN)?,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Error> {
    let (head, tail) = rest.split_first_chunk().ok_or_else(short)?;
    *rest = tail;
    Ok(*head)
}

/// A count of 32 bits and as many items.
fn take_list<'a>(rest: &mut &'a [u8], item: usize) -> Result<&'a [u8], Error> {
    let count = i32::from_le_bytes(take(rest)?);
    let len = usize::try_from(count).ok().and_then(|n| n.checked_mul(item)).ok_or_else(short)?;
    let (list, tail) = rest.split_at_checked(len).ok_or_else(short)?;
    *rest = tail;
    Ok(list)
}
