//! Packs: frames one after the other, then an index, then a trailer that finds the index.

use std::sync::Arc;

use walbrook_types::BLOCK_SIZE;

use crate::codec::Codec;
use crate::frame::{self, Header, Kind};
use crate::manifest::PackRef;
use crate::wire::{self, Put, Reader};
use crate::{BackupId, Cluster, Digest, Error, PageDigest, Result, layout};

/// The end of every pack: the length of the index frame (four bytes) and these eight.
const TRAILER_MAGIC: [u8; 8] = *b"WBPACK\x01\n";

/// Bytes of the trailer.
pub(crate) const TRAILER_LEN: usize = 12;

const VERSION: u8 = 1;

/// A run of a file's bytes inside a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The file's path in the data directory.
    pub path: Arc<str>,
    /// Where the run begins in the file, in bytes.
    pub file_offset: u64,
    /// Its length in bytes.
    pub len: u32,
    /// The digest of each page of it, which begin at multiples of [`BLOCK_SIZE`] from its own
    /// beginning as they do in the file; the last one may be short.
    pub pages: Vec<PageDigest>,
}

/// How many pages a run of so many bytes begins.
pub(crate) fn pages_of(len: u32) -> usize {
    (len as usize).div_ceil(BLOCK_SIZE)
}

/// A frame as a pack's index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedFrame {
    /// Where it begins in the pack, in bytes.
    pub offset: u64,
    /// Its length in the pack, header and all.
    pub stored_len: u32,
    /// The length of its content.
    pub raw_len: u32,
    /// Its digest.
    pub digest: Digest,
    /// What its content is, in order.
    pub pieces: Vec<Piece>,
}

/// What the index at the end of a pack says: which frames are in it, and of which files.
///
/// A restore never needs it. It makes a pack understandable by itself: a later backup finds in it
/// the digests of the pages, to know which it need not store again; an interrupted backup is
/// continued from it; and a lost manifest could be rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackIndex {
    /// The backup that wrote the pack.
    pub backup: BackupId,
    /// The pack's number.
    pub number: u32,
    /// Its frames.
    pub frames: Vec<IndexedFrame>,
}

/// Bytes at the end of a pack that hold the index of most packs: 32 MiB of pages that were
/// compressed to a quarter have 256 KiB of digests.
const USUAL_TAIL: u64 = 512 << 10;

/// A pack under construction, in memory.
pub(crate) struct PackBuilder {
    bytes: Vec<u8>,
    index: PackIndex,
    index_weight: usize,
}

/// Above this many bytes of index, before compression, a pack is full however small its frames
/// are: ten million empty-looking files would otherwise have their names in one index.
const INDEX_WEIGHT: usize = 4 << 20;

impl PackBuilder {
    pub(crate) fn new(backup: BackupId, number: u32, capacity: usize) -> Self {
        let index = PackIndex { backup, number, frames: Vec::new() };
        Self { bytes: Vec::with_capacity(capacity), index, index_weight: 0 }
    }

    pub(crate) fn number(&self) -> u32 {
        self.index.number
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether its index is as large as it may be.
    pub(crate) fn index_is_full(&self) -> bool {
        self.index_weight >= INDEX_WEIGHT
    }

    /// Adds an encoded frame; tells where it begins.
    pub(crate) fn push(&mut self, header: &Header, stored: &[u8], pieces: Vec<Piece>) -> u64 {
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(stored);
        self.index_weight += 16 + Digest::LEN;
        let weight = |piece: &Piece| 16 + piece.path.len() + PageDigest::LEN * piece.pages.len();
        self.index_weight += pieces.iter().map(weight).sum::<usize>();
        self.index.frames.push(IndexedFrame {
            offset,
            stored_len: stored.len() as u32,
            raw_len: header.raw_len,
            digest: header.digest,
            pieces,
        });
        offset
    }

    /// The whole object.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let begin = self.bytes.len();
        frame::encode(Kind::PackIndex, Codec::default(), &self.index.encode(), &mut self.bytes);
        let len = (self.bytes.len() - begin) as u32;
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(&TRAILER_MAGIC);
        self.bytes
    }
}

