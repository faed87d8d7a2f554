use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::task::JoinHandle;
use walbrook_types::{BLOCK_SIZE, RelFile};

use crate::backup::encode::{self, Batch, BatchPiece, Encoded};
use crate::backup::frame_table::FrameTable;
use crate::backup::pack::Piece;
use crate::backup::packs::Packs;
use crate::backup::record::{DamageReport, DamagedPage};
use crate::backup::{BackupIntent, PageCheck, StoredBackup, UncommittedBackup};
use crate::codec::Codec;
use crate::manifest::{Entry, EntryKind, Extent, FileContent, FrameRef, PathSorter, Place};
use crate::put::create_or_same;
use crate::{Cluster, Error, ErrorKind, Result, document, layout};

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

/// Content of one frame before compression: 128 pages.
const FRAME_SIZE: usize = 1 << 20;

/// Runs of files in one frame at most: their names are in memory until the frame is in a pack.
const FRAME_PIECES: usize = 4096;

/// Stores the content of a backup: takes files one after the other, in any order, and makes
/// frames, packs and a manifest of them.
///
/// Memory is bounded whatever is written: a few frames being compressed, a pack being filled and
/// one being stored; entries and frame tables go to temporary files. Nothing is visible as a
/// backup before [`UncommittedBackup::commit`]. Dropping the writer abandons the backup.
pub struct BackupWriter {
    cluster: Cluster,
    intent: BackupIntent,
    options: WriterOptions,
    batch: Batch,
    spare: Vec<Vec<u8>>,
    encoding: FuturesOrdered<JoinHandle<Encoded>>,
    packs: Packs,
    frames: FrameTable,
    /// Files that were begun and are not yet all in packs, oldest first.
    files: VecDeque<OpenFile>,
    /// The number of the first of `files`.
    first_file: u64,
    sorter: PathSorter,
    size: crate::BackupSize,
    damage: DamageReport,
}

/// A file whose content is on its way.
struct OpenFile {
    entry: Entry,
    relation: Option<RelFile>,
    path: Arc<str>,
    /// Bytes taken.
    taken: u64,
    /// Bytes that are in packs.
    packed: u64,
    crc32c: u32,
    extents: Vec<Extent>,
    complete: bool,
}

impl std::fmt::Debug for BackupWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupWriter").field("id", &self.intent.id).finish_non_exhaustive()
    }
}

impl BackupWriter {
    /// Begins a backup: its intent is durable on return.
    pub async fn begin(
        cluster: &Cluster,
        intent: BackupIntent,
        options: WriterOptions,
    ) -> Result<Self> {
        let path = layout::intent(cluster.name(), &intent.id);
        create_or_same(cluster.store(), &path, document::seal(&intent)?).await?;
        Ok(Self {
            packs: Packs::new(cluster.clone(), intent.id.clone()),
            cluster: cluster.clone(),
            intent,
            options,
            batch: Batch { raw: Vec::with_capacity(FRAME_SIZE), pieces: Vec::new() },
            spare: Vec::new(),
            encoding: FuturesOrdered::new(),
            frames: FrameTable::new()?,
            files: VecDeque::new(),
            first_file: 0,
            sorter: PathSorter::default(),
            size: crate::BackupSize::default(),
            damage: DamageReport::default(),
        })
    }

    /// The backup's intent.
    pub fn intent(&self) -> &BackupIntent {
        &self.intent
    }

    /// Bytes of packs that were handed to the store so far.
    pub fn stored_bytes(&self) -> u64 {
        self.packs.stored_bytes()
    }

    /// Pages are checked as this says from here on.
    pub fn set_check(&mut self, check: Option<PageCheck>) {
        self.options.check = check;
    }

    /// Notes damaged pages that the caller's own check has found. For a source that can read a
    /// page again and so checks before it writes, with [`WriterOptions::check`] left out.
    pub fn report_damage(&mut self, report: DamageReport) {
        self.damage.merge(report);
    }

