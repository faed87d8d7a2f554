use walbrook_types::Oid;

use crate::fields::{Fields, short};
use crate::{Error, Record, RecordHeader, RelLocator, RmgrId};

/// The operation of `Heap` and `Heap2` without the bit that says that the page is new
/// (`XLOG_HEAP_OPMASK` in PostgreSQL's `access/heapam_xlog.h`).
const OPERATION: u8 = 0x70;

const HEAP_INSERT: u8 = 0x00;
const HEAP_DELETE: u8 = 0x10;
const HEAP_UPDATE: u8 = 0x20;
const HEAP_TRUNCATE: u8 = 0x30;
const HEAP_HOT_UPDATE: u8 = 0x40;
const HEAP_CONFIRM: u8 = 0x50;
const HEAP2_MULTI_INSERT: u8 = 0x50;

/// The tuple waits for a `HEAP_CONFIRM` (`XLH_INSERT_IS_SPECULATIVE`).
const INSERT_IS_SPECULATIVE: u8 = 1 << 2;
/// A tuple that was never confirmed goes away (`XLH_DELETE_IS_SUPER`).
const DELETE_IS_SUPER: u8 = 1 << 3;
/// `XLH_TRUNCATE_CASCADE` and `XLH_TRUNCATE_RESTART_SEQS`.
const TRUNCATE_CASCADE: u8 = 1 << 0;
const TRUNCATE_RESTART_SEQS: u8 = 1 << 1;

/// What a heap record does to rows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeapChange<'a> {
    /// Rows come, change or go, one by one.
    Tuples(TupleChanges),
    /// `TRUNCATE` of tables.
    Truncate(HeapTruncate<'a>),
}

/// How many rows of a table one record inserts, updates and deletes.
///
/// Physical rows: those of catalogs and of TOAST tables are among them, and so are the rows of
/// transactions that abort. A row that moves to another partition is deleted in one table and
/// inserted in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TupleChanges {
    /// The files of the table.
    pub relation: RelLocator,
    /// How many rows come. One inserted by `INSERT … ON CONFLICT` counts when it is confirmed.
    pub inserted: u32,
    /// How many rows change, be it within their page (`HOT_UPDATE`) or not.
    pub updated: u32,
    /// How many rows go.
    pub deleted: u32,
}

/// `TRUNCATE` as logical decoding sees it (`xl_heap_truncate`). Only tables that can be decoded get
/// one, which takes `wal_level=logical`; what empties the tables is not this record but new files:
/// a `CREATE` of `Storage` for each and the old ones among the
/// [dropped relations](crate::XactEnd::dropped_relations) of the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapTruncate<'a> {
    /// The database.
    pub database: Oid,
    /// Whether it was `TRUNCATE … CASCADE`.
    pub cascade: bool,
    /// Whether it was `TRUNCATE … RESTART IDENTITY`.
    pub restart_sequences: bool,
    relations: &'a [u8],
}

impl<'a> HeapTruncate<'a> {
    /// The tables, by their OIDs in `pg_class`, not by their file numbers.
    pub fn relations(&self) -> impl ExactSizeIterator<Item = Oid> + use<'a> {
        self.relations.as_chunks().0.iter().map(|bytes| Oid::from_le_bytes(*bytes))
    }

    fn parse(data: &'a [u8]) -> Result<Self, Error> {
        let f = Fields(data);
        let [flags] = f.array(8)?;
        Ok(Self {
            database: f.u32(0)?,
            cascade: flags & TRUNCATE_CASCADE != 0,
            restart_sequences: flags & TRUNCATE_RESTART_SEQS != 0,
            relations: f.list(4, 12, 4)?,
        })
    }
}

/// Inserted, updated and deleted rows; none when the record is about no rows.
fn count(header: &RecordHeader, data: &[u8]) -> Result<Option<(u32, u32, u32)>, Error> {
    let f = Fields(data);
    let counts = match (header.rmgr, header.info & OPERATION) {
        (RmgrId::HEAP, HEAP_INSERT) => {
            let [flags] = f.array(2)?;
            (u32::from(flags & INSERT_IS_SPECULATIVE == 0), 0, 0)
        }
        (RmgrId::HEAP, HEAP_CONFIRM) => (1, 0, 0),
        (RmgrId::HEAP, HEAP_DELETE) => {
            let [flags] = f.array(7)?;
            (0, 0, u32::from(flags & DELETE_IS_SUPER == 0))
        }
        (RmgrId::HEAP, HEAP_UPDATE | HEAP_HOT_UPDATE) => (0, 1, 0),
        (RmgrId::HEAP2, HEAP2_MULTI_INSERT) => (f.array(2).map(u16::from_le_bytes)?.into(), 0, 0),
        _ => return Ok(None),
    };
    Ok((counts != (0, 0, 0)).then_some(counts))
}

impl Record {
    /// What the record does to rows; none when it does nothing to any. Locks, pruning, vacuum and
    /// freezing don't, nor do the updates in place that PostgreSQL makes in its catalogs.
    ///
    /// Rows that were written without WAL, as `wal_level=minimal` permits, and rows of tables
    /// rewritten as a whole (`VACUUM FULL`, `CLUSTER`) are not told.
    ///
    /// # Errors
    ///
    /// [`BadContents`](crate::ErrorKind::BadContents) when the record is too short or has no block.
    pub fn changes(&self) -> Result<Option<HeapChange<'_>>, Error> {
        if !matches!(self.header.rmgr, RmgrId::HEAP | RmgrId::HEAP2) {
            return Ok(None);
        }
        self.heap_change().map_err(|error| error.or_at(self.lsn))
    }

    fn heap_change(&self) -> Result<Option<HeapChange<'_>>, Error> {
        let header = &self.header;
        let parts = self.parts()?;
        if header.rmgr == RmgrId::HEAP && header.info & OPERATION == HEAP_TRUNCATE {
            return HeapTruncate::parse(parts.main_data()).map(HeapChange::Truncate).map(Some);
        }
        let Some((inserted, updated, deleted)) = count(header, parts.main_data())? else {
            return Ok(None);
        };
        let relation = parts.blocks().next().ok_or_else(short)?.relation;
        Ok(Some(HeapChange::Tuples(TupleChanges { relation, inserted, updated, deleted })))
    }
}
