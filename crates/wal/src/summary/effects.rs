//! What records say in their main data that a summary has to know: forks and databases that come,
//! go or get shorter, and `wal_level`.

use walbrook_types::{BlockNumber, Oid};

use super::walk::{FSM, ForkNumber, MAX_FORK};
use crate::{RecordHeader, RelLocator, RmgrId, WalVersion};

/// What a record does to a summary apart from changing blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// A fork was created or dropped (0), or truncated to this length.
    Limit(RelLocator, ForkNumber, BlockNumber),
    /// A database was created or dropped in a tablespace.
    Database(Oid, Oid),
    /// The WAL here is written with `wal_level=minimal`, or was up to here: changes are missing.
    MinimalWal,
}

/// Heap blocks that one page of a visibility map tells of: two bits each
/// (`HEAPBLOCKS_PER_PAGE` in PostgreSQL's `access/heap/visibilitymap.c`).
const HEAP_BLOCKS_PER_MAP_PAGE: u32 = (8192 - 24) * 4;

/// `XLOG_SMGR_*` in `catalog/storage_xlog.h`.
const SMGR_CREATE: u8 = 0x10;
const SMGR_TRUNCATE: u8 = 0x20;
const TRUNCATE_HEAP: u32 = 0x0001;
const TRUNCATE_VM: u32 = 0x0002;

/// `XLOG_DBASE_*` in `commands/dbcommands_xlog.h`.
const DBASE_CREATE_FILE_COPY: u8 = 0x00;
const DBASE_CREATE_WAL_LOG: u8 = 0x10;
const DBASE_DROP: u8 = 0x20;

/// `XLOG_XACT_*` in `access/xact.h`.
const XACT_OPERATION: u8 = 0x70;
const XACT_ENDS: [u8; 4] = [0x00, 0x20, 0x30, 0x40];
const XACT_HAS_INFO: u8 = 0x80;
const XINFO_HAS_DBINFO: u32 = 1 << 0;
const XINFO_HAS_SUBXACTS: u32 = 1 << 1;
const XINFO_HAS_RELFILES: u32 = 1 << 2;

/// `XLOG_*` in `catalog/pg_control.h`.
const CHECKPOINT_SHUTDOWN: u8 = 0x00;
const CHECKPOINT_ONLINE: u8 = 0x10;
const PARAMETER_CHANGE: u8 = 0x60;
const END_OF_RECOVERY: u8 = 0x90;
const CHECKPOINT_REDO: u8 = 0xE0;

/// `WAL_LEVEL_MINIMAL` in `access/xlog.h`.
const WAL_LEVEL_MINIMAL: u32 = 0;

/// Whether the main data of a record with this header can have effects.
#[inline]
pub(super) fn can_have(header: &RecordHeader) -> bool {
    match header.rmgr {
        // Most ends of transactions say nothing but their time.
        RmgrId::XACT => header.info & XACT_HAS_INFO != 0,
        RmgrId::SMGR | RmgrId::DBASE | RmgrId::XLOG => true,
        _ => false,
    }
}

/// How many bytes of main data of this length have to be at hand for [`each`]; found out from those
/// that are. Never less when there are more at hand.
pub(super) fn needed(header: &RecordHeader, main: &[u8], len: usize) -> usize {
    let all = match header.rmgr {
        RmgrId::XACT => dropped(main).0,
        RmgrId::SMGR => 20,
        // The longest that is looked at ends with the level in a checkpoint.
        RmgrId::XLOG => 24,
        RmgrId::DBASE => match (header.operation(), u32_at(main, 4)) {
            (DBASE_DROP, Some(count)) => 8 + 4 * count as usize,
            _ => 8,
        },
        _ => 0,
    };
    all.min(len)
}

/// Calls `apply` with each effect of a record with these main data, of which the
/// [`needed`] bytes at least are there. Answers false when they are not laid out as PostgreSQL does.
pub(super) fn each(
    version: WalVersion,
    header: &RecordHeader,
    main: &[u8],
    mut apply: impl FnMut(Effect),
) -> bool {
    each_or_short(version, header, main, &mut apply).is_some()
}

fn each_or_short(
    version: WalVersion,
    header: &RecordHeader,
    main: &[u8],
    apply: &mut impl FnMut(Effect),
) -> Option<()> {
    match header.rmgr {
        RmgrId::SMGR => smgr(header.operation(), main, apply),
        RmgrId::DBASE => dbase(header.operation(), main, apply),
        RmgrId::XACT => xact(header.info, main, apply),
        RmgrId::XLOG => {
            if wal_level(version, header.operation(), main)? == Some(WAL_LEVEL_MINIMAL) {
                apply(Effect::MinimalWal);
            }
            Some(())
        }
        _ => Some(()),
    }
}

