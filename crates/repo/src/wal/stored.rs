use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::frame::{self, Kind, Problem};
use crate::wal::encode::{TRAILER_LEN, TRAILER_MAGIC};
use crate::wal::info::WalInfo;
use crate::{Digest, Error, Result, document};

/// A WAL object that was read from the repository.
#[derive(Debug, Clone)]
pub struct StoredWal {
    path: String,
    bytes: Bytes,
    info: WalInfo,
}

impl StoredWal {
    pub(crate) fn open(path: String, bytes: Bytes) -> Result<Self> {
        let info = info_in_tail(&path, &bytes)?
            .ok_or_else(|| Error::corrupt(&path, "it is cut off before its description"))?;
        Ok(Self { path, bytes, info })
    }

    /// What the object says of itself.
    pub fn info(&self) -> &WalInfo {
        &self.info
    }

    /// The file's content. Checks every frame and the digest of the whole; decompresses on up to
    /// `workers` threads. Blocks for as long as that takes.
    pub fn decode(&self, workers: usize) -> Result<Vec<Bytes>> {
        let damaged = |what: &str| Error::corrupt(&self.path, what);
        let frames = self.frames().map_err(|e| damaged(&e))?;
        let next = AtomicUsize::new(0);
        let decode_some = || {
            let mut decoded = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(stored) = frames.get(number) else { return Ok(decoded) };
                let (raw, _) = frame::decode(stored, Kind::Wal, None)?;
                decoded.push((number, Bytes::from(raw)));
            }
        };
        let workers = workers.clamp(1, frames.len().max(1));
        let outcomes: Vec<Result<Vec<_>, Problem>> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..workers).map(|_| scope.spawn(decode_some)).collect();
            let own = decode_some();
            let joined = others.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err("a decoding thread died".into()))
            });
            std::iter::once(own).chain(joined).collect()
        });
        let mut parts = Vec::with_capacity(frames.len());
        for outcome in outcomes {
            parts.extend(outcome.map_err(|e| e.at(&self.path))?);
        }
        parts.sort_unstable_by_key(|(number, _)| *number);
        let parts: Vec<Bytes> = parts.into_iter().map(|(_, raw)| raw).collect();
        let mut hasher = blake3::Hasher::new();
        for part in &parts {
            hasher.update(part);
        }
        if Digest::finish(&hasher) != self.info.blake3 {
            return Err(damaged("its content does not match the digest of the file"));
        }
        Ok(parts)
    }

    /// Writes the file's content to `file`, checked as [`decode`](Self::decode) does, before the
    /// first byte is written.
    pub fn write_to(&self, file: &mut File, workers: usize) -> Result<()> {
        for part in self.decode(workers)? {
            file.write_all(&part)
                .map_err(|e| Error::local(format!("{} can't be written", self.info.name), e))?;
        }
        Ok(())
    }

    /// The stored bytes of each frame of content.
    fn frames(&self) -> Result<Vec<Bytes>, String> {
        let mut rest = self.bytes.clone();
        let mut frames = Vec::new();
        loop {
            let header = frame::Header::parse(&rest)?;
            if header.kind == Kind::WalInfo as u8 {
                return if rest.len() == header.stored_len() + TRAILER_LEN {
                    Ok(frames)
                } else {
                    Err("its description is not its last frame".to_owned())
                };
            }
            if header.stored_len() > rest.len() {
                return Err("it is cut off".to_owned());
            }
            frames.push(rest.split_to(header.stored_len()));
        }
    }
}

/// Reads the description from the end of an object; `None` when it begins before `tail` does.
pub(crate) fn info_in_tail(path: &str, tail: &[u8]) -> Result<Option<WalInfo>> {
    let damaged = |what: &str| Error::corrupt(path, what);
    let (rest, len) = tail
        .strip_suffix(&TRAILER_MAGIC)
        .and_then(|rest| rest.split_last_chunk())
        .ok_or_else(|| damaged("it does not end as a WAL object does"))?;
    let len = u32::from_le_bytes(*len) as usize;
    let Some(begin) = rest.len().checked_sub(len) else { return Ok(None) };
    let (text, stored) =
        frame::decode(&rest[begin..], Kind::WalInfo, None).map_err(|e| e.at(path))?;
    if stored != len {
        return Err(damaged("its trailer is wrong about its description"));
    }
    document::from_text(path, &text).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Codec;

    proptest! {
        #[test]
        fn any_tail_is_read_without_a_panic(mut bytes in vec(any::<u8>(), 0..200)) {
            let _ = info_in_tail("wal", &bytes);
            bytes.extend_from_slice(&TRAILER_MAGIC);
            let _ = info_in_tail("wal", &bytes);
        }

        /// The digest and the trailer are right, the text is not.
        #[test]
        fn any_text_is_refused_without_a_panic(text in ".{0,200}") {
            let mut object = Vec::new();
            frame::encode(Kind::WalInfo, Codec::None, text.as_bytes(), &mut object);
            let len = object.len() as u32;
            object.extend_from_slice(&len.to_le_bytes());
            object.extend_from_slice(&TRAILER_MAGIC);
            prop_assert!(StoredWal::open("wal".to_owned(), object.into()).is_err());
        }
    }
}
