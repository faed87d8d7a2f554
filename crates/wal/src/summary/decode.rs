//! The `.sum` format, version 1: reading.

use walbrook_types::{Lsn, SystemId, TimelineId, WalSegmentSize};

use super::blocks::{BlockSet, Chunk};
use super::encode::*;
use super::gather::fork_of;
use super::head::{Head, HeadEnd};
use super::range::{Tail, WalSummary};
use super::skim::Skim;
use super::table::{BlockSummary, ForkSummary};
use crate::{EndReason, Error, ErrorKind, RelLocator, WalVersion};

impl WalSummary {
    /// Reads what [`encode`](Self::encode) wrote. Takes a small multiple of the input in memory,
    /// whatever that claims.
    ///
    /// # Errors
    ///
    /// [`BadSummary`](ErrorKind::BadSummary) for damage, [`NewerFormat`](ErrorKind::NewerFormat) for
    /// what a later version of this crate wrote.
    pub fn decode(encoded: &[u8]) -> Result<Self, Error> {
        let version = encoded.get(VERSION_AT).copied().unwrap_or_default();
        let (expected, begin) = (MAGIC.get(..VERSION_AT), encoded.get(..VERSION_AT));
        if begin != expected || version == 0 {
            return Err(Error::new(ErrorKind::BadSummary, "not a block summary"));
        }
        if version > MAGIC[VERSION_AT] {
            let message = format!("block summary of format {version}: a newer Walbrook is needed");
            return Err(Error::new(ErrorKind::NewerFormat, message));
        }
        let (content, crc) = encoded.split_last_chunk().ok_or_else(bad)?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            let message = "block summary does not match its CRC: it is damaged";
            return Err(Error::new(ErrorKind::BadSummary, message));
        }
        // Right CRC or not, nothing of it is believed without a look.
        Self::fields(content.strip_prefix(MAGIC).ok_or_else(bad)?).ok_or_else(bad)
    }

    fn fields(rest: &[u8]) -> Option<Self> {
        let mut r = Reader(rest);
        let major = r.u32()?;
        let version = WalVersion::ALL.into_iter().find(|version| version.major() == major)?;
        let system_id = SystemId(u64::from_le_bytes(*r.array()?));
        let segment_size = WalSegmentSize::new(r.number()?)?;
        let timeline = TimelineId::new(r.u32()?)?;
        let last_timeline = TimelineId::new(r.u32()?)?;
        let start = Lsn(r.number()?);
        if segment_size.offset_of(start) != 0 {
            return None;
        }
        let end = r.lsn(start)?;
        let flags = r.number()?;
        if flags >= TAIL << 1 {
            return None;
        }
        let ended = match flags & (ZEROED | RECYCLED) {
            0 => None,
            ZEROED => Some(EndReason::Zeroed),
            RECYCLED => Some(EndReason::Recycled),
            _ => return None,
        };
        let has = |bit: u64| flags & bit != 0;
        let summary = Self {
            version,
            system_id,
            segment_size,
            timeline,
            last_timeline,
            start,
            end,
            ended,
            minimal: r.when(has(MINIMAL), |r| r.lsn(start))?,
            unknown: r.when(has(UNKNOWN), |r| r.lsn(start))?,
            first_prev: r.when(has(FIRST_PREV), |r| r.number().map(Lsn))?,
            last_record: r.when(has(LAST_RECORD), |r| r.lsn(start))?,
            head: r.when(has(HEAD), head)?,
            tail: r.when(has(TAIL), |r| tail(r, start))?,
            blocks: table(&mut r)?,
        };
        r.0.is_empty().then_some(summary)
    }
}

