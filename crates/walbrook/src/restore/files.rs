//! Writing the files of one manifest shard from the frames that hold them.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::stream::{self, StreamExt, TryStreamExt};
use walbrook_page::verify;
use walbrook_repo::{
    BackupReader, EntryKind, FrameRef, PackRef, Place, Shard, StoredFrames, checksum,
};
use walbrook_types::{BLOCK_SIZE, Lsn, Oid, RelFile};

use crate::restore::directory::Directories;
use crate::{Error, ErrorKind, Progress, Result};

/// The file that makes a directory a cluster: written when all the rest is durable.
pub(crate) const CONTROL_FILE: &str = "global/pg_control";

/// Stored bytes that are read at once.
const READ_SIZE: u64 = 8 << 20;

/// Stored bytes between two frames that are read for nothing rather than asked for twice: what a
/// file needs of a pack that many backups share lies scattered in it.
const READ_GAP: u64 = 256 << 10;

/// What all shards of a restore have in common.
pub(crate) struct FileWriter {
    /// Cleared when the last worker that might still write into them is done with this; taken out
    /// when all is written.
    pub(crate) directories: Mutex<Option<Directories>>,
    pub(crate) reader: BackupReader,
    pub(crate) root: PathBuf,
    /// Where each tablespace's link is to point.
    pub(crate) tablespaces: BTreeMap<Oid, PathBuf>,
    pub(crate) jobs: usize,
    /// Whether pages must match their checksums.
    pub(crate) checksums: bool,
    /// Pages changed since then may be torn; replay restores them whole.
    pub(crate) start_lsn: Lsn,
    /// Pages that were damaged when they were backed up, by file.
    pub(crate) known_damage: BTreeMap<String, Vec<u32>>,
    /// Whether all damaged pages are in `known_damage`: past a limit they are only counted.
    pub(crate) all_damage_listed: bool,
}

/// A run of a file's bytes in a frame.
struct Piece {
    frame: u32,
    frame_offset: u32,
    entry: u32,
    file_offset: u64,
    len: u32,
}

/// The CRC-32C of a piece that was written.
struct Written {
    entry: u32,
    file_offset: u64,
    len: u64,
    crc32c: u32,
}

impl FileWriter {
    /// Writes all files of a shard but the control file; returns the content of that, if it was
    /// in it.
    pub(crate) async fn write_shard(
        self: &Arc<Self>,
        shard: Shard,
        progress: &dyn Progress,
    ) -> Result<Option<Vec<u8>>> {
        let shard = Arc::new(shard);
        let pieces = tokio::task::spawn_blocking({
            let (this, shard) = (self.clone(), shard.clone());
            move || this.create_entries(&shard)
        })
        .await??;
        progress.advance(zeros_in(&shard));
        let runs = runs_of(&shard, pieces);
        let mut tasks = stream::iter(runs)
            .map(|run| self.clone().write_run(shard.clone(), run))
            .buffer_unordered(self.jobs.max(1));
        let mut written = Vec::new();
        let mut control = None;
        while let Some(outcome) = tasks.try_next().await? {
            progress.advance(outcome.written.iter().map(|piece| piece.len).sum());
            written.extend(outcome.written);
            control = control.or(outcome.control);
        }
        drop(tasks);
        check_files(&shard, written)?;
        Ok(control)
    }

