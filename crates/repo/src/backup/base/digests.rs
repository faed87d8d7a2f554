use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use walbrook_types::BLOCK_SIZE;

use crate::backup::pack::{IndexedFrame, PackIndex};
use crate::manifest::{FrameRef, PackRef};
use crate::{Cluster, Digest, ErrorKind, PageDigest, Result};

/// The digests of the pages in one pack, by frame.
pub(crate) struct PackDigests {
    frames: Vec<FramePages>,
    pages: Vec<PageDigest>,
}

struct FramePages {
    offset: u64,
    digest: Digest,
    /// For each piece: where it begins in the frame, its length, and which of the pack's pages is
    /// its first.
    pieces: Box<[(u32, u32, u32)]>,
}

impl PackDigests {
    fn new(index: PackIndex) -> Self {
        let mut pages = Vec::new();
        let mut frame_pages = |frame: IndexedFrame| {
            let mut at = 0u32;
            let piece = |piece: crate::backup::pack::Piece| {
                let place = (at, piece.len, pages.len() as u32);
                at = at.saturating_add(piece.len);
                pages.extend(piece.pages);
                place
            };
            let pieces = frame.pieces.into_iter().map(piece).collect();
            FramePages { offset: frame.offset, digest: frame.digest, pieces }
        };
        let mut frames: Vec<_> = index.frames.into_iter().map(&mut frame_pages).collect();
        frames.sort_by_key(|frame| frame.offset);
        Self { frames, pages }
    }

    /// Bytes that it takes in memory.
    fn weight(&self) -> usize {
        let pieces: usize = self.frames.iter().map(|frame| 64 + 12 * frame.pieces.len()).sum();
        pieces + PageDigest::LEN * self.pages.len()
    }

    /// The digest and the length of the page that begins at this place of a frame.
    pub(crate) fn page(&self, frame: &FrameRef, offset: u32) -> Option<(PageDigest, u32)> {
        let at = self.frames.binary_search_by_key(&frame.offset, |f| f.offset).ok()?;
        let pages = &self.frames[at];
        // The manifest's word is what counts: an index that speaks of another frame says nothing.
        if pages.digest != frame.digest {
            return None;
        }
        let number = pages.pieces.partition_point(|(begin, ..)| *begin <= offset).checked_sub(1)?;
        let (begin, len, first) = pages.pieces[number];
        let within = offset - begin;
        let block = BLOCK_SIZE as u32;
        if within >= len || !within.is_multiple_of(block) {
            return None;
        }
        let digest = self.pages.get((first + within / block) as usize)?;
        Some((*digest, block.min(len - within)))
    }
}

/// Reads the page digests of packs as they are asked for, and keeps those that were asked for
/// last.
pub(crate) struct DigestCache {
    cluster: Cluster,
    /// Bytes of memory that digests may take.
    most: usize,
    slots: Mutex<Slots>,
}

/// Absent when the pack's index can't be had.
type Cell = Arc<OnceCell<Option<Arc<PackDigests>>>>;

#[derive(Default)]
struct Slots {
    by_pack: HashMap<PackRef, Slot>,
    weight: usize,
    clock: u64,
}

struct Slot {
    cell: Cell,
    weight: usize,
    used: u64,
}

/// What a pack takes at least.
const SLOT_WEIGHT: usize = 256;

impl DigestCache {
    /// Keeps digests in so many bytes of memory.
    pub(crate) fn new(cluster: Cluster, most: usize) -> Self {
        Self { cluster, most, slots: Mutex::default() }
    }

    /// The digests of a pack's pages; none when its index is missing or damaged: then what is in
    /// the pack is taken for changed, and stored again.
    pub(crate) async fn of(&self, pack: &PackRef) -> Result<Option<Arc<PackDigests>>> {
        let cell = self.slots().cell(pack, self.most);
        let digests = cell
            .get_or_try_init(|| async {
                match PackIndex::read(&self.cluster, pack).await {
                    Ok(index) => {
                        let made = tokio::task::spawn_blocking(|| PackDigests::new(index)).await?;
                        let digests = Arc::new(made);
                        self.slots().weigh(pack, digests.weight(), self.most);
                        Ok(Some(digests))
                    }
                    Err(error) if is_damage(&error) => {
                        let (backup, number) = (&pack.backup, pack.number);
                        tracing::warn!(%backup, number, %error, "a pack's index can't be read");
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            })
            .await?;
        Ok(digests.clone())
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error is about this pack for good, and not about the store at this moment.
pub(crate) fn is_damage(error: &crate::Error) -> bool {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::UnsupportedVersion => true,
        ErrorKind::Store => error.store_error().is_some_and(crate::repository::is_absent),
        _ => false,
    }
}

impl Slots {
    fn cell(&mut self, pack: &PackRef, most: usize) -> Cell {
        self.clock += 1;
        let used = self.clock;
        if let Some(slot) = self.by_pack.get_mut(pack) {
            slot.used = used;
            return slot.cell.clone();
        }
        let cell = Cell::default();
        let slot = Slot { cell: cell.clone(), weight: SLOT_WEIGHT, used };
        self.by_pack.insert(pack.clone(), slot);
        self.weight += SLOT_WEIGHT;
        self.evict(pack, most);
        cell
    }

    fn weigh(&mut self, pack: &PackRef, weight: usize, most: usize) {
        if let Some(slot) = self.by_pack.get_mut(pack) {
            slot.weight += weight;
            self.weight += weight;
        }
        self.evict(pack, most);
    }

    /// Lets go of those that were used least recently, but keeps the one at hand.
    fn evict(&mut self, keep: &PackRef, most: usize) {
        while self.weight > most {
            let others = self.by_pack.iter().filter(|(pack, _)| *pack != keep);
            let Some(oldest) = others.min_by_key(|(_, slot)| slot.used).map(|(p, _)| p.clone())
            else {
                break;
            };
            if let Some(slot) = self.by_pack.remove(&oldest) {
                self.weight -= slot.weight;
            }
        }
    }
}