fn head(r: &mut Reader<'_>) -> Option<Head> {
    let mut head = Head::new(r.u32()?);
    let taken = r.u32()?;
    let end = match r.array()? {
        [0] => HeadEnd::Open,
        [1] => HeadEnd::Whole,
        [2] => HeadEnd::GivenUp,
        _ => return None,
    };
    let mut at = 0u32;
    for index in 0..r.number()? {
        let gap = r.u32()?;
        let piece = r.bytes()?;
        if piece.is_empty() || (index > 0 && gap == 0) {
            return None;
        }
        let from = at.checked_add(gap)?;
        at = from.checked_add(u32::try_from(piece.len()).ok()?)?;
        head.pieces.push((from, piece.to_vec()));
    }
    head.taken = taken;
    head.end = end;
    // What is complete has no bytes missing, and what was given up needs none.
    let sound = at <= taken
        && taken <= head.rem_len
        && (end != HeadEnd::Whole || taken == head.rem_len)
        && (end != HeadEnd::GivenUp || head.pieces.is_empty());
    sound.then_some(head)
}

fn tail(r: &mut Reader<'_>, start: Lsn) -> Option<Tail> {
    let lsn = r.lsn(start)?;
    let (total_len, taken) = (r.u32()?, r.u32()?);
    let lost = match r.array()? {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    let (prefix, main) = (r.bytes()?, r.bytes()?);
    let mut record = Skim::restore(total_len, taken, prefix, main)?;
    if lost {
        record.lose();
    }
    (record.is_lost() == lost).then_some(Tail { lsn, record })
}

fn table(r: &mut Reader<'_>) -> Option<BlockSummary> {
    let mut table = BlockSummary::new();
    let mut before = RelLocator { tablespace_oid: 0, database: 0, number: 0 };
    for _ in 0..r.number()? {
        let [tag] = *r.array()?;
        if tag > 3 | SAME_TABLESPACE | SAME_DATABASE | SAME_NUMBER | HAS_LIMIT {
            return None;
        }
        let same = |bit: u8| tag & bit != 0;
        let mut relation = before;
        if !same(SAME_TABLESPACE) {
            relation.tablespace_oid = r.u32()?;
        }
        if !same(SAME_DATABASE) {
            relation.database = r.u32()?;
        }
        if !same(SAME_NUMBER) {
            let base = if same(SAME_DATABASE) { before.number } else { 0 };
            relation.number = base.checked_add(r.u32()?)?;
        }
        let limit_block = r.when(same(HAS_LIMIT), Reader::u32)?;
        let summary = ForkSummary { limit_block, blocks: set(r)? };
        if !table.push(relation, fork_of(tag & 3), summary) {
            return None;
        }
        before = relation;
    }
    Some(table)
}

fn set(r: &mut Reader<'_>) -> Option<BlockSet> {
    let mut set = BlockSet::new();
    let mut next = 0;
    for _ in 0..r.number()? {
        let number = u16::try_from(r.number()?.checked_add(next)?).ok()?;
        next = u64::from(number) + 1;
        let chunk = chunk_blocks(r)?;
        if chunk.len() == 0 || !set.push_chunk(number, chunk) {
            return None;
        }
    }
    Some(set)
}

fn chunk_blocks(r: &mut Reader<'_>) -> Option<Chunk> {
    let count = r.number()?;
    if count == 0 {
        let bytes = r.array::<BITMAP>()?;
        let mut words = Box::new([0; BITMAP / 8]);
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        return Some(Chunk::from_words(words));
    }
    let mut offsets = Vec::new();
    let mut next = 0;
    for _ in 0..count {
        let offset = u16::try_from(r.number()?.checked_add(next)?).ok()?;
        next = u64::from(offset) + 1;
        offsets.push(offset);
    }
    let len = offsets.len();
    Some(Chunk::from_sorted(offsets.into_iter(), len))
}

/// What is left to read. Each step answers none when the bytes are not what they have to be.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(head)
    }

    /// Unsigned LEB128 of 64 bits.
    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.array()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn lsn(&mut self, start: Lsn) -> Option<Lsn> {
        start.0.checked_add(self.number()?).map(Lsn)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    /// The outer none is for bytes that are not right.
    fn when<T>(
        &mut self,
        there: bool,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if there { read(self).map(Some) } else { Some(None) }
    }
}

fn bad() -> Error {
    Error::new(ErrorKind::BadSummary, "block summary that does not hold together")
}
