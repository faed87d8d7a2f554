use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use walbrook_types::{BLOCK_SIZE, RelFile};

use crate::backup::base::BaseFile;
use crate::backup::base::files::{FileIndex, FileIndexBuilder, FrameSpace};
use crate::manifest::{EntryKind, FrameRef, PackRef, Place, Shard};
use crate::{BackupId, BackupReader, BackupRecord, Error, Result};

/// The files of an earlier backup by path, for a new backup that stores only what is not there.
///
/// Made by reading the earlier backup's whole manifest once, into temporary files: memory does not
/// grow with the number of files, and they can be looked up in any order. The digests of pages are
/// read from its packs' indexes when they are needed, and the packs themselves not at all. Cheap
/// to clone.
#[derive(Clone)]
pub struct BaseIndex {
    index: Arc<FileIndex>,
    facts: Arc<Facts>,
}

struct Facts {
    record: BackupRecord,
    /// The blocks that the record lists as damaged, and what is wrong with them, by path.
    damage: BTreeMap<String, Vec<(u32, String)>>,
    /// Bytes of each pack, as they are stored, that the backup refers to.
    live: BTreeMap<PackRef, u64>,
}

impl fmt::Debug for BaseIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaseIndex").field("id", self.id()).finish_non_exhaustive()
    }
}

/// Shards that are read ahead.
const READ_AHEAD: usize = 2;

impl BaseIndex {
    /// Reads the manifest of a backup.
    ///
    /// The intent of the backup that is to use it must be in the repository before, and name it:
    /// only then does expiry leave its packs alone.
    pub async fn open(reader: &BackupReader) -> Result<Self> {
        let shards = 0..reader.record().manifest.len();
        let mut shards =
            futures::stream::iter(shards.map(|index| reader.shard(index))).buffered(READ_AHEAD);
        let mut builder = FileIndexBuilder::new(FrameSpace::Base)?;
        let mut live = BTreeMap::new();
        while let Some(shard) = shards.try_next().await? {
            (builder, live) = tokio::task::spawn_blocking(move || {
                add_live_bytes(&mut live, &shard);
                add_shard(&mut builder, shard)?;
                Ok::<_, Error>((builder, live))
            })
            .await??;
        }
        drop(shards);
        let record = reader.record().clone();
        let mut damage: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
        for page in &record.damage.listed {
            damage.entry(page.path.clone()).or_default().push((page.block, page.problem.clone()));
        }
        let index = Arc::new(builder.finish(reader.cluster())?);
        Ok(Self { index, facts: Arc::new(Facts { record, damage, live }) })
    }

    /// The backup's identifier.
    pub fn id(&self) -> &BackupId {
        &self.facts.record.id
    }

    /// The backup's record.
    pub fn record(&self) -> &BackupRecord {
        &self.facts.record
    }

    /// The file of this path, if the backup has one. A directory or a link is none. Takes some
    /// microseconds.
    pub fn lookup(&self, path: &str) -> Result<Option<BaseFile>> {
        self.index.lookup(path)
    }

    /// All files of the backup, in the order of their paths; some hundred of them are in memory at a
    /// time.
    pub fn files(&self) -> impl Iterator<Item = Result<BaseFile>> + Send + use<> {
        let index = self.index.clone();
        (0..index.blocks()).flat_map(move |number| match index.block(number) {
            Ok(files) => files.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    /// The frame that a number in a [`BaseFile`]'s extents stands for, and the pack that it is in
    /// ([`FrameRef::pack`] has no meaning here).
    pub fn frame(&self, number: u64) -> Result<(PackRef, FrameRef)> {
        self.index.frame(number)
    }

    /// The packs that the backup refers to, and how many of the bytes stored in each.
    pub(crate) fn live_bytes(&self) -> &BTreeMap<PackRef, u64> {
        &self.facts.live
    }

    pub(crate) fn index(&self) -> &Arc<FileIndex> {
        &self.index
    }

    /// The pages in a range of a file that the backup's record lists as damaged: their numbers
    /// from the beginning of the file, and what is wrong with them.
    pub(crate) fn damage_in(&self, path: &str, range: Range<u64>) -> Vec<(u32, String)> {
        let Some(pages) = self.facts.damage.get(path) else { return Vec::new() };
        let first = RelFile::from_path(path).map_or(0, |file| file.first_block());
        let page = |(block, problem): &(u32, String)| {
            let number = block.checked_sub(first)?;
            let inside = range.contains(&(u64::from(number) * BLOCK_SIZE as u64));
            inside.then(|| (number, problem.clone()))
        };
        pages.iter().filter_map(page).collect()
    }
}

/// Counts what a shard refers to: of a frame as much as of its content.
fn add_live_bytes(live: &mut BTreeMap<PackRef, u64>, shard: &Shard) {
    let mut of_pack = vec![0; shard.packs.len()];
    for entry in &shard.entries {
        let EntryKind::File(content) = &entry.kind else { continue };
        for extent in &content.extents {
            let Place::Frame { frame, .. } = extent.place else { continue };
            let frame = &shard.frames[frame as usize];
            let bytes = extent.len * u64::from(frame.stored_len) / u64::from(frame.raw_len.max(1));
            of_pack[frame.pack as usize] += bytes;
        }
    }
    for (pack, bytes) in shard.packs.iter().zip(of_pack) {
        *live.entry(pack.clone()).or_default() += bytes;
    }
}

/// Adds the next shard: its paths are past those of the shard before.
fn add_shard(builder: &mut FileIndexBuilder, shard: Shard) -> Result<()> {
    let mut numbers = Vec::with_capacity(shard.frames.len());
    for frame in &shard.frames {
        // A shard that was decoded has a pack for each frame, and a frame for each extent.
        numbers.push(builder.push_frame(&shard.packs[frame.pack as usize], frame)?);
    }
    for mut entry in shard.entries {
        let EntryKind::File(content) = &mut entry.kind else { continue };
        for extent in &mut content.extents {
            if let Place::Frame { frame, .. } = &mut extent.place {
                *frame = numbers[*frame as usize];
            }
        }
        builder.push_file(&entry)?;
    }
    Ok(())
}
