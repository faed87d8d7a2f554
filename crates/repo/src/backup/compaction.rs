//! Compaction: what is still in use of packs that are mostly not is stored anew, so that they can go.
//!
//! A pack lives as long as any backup refers to one page of it. When the backup that wrote it is
//! gone, and what the base of a new backup still has of it is little ([`WornPacks`]), the new backup
//! does not refer to it: it stores these pages again, and the pack goes with the older backups that
//! refer to it. Nothing that exists is changed.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};

use crate::backup::BackupWriter;
use crate::backup::base::{BaseIndex, FrameSpace};
use crate::backup::batch::Target;
use crate::manifest::{Extent, FrameRef, PackRef, Place};
use crate::repository::is_absent;
use crate::{
    BackupId, BackupReader, Cluster, Error, ErrorKind, PageDigest, Result, StoredFrames, layout,
};
use walbrook_types::BLOCK_SIZE;

/// Frames that are read at once.
const READ_AHEAD: usize = 4;

/// Which packs a backup is to store anew rather than refer to.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CompactionOptions {
    /// The share of a pack's bytes that the base still refers to, below which it is worn: 0 for
    /// none, 1 for all.
    pub live_share: f64,
    /// Bytes, as they are stored, that are stored anew at most. The emptiest packs come first.
    pub budget: u64,
}

impl CompactionOptions {
    /// Packs of which less than half is in use, up to `budget` bytes.
    pub fn new(budget: u64) -> Self {
        Self { live_share: 0.5, budget }
    }
}

/// Packs of removed backups of which a base refers to little.
#[derive(Debug, Clone, Default)]
pub struct WornPacks {
    packs: BTreeSet<PackRef>,
}

impl WornPacks {
    /// Finds them among the packs that a base refers to. Takes requests in proportion to the
    /// backups whose packs these are.
    pub async fn find(
        cluster: &Cluster,
        base: &BaseIndex,
        options: CompactionOptions,
    ) -> Result<Self> {
        let mut live: BTreeMap<&BackupId, Vec<(u32, u64)>> = BTreeMap::new();
        for (pack, bytes) in base.live_bytes() {
            live.entry(&pack.backup).or_default().push((pack.number, *bytes));
        }
        live.remove(base.id());
        let mut worn = Vec::new();
        for (backup, packs) in live {
            // All of a pack is in use by the backup that wrote it.
            match cluster.store().head(&layout::record(cluster.name(), backup)).await {
                Ok(_) => continue,
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error.into()),
            }
            let folder = layout::backup(cluster.name(), backup);
            let objects = cluster.store().list_children(&folder).await?.objects;
            let sizes: BTreeMap<String, u64> =
                objects.into_iter().map(|object| (object.path, object.size)).collect();
            for (number, bytes) in packs {
                let path = layout::pack(cluster.name(), backup, number);
                let share = sizes.get(&path).map(|size| bytes as f64 / (*size).max(1) as f64);
                let pack = PackRef { backup: backup.clone(), number };
                worn.extend(share.filter(|s| *s < options.live_share).map(|s| (s, bytes, pack)));
            }
        }
        worn.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut left = options.budget;
        let mut packs = BTreeSet::new();
        for (_, bytes, pack) in worn {
            let Some(rest) = left.checked_sub(bytes) else { break };
            left = rest;
            packs.insert(pack);
        }
        Ok(Self { packs })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.packs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }
}

/// What a writer knows of compaction.
#[derive(Default)]
pub(super) struct Compaction {
    worn: WornPacks,
    /// Parts of files that nobody has read: they are fetched from the repository at the end.
    moves: Vec<Move>,
}

/// A part of an open file, and where the base has it.
struct Move {
    target: Target,
    at: u64,
    extent: Extent,
}

impl BackupWriter {
    /// Stores anew what the base has in these packs, instead of referring to it. Call it after
    /// [`set_base`](Self::set_base), and before the first file.
    pub fn set_compaction(&mut self, worn: WornPacks) {
        self.compaction.worn = worn;
    }

