use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use walbrook_types::BLOCK_SIZE;

use crate::backup::base::BaseFile;
use crate::backup::base::digests::{DigestCache, PackDigests};
use crate::backup::frame_table::{FrameLookup, FrameTable};
use crate::manifest::{
    Entry, EntryKind, FileContent, FrameRef, PackRef, PathTable, PathTableBuilder, Place,
};
use crate::wire::Reader;
use crate::{Cluster, Error, PageDigest, Result};

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

    /// Memory that page digests of it may take, in bytes: those of some hundred ordinary packs of
    /// the base, and half as many of what is continued, which mostly has the files in the order in
    /// which they come.
    fn digest_weight(self) -> usize {
        match self {
            Self::Resumed => 16 << 20,
            Self::Own | Self::Base => 32 << 20,
        }
    }

    /// The number without its space.
    fn plain(number: u64) -> u64 {
        number & (u64::MAX >> 2)
    }
}

/// Files by path, with the frames that their contents are in and the digests of their pages.
pub(crate) struct FileIndex {
    space: FrameSpace,
    files: PathTable,
    frames: FrameLookup,
    digests: DigestCache,
}

impl FileIndex {
    pub(crate) fn space(&self) -> FrameSpace {
        self.space
    }

    pub(crate) fn lookup(&self, path: &str) -> Result<Option<BaseFile>> {
        self.files.get(path)?.map(|body| file(path.to_owned(), &body)).transpose()
    }

    /// Blocks of files: [`block`](Self::block) has those of each.
    pub(crate) fn blocks(&self) -> usize {
        self.files.blocks()
    }

    /// The files of a block, in the order of their paths.
    pub(crate) fn block(&self, number: usize) -> Result<Vec<BaseFile>> {
        let records = self.files.block(number)?;
        records.into_iter().map(|(path, body)| file(path, &body)).collect()
    }

    pub(crate) fn frame(&self, number: u64) -> Result<(PackRef, FrameRef)> {
        self.frames.get(FrameSpace::plain(number))
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
                    let digests = self.digests.of(&pack).await?;
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

/// A file out of its record.
fn file(path: String, body: &[u8]) -> Result<BaseFile> {
    let entry = Entry::decode(path, &mut 0, &mut Reader(body));
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
    Ok(BaseFile { path: path.into(), size, mode, mtime, crc32c, extents })
}

/// Makes a [`FileIndex`].
pub(crate) struct FileIndexBuilder {
    space: FrameSpace,
    files: PathTableBuilder,
    frames: FrameTable,
    body: Vec<u8>,
}

impl FileIndexBuilder {
    pub(crate) fn new(space: FrameSpace) -> Result<Self> {
        Ok(Self {
            space,
            files: PathTableBuilder::new()?,
            frames: FrameTable::new()?,
            body: Vec::new(),
        })
    }

    /// Adds a frame; tells its number, space and all.
    pub(crate) fn push_frame(&mut self, pack: &PackRef, frame: &FrameRef) -> Result<u64> {
        Ok(self.space as u64 | self.frames.push(pack, frame)?)
    }

    /// Adds a file whose extents have numbers from [`push_frame`](Self::push_frame). Its path is
    /// past that of the one before.
    pub(crate) fn push_file(&mut self, entry: &Entry) -> Result<()> {
        self.body.clear();
        entry.encode(&mut 0, &mut self.body);
        self.files.push(&entry.path, &self.body)
    }

    pub(crate) fn finish(self, cluster: &Cluster) -> Result<FileIndex> {
        Ok(FileIndex {
            space: self.space,
            files: self.files.finish()?,
            frames: self.frames.finish()?,
            digests: DigestCache::new(cluster.clone(), self.space.digest_weight()),
        })
    }
}