    /// Makes directories and links, and files that no frame has a part of; lists the pieces of
    /// the others.
    fn create_entries(&self, shard: &Shard) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for (number, entry) in shard.entries.iter().enumerate() {
            let path = self.root.join(&entry.path);
            let failed = |e| Error::io(format!("{} can't be created", path.display()), e);
            match &entry.kind {
                EntryKind::Directory => make_directory(&path, entry.mode).map_err(failed)?,
                EntryKind::Symlink { .. } => {
                    let target =
                        entry.tablespace_link().and_then(|(oid, _)| self.tablespaces.get(&oid));
                    let Some(target) = target else {
                        let message = format!(
                            "the backup has a symbolic link {:?} that is no tablespace of it: it \
                             was tampered with, or damaged",
                            entry.path
                        );
                        return Err(Error::new(ErrorKind::Corrupt, message));
                    };
                    symlink(target, &path).map_err(failed)?;
                }
                EntryKind::File(content) => {
                    // Zeros are not written: the file is made of its full size, with holes, and
                    // the rest is filled in.
                    let has_zeros = content.extents.iter().any(|e| e.place == Place::Zero);
                    if has_zeros || content.extents.is_empty() {
                        open_file(&path, entry.mode)
                            .and_then(|file| file.set_len(content.size))
                            .map_err(failed)?;
                    }
                    let mut file_offset = 0;
                    for extent in &content.extents {
                        if let Place::Frame { frame, offset } = extent.place {
                            pieces.push(Piece {
                                frame: frame as u32,
                                frame_offset: offset,
                                entry: number as u32,
                                file_offset,
                                len: extent.len as u32,
                            });
                        }
                        file_offset += extent.len;
                    }
                }
                _ => {
                    let message = format!("{:?} is of a kind that is not known", entry.path);
                    return Err(Error::new(ErrorKind::Corrupt, message));
                }
            }
        }
        Ok(pieces)
    }

    async fn write_run(self: Arc<Self>, shard: Arc<Shard>, run: Run) -> Result<RunOutcome> {
        let stored = self.reader.read_frames(&run.pack, &run.frames).await?;
        tokio::task::spawn_blocking(move || self.write_frames(&shard, &run, &stored)).await?
    }

    fn write_frames(&self, shard: &Shard, run: &Run, stored: &StoredFrames) -> Result<RunOutcome> {
        let mut outcome = RunOutcome { written: Vec::new(), control: None };
        let mut decoded: Option<(u32, Vec<u8>)> = None;
        let mut open: Option<(u32, File)> = None;
        for piece in &run.pieces {
            let raw = match decoded.take().filter(|(frame, _)| *frame == piece.frame) {
                Some((_, raw)) => raw,
                None => stored.decode(&shard.frames[piece.frame as usize])?,
            };
            let begin = piece.frame_offset as usize;
            // The shard was checked: every extent lies inside its frame.
            let content = &raw[begin..begin + piece.len as usize];
            let entry = &shard.entries[piece.entry as usize];
            self.check_pages(&entry.path, piece.file_offset, content)?;
            if entry.path == CONTROL_FILE {
                outcome.control = Some(content.to_vec());
            } else {
                let path = self.root.join(&entry.path);
                let failed = |e| Error::io(format!("{} can't be written", path.display()), e);
                let file = match open.take().filter(|(number, _)| *number == piece.entry) {
                    Some((_, file)) => file,
                    None => open_file(&path, entry.mode).map_err(failed)?,
                };
                file.write_all_at(content, piece.file_offset).map_err(failed)?;
                open = Some((piece.entry, file));
            }
            outcome.written.push(Written {
                entry: piece.entry,
                file_offset: piece.file_offset,
                len: u64::from(piece.len),
                crc32c: crc32c::crc32c(content),
            });
            decoded = Some((piece.frame, raw));
        }
        Ok(outcome)
    }

    /// Every page must be sound, or one that is not for a reason that is known.
    fn check_pages(&self, path: &str, file_offset: u64, content: &[u8]) -> Result<()> {
        let Some(relation) = RelFile::from_path(path) else { return Ok(()) };
        let first = relation.first_block().saturating_add((file_offset / BLOCK_SIZE as u64) as u32);
        let (pages, _) = content.as_chunks::<BLOCK_SIZE>();
        for (block, page) in (first..).zip(pages) {
            let verdict = verify(page, block, self.checksums);
            if verdict.is_sound() {
                continue;
            }
            let lsn = walbrook_page::PageHeader::new(page).lsn();
            let known = || match self.known_damage.get(path) {
                Some(blocks) if blocks.contains(&block) => true,
                _ => !self.all_damage_listed,
            };
            if lsn < self.start_lsn && !known() {
                let message =
                    format!("block {block} of {path:?} is damaged in the backup: {verdict}");
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        }
        Ok(())
    }
}

/// Frames of one pack that lie near each other and are read together, and what is needed of them.
struct Run {
    pack: PackRef,
    frames: Vec<FrameRef>,
    pieces: Vec<Piece>,
}

struct RunOutcome {
    written: Vec<Written>,
    control: Option<Vec<u8>>,
}

