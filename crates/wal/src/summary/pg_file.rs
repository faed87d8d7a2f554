use std::fmt;
use std::str::FromStr;

use walbrook_types::{Fork, Lsn, TimelineId};

use super::blocks::{BlockSet, Chunk};
use super::gather::{fork_of, number_of};
use super::table::{BlockSummary, ForkSummary};
use crate::{Error, ErrorKind, RelLocator};

/// `BLOCKREFTABLE_MAGIC` in `common/blkreftable.h`.
const MAGIC: u32 = 0x652b_137b;
/// `InvalidBlockNumber`: no limit.
const NO_LIMIT: u32 = u32::MAX;
/// `MAX_ENTRIES_PER_CHUNK`: a chunk with that many words is a bitmap of them.
const BITMAP_WORDS: u16 = 4096;
/// `BlockRefTableSerializedEntry`: tablespace, database, file number, fork, limit, chunks.
const ENTRY_LEN: usize = 24;

/// A summary file of PostgreSQL 17 or later.
#[derive(Debug)]
pub struct PgSummary;

impl PgSummary {
    /// Reads the content of a file from `pg_wal/summaries`: a serialized block reference table
    /// (`common/blkreftable.c`). Takes a small multiple of it in memory.
    ///
    /// # Errors
    ///
    /// [`BadSummary`](ErrorKind::BadSummary).
    pub fn read(content: &[u8]) -> Result<BlockSummary, Error> {
        let bad = |what: &str| {
            let message = format!("WAL summary file of PostgreSQL {what}");
            Error::new(ErrorKind::BadSummary, message)
        };
        if content.first_chunk() != Some(&MAGIC.to_le_bytes()) {
            return Err(bad("with a wrong magic number"));
        }
        let (body, crc) = content.split_last_chunk().ok_or_else(|| bad("that ends too early"))?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(bad("that does not match its CRC: it is damaged"));
        }
        let entries = body.get(4..).unwrap_or_default();
        Self::entries(entries).ok_or_else(|| bad("that does not hold together"))
    }

    /// Writes the same, as PostgreSQL does: it reads what this returns as its own.
    pub fn write(summary: &BlockSummary) -> Vec<u8> {
        let mut out = MAGIC.to_le_bytes().to_vec();
        for (relation, fork, summary) in summary.iter() {
            let chunks = summary.blocks.chunks();
            let count = chunks.last().map_or(0, |(number, _)| u32::from(*number) + 1);
            let fork = u32::from(number_of(fork));
            let limit = summary.limit_block.unwrap_or(NO_LIMIT);
            let RelLocator { tablespace_oid, database, number } = relation;
            for field in [tablespace_oid, database, number, fork, limit, count] {
                out.extend(field.to_le_bytes());
            }
            let mut there = chunks.iter().peekable();
            for number in 0..count {
                let chunk = there.next_if(|(at, _)| u32::from(*at) == number);
                let len = chunk.map_or(0, |(_, chunk)| match chunk.is_list() {
                    true => chunk.len() as u16,
                    false => BITMAP_WORDS,
                });
                out.extend(len.to_le_bytes());
            }
            for (_, chunk) in chunks {
                match chunk.is_list() {
                    true => out.extend(chunk.iter().flat_map(u16::to_le_bytes)),
                    false => out.extend(chunk.words().iter().flat_map(|word| word.to_le_bytes())),
                }
            }
        }
        out.extend([0; ENTRY_LEN]);
        let crc = crc32c::crc32c(&out);
        out.extend(crc.to_le_bytes());
        out
    }

    fn entries(mut rest: &[u8]) -> Option<BlockSummary> {
        let mut table = BlockSummary::new();
        loop {
            let (entry, tail) = rest.split_first_chunk::<ENTRY_LEN>()?;
            rest = tail;
            if *entry == [0; ENTRY_LEN] {
                return rest.is_empty().then_some(table);
            }
            let relation = RelLocator::from_bytes(entry.first_chunk()?);
            let field =
                |at: usize| entry.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
            let (fork, limit, count) = (field(12)?, field(16)?, field(20)? as usize);
            let fork: Fork = fork_of(u8::try_from(fork).ok().filter(|fork| *fork <= 3)?);
            let (sizes, mut chunks) = rest.split_at_checked(count.checked_mul(2)?)?;
            let mut blocks = BlockSet::new();
            for (number, size) in sizes.as_chunks().0.iter().enumerate() {
                let size = u16::from_le_bytes(*size);
                let (words, tail) = chunks.split_at_checked(usize::from(size) * 2)?;
                chunks = tail;
                let chunk = chunk(words, size)?;
                blocks.push_chunk(u16::try_from(number).ok()?, chunk);
            }
            rest = chunks;
            let limit_block = (limit != NO_LIMIT).then_some(limit);
            if table.get(relation, fork).is_some() {
                return None;
            }
            table.put(relation, fork, ForkSummary { limit_block, blocks });
        }
    }
}

fn chunk(bytes: &[u8], size: u16) -> Option<Chunk> {
    if size > BITMAP_WORDS {
        return None;
    }
    if size == BITMAP_WORDS {
        // Words of 16 bits, least significant first: the same bytes as wider ones.
        let mut words = Box::new([0; 1024]);
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        return Some(Chunk::from_words(words));
    }
    // In the order in which they were changed.
    let mut offsets: Vec<_> = bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
    offsets.sort_unstable();
    offsets.dedup();
    let len = offsets.len();
    Some(Chunk::from_sorted(offsets.into_iter(), len))
}

/// The name of a summary file of PostgreSQL: which WAL it is about
/// (`postmaster/walsummarizer.c`, `backup/walsummary.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PgSummaryName {
    /// On which timeline.
    pub timeline: TimelineId,
    /// Where it begins: with the record there.
    pub start: Lsn,
    /// Where it ends: the record there is not in it.
    pub end: Lsn,
}

impl fmt::Display for PgSummaryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (timeline, start, end) = (self.timeline.get(), self.start.0, self.end.0);
        write!(f, "{timeline:08X}{start:016X}{end:016X}.summary")
    }
}

impl FromStr for PgSummaryName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let bad = || {
            let message = format!("{name:?} is not the name of a WAL summary file of PostgreSQL");
            Error::new(ErrorKind::BadSummary, message)
        };
        let digits = name.strip_suffix(".summary").ok_or_else(bad)?;
        let upper_hex = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
        if digits.len() != 40 || !digits.bytes().all(upper_hex) {
            return Err(bad());
        }
        let part = |from: usize, to: usize| {
            digits.get(from..to).and_then(|hex| u64::from_str_radix(hex, 16).ok())
        };
        let (Some(timeline), Some(start), Some(end)) = (part(0, 8), part(8, 24), part(24, 40))
        else {
            return Err(bad());
        };
        let timeline = u32::try_from(timeline).ok().and_then(TimelineId::new).ok_or_else(bad)?;
        Ok(Self { timeline, start: Lsn(start), end: Lsn(end) })
    }
}