    /// Adds a directory or a symbolic link.
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        debug_assert!(!matches!(entry.kind, EntryKind::File(_)), "files are begun");
        push_entry(&mut self.sorter, &entry)
    }

    /// Begins a file; what [`write`](Self::write) takes is its content, until
    /// [`end_file`](Self::end_file).
    pub fn begin_file(&mut self, path: &str, mode: u32, mtime: i64) {
        let kind = EntryKind::File(FileContent::default());
        self.files.push_back(OpenFile {
            entry: Entry { path: path.to_owned(), mode, mtime, kind },
            relation: RelFile::from_path(path),
            path: Arc::from(path),
            taken: 0,
            packed: 0,
            crc32c: 0,
            extents: Vec::new(),
            complete: false,
        });
    }

    /// Takes the next bytes of the file that was begun last. Waits while the workers and the
    /// store are behind.
    pub async fn write(&mut self, content: &Bytes) -> Result<()> {
        let mut rest: &[u8] = content;
        while !rest.is_empty() {
            let room = FRAME_SIZE - self.batch.raw.len();
            let number = self.first_file + self.files.len() as u64;
            let file = self.files.back_mut().filter(|file| !file.complete).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, "content without a file that it belongs to")
            })?;
            // A page never straddles two frames, so that each frame's pages can be checked.
            let in_page = (file.taken % BLOCK_SIZE as u64) as usize;
            let room = match (in_page + room) / BLOCK_SIZE * BLOCK_SIZE {
                0 => 0,
                pages => pages - in_page,
            };
            let last = self.batch.pieces.last().map(|last| last.file);
            let crowded = self.batch.pieces.len() >= FRAME_PIECES && last != Some(number);
            if room == 0 || crowded {
                self.flush().await?;
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            self.batch.raw.extend_from_slice(now);
            match self.batch.pieces.last_mut().filter(|last| last.file == number) {
                Some(last) => last.piece.len += now.len() as u32,
                None => self.batch.pieces.push(BatchPiece {
                    file: number,
                    relation: file.relation,
                    piece: Piece {
                        path: file.path.clone(),
                        file_offset: file.taken,
                        len: now.len() as u32,
                    },
                }),
            }
            file.taken += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Ends the file that was begun last.
    pub fn end_file(&mut self) -> Result<()> {
        let Some(file) = self.files.back_mut() else { return Ok(()) };
        file.complete = true;
        self.size.files += 1;
        self.size.database_bytes += file.taken;
        if file.taken > 0 {
            return self.retire_files();
        }
        // No frame will have a part of it: it need not wait for those before it, of which there
        // might be none for a long time. Its number is free again, for nothing has it.
        match self.files.pop_back() {
            Some(file) => retire(&mut self.sorter, file),
            None => Ok(()),
        }
    }

    /// Hands the batch to a worker, and takes back what workers have finished while too many
    /// batches are under way.
    async fn flush(&mut self) -> Result<()> {
        if !self.batch.raw.is_empty() {
            let mut raw = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(FRAME_SIZE));
            raw.clear();
            let batch = std::mem::replace(&mut self.batch, Batch { raw, pieces: Vec::new() });
            let WriterOptions { codec, check, .. } = self.options;
            self.encoding.push_back(tokio::task::spawn_blocking(move || {
                encode::encode(batch, codec, check)
            }));
        }
        // One more than the workers, so that none of them waits for us.
        while self.encoding.len() > self.options.workers.max(1) {
            self.collect().await?;
        }
        Ok(())
    }

    /// Takes the next finished frame; false when there is none under way.
    async fn collect(&mut self) -> Result<bool> {
        let Some(encoded) = self.encoding.next().await else { return Ok(false) };
        let Encoded { header, stored, pieces, recycled } = encoded?;
        self.spare.push(recycled);
        let index: Vec<Piece> = pieces.iter().map(|p| p.piece.clone()).collect();
        let (pack, offset) = self.packs.push(&header, &stored, index).await?;
        let frame = self.frames.push(&FrameRef {
            pack,
            offset,
            stored_len: header.stored_len() as u32,
            raw_len: header.raw_len,
            digest: header.digest,
        })?;
        let mut frame_offset = 0;
        for encoded in pieces {
            let len = encoded.piece.len;
            for (block, verdict) in &encoded.damaged {
                let path = encoded.piece.path.to_string();
                let problem = verdict.to_string();
                self.damage.add(DamagedPage { path, block: *block, problem });
            }
            let index = (encoded.file - 1 - self.first_file) as usize;
            if let Some(file) = self.files.get_mut(index) {
                file.packed += u64::from(len);
                file.crc32c = crc32c::crc32c_combine(file.crc32c, encoded.crc32c, len as usize);
                let place = Place::Frame { frame, offset: frame_offset };
                file.extents.push(Extent { len: u64::from(len), place });
            }
            frame_offset += len;
        }
        self.retire_files()?;
        Ok(true)
    }

    /// Moves the files that are complete and in packs to the manifest's sorter.
    fn retire_files(&mut self) -> Result<()> {
        while self.files.front().is_some_and(|f| f.complete && f.packed == f.taken) {
            let Some(file) = self.files.pop_front() else { break };
            self.first_file += 1;
            retire(&mut self.sorter, file)?;
        }
        Ok(())
    }

    /// Waits until all content is durable in packs, then writes the manifest. Each of its entries
    /// is shown to `inspect` in the order of paths; an error that it returns ends the backup.
    pub async fn finish(
        mut self,
        mut inspect: impl FnMut(&Entry) -> Result<(), String> + Send,
    ) -> Result<UncommittedBackup> {
        self.flush().await?;
        while self.collect().await? {}
        let (packs, pack_bytes) = self.packs.finish().await?;
        self.size.packs = packs;
        let stored = StoredBackup {
            cluster: self.cluster,
            intent: self.intent,
            size: crate::BackupSize { stored_bytes: pack_bytes, ..self.size },
            damage: self.damage,
        };
        stored.write_manifest(self.sorter.finish()?, self.frames.finish()?, &mut inspect).await
    }
}

/// Moves a file whose content is in packs to the manifest's sorter.
fn retire(sorter: &mut PathSorter, file: OpenFile) -> Result<()> {
    let mut entry = file.entry;
    entry.kind = EntryKind::File(FileContent {
        size: file.taken,
        crc32c: Some(file.crc32c),
        extents: file.extents,
    });
    push_entry(sorter, &entry)
}

fn push_entry(sorter: &mut PathSorter, entry: &Entry) -> Result<()> {
    let mut body = Vec::new();
    entry.encode(&mut 0, &mut body);
    sorter.push(entry.path.clone(), body)
}
