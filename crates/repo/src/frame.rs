//! Frames: the unit of compression, of digests and of reading.
//!
//! A frame is a header of [`HEADER_LEN`] bytes and a payload. Its digest covers both, so that a
//! frame is checked whole before a decompressor sees a byte of it, and it can be decoded alone.
//! `docs/format.md` gives the layout byte by byte.

use std::ops::Range;

use crate::codec::{self, Codec};
use crate::{Digest, Error};

/// `WBF1`.
const MAGIC: [u8; 4] = *b"WBF1";

/// Bytes before the payload.
pub(crate) const HEADER_LEN: usize = 48;

/// The most that one frame may hold before compression: a bound for readers, far above the
/// 1 MiB that writers use.
pub(crate) const MAX_RAW_LEN: usize = 64 << 20;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Pages and file contents, in a pack.
    Content = 1,
    /// A pack's index.
    PackIndex = 2,
    /// The tables of packs and frames of a manifest shard.
    ManifestTables = 3,
    /// The file entries of a manifest shard.
    ManifestEntries = 4,
    /// The content of a WAL file.
    Wal = 5,
    /// The description of a WAL object.
    WalInfo = 6,
    /// The block summary of a WAL segment.
    WalSummary = 7,
}

/// What is wrong with a frame, for the caller to name the object that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Its bytes are not what they must be.
    Damaged(String),
    /// It is what its writer wrote, and that one knew more than this version does.
    Newer(String),
}

impl Problem {
    pub(crate) fn at(self, object: &str) -> Error {
        match self {
            Self::Damaged(what) => Error::corrupt(object, what),
            Self::Newer(what) => Error::too_new(object, what),
        }
    }
}

impl From<String> for Problem {
    fn from(what: String) -> Self {
        Self::Damaged(what)
    }
}

impl From<&str> for Problem {
    fn from(what: &str) -> Self {
        Self::Damaged(what.to_owned())
    }
}

/// A frame's header, digest apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) codec: u8,
    encryption: u8,
    pub(crate) kind: u8,
    flags: u8,
    pub(crate) raw_len: u32,
    pub(crate) payload_len: u32,
    pub(crate) digest: Digest,
}

impl Header {
    /// The whole frame's length in the object.
    pub(crate) fn stored_len(&self) -> usize {
        HEADER_LEN + self.payload_len as usize
    }

    /// Reads the header at the start of `bytes`. Says what is wrong with it, if anything is.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let header: &[u8; HEADER_LEN] = bytes
            .first_chunk()
            .ok_or_else(|| format!("{} bytes are too few for a frame", bytes.len()))?;
        if header[..4] != MAGIC {
            return Err("no frame begins here".to_owned());
        }
        let word = |range: Range<usize>| {
            let mut word = [0; 4];
            word.copy_from_slice(&header[range]);
            u32::from_le_bytes(word)
        };
        let mut digest = [0; Digest::LEN];
        digest.copy_from_slice(&header[16..48]);
        let parsed = Self {
            codec: header[4],
            encryption: header[5],
            kind: header[6],
            flags: header[7],
            raw_len: word(8..12),
            payload_len: word(12..16),
            digest: Digest::from_bytes(digest),
        };
        if parsed.raw_len as usize > MAX_RAW_LEN || parsed.payload_len as usize > MAX_RAW_LEN {
            return Err(format!("a frame of {} bytes is too large", parsed.raw_len));
        }
        Ok(parsed)
    }

    /// Whether this version knows all that the header asks for. Only a header whose digest was
    /// checked can say so: in a damaged one these bytes may have any value.
    fn check_known(&self) -> Result<(), Problem> {
        let unknown = |what: String| Err(Problem::Newer(what));
        if self.encryption != 0 {
            return unknown(format!("encryption {} of a frame", self.encryption));
        }
        if self.flags != 0 {
            return unknown(format!("flags {:#x} of a frame", self.flags));
        }
        if self.codec > codec::LAST {
            return unknown(format!("compression {} of a frame", self.codec));
        }
        Ok(())
    }
}

/// Appends a frame that holds `raw` to `out`, and returns its header.
pub(crate) fn encode(kind: Kind, codec: Codec, raw: &[u8], out: &mut Vec<u8>) -> Header {
    debug_assert!(raw.len() <= MAX_RAW_LEN, "writers cut frames far below the bound");
    let start = out.len();
    out.resize(start + HEADER_LEN, 0);
    let codec = codec.compress(raw, out);
    let payload_len = out.len() - start - HEADER_LEN;
    let (header, payload) = out[start..].split_at_mut(HEADER_LEN);
    header[..4].copy_from_slice(&MAGIC);
    header[4] = codec.number();
    header[6] = kind as u8;
    header[8..12].copy_from_slice(&(raw.len() as u32).to_le_bytes());
    header[12..16].copy_from_slice(&(payload_len as u32).to_le_bytes());
    let digest = Digest::of_parts(&[&header[..16], payload]);
    header[16..].copy_from_slice(digest.as_bytes());
    Header {
        codec: codec.number(),
        encryption: 0,
        kind: kind as u8,
        flags: 0,
        raw_len: raw.len() as u32,
        payload_len: payload_len as u32,
        digest,
    }
}