/// Orders pieces as they lie in the packs, and cuts them into runs.
fn runs_of(shard: &Shard, mut pieces: Vec<Piece>) -> Vec<Run> {
    let frame_of = |piece: &Piece| &shard.frames[piece.frame as usize];
    pieces.sort_unstable_by_key(|piece| {
        let frame = frame_of(piece);
        (frame.pack, frame.offset, piece.frame_offset)
    });
    let mut runs: Vec<Run> = Vec::new();
    let mut pack_of_last = None;
    for piece in pieces {
        let frame = *frame_of(&piece);
        if let Some(run) = runs.last_mut().filter(|_| pack_of_last == Some(frame.pack))
            && let Some(last) = run.frames.last().copied()
        {
            if last.offset == frame.offset {
                run.pieces.push(piece);
                continue;
            }
            let begin = run.frames[0].offset;
            let end = frame.offset + u64::from(frame.stored_len);
            let gap = frame.offset.saturating_sub(last.offset + u64::from(last.stored_len));
            if gap <= READ_GAP && end - begin <= READ_SIZE {
                run.frames.push(frame);
                run.pieces.push(piece);
                continue;
            }
        }
        pack_of_last = Some(frame.pack);
        runs.push(Run {
            pack: shard.packs[frame.pack as usize].clone(),
            frames: vec![frame],
            pieces: vec![piece],
        });
    }
    runs
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode & 0o777).create(path) {
        // The data directory itself, or a tablespace's, is there already.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

/// Opens a file that this restore makes. Several workers write parts of one file at a time.
fn open_file(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(mode & 0o777)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Compares each file's CRC-32C with what the server said it was. A file that was not read whole
/// when it was backed up has none; its bytes are those of its frames, whose digests were checked.
fn check_files(shard: &Shard, mut written: Vec<Written>) -> Result<()> {
    written.sort_unstable_by_key(|piece| (piece.entry, piece.file_offset));
    for pieces in written.chunk_by(|a, b| a.entry == b.entry) {
        let entry = &shard.entries[pieces[0].entry as usize];
        let EntryKind::File(content) = &entry.kind else { continue };
        let Some(expected) = content.crc32c else { continue };
        let (mut crc, mut end) = (0, 0);
        for piece in pieces {
            crc = append_zeros(crc, piece.file_offset - end);
            crc = checksum::combine(crc, piece.crc32c, piece.len);
            end = piece.file_offset + piece.len;
        }
        if append_zeros(crc, content.size - end) != expected {
            let message = format!("{:?} does not have the checksum that it had", entry.path);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
    }
    Ok(())
}

/// Bytes of a shard's files that are zeros, and in their place as soon as the files are.
fn zeros_in(shard: &Shard) -> u64 {
    let extents = shard.entries.iter().flat_map(|entry| match &entry.kind {
        EntryKind::File(content) => &content.extents[..],
        _ => &[],
    });
    extents.filter(|extent| extent.place == Place::Zero).map(|extent| extent.len).sum()
}

/// The CRC-32C of content that is followed by so many zeros.
fn append_zeros(crc: u32, len: u64) -> u32 {
    checksum::combine(crc, checksum::of_zeros(len), len)
}

/// Writes the control file, durably, and with it makes the directory a cluster.
pub(crate) fn write_control_file(root: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let path = root.join(CONTROL_FILE);
    let written = open_file(&path, mode).and_then(|file| {
        file.write_all_at(content, 0)?;
        file.sync_all()
    });
    written
        .and_then(|()| super::directory::sync_directory(&root.join("global")))
        .map_err(|e| Error::io(format!("{} can't be written", path.display()), e))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use walbrook_repo::{
        BackupIntent, BackupRecord, BackupWriter, BaseIndex, Cluster, Codec, Repository,
        WriterOptions, Written,
    };
    use walbrook_store::MemoryStore;

    use super::*;
    use crate::NoProgress;

    const PAGE: usize = BLOCK_SIZE;

    fn intent(id: &str, base: Option<&str>) -> BackupIntent {
        let intent = json!({
            "id": id, "cluster": "main", "system_identifier": "7", "base": base, "host": "here",
            "pid": 1, "started_at": "2026-11-22T03:45:12Z", "walbrook_version": "0.1.0",
        });
        serde_json::from_value(intent).expect("an intent")
    }

    fn record(written: Written) -> BackupRecord {
        let time = "2026-11-22T03:45:12Z";
        let segment = "000000010000000000000002";
        let record = json!({
            "id": written.intent.id, "cluster": "main", "base": written.intent.base,
            "server": {
                "system_identifier": "7", "pg_version": 180_004, "wal_segment_size": 1 << 20,
                "block_size": 8192, "data_checksums": false,
            },
            "span": {
                "timeline": 1, "start_lsn": "0/200028", "stop_lsn": "0/200158",
                "first_segment": segment, "last_segment": segment, "started_at": time,
                "stopped_at": time, "checkpoint_time": time, "last_transaction_time": null,
            },
            "source": {
                "kind": "local", "from_standby": false, "server": "here", "wal": "stream",
            },
            "tablespaces": [], "size": written.size, "manifest": written.manifest,
            "damage": written.damage, "label": "", "walbrook_version": "0.1.0",
        });
        serde_json::from_value(record).expect("a record")
    }

    /// Noise, so that frames keep their size, and no two pages are alike.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed * 2 + 1;
        let byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(byte).take(len).collect()
    }

    async fn restore(cluster: &Cluster, record: BackupRecord, root: &Path) -> Result<()> {
        let writer = Arc::new(FileWriter {
            directories: Mutex::new(None),
            reader: BackupReader::new(cluster, record.clone()),
            root: root.to_owned(),
            tablespaces: BTreeMap::new(),
            jobs: 2,
            checksums: false,
            start_lsn: record.span.start_lsn,
            known_damage: BTreeMap::new(),
            all_damage_listed: true,
        });
        for index in 0..record.manifest.len() {
            let shard = writer.reader.shard(index).await?;
            writer.write_shard(shard, &NoProgress).await?;
        }
        Ok(())
    }

    /// A file in three backups' packs, page by page, with zeros in the middle and at its end.
    #[tokio::test]
    async fn a_file_is_put_together_from_the_packs_of_several_backups() {
        let store = Arc::new(MemoryStore::new());
        let repository = Repository::open_or_create(store.clone()).await.expect("a repository");
        let cluster = repository.cluster("main").expect("a name");
        let options = WriterOptions { codec: Codec::default(), workers: 2, check: None };
        let (path, mut content) = ("some/file", noise(1, 400 * PAGE));
        let mut last: Option<BackupRecord> = None;
        for round in 0..3u64 {
            let id = format!("20261122T03451{round}Z-00000000");
            let base = last.as_ref().map(|record| record.id.as_str());
            let mut writer =
                BackupWriter::begin(&cluster, intent(&id, base), options).await.expect("begins");
            if let Some(last) = &last {
                let reader = BackupReader::new(&cluster, last.clone());
                writer.set_base(BaseIndex::open(&reader).await.expect("a base")).expect("its base");
                for page in (round as usize..content.len() / PAGE).step_by(3) {
                    let changed = noise(1000 * round + page as u64, PAGE);
                    content[page * PAGE..][..PAGE].copy_from_slice(&changed);
                }
            }
            content[50 * PAGE..60 * PAGE].fill(0);
            content[390 * PAGE..].fill(0);
            for (path, content) in [(path, &content), ("some/zeros", &vec![0; 100])] {
                writer.begin_file(path, 0o600, 0).expect("begins");
                writer.write(&content.clone().into()).await.expect("writes");
                writer.end_file().expect("ends");
            }
            let folder = walbrook_repo::Entry {
                path: "some".into(),
                mode: 0o700,
                mtime: 0,
                kind: EntryKind::Directory,
            };
            writer.add(folder).expect("adds");
            let stored = writer.finish(|_| Ok(())).await.expect("finishes");
            last = Some(stored.commit(record).await.expect("commits"));
        }
        let record = last.expect("three backups");
        assert!(record.size.reused_bytes > 200 * PAGE as u64);
        let root = tempfile::tempdir().expect("a directory");
        restore(&cluster, record.clone(), root.path()).await.expect("restores");
        let read = |path: &str| std::fs::read(root.path().join(path)).expect("a file");
        assert!(read(path) == content);
        assert_eq!(read("some/zeros"), [0; 100]);

        // Each pack is needed.
        for id in ["20261122T034510Z-00000000", "20261122T034511Z-00000000"] {
            let pack = format!("main/backups/{id}/pack-0000000");
            let whole = walbrook_store::Store::get(store.as_ref(), &pack).await.expect("a pack");
            walbrook_store::Store::delete(store.as_ref(), &pack).await.expect("deletes");
            let root = tempfile::tempdir().expect("a directory");
            let error = restore(&cluster, record.clone(), root.path()).await.expect_err("fails");
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(&pack), "{error}");
            store.overwrite(&pack, whole).expect("is there again");
        }
    }

    #[test]
    fn zeros_are_part_of_a_checksum() {
        for len in [0, 1, 2, 3, 8192, 1_000_003] {
            let whole = [&b"before"[..], &vec![0; len]].concat();
            let found = append_zeros(crc32c::crc32c(b"before"), len as u64);
            assert_eq!(found, crc32c::crc32c(&whole), "{len}");
        }
    }
}