impl PackIndex {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.put_bytes(self.backup.as_str().as_bytes());
        out.put_number(u64::from(self.number));
        out.put_number(self.frames.len() as u64);
        let mut offset = 0;
        for frame in &self.frames {
            out.put_signed(frame.offset.wrapping_sub(offset) as i64);
            out.put_number(u64::from(frame.stored_len));
            out.put_number(u64::from(frame.raw_len));
            out.extend_from_slice(frame.digest.as_bytes());
            out.put_number(frame.pieces.len() as u64);
            for piece in &frame.pieces {
                out.put_bytes(piece.path.as_bytes());
                out.put_number(piece.file_offset);
                out.put_number(u64::from(piece.len));
                debug_assert_eq!(piece.pages.len(), pages_of(piece.len), "{}", piece.path);
                piece.pages.iter().for_each(|page| out.extend_from_slice(page.as_bytes()));
            }
            offset = frame.offset + u64::from(frame.stored_len);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        if r.byte()? != VERSION {
            return None;
        }
        let backup = r.text()?.parse().ok()?;
        let number = r.number_as()?;
        let count = r.count(4 + Digest::LEN)?;
        let mut frames = Vec::with_capacity(count);
        let mut expected = 0u64;
        for _ in 0..count {
            let offset = expected.checked_add_signed(r.signed()?)?;
            let stored_len: u32 = r.number_as()?;
            expected = offset.checked_add(u64::from(stored_len))?;
            let raw_len = r.number_as()?;
            let digest = Digest::from_bytes(r.array()?);
            let pieces = r.count(3)?;
            let pieces = (0..pieces)
                .map(|_| {
                    let path = Arc::from(r.text()?);
                    let (file_offset, len) = (r.number()?, r.number_as()?);
                    let pages = r.take(pages_of(len) * PageDigest::LEN)?;
                    let pages = pages.as_chunks().0.iter().map(|d| PageDigest::from_bytes(*d));
                    Some(Piece { path, file_offset, len, pages: pages.collect() })
                })
                .collect::<Option<_>>()?;
            frames.push(IndexedFrame { offset, stored_len, raw_len, digest, pieces });
        }
        r.is_empty().then_some(Self { backup, number, frames })
    }

    /// Reads the index at the end of a pack.
    pub(crate) async fn read(cluster: &Cluster, pack: &PackRef) -> Result<Self> {
        let path = layout::pack(cluster.name(), &pack.backup, pack.number);
        let (tail, size) = cluster.store().get_tail(&path, USUAL_TAIL).await?;
        let trailer = &tail[tail.len().saturating_sub(TRAILER_LEN)..];
        let frame_len = Self::frame_len(&path, trailer)?;
        let whole = frame_len + TRAILER_LEN;
        if whole as u64 > size {
            return Err(Error::corrupt(&path, "its trailer is wrong about its index"));
        }
        let end = size - TRAILER_LEN as u64;
        let frame = match tail.len().checked_sub(whole) {
            Some(begin) => tail.slice(begin..begin + frame_len),
            None => cluster.store().get_range(&path, end - frame_len as u64..end).await?,
        };
        let index = Self::parse(&path, &frame)?;
        if index.backup != pack.backup || index.number != pack.number {
            let what = format!("it is pack {} of backup {}", index.number, index.backup);
            return Err(Error::corrupt(&path, what));
        }
        Ok(index)
    }

    /// The length of the index frame, from the last [`TRAILER_LEN`] bytes of a pack.
    pub(crate) fn frame_len(object: &str, trailer: &[u8]) -> Result<usize> {
        trailer
            .strip_suffix(&TRAILER_MAGIC)
            .and_then(|len| len.last_chunk())
            .map(|len| u32::from_le_bytes(*len) as usize)
            .ok_or_else(|| Error::corrupt(object, "it does not end as a pack does"))
    }

    /// Reads the index from its frame.
    pub(crate) fn parse(object: &str, frame: &[u8]) -> Result<Self> {
        let (raw, len) = frame::decode(frame, Kind::PackIndex, None).map_err(|e| e.at(object))?;
        if len != frame.len() {
            return Err(Error::corrupt(object, "its trailer is wrong about its index"));
        }
        wire::check_version(object, &raw, VERSION)?;
        Self::decode(&raw).ok_or_else(|| Error::corrupt(object, "its index is malformed"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn indexes() -> impl Strategy<Value = PackIndex> {
        let piece = ("[a-z/é]{0,12}", any::<u64>(), 0..40_000u32, any::<[u8; 16]>()).prop_map(
            |(path, file_offset, len, digest)| {
                let pages = vec![PageDigest::from_bytes(digest); pages_of(len)];
                Piece { path: path.into(), file_offset, len, pages }
            },
        );
        let frame =
            (0..1u64 << 40, any::<u32>(), any::<u32>(), any::<[u8; 32]>(), vec(piece, 0..5))
                .prop_map(|(offset, stored_len, raw_len, digest, pieces)| IndexedFrame {
                    offset,
                    stored_len,
                    raw_len,
                    digest: Digest::from_bytes(digest),
                    pieces,
                });
        (any::<u32>(), vec(frame, 0..20)).prop_map(|(number, frames)| {
            let backup = "20261122T034512Z-1f3a9c04".parse().expect("an identifier");
            PackIndex { backup, number, frames }
        })
    }

    proptest! {
        #[test]
        fn an_index_reads_back(index in indexes()) {
            prop_assert_eq!(PackIndex::decode(&index.encode()), Some(index));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes in vec(any::<u8>(), 0..300)) {
            bytes.insert(0, VERSION);
            let _ = PackIndex::decode(&bytes);
            let _ = PackIndex::frame_len("pack", &bytes);
            prop_assert!(PackIndex::parse("pack", &bytes).is_err());
        }

        #[test]
        fn a_changed_index_is_read_without_a_panic(
            index in indexes(),
            at in any::<prop::sample::Index>(),
            change in 1..=255u8,
        ) {
            let mut bytes = index.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            let _ = PackIndex::decode(&bytes);
        }
    }
}
