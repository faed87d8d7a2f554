use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use walbrook_types::{BLOCK_SIZE, RelFile};

use crate::backup::base::BaseFile;
use crate::backup::base::digests::{DigestCache, PackDigests};
use crate::backup::frame_table::{FrameLookup, FrameTable};
use crate::manifest::{
    Entry, EntryKind, FileContent, FrameRef, PackRef, PathTable, PathTableBuilder, Place, Shard,
};
use crate::wire::Reader;
use crate::{BackupId, BackupReader, BackupRecord, Cluster, Error, PageDigest, Result};

/// Whose frames a number of a frame counts: it is in the two highest bits of the numbers that a
/// backup uses until its manifest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum FrameSpace {
    /// Those that the backup itself has written.
    Own = 0,
    /// Those of its base.
    Base = 1 << 62,
    /// Those of interrupted backups that it continues.
    Resumed = 2 << 62,
}

impl FrameSpace {
    pub(crate) fn of(number: u64) -> Self {
        match number >> 62 {
            0 => Self::Own,
            1 => Self::Base,
            _ => Self::Resumed,
        }
    }

    /// The number without its space.
    pub(crate) fn plain(number: u64) -> u64 {
        number & (u64::MAX >> 2)
    }
}

/// The files of an earlier backup by path, for a new backup that stores only what is not there.
///
/// Made by reading the earlier backup's whole manifest once, into temporary files: memory does not
/// grow with the number of files, and they can be looked up in any order. The digests of pages are
/// read from its packs' indexes when they are needed, and the packs themselves not at all. Cheap
/// to clone.
#[derive(Clone)]
pub struct BaseIndex(Arc<Inner>);

struct Inner {
    record: BackupRecord,
    files: PathTable,
    frames: FrameLookup,
    digests: DigestCache,
    damage: BTreeMap<String, Vec<(u32, String)>>,
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
        let mut builder = IndexBuilder::new(FrameSpace::Base)?;
        while let Some(shard) = shards.try_next().await? {
            builder = tokio::task::spawn_blocking(move || {
                builder.add_shard(shard)?;
                Ok::<_, Error>(builder)
            })
            .await??;
        }
        drop(shards);
        builder.finish(reader.cluster(), reader.record().clone())
    }

    /// The backup's identifier.
    pub fn id(&self) -> &BackupId {
        &self.0.record.id
    }

    /// The backup's record.
    pub fn record(&self) -> &BackupRecord {
        &self.0.record
    }

    /// The file of this path, if the backup has one. A directory or a link is none. Takes some
    /// microseconds.
    pub fn lookup(&self, path: &str) -> Result<Option<BaseFile>> {
        let Some(body) = self.0.files.get(path)? else { return Ok(None) };
        let entry = Entry::decode(path.to_owned(), &mut 0, &mut Reader(&body));
        let Some(Entry { path, mode, mtime, kind: EntryKind::File(content) }) = entry else {
            let changed = std::io::ErrorKind::InvalidData.into();
            return Err(Error::local("a temporary file for looking up paths changed", changed));
        };
        let FileContent { size, crc32c, extents } = content;
        let mut at = 0;
        let extents = extents.into_iter().map(|extent| {
            let begin = at;
            at += extent.len;
            (begin, extent)
        });
        let extents = extents.collect();
        Ok(Some(BaseFile { path: path.into(), size, mode, mtime, crc32c, extents }))
    }

    /// The frame that a number in a [`BaseFile`]'s extents stands for, and the pack that it is in
    /// ([`FrameRef::pack`] has no meaning here).
    pub fn frame(&self, number: u64) -> Result<(PackRef, FrameRef)> {
        self.0.frames.get(FrameSpace::plain(number))
    }

    /// The pages in a range of a file that the backup's record lists as damaged: their numbers
    /// from the beginning of the file, and what is wrong with them.
    pub(crate) fn damage_in(&self, path: &str, range: Range<u64>) -> Vec<(u32, String)> {
        let Some(pages) = self.0.damage.get(path) else { return Vec::new() };
        let first = RelFile::from_path(path).map_or(0, |file| file.first_block());
        let page = |(block, problem): &(u32, String)| {
            let number = block.checked_sub(first)?;
            let inside = range.contains(&(u64::from(number) * BLOCK_SIZE as u64));
            inside.then(|| (number, problem.clone()))
        };
        pages.iter().filter_map(page).collect()
    }

    /// The digest of what the file holds in each page of a range that begins with a page; none
    /// where that is zeros, a page of another length, or not known. The last page is compared as
    /// far as the range goes.
    pub(crate) async fn page_digests(
        &self,
        file: &BaseFile,
        range: Range<u64>,
    ) -> Result<Vec<Option<PageDigest>>> {
        let block = BLOCK_SIZE as u64;
        let pages = (range.end - range.start).div_ceil(block);
        let mut found = vec![None; pages as usize];
        let mut packs: HashMap<PackRef, Option<Arc<PackDigests>>> = HashMap::new();
        for (at, extent) in file.slice(range.clone()) {
            let Place::Frame { frame, offset } = extent.place else { continue };
            let (pack, frame) = self.frame(frame)?;
            let digests = match packs.get(&pack) {
                Some(digests) => digests.clone(),
                None => {
                    let digests = self.0.digests.of(&pack).await?;
                    packs.insert(pack, digests.clone());
                    digests
                }
            };
            let Some(digests) = digests else { continue };
            for page in (at - range.start).div_ceil(block)..pages {
                let begin = range.start + page * block;
                let end = range.end.min(begin + block);
                if end > at + extent.len {
                    break;
                }
                found[page as usize] = digests
                    .page(&frame, offset + (begin - at) as u32)
                    .filter(|(_, len)| u64::from(*len) == end - begin)
                    .map(|(digest, _)| digest);
            }
        }
        Ok(found)
    }
}

/// Makes a [`BaseIndex`].
pub(crate) struct IndexBuilder {
    space: FrameSpace,
    files: PathTableBuilder,
    frames: FrameTable,
    body: Vec<u8>,
}

impl IndexBuilder {
    pub(crate) fn new(space: FrameSpace) -> Result<Self> {
        Ok(Self {
            space,
            files: PathTableBuilder::new()?,
            frames: FrameTable::new()?,
            body: Vec::new(),
        })
    }

    /// Adds the next shard: its paths are past those of the shard before.
    fn add_shard(&mut self, shard: Shard) -> Result<()> {
        let first = self.frames.len();
        for frame in &shard.frames {
            // A shard that was decoded has a pack for each frame.
            self.frames.push(&shard.packs[frame.pack as usize], frame)?;
        }
        for mut entry in shard.entries {
            let EntryKind::File(content) = &mut entry.kind else { continue };
            for extent in &mut content.extents {
                if let Place::Frame { frame, .. } = &mut extent.place {
                    *frame = self.space as u64 | (first + *frame);
                }
            }
            self.body.clear();
            entry.encode(&mut 0, &mut self.body);
            self.files.push(&entry.path, &self.body)?;
        }
        Ok(())
    }

    pub(crate) fn finish(self, cluster: &Cluster, record: BackupRecord) -> Result<BaseIndex> {
        let mut damage: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
        for page in &record.damage.listed {
            damage.entry(page.path.clone()).or_default().push((page.block, page.problem.clone()));
        }
        Ok(BaseIndex(Arc::new(Inner {
            record,
            files: self.files.finish()?,
            frames: self.frames.finish()?,
            digests: DigestCache::new(cluster.clone()),
            damage,
        })))
    }
}
