use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::FuturesOrdered;
use tokio::task::JoinHandle;
use walbrook_types::{BLOCK_SIZE, RelFile};

use crate::backup::base::{BaseFile, BaseIndex, FrameSpace, ResumedBackups};
use crate::backup::batch::{Batch, Target};
use crate::backup::compaction::Compaction;
use crate::backup::compare::{Compared, Known};
use crate::backup::encode::Encoded;
use crate::backup::examine::PageCheck;
use crate::backup::frame_table::{FrameLookup, FrameTable};
use crate::backup::open_file::OpenFile;
use crate::backup::packs::Packs;
use crate::backup::record::{DamageReport, DamagedPage};
use crate::backup::{BackupIntent, StoredBackup, UncommittedBackup};
use crate::codec::Codec;
use crate::expiry::{Begun, Usable};
use crate::manifest::{Entry, EntryKind, Extent, FrameRef, PackRef, PathSorter};
use crate::put::create_or_same;
use crate::{BackupId, Cluster, Error, ErrorKind, Result, checksum, document, layout};

/// How a backup is stored.
#[derive(Debug, Clone, Copy)]
pub struct WriterOptions {
    /// How frames are compressed.
    pub codec: Codec,
    /// Frames that are compressed at once.
    pub workers: usize,
    /// How pages are checked; `None` leaves them unchecked.
    pub check: Option<PageCheck>,
}

/// A file that a [`BackupWriter`] has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileNumber(u64);

/// Stores the content of a backup: takes files in any order, and makes frames, packs and a
/// manifest of them.
///
/// A file comes as a stream ([`begin_file`](Self::begin_file), [`write`](Self::write),
/// [`end_file`](Self::end_file)), or in parts in any order, among those of other files
/// ([`open_file`](Self::open_file), [`write_at`](Self::write_at), [`reuse`](Self::reuse),
/// [`zeros`](Self::zeros), [`close_file`](Self::close_file)), or is what an earlier backup has
/// ([`reuse_file`](Self::reuse_file)).
///
/// With a base ([`set_base`](Self::set_base)) content that is given is compared with what the base
/// has of the same file, page by page, and stored only where it differs. Pages of zeros are not
/// stored at all.
///
/// Memory is bounded whatever is written: a few frames being compared and compressed, a pack being
/// filled and two being stored, and the files that are open; entries and frame tables go to
/// temporary files. Nothing is visible as a backup before [`UncommittedBackup::commit`]. Dropping
/// the writer abandons the backup.
pub struct BackupWriter {
    pub(super) cluster: Cluster,
    pub(super) intent: BackupIntent,
    pub(super) options: WriterOptions,
    pub(super) usable: Usable,
    pub(super) base: Option<BaseIndex>,
    pub(super) compaction: Compaction,
    pub(super) resumed: Option<ResumedBackups>,
    /// Content to be compared with the base, and for each of its pieces with what.
    pub(super) unexamined: (Batch, Vec<Known>),
    pub(super) comparing: FuturesOrdered<JoinHandle<Result<Compared>>>,
    /// Content to be stored.
    pub(super) batch: Batch,
    pub(super) encoding: FuturesOrdered<JoinHandle<Encoded>>,
    pub(super) spare: Vec<Vec<u8>>,
    pub(super) packs: Packs,
    pub(super) frames: FrameTable,
    /// Files that are open, or whose content is not all in packs.
    pub(super) files: HashMap<u64, OpenFile>,
    pub(super) opened: u64,
    /// The file that comes as a stream.
    pub(super) streamed: Option<FileNumber>,
    pub(super) sorter: PathSorter,
    pub(super) size: crate::BackupSize,
    pub(super) damage: DamageReport,
}

impl std::fmt::Debug for BackupWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupWriter").field("id", &self.intent.id).finish_non_exhaustive()
    }
}

