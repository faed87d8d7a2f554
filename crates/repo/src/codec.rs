use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, Result};

/// How the content of a frame is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// Not at all.
    None,
    /// zstd at this level. Level 1 is the default: on database pages it is faster than level 3 at
    /// the same size.
    Zstd(i32),
    /// LZ4 in its block format: faster, and about half as good.
    Lz4,
}

/// The highest number of a codec that this version knows.
pub(crate) const LAST: u8 = 2;

impl Default for Codec {
    fn default() -> Self {
        Self::Zstd(1)
    }
}

thread_local! {
    /// A zstd context is a megabyte of tables: each thread makes one, not each frame.
    static COMPRESSOR: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> =
        const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        const { RefCell::new(None) };
}

impl Codec {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Zstd(_) => 1,
            Self::Lz4 => 2,
        }
    }

    /// Appends `raw`, compressed, to `out`; tells with which codec, for what compression would
    /// only make longer is stored as it is.
    pub(crate) fn compress(self, raw: &[u8], out: &mut Vec<u8>) -> Self {
        let start = out.len();
        let done = match self {
            Self::None => false,
            Self::Zstd(level) => zstd_compress(level, raw, out),
            Self::Lz4 => {
                out.resize(start + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
                match lz4_flex::block::compress_into(raw, &mut out[start..]) {
                    Ok(len) => {
                        out.truncate(start + len);
                        true
                    }
                    Err(_) => false,
                }
            }
        };
        if done && out.len() - start < raw.len() {
            return self;
        }
        out.truncate(start);
        out.extend_from_slice(raw);
        Self::None
    }
}

fn zstd_compress(level: i32, raw: &[u8], out: &mut Vec<u8>) -> bool {
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(have, _)| *have != level) {
            *slot = zstd::bulk::Compressor::new(level).ok().map(|new| (level, new));
        }
        let Some((_, compressor)) = slot else { return false };
        // Memory of its own: what `out` grew by would have to be set to zeros first, and be kept.
        let mut compressed = Vec::with_capacity(zstd::zstd_safe::compress_bound(raw.len()));
        let done = compressor.compress_to_buffer(raw, &mut compressed).is_ok();
        if done {
            out.extend_from_slice(&compressed);
        }
        done
    })
}

/// Decompresses to exactly `raw_len` bytes, or says why that can't be done.
pub(crate) fn decompress(codec: u8, stored: &[u8], raw_len: usize) -> Result<Vec<u8>, String> {
    let raw = match codec {
        0 if stored.len() == raw_len => stored.to_vec(),
        0 => return Err(format!("holds {} bytes, should hold {raw_len}", stored.len())),
        1 => DECOMPRESSOR
            .with_borrow_mut(|slot| {
                let decompressor = match slot {
                    Some(decompressor) => decompressor,
                    None => slot.insert(zstd::bulk::Decompressor::new()?),
                };
                decompressor.decompress(stored, raw_len)
            })
            .map_err(|e| format!("zstd: {e}"))?,
        2 => lz4_flex::block::decompress(stored, raw_len).map_err(|e| format!("lz4: {e}"))?,
        other => return Err(format!("compression {other} is not known to this version")),
    };
    if raw.len() == raw_len {
        Ok(raw)
    } else {
        Err(format!("holds {} bytes, should hold {raw_len}", raw.len()))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
            Self::Lz4 => f.write_str("lz4"),
        }
    }
}

impl FromStr for Codec {
    type Err = Error;

    /// Reads `zstd`, `zstd:LEVEL`, `lz4` or `none`.
    fn from_str(text: &str) -> Result<Self> {
        let error = || {
            let message = format!(
                "unknown compression {text:?}: use zstd, zstd:LEVEL with a level from 1 to 19, \
                 lz4 or none"
            );
            Error::new(ErrorKind::Invalid, message)
        };
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            None if text == "lz4" => Ok(Self::Lz4),
            None if text == "zstd" => Ok(Self::default()),
            Some(("zstd", level)) => match level.parse() {
                Ok(level @ 1..=19) => Ok(Self::Zstd(level)),
                _ => Err(error()),
            },
            _ => Err(error()),
        }
    }
}
