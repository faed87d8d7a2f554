use std::sync::Arc;

use bytes::Bytes;

use crate::backup::pack::PackIndex;
use crate::frame::{self, Kind, Problem};
use crate::manifest::{FrameRef, PackRef, Shard};
use crate::repository::is_absent;
use crate::{BackupRecord, Cluster, Digest, Error, ErrorKind, Result, layout};

/// Reads a backup: its manifest, shard by shard, and the frames that it names.
///
/// Everything that it returns has been checked against the digests that lead from the commit
/// object to it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BackupReader {
    cluster: Cluster,
    record: Arc<BackupRecord>,
}

impl BackupReader {
    /// Reads the backup of this record.
    pub fn new(cluster: &Cluster, record: BackupRecord) -> Self {
        Self { cluster: cluster.clone(), record: Arc::new(record) }
    }

    /// The cluster that it is of.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The backup's record.
    pub fn record(&self) -> &BackupRecord {
        &self.record
    }

    /// The shard at this place in [`BackupRecord::manifest`].
    pub async fn shard(&self, index: usize) -> Result<Shard> {
        self.checked_shard(index, Shard::decode).await
    }

    /// The packs that a shard names.
    pub(crate) async fn packs(&self, index: usize) -> Result<Vec<PackRef>> {
        self.checked_shard(index, Shard::decode_packs).await
    }

    /// Reads a shard's object, checks its digest, and decodes it.
    async fn checked_shard<T: Send + 'static>(
        &self,
        index: usize,
        decode: impl FnOnce(&str, &[u8]) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let known = self.record.manifest.get(index).ok_or_else(|| {
            let message = format!("backup {} has no manifest shard {index}", self.record.id);
            Error::new(ErrorKind::Invalid, message)
        })?;
        let path = layout::manifest(self.cluster.name(), &self.record.id, known.number);
        let bytes = self.cluster.store().get(&path).await.map_err(|e| missing_part(&path, e))?;
        let expected = known.blake3;
        tokio::task::spawn_blocking(move || {
            if Digest::of(&bytes) != expected {
                return Err(Error::corrupt(&path, "it does not match the digest in backup.json"));
            }
            decode(&path, &bytes)
        })
        .await?
    }

    /// The stored bytes of a run of neighbouring frames of one pack, to be decoded with
    /// [`StoredFrames::decode`] on whatever thread is free.
    pub async fn read_frames(&self, pack: &PackRef, frames: &[FrameRef]) -> Result<StoredFrames> {
        let path = layout::pack(self.cluster.name(), &pack.backup, pack.number);
        let start = frames.first().map_or(0, |f| f.offset);
        let end = frames.last().map_or(0, |f| f.offset + u64::from(f.stored_len));
        let bytes = match self.cluster.store().get_range(&path, start..end).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == walbrook_store::ErrorKind::OutOfRange => {
                return Err(Error::corrupt(&path, "it is cut off").with_source(error));
            }
            Err(error) => return Err(missing_part(&path, error)),
        };
        Ok(StoredFrames { path, start, bytes })
    }

    /// The index of one of this backup's own packs.
    pub async fn pack_index(&self, number: u32) -> Result<PackIndex> {
        let pack = PackRef { backup: self.record.id.clone(), number };
        PackIndex::read(&self.cluster, &pack).await
    }
}

/// A part that a commit object or a manifest names must be there: when it is not, the backup is
/// damaged.
fn missing_part(path: &str, error: walbrook_store::Error) -> Error {
    if is_absent(&error) {
        Error::corrupt(path, "it is missing").with_source(error)
    } else {
        error.into()
    }
}

/// Frames as they are stored.
#[derive(Debug)]
pub struct StoredFrames {
    path: String,
    start: u64,
    bytes: Bytes,
}

impl StoredFrames {
    /// The content of one of the frames that were read. Checks its digest; costs the time of a
    /// decompression.
    pub fn decode(&self, frame: &FrameRef) -> Result<Vec<u8>> {
        let damaged = |what: &str| {
            Error::corrupt(&self.path, format_args!("at byte {}: {what}", frame.offset))
        };
        let stored = frame
            .offset
            .checked_sub(self.start)
            .and_then(|begin| self.bytes.get(begin as usize..)?.get(..frame.stored_len as usize))
            .ok_or_else(|| damaged("a frame is cut off"))?;
        let (raw, len) =
            frame::decode(stored, Kind::Content, Some(&frame.digest)).map_err(|problem| {
                match problem {
                    Problem::Damaged(what) => damaged(&what),
                    newer @ Problem::Newer(_) => newer.at(&self.path),
                }
            })?;
        if len != stored.len() || raw.len() != frame.raw_len as usize {
            return Err(damaged("a frame has another length than the manifest says"));
        }
        Ok(raw)
    }
}