impl BackupWriter {
    /// Begins a backup: its intent is durable on return. Then it looks what of the earlier backups
    /// that the intent names may be used: [`forbids`](Self::forbids) tells, and
    /// [`set_base`](Self::set_base) and [`set_resumed`](Self::set_resumed) refuse others.
    pub async fn begin(
        cluster: &Cluster,
        intent: BackupIntent,
        options: WriterOptions,
    ) -> Result<Self> {
        let path = layout::intent(cluster.name(), &intent.id);
        let begun = Begun::now();
        create_or_same(cluster.store(), &path, document::seal(&intent)?).await?;
        let usable = Usable::look(cluster, &intent, begun).await?;
        Ok(Self {
            packs: Packs::new(cluster.clone(), intent.id.clone()),
            cluster: cluster.clone(),
            intent,
            options,
            usable,
            base: None,
            compaction: Compaction::default(),
            resumed: None,
            unexamined: (Batch::new(Vec::new()), Vec::new()),
            comparing: FuturesOrdered::new(),
            batch: Batch::new(Vec::new()),
            encoding: FuturesOrdered::new(),
            spare: Vec::new(),
            frames: FrameTable::new()?,
            files: HashMap::new(),
            opened: 0,
            streamed: None,
            sorter: PathSorter::default(),
            size: crate::BackupSize::default(),
            damage: DamageReport::default(),
        })
    }

    /// The backup's intent.
    pub fn intent(&self) -> &BackupIntent {
        &self.intent
    }

    /// Why a backup that the intent names, as its base or as one that it continues, must not be
    /// used: an expiry is removing it, or it is gone. None when it may be.
    pub fn forbids(&self, id: &BackupId) -> Option<&str> {
        self.usable.forbids(id)
    }

    /// Bytes of packs that were handed to the store so far.
    pub fn stored_bytes(&self) -> u64 {
        self.packs.stored_bytes()
    }

    /// Pages are checked as this says from here on.
    pub fn set_check(&mut self, check: Option<PageCheck>) {
        self.options.check = check;
    }