/// Decodes the frame that `bytes` begins with: its content and its length in `bytes`.
///
/// Checks the digest in the frame, and that it is `expected` where a manifest or an index has
/// told which digest it must be. Says what is wrong, for the caller to name the object.
pub(crate) fn decode(
    bytes: &[u8],
    kind: Kind,
    expected: Option<&Digest>,
) -> Result<(Vec<u8>, usize), Problem> {
    let header = Header::parse(bytes)?;
    let stored_len = header.stored_len();
    let payload = bytes
        .get(HEADER_LEN..stored_len)
        .ok_or_else(|| format!("a frame of {stored_len} bytes is cut off after {}", bytes.len()))?;
    let digest = Digest::of_parts(&[&bytes[..16], payload]);
    if digest != header.digest {
        return Err("a frame's content does not match its digest".into());
    }
    if expected.is_some_and(|expected| *expected != digest) {
        return Err("a frame is not the one that the manifest names".into());
    }
    header.check_known()?;
    if header.kind != kind as u8 {
        let what = format!("a frame of kind {} where {} belongs", header.kind, kind as u8);
        return Err(what.into());
    }
    let raw = codec::decompress(header.codec, payload, header.raw_len as usize)
        .map_err(|e| format!("a frame can't be decompressed ({e})"))?;
    Ok((raw, stored_len))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frame(codec: Codec) -> (Vec<u8>, Vec<u8>) {
        let raw: Vec<u8> = (0..100_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut out = Vec::new();
        encode(Kind::Content, codec, &raw, &mut out);
        (raw, out)
    }

    #[test]
    fn round_trip_with_each_codec() {
        for codec in [Codec::None, Codec::Zstd(1), Codec::Lz4] {
            let (raw, stored) = frame(codec);
            let (back, len) = decode(&stored, Kind::Content, None).expect("decodes");
            assert_eq!(back, raw);
            assert_eq!(len, stored.len());
        }
    }

    #[test]
    fn incompressible_content_is_stored_as_it_is() {
        let mut raw = Vec::new();
        while raw.len() < 4096 {
            raw.extend_from_slice(Digest::of(&raw).as_bytes());
        }
        let mut out = Vec::new();
        let header = encode(Kind::Wal, Codec::Zstd(1), &raw, &mut out);
        assert_eq!(header.codec, 0);
        assert_eq!(out.len(), HEADER_LEN + raw.len());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let raw = b"a small frame, to try every bit of it".repeat(3);
        let mut stored = Vec::new();
        encode(Kind::Content, Codec::Zstd(1), &raw, &mut stored);
        for position in 0..stored.len() {
            for bit in 0..8 {
                let mut damaged = stored.clone();
                damaged[position] ^= 1 << bit;
                assert!(decode(&damaged, Kind::Content, None).is_err(), "{position}.{bit}");
            }
            assert!(decode(&stored[..position], Kind::Content, None).is_err());
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        for (position, value) in [(4, 9), (5, 1), (7, 1)] {
            let mut stored = frame(Codec::None).1;
            stored[position] = value;
            assert!(matches!(decode(&stored, Kind::Content, None), Err(Problem::Damaged(_))));
            let digest = Digest::of_parts(&[&stored[..16], &stored[HEADER_LEN..]]);
            stored[16..HEADER_LEN].copy_from_slice(digest.as_bytes());
            assert!(matches!(decode(&stored, Kind::Content, None), Err(Problem::Newer(_))));
        }
    }

    #[test]
    fn another_frame_in_its_place_is_noticed() {
        let (_, stored) = frame(Codec::None);
        assert!(decode(&stored, Kind::Content, Some(&Digest::of(b"other"))).is_err());
        assert!(decode(&stored, Kind::Wal, None).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes, Kind::Content, None).is_err());
        }

        /// The digest made right again, so that what is behind it is reached.
        #[test]
        fn any_header_and_payload_are_refused_or_hold_what_they_say(
            codec in 0..4u8,
            raw_len in 0..4096u32,
            payload in vec(any::<u8>(), 0..200),
        ) {
            let mut stored = b"WBF1".to_vec();
            stored.extend([codec, 0, Kind::Content as u8, 0]);
            stored.extend(raw_len.to_le_bytes());
            stored.extend((payload.len() as u32).to_le_bytes());
            let digest = Digest::of_parts(&[&stored, &payload]);
            stored.extend(digest.as_bytes());
            stored.extend(&payload);
            if let Ok((raw, len)) = decode(&stored, Kind::Content, None) {
                prop_assert_eq!((raw.len(), len), (raw_len as usize, stored.len()));
            }
        }
    }
}
