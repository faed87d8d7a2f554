use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use walbrook_types::BLOCK_SIZE;

use crate::backup::base::BaseFile;
use crate::backup::base::digests::is_damage;
use crate::backup::base::files::{FileIndex, FileIndexBuilder, FrameSpace};
use crate::backup::base::interrupted::packs_of;
use crate::backup::pack::PackIndex;
use crate::manifest::{
    Entry, EntryKind, Extent, FileContent, FrameRef, PackRef, PathSorter, Place, SortedPaths,
    extents,
};
use crate::wire::{Put, Reader};
use crate::{BackupId, Cluster, Error, Result};

/// What interrupted backups have stored: frames in packs that no manifest names. A backup that
/// continues them compares what it reads with the pages in these, by their digests, and refers to
/// those that are still the same instead of storing them again.
///
/// Made by reading the indexes of the packs, in bounded memory. Cheap to clone.
#[derive(Clone)]
pub struct ResumedBackups {
    index: Arc<FileIndex>,
    ids: Arc<[BackupId]>,
    packs: u64,
}

impl fmt::Debug for ResumedBackups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumedBackups").field("ids", &self.ids).finish_non_exhaustive()
    }
}

impl ResumedBackups {
    /// Reads what packs these backups have left, the oldest first. Packs that can't be read, or
    /// are not there any more, are passed over.
    ///
    /// The intent of the backup that is to use it must be in the repository before, and name all
    /// of them ([`BackupIntent::resumes`](crate::BackupIntent::resumes)): only then does expiry
    /// leave their packs alone.
    pub async fn open(cluster: &Cluster, ids: &[BackupId]) -> Result<Self> {
        let mut builder = FileIndexBuilder::new(FrameSpace::Resumed)?;
        let mut pieces = PathSorter::default();
        let mut packs = 0;
        for id in ids {
            let refs = packs_of(cluster, id).await?.into_iter();
            let refs = refs.map(|(number, _)| PackRef { backup: id.clone(), number });
            let mut indexes =
                futures::stream::iter(refs.map(|pack| read(cluster, pack))).buffered(READ_AHEAD);
            while let Some(read) = indexes.try_next().await? {
                let Some((pack, index)) = read else { continue };
                packs += 1;
                (builder, pieces) = tokio::task::spawn_blocking(move || {
                    add_pack(&mut builder, &mut pieces, &pack, &index)?;
                    Ok::<_, Error>((builder, pieces))
                })
                .await??;
            }
        }
        let cluster = cluster.clone();
        let index = tokio::task::spawn_blocking(move || {
            add_files(&mut builder, pieces.finish()?)?;
            builder.finish(&cluster)
        })
        .await??;
        Ok(Self { index: Arc::new(index), ids: ids.into(), packs })
    }

    /// The backups.
    pub fn ids(&self) -> &[BackupId] {
        &self.ids
    }

    /// How many packs of them there are.
    pub fn packs(&self) -> u64 {
        self.packs
    }

    pub(crate) fn index(&self) -> &Arc<FileIndex> {
        &self.index
    }

    pub(crate) fn lookup(&self, path: &str) -> Result<Option<BaseFile>> {
        self.index.lookup(path)
    }
}

/// Indexes of packs that are read ahead; the largest ones have some MiB.
const READ_AHEAD: usize = 4;

/// Reads the index of a pack; none when it can't be had.
async fn read(cluster: &Cluster, pack: PackRef) -> Result<Option<(PackRef, PackIndex)>> {
    match PackIndex::read(cluster, &pack).await {
        Ok(index) => Ok(Some((pack, index))),
        Err(error) if is_damage(&error) => {
            let (backup, number) = (&pack.backup, pack.number);
            tracing::warn!(%backup, number, %error, "a pack is passed over");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Adds the frames of a pack, and lists the runs of files in them.
fn add_pack(
    builder: &mut FileIndexBuilder,
    pieces: &mut PathSorter,
    pack: &PackRef,
    index: &PackIndex,
) -> Result<()> {
    for frame in &index.frames {
        let number = builder.push_frame(
            pack,
            &FrameRef {
                pack: 0,
                offset: frame.offset,
                stored_len: frame.stored_len,
                raw_len: frame.raw_len,
                digest: frame.digest,
            },
        )?;
        let mut offset = 0u64;
        for piece in &frame.pieces {
            let mut body = Vec::new();
            body.put_number(piece.file_offset);
            body.put_number(u64::from(piece.len));
            body.put_number(number);
            body.put_number(offset);
            offset += u64::from(piece.len);
            // An index that does not hold together is of no use for what follows in this frame.
            if offset > u64::from(frame.raw_len) || piece.len == 0 {
                break;
            }
            pieces.push(piece.path.to_string(), body)?;
        }
    }
    Ok(())
}

/// Makes files of the runs. Where several are of the same page the last one counts.
fn add_files(builder: &mut FileIndexBuilder, mut pieces: SortedPaths) -> Result<()> {
    let mut file: Option<(String, BTreeMap<u64, Extent>)> = None;
    while let Some((path, body)) = pieces.next_record()? {
        if let Some((done, pages)) = file.take_if(|(current, _)| *current != path) {
            push_file(builder, done, pages)?;
        }
        let (_, pages) = file.get_or_insert_with(|| (path, BTreeMap::new()));
        add_pages(pages, &mut Reader(&body)).ok_or_else(|| {
            let changed = std::io::ErrorKind::InvalidData.into();
            Error::local("a temporary file for the manifest changed under us", changed)
        })?;
    }
    match file {
        Some((path, pages)) => push_file(builder, path, pages),
        None => Ok(()),
    }
}

/// More pages of one file than this, which are 8 GiB, are not remembered: they would take too much
/// memory, and no relation's file has so many.
const MOST_PAGES: usize = 1 << 20;

/// Adds the pages of a run, by where they begin in the file. An offset that no file has is passed
/// over.
fn add_pages(pages: &mut BTreeMap<u64, Extent>, r: &mut Reader<'_>) -> Option<()> {
    let (file_offset, len, frame, offset) = (r.number()?, r.number()?, r.number()?, r.number()?);
    let block = BLOCK_SIZE as u64;
    if !file_offset.is_multiple_of(block) || file_offset.checked_add(len)? >= 1 << 60 {
        return Some(());
    }
    for within in (0..len).step_by(BLOCK_SIZE) {
        if pages.len() >= MOST_PAGES {
            break;
        }
        let place = Place::Frame { frame, offset: u32::try_from(offset + within).ok()? };
        pages.insert(file_offset + within, Extent { len: block.min(len - within), place });
    }
    Some(())
}

/// Adds a file; what nothing is known of is a run of zeros, which is never taken for a page.
fn push_file(
    builder: &mut FileIndexBuilder,
    path: String,
    pages: BTreeMap<u64, Extent>,
) -> Result<()> {
    let mut runs = Vec::new();
    let mut size = 0;
    for (at, extent) in pages {
        if at > size {
            extents::push(&mut runs, Extent { len: at - size, place: Place::Zero });
        }
        extents::push(&mut runs, extent);
        size = at + extent.len;
    }
    let content = FileContent { size, crc32c: None, extents: runs };
    builder.push_file(&Entry { path, mode: 0, mtime: 0, kind: EntryKind::File(content) })
}