    /// Shares what this backup has stored, from here on. It has to be the one that the intent
    /// names, of the same system ([`ErrorKind::Invalid`]): only then does expiry know that its
    /// packs are in use. One that an expiry is removing is refused ([`ErrorKind::Conflict`]).
    ///
    /// Call it before the first file. A backup whose intent names a base that was never set has
    /// none in its record.
    pub fn set_base(&mut self, base: BaseIndex) -> Result<()> {
        let record = base.record();
        if self.intent.base.as_ref() != Some(base.id())
            || record.cluster != self.intent.cluster
            || record.server.system_identifier != self.intent.system_identifier
        {
            let message = format!(
                "backup {} of system {} in cluster {:?} can't be the base of {}: its intent says \
                 otherwise",
                record.id, record.server.system_identifier, record.cluster, self.intent.id
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.usable.check(base.id())?;
        // Pages of it that nobody listed may be among those that are taken over.
        self.damage.pages += record.damage.pages.saturating_sub(record.damage.listed.len() as u64);
        self.base = Some(base);
        Ok(())
    }

    /// Shares what these interrupted backups have stored, from here on: content that is given is
    /// compared with it as with that of the base. They have to be among those that the intent says
    /// it continues ([`ErrorKind::Invalid`]), and none that an expiry is removing
    /// ([`ErrorKind::Conflict`]). Call it before the first file. Those that were never
    /// set are not in the backup's record.
    pub fn set_resumed(&mut self, resumed: ResumedBackups) -> Result<()> {
        if let Some(id) = resumed.ids().iter().find(|id| !self.intent.resumes.contains(id)) {
            let message = format!(
                "backup {} can't continue {id}: its intent does not say so",
                self.intent.id
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        resumed.ids().iter().try_for_each(|id| self.usable.check(id))?;
        self.resumed = Some(resumed);
        Ok(())
    }

    /// The base that was set.
    pub fn base(&self) -> Option<&BaseIndex> {
        self.base.as_ref()
    }

    /// Adds a page that was found damaged before it was given to the writer.
    pub fn add_damage(&mut self, page: DamagedPage) {
        self.damage.add(page);
    }

    /// Adds a directory or a symbolic link.
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        debug_assert!(!matches!(entry.kind, EntryKind::File(_)), "files are begun");
        push_entry(&mut self.sorter, &entry)
    }

    /// Adds a file that is, to its last byte, what the base has: it costs a reference and is not
    /// read. `path` may be another one than the base's.
    pub fn reuse_file(&mut self, path: &str, mode: u32, mtime: i64, base: BaseFile) -> Result<()> {
        let size = base.size;
        let file = self.open_file(path, mode, mtime, Some(base))?;
        self.reuse(file, 0..size)?;
        self.close_file(file, size)
    }

    /// Opens a file whose parts are given in any order, among those of other files. `base` is what
    /// the base has of it, from [`BaseIndex::lookup`]: content that is written is compared with
    /// it, and [`reuse`](Self::reuse) refers to it.
    ///
    /// Open no more than are being read: memory grows with the files that are open at once, and
    /// with the number of their parts.
    pub fn open_file(
        &mut self,
        path: &str,
        mode: u32,
        mtime: i64,
        base: Option<BaseFile>,
    ) -> Result<FileNumber> {
        let mut known = Vec::new();
        match (base, &self.base) {
            (Some(file), Some(base)) => known.push((base.index().clone(), file)),
            (None, _) => {}
            (Some(_), None) => {
                let message = format!("{path:?} of an earlier backup, but no base was set");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        if let Some(resumed) = &self.resumed {
            known.extend(resumed.lookup(path)?.map(|file| (resumed.index().clone(), file)));
        }
        let number = self.opened;
        self.opened += 1;
        let relation = RelFile::from_path(path);
        let target = Target { file: number, path: Arc::from(path), relation };
        self.files.insert(number, OpenFile::new(target, mode, mtime, known.into()));
        Ok(FileNumber(number))
    }

    /// Takes content of an open file, at this offset. Waits while the workers and the store are
    /// behind.
    ///
    /// Content begins where a page of 8192 bytes does, and ends where one does or where the file
    /// ends ([`ErrorKind::Invalid`] otherwise). No byte may be given twice.
    pub async fn write_at(&mut self, file: FileNumber, offset: u64, content: &[u8]) -> Result<()> {
        let open = self.open(file)?;
        open.pending += content.len() as u64;
        open.end = open.end.max(offset + content.len() as u64);
        let (target, known) = (open.target.clone(), open.known.clone());
        if known.is_empty() {
            return self.store(&target, offset, content, &[]).await;
        }
        let mut rest = content;
        let mut at = offset;
        while !rest.is_empty() {
            let (batch, compared_with) = &mut self.unexamined;
            let taken = batch.take(&target, at, rest, &[])?;
            if batch.pieces.len() > compared_with.len() {
                compared_with.push(known.clone());
            }
            if taken == 0 {
                self.flush_unexamined().await?;
            }
            at += taken as u64;
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// A range of an open file is what the base has at the same place: it costs a reference. The
    /// range begins with a page and ends with one, or with the base's file.
    ///
    /// Whether it is so the caller must know for certain; nothing is read.
    pub fn reuse(&mut self, file: FileNumber, range: Range<u64>) -> Result<()> {
        let open = self.open(file)?;
        let known = open.known.clone();
        let block = BLOCK_SIZE as u64;
        let fits = |base: &BaseFile| {
            range.end <= base.size
                && range.start.is_multiple_of(block)
                && (range.end.is_multiple_of(block) || range.end == base.size)
        };
        // The base comes before what was resumed.
        let base = known.first().filter(|(index, _)| index.space() == FrameSpace::Base);
        let Some((_, base)) = base.filter(|(_, base)| fits(base)) else {
            let message = format!(
                "the base has no bytes {} to {} of {:?}",
                range.start, range.end, open.target.path
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        if range.is_empty() {
            return Ok(());
        }
        let extents: Vec<(u64, Extent)> = base.slice(range.clone()).collect();
        open.end = open.end.max(range.end);
        if let Some(crc32c) = base.crc32c.filter(|_| range == (0..base.size)) {
            open.add_checksum(range.clone(), crc32c);
        }
        let target = open.target.clone();
        for (at, extent) in extents {
            self.place_reused(&target, at, extent)?;
        }
        let damage = self.base.as_ref().map(|index| index.damage_in(&base.path, range));
        for (block, problem) in damage.into_iter().flatten() {
            let path = target.path.to_string();
            let block = target.relation.map_or(0, |file| file.first_block()).saturating_add(block);
            self.damage.add(DamagedPage { path, block, problem });
        }
        Ok(())
    }

    /// A range of an open file is all zeros.
    pub fn zeros(&mut self, file: FileNumber, range: Range<u64>) -> Result<()> {
        let open = self.open(file)?;
        if !range.is_empty() {
            open.end = open.end.max(range.end);
            open.add_checksum(range.clone(), checksum::of_zeros(range.end - range.start));
            open.place_zeros(range);
        }
        Ok(())
    }

    /// Ends an open file of this size in bytes. When the last of its content is in a pack, each
    /// byte of it must have been given once: otherwise whatever call comes then fails.
    pub fn close_file(&mut self, file: FileNumber, size: u64) -> Result<()> {
        self.open(file)?.size = Some(size);
        self.size.files += 1;
        self.size.database_bytes += size;
        self.retire(file.0)
    }

    /// Begins a file that comes as a stream; what [`write`](Self::write) takes is its content,
    /// until [`end_file`](Self::end_file). It is compared with the base's file of this path.
    pub fn begin_file(&mut self, path: &str, mode: u32, mtime: i64) -> Result<()> {
        let base = match &self.base {
            Some(base) => base.lookup(path)?,
            None => None,
        };
        self.streamed = Some(self.open_file(path, mode, mtime, base)?);
        Ok(())
    }

    /// Takes the next bytes of the file that was begun last. Waits while the workers and the
    /// store are behind.
    pub async fn write(&mut self, content: &Bytes) -> Result<()> {
        let file = self.streamed.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "content without a file that it belongs to")
        })?;
        let end = self.open(file)?.end;
        self.write_at(file, end, content).await
    }

    /// Ends the file that was begun last.
    pub fn end_file(&mut self) -> Result<()> {
        let Some(file) = self.streamed.take() else { return Ok(()) };
        let size = self.open(file)?.end;
        self.close_file(file, size)
    }

    fn open(&mut self, file: FileNumber) -> Result<&mut OpenFile> {
        self.files.get_mut(&file.0).filter(|open| open.size.is_none()).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "content of a file that is not open any more")
        })
    }

    /// Waits until all content is durable in packs, then writes the manifest. Each of its entries
    /// is shown to `inspect` in the order of paths; an error that it returns ends the backup.
    pub async fn finish(
        mut self,
        mut inspect: impl FnMut(&Entry) -> Result<(), String> + Send,
    ) -> Result<UncommittedBackup> {
        self.flush_unexamined().await?;
        while self.collect_compared().await? {}
        self.move_worn().await?;
        self.flush().await?;
        while self.collect().await? {}
        if let Some(open) = self.files.values().next() {
            let message = format!("{:?} was begun and not ended", open.target.path);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let (packs, pack_bytes) = self.packs.finish().await?;
        self.size.packs = packs;
        if self.base.is_none() {
            self.intent.base = None;
        }
        self.intent.resumes =
            self.resumed.iter().flat_map(|resumed| resumed.ids()).cloned().collect();
        let stored = StoredBackup {
            cluster: self.cluster,
            intent: self.intent,
            usable: self.usable,
            size: crate::BackupSize { stored_bytes: pack_bytes, ..self.size },
            damage: self.damage,
        };
        let frames = Frames { own: self.frames.finish()?, base: self.base, resumed: self.resumed };
        stored.write_manifest(self.sorter.finish()?, frames, &mut inspect).await
    }
}

/// Resolves the numbers of frames that a backup uses until its manifest is written.
pub(crate) struct Frames {
    own: FrameLookup,
    base: Option<BaseIndex>,
    resumed: Option<ResumedBackups>,
}

impl Frames {
    pub(crate) fn get(&self, number: u64) -> Result<(PackRef, FrameRef)> {
        let index = match FrameSpace::of(number) {
            FrameSpace::Own => return self.own.get(number),
            FrameSpace::Base => self.base.as_ref().map(BaseIndex::index),
            FrameSpace::Resumed => self.resumed.as_ref().map(ResumedBackups::index),
        };
        let missing = || Error::new(ErrorKind::Invalid, "a frame of a backup that was not set");
        index.ok_or_else(missing)?.frame(number)
    }
}

pub(super) fn push_entry(sorter: &mut PathSorter, entry: &Entry) -> Result<()> {
    let mut body = Vec::new();
    entry.encode(&mut 0, &mut body);
    sorter.push(entry.path.clone(), body)
}
