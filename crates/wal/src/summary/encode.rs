//! The `.sum` format, version 1: writing. Laid out in `docs/format.md`, section "Block summaries".

use super::blocks::{BlockSet, Chunk};
use super::gather::number_of;
use super::head::{Head, HeadEnd};
use super::range::{Tail, WalSummary};
use super::table::BlockSummary;
use crate::EndReason;

/// `WBSUM`, the version, and a line end that a careless copy would change.
pub(super) const MAGIC: &[u8; 8] = b"WBSUM\x01\r\n";
/// Where the version lies in it.
pub(super) const VERSION_AT: usize = 5;

pub(super) const ZEROED: u64 = 1 << 0;
pub(super) const RECYCLED: u64 = 1 << 1;
pub(super) const MINIMAL: u64 = 1 << 2;
pub(super) const UNKNOWN: u64 = 1 << 3;
pub(super) const FIRST_PREV: u64 = 1 << 4;
pub(super) const LAST_RECORD: u64 = 1 << 5;
pub(super) const HEAD: u64 = 1 << 6;
pub(super) const TAIL: u64 = 1 << 7;

/// Bits of an entry's first byte; the lowest two are the fork.
pub(super) const SAME_TABLESPACE: u8 = 1 << 2;
pub(super) const SAME_DATABASE: u8 = 1 << 3;
pub(super) const SAME_NUMBER: u8 = 1 << 4;
pub(super) const HAS_LIMIT: u8 = 1 << 5;

/// Size of a chunk's bitmap in bytes.
pub(super) const BITMAP: usize = 8192;

impl WalSummary {
    /// The summary in the `.sum` format: compact, self-describing, and with a CRC-32C over all of it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let since_start = |lsn: walbrook_types::Lsn| lsn.bytes_since(self.start);
        number(&mut out, u64::from(self.version.major()));
        out.extend(self.system_id.0.to_le_bytes());
        number(&mut out, self.segment_size.bytes());
        number(&mut out, u64::from(self.timeline.get()));
        number(&mut out, u64::from(self.last_timeline.get()));
        number(&mut out, self.start.0);
        number(&mut out, since_start(self.end));
        let ended = match self.ended {
            None => 0,
            Some(EndReason::Zeroed) => ZEROED,
            Some(EndReason::Recycled) => RECYCLED,
        };
        let flag = |there: bool, bit: u64| if there { bit } else { 0 };
        number(
            &mut out,
            ended
                | flag(self.minimal.is_some(), MINIMAL)
                | flag(self.unknown.is_some(), UNKNOWN)
                | flag(self.first_prev.is_some(), FIRST_PREV)
                | flag(self.last_record.is_some(), LAST_RECORD)
                | flag(self.head.is_some(), HEAD)
                | flag(self.tail.is_some(), TAIL),
        );
        for lsn in [self.minimal, self.unknown].into_iter().flatten() {
            number(&mut out, since_start(lsn));
        }
        if let Some(lsn) = self.first_prev {
            // It lies in the segment before more often than not.
            number(&mut out, lsn.0);
        }
        if let Some(lsn) = self.last_record {
            number(&mut out, since_start(lsn));
        }
        if let Some(rest) = &self.head {
            head(&mut out, rest);
        }
        if let Some(crossing) = &self.tail {
            number(&mut out, since_start(crossing.lsn));
            tail(&mut out, crossing);
        }
        table(&mut out, &self.blocks);
        let crc = crc32c::crc32c(&out);
        out.extend(crc.to_le_bytes());
        out
    }
}

fn head(out: &mut Vec<u8>, head: &Head) {
    number(out, u64::from(head.rem_len));
    number(out, u64::from(head.taken));
    out.push(match head.end {
        HeadEnd::Open => 0,
        HeadEnd::Whole => 1,
        HeadEnd::GivenUp => 2,
    });
    number(out, head.pieces.len() as u64);
    let mut at = 0;
    for (from, piece) in &head.pieces {
        number(out, u64::from(from.saturating_sub(at)));
        bytes(out, piece);
        at = from.saturating_add(piece.len() as u32);
    }
}

fn tail(out: &mut Vec<u8>, tail: &Tail) {
    let (prefix, main) = tail.record.pieces();
    number(out, u64::from(tail.record.total_len()));
    number(out, u64::from(tail.record.taken()));
    out.push(u8::from(tail.record.is_lost()));
    bytes(out, prefix);
    bytes(out, main);
}

fn table(out: &mut Vec<u8>, blocks: &BlockSummary) {
    number(out, blocks.len() as u64);
    let mut before = crate::RelLocator { tablespace_oid: 0, database: 0, number: 0 };
    for (relation, fork, summary) in blocks.iter() {
        let same_tablespace = relation.tablespace_oid == before.tablespace_oid;
        let same_database = same_tablespace && relation.database == before.database;
        let same_number = same_database && relation.number == before.number;
        let flag = |there: bool, bit: u8| if there { bit } else { 0 };
        out.push(
            number_of(fork)
                | flag(same_tablespace, SAME_TABLESPACE)
                | flag(same_database, SAME_DATABASE)
                | flag(same_number, SAME_NUMBER)
                | flag(summary.limit_block.is_some(), HAS_LIMIT),
        );
        if !same_tablespace {
            number(out, u64::from(relation.tablespace_oid));
        }
        if !same_database {
            number(out, u64::from(relation.database));
        }
        if !same_number {
            let base = if same_database { before.number } else { 0 };
            number(out, u64::from(relation.number.saturating_sub(base)));
        }
        if let Some(limit) = summary.limit_block {
            number(out, u64::from(limit));
        }
        set(out, &summary.blocks);
        before = relation;
    }
}

fn set(out: &mut Vec<u8>, blocks: &BlockSet) {
    number(out, blocks.chunks().len() as u64);
    let mut next = 0;
    for (chunk_number, chunk) in blocks.chunks() {
        number(out, u64::from(u32::from(*chunk_number).saturating_sub(next)));
        next = u32::from(*chunk_number) + 1;
        chunk_blocks(out, chunk);
    }
}

/// Whichever is shorter.
fn chunk_blocks(out: &mut Vec<u8>, chunk: &Chunk) {
    if chunk.len() < BITMAP {
        let before = out.len();
        number(out, chunk.len() as u64);
        let mut next = 0;
        for offset in chunk.iter() {
            number(out, u64::from(u32::from(offset) - next));
            next = u32::from(offset) + 1;
        }
        if out.len() - before <= BITMAP {
            return;
        }
        out.truncate(before);
    }
    number(out, 0);
    for word in chunk.words().iter() {
        out.extend(word.to_le_bytes());
    }
}

/// Unsigned LEB128.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