    /// Whether the base has this extent in a pack that is to be left behind.
    pub(super) fn is_worn(&self, extent: &Extent) -> Result<bool> {
        let Place::Frame { frame, .. } = extent.place else { return Ok(false) };
        if self.compaction.worn.is_empty() || FrameSpace::of(frame) != FrameSpace::Base {
            return Ok(false);
        }
        let Some(base) = &self.base else { return Ok(false) };
        Ok(self.compaction.worn.packs.contains(&base.frame(frame)?.0))
    }

    /// Puts what the base has of a range of an open file there: a reference, or a move.
    pub(super) fn place_reused(&mut self, target: &Target, at: u64, extent: Extent) -> Result<()> {
        let worn = self.is_worn(&extent)?;
        let Some(file) = self.files.get_mut(&target.file) else { return Ok(()) };
        if worn {
            file.pending += extent.len;
            self.compaction.moves.push(Move { target: target.clone(), at, extent });
        } else {
            file.place(at, extent);
        }
        Ok(())
    }

    /// Fetches what is to be moved and stores it.
    pub(super) async fn move_worn(&mut self) -> Result<()> {
        let mut moves = std::mem::take(&mut self.compaction.moves);
        let Some(base) = self.base.clone().filter(|_| !moves.is_empty()) else { return Ok(()) };
        let number = |extent: &Extent| match extent.place {
            Place::Frame { frame, offset } => (frame, offset),
            Place::Zero => (0, 0),
        };
        moves.sort_by_key(|item| number(&item.extent));
        let mut frames = Vec::new();
        for group in moves.chunk_by(|a, b| number(&a.extent).0 == number(&b.extent).0) {
            frames.push((base.frame(number(&group[0].extent).0)?, group.len()));
        }
        let reader = BackupReader::new(&self.cluster, base.record().clone());
        let mut contents = stream::iter(frames)
            .map(|((pack, frame), count)| {
                let reader = reader.clone();
                async move { (content(&reader, &pack, frame).await, count) }
            })
            .buffered(READ_AHEAD);
        let mut moves = moves.into_iter();
        while let Some((content, count)) = contents.next().await {
            let content = content?;
            for Move { target, at, extent } in moves.by_ref().take(count) {
                let begin = number(&extent).1 as usize;
                let bytes =
                    content.as_ref().and_then(|raw| raw.get(begin..begin + extent.len as usize));
                match bytes {
                    Some(bytes) => self.store_worn(&target, at, bytes).await?,
                    // It is damaged. Another backup may be able to use it yet; this one refers to
                    // it as it would have without compaction.
                    None => {
                        let Some(file) = self.files.get_mut(&target.file) else { continue };
                        file.pending -= extent.len;
                        file.place(at, extent);
                        self.retire(target.file)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Stores what is at hand of a worn pack; it counts as pending already.
    pub(super) async fn store_worn(
        &mut self,
        target: &Target,
        at: u64,
        bytes: &[u8],
    ) -> Result<()> {
        let pages: Vec<PageDigest> = bytes.chunks(BLOCK_SIZE).map(PageDigest::of).collect();
        self.size.compacted_bytes += bytes.len() as u64;
        self.store(target, at, bytes, &pages).await
    }
}

/// The content of a frame; none when it is damaged or missing.
async fn content(
    reader: &BackupReader,
    pack: &PackRef,
    frame: FrameRef,
) -> Result<Option<Vec<u8>>> {
    let decoded = match reader.read_frames(pack, &[frame]).await {
        Ok(stored) => decode(stored, frame).await,
        Err(error) => Err(error),
    };
    match decoded {
        Ok(raw) => Ok(Some(raw)),
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            tracing::warn!(%error, "a pack can't be compacted");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn decode(stored: StoredFrames, frame: FrameRef) -> Result<Vec<u8>> {
    tokio::task::spawn_blocking(move || stored.decode(&frame)).await.map_err(Error::from)?
}
