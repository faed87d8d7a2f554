//! Making a WAL object of a WAL file: read once, and digested, looked into and compressed on the way.

use std::io::Read;
use std::sync::{Mutex, PoisonError, mpsc};

use bytes::Bytes;
use jiff::Timestamp;
use walbrook_types::{SystemId, WalFileName, WalSegmentSize};
use walbrook_wal::WalSummary;

use crate::codec::Codec;
use crate::frame::{self, Kind};
use crate::wal::content::ContentScanner;
use crate::wal::info::WalInfo;
use crate::{Digest, Error, Result, document};

/// Content of one frame before compression.
const FRAME_SIZE: usize = 1 << 20;

/// The end of every WAL object: the length of the frame before it (four bytes) and these eight.
pub(crate) const TRAILER_MAGIC: [u8; 8] = *b"WBWAL\x01\r\n";

/// Bytes of the trailer.
pub(crate) const TRAILER_LEN: usize = 12;

/// A WAL object, ready to be stored.
pub(crate) struct EncodedWal {
    /// Its bytes; `None` when the archive has it already.
    pub(crate) parts: Option<Vec<Bytes>>,
    pub(crate) info: WalInfo,
    /// The bytes of the object with the blocks that a segment changes.
    pub(crate) summary: Option<Bytes>,
}

/// What is known of a WAL file before it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalSource {
    pub(crate) name: WalFileName,
    pub(crate) system: SystemId,
    pub(crate) segment_size: WalSegmentSize,
    pub(crate) pg_major: u32,
    pub(crate) streamed: bool,
}

/// Reads a WAL file to its end and makes an object of it, compressing on up to `workers` threads.
/// Refuses a segment that is not what its name says, or not of this cluster.
pub(crate) fn encode(
    source: &WalSource,
    content: &mut dyn Read,
    codec: Codec,
    workers: usize,
) -> Result<EncodedWal> {
    let mut hasher = blake3::Hasher::new();
    let mut scanner = ContentScanner::new(source);
    let mut size = 0;
    let mut parts = in_parallel(codec, workers, |send| {
        loop {
            let mut raw = Vec::with_capacity(FRAME_SIZE);
            let read = (&mut *content).take(FRAME_SIZE as u64).read_to_end(&mut raw);
            read.map_err(|e| Error::local(format!("{} can't be read", source.name), e))?;
            if raw.is_empty() {
                return Ok(());
            }
            hasher.update(&raw);
            scanner.feed(&raw)?;
            size += raw.len() as u64;
            send(raw);
        }
    })?;
    let (content, summary) = scanner.finish(size)?;
    let info = WalInfo {
        name: source.name,
        system_identifier: source.system,
        wal_segment_size: source.segment_size,
        size,
        blake3: Digest::finish(&hasher),
        archived_at: Timestamp::now(),
        streamed: source.streamed,
        content,
    };
    parts.push(encode_info(&info)?);
    let summary = summary.map(|summary| encode_summary(&summary));
    Ok(EncodedWal { parts: Some(parts), info, summary })
}

/// The last frame of the object and its trailer.
fn encode_info(info: &WalInfo) -> Result<Bytes> {
    let text = document::to_text(info)?;
    let mut out = Vec::new();
    frame::encode(Kind::WalInfo, Codec::default(), &text, &mut out);
    let len = out.len() as u32;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&TRAILER_MAGIC);
    Ok(Bytes::from(out))
}

/// The object of a block summary: one frame.
pub(crate) fn encode_summary(summary: &WalSummary) -> Bytes {
    let mut out = Vec::new();
    frame::encode(Kind::WalSummary, Codec::default(), &summary.encode(), &mut out);
    Bytes::from(out)
}

/// Runs `produce`, which hands over the content of frame after frame, and encodes the frames on
/// `workers` threads meanwhile. Returns them in order.
fn in_parallel(
    codec: Codec,
    workers: usize,
    produce: impl FnOnce(&mut dyn FnMut(Vec<u8>)) -> Result<()>,
) -> Result<Vec<Bytes>> {
    let workers = workers.max(1);
    let done = Mutex::new(Vec::new());
    // One batch for each worker may wait: no more memory than that.
    let (batches, queue) = mpsc::sync_channel::<(usize, Vec<u8>)>(workers);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let batch = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, raw)) = batch else { return };
                    let mut out = Vec::with_capacity(raw.len() / 2);
                    frame::encode(Kind::Wal, codec, &raw, &mut out);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((number, Bytes::from(out)));
                }
            });
        }
        let mut number = 0;
        let outcome = produce(&mut |raw| {
            // The queue lives as long as this scope: sending can't fail.
            let _ = batches.send((number, raw));
            number += 1;
        });
        drop(batches);
        outcome
    })?;
    let mut frames = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    frames.sort_unstable_by_key(|(number, _)| *number);
    Ok(frames.into_iter().map(|(_, frame)| frame).collect())
}