/// `xl_smgr_create` and `xl_smgr_truncate` in `catalog/storage_xlog.h`.
fn smgr(operation: u8, main: &[u8], apply: &mut impl FnMut(Effect)) -> Option<()> {
    match operation {
        SMGR_CREATE => {
            let (relation, fork) = (relation_at(main, 0)?, u32_at(main, 12)?);
            let fork = u8::try_from(fork).ok().filter(|fork| *fork <= MAX_FORK)?;
            if fork != FSM {
                apply(Effect::Limit(relation, fork, 0));
            }
        }
        SMGR_TRUNCATE => {
            let (block, relation, flags) =
                (u32_at(main, 0)?, relation_at(main, 4)?, u32_at(main, 16)?);
            if flags & TRUNCATE_HEAP != 0 {
                apply(Effect::Limit(relation, 0, block));
            }
            if flags & TRUNCATE_VM != 0 {
                // The record has the heap's new length. PostgreSQL takes it for the map's, which
                // is far too high. Its first page that is not wholly kept is rewritten in part
                // without a block reference: that one counts as cut off too.
                apply(Effect::Limit(relation, 2, block / HEAP_BLOCKS_PER_MAP_PAGE));
            }
        }
        _ => {}
    }
    Some(())
}

/// The structures of `commands/dbcommands_xlog.h`.
fn dbase(operation: u8, main: &[u8], apply: &mut impl FnMut(Effect)) -> Option<()> {
    let database = u32_at(main, 0)?;
    match operation {
        DBASE_CREATE_FILE_COPY | DBASE_CREATE_WAL_LOG => {
            apply(Effect::Database(u32_at(main, 4)?, database));
        }
        DBASE_DROP => {
            let count = u32_at(main, 4)? as usize;
            let list = main.get(8..)?.as_chunks().0.get(..count)?;
            for tablespace in list {
                apply(Effect::Database(u32::from_le_bytes(*tablespace), database));
            }
        }
        _ => {}
    }
    Some(())
}

/// Dropped relations lose all forks (`SummarizeXactRecord` in `postmaster/walsummarizer.c`).
fn xact(info: u8, main: &[u8], apply: &mut impl FnMut(Effect)) -> Option<()> {
    if !XACT_ENDS.contains(&(info & XACT_OPERATION)) || info & XACT_HAS_INFO == 0 {
        return Some(());
    }
    let (needed, list) = dropped(main);
    let list = list.or((needed <= main.len()).then_some(&[] as &[u8]))?;
    for relation in list.as_chunks().0 {
        let relation = RelLocator::from_bytes(relation);
        for fork in (0..=MAX_FORK).filter(|fork| *fork != FSM) {
            apply(Effect::Limit(relation, fork, 0));
        }
    }
    Some(())
}

/// How many bytes of the end of a transaction there must be to know which relations were dropped,
/// as far as those at hand tell; and the list of these when it is there.
///
/// Layout in `access/xact.h`: the time, `xinfo`, then the parts that it announces, in the order of
/// their bits; of those before the relations only the subtransactions vary in length.
fn dropped(main: &[u8]) -> (usize, Option<&[u8]>) {
    let mut at = 12;
    let Some(xinfo) = u32_at(main, 8) else { return (at, None) };
    if xinfo & XINFO_HAS_RELFILES == 0 {
        return (at, None);
    }
    if xinfo & XINFO_HAS_DBINFO != 0 {
        at += 8;
    }
    if xinfo & XINFO_HAS_SUBXACTS != 0 {
        let Some(count) = u32_at(main, at) else { return (at + 4, None) };
        at = at.saturating_add(4).saturating_add(4 * count as usize);
    }
    let Some(count) = u32_at(main, at) else { return (at.saturating_add(4), None) };
    let end = (at + 4).saturating_add(RelLocator::LEN * count as usize);
    (end, main.get(at + 4..end))
}

/// The level that a record says, if it says one. Checkpoints and promotions do since version 17.
fn wal_level(version: WalVersion, operation: u8, main: &[u8]) -> Option<Option<u32>> {
    let at = match operation {
        PARAMETER_CHANGE => 20,
        CHECKPOINT_SHUTDOWN | CHECKPOINT_ONLINE if version >= WalVersion::V17 => 20,
        END_OF_RECOVERY if version >= WalVersion::V17 => 16,
        CHECKPOINT_REDO if version >= WalVersion::V17 => 0,
        _ => return Some(None),
    };
    u32_at(main, at).map(Some)
}

fn u32_at(main: &[u8], at: usize) -> Option<u32> {
    main.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn relation_at(main: &[u8], at: usize) -> Option<RelLocator> {
    main.get(at..)?.first_chunk().map(RelLocator::from_bytes)
}
