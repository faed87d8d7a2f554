use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use walbrook_repo::{BackupWriter, DamageReport, Entry, EntryKind};

use crate::backup::source::{
    FileContents, FileInfo, FileKind, FileList, PageSource, Piece, ReadEnd, ReadRequest,
};
use crate::{Error, ErrorKind, Progress, Result};

/// Files that are requested ahead of those that are being stored, so that readers find batches
/// worth a statement even where files are small.
const AHEAD: usize = 8192;

/// Moves what a page source reads into a writer.
pub(crate) struct PageCopier<'a> {
    pub(crate) writer: &'a mut BackupWriter,
    pub(crate) progress: &'a dyn Progress,
    /// In KiB per second.
    pub(crate) max_rate: Option<u32>,
}

impl PageCopier<'_> {
    /// Takes all files of the list.
    pub(crate) async fn run(
        &mut self,
        source: &mut impl PageSource,
        mut list: FileList,
    ) -> Result<()> {
        let (requests, receiver) = mpsc::channel(AHEAD);
        let mut requests = Some(requests);
        let mut pieces = source.read(receiver).await?;
        let mut waiting: VecDeque<FileInfo> = VecDeque::new();
        let mut throttle = Throttle::new(self.max_rate);
        self.request(&mut list, &mut requests, &mut waiting)?;
        let mut begun = false;
        while let Some(piece) = pieces.next().await? {
            let file = waiting.front().ok_or_else(disorder)?;
            match piece {
                Piece::Data { bytes, .. } => {
                    if !std::mem::replace(&mut begun, true) {
                        self.writer.begin_file(&file.path, file.mode, file.mtime)?;
                    }
                    self.writer.write(&bytes).await?;
                    self.progress.advance(bytes.len() as u64);
                    throttle.pass(bytes.len()).await;
                }
                Piece::End(end) => {
                    // An empty one is there still; one that is gone was removed by WAL.
                    if !begun && end != ReadEnd::Vanished {
                        self.writer.begin_file(&file.path, file.mode, file.mtime)?;
                    }
                    if begun || end != ReadEnd::Vanished {
                        self.writer.end_file()?;
                    }
                    begun = false;
                    waiting.pop_front();
                    self.request(&mut list, &mut requests, &mut waiting)?;
                }
            }
        }
        match waiting.is_empty() {
            true => Ok(()),
            false => Err(disorder()),
        }
    }

    /// Requests files while there is room, and stores what needs no reading. Only between two
    /// files: the writer takes one at a time.
    fn request(
        &mut self,
        list: &mut FileList,
        requests: &mut Option<mpsc::Sender<ReadRequest>>,
        waiting: &mut VecDeque<FileInfo>,
    ) -> Result<()> {
        while waiting.len() < AHEAD
            && let Some(sender) = requests
        {
            let Some(file) = list.next()? else {
                *requests = None;
                break;
            };
            let FileInfo { path, kind, size, mtime, mode } = &file;
            let entry = |kind| Entry { path: path.clone(), mode: *mode, mtime: *mtime, kind };
            match kind {
                FileKind::Directory => self.writer.add(entry(EntryKind::Directory))?,
                FileKind::TablespaceLink { target } => {
                    self.writer.add(entry(EntryKind::Symlink { target: target.clone() }))?;
                }
                // What it has got since is for the WAL to bring.
                FileKind::File if *size == 0 => {
                    self.writer.begin_file(path, *mode, *mtime)?;
                    self.writer.end_file()?;
                }
                FileKind::File => {
                    let whole = 0..*size;
                    let request =
                        ReadRequest { path: Arc::from(path.as_str()), ranges: vec![whole] };
                    sender.try_send(request).map_err(|_| disorder())?;
                    waiting.push_back(file);
                }
            }
        }
        Ok(())
    }

    /// Hands on what the source's own check has found.
    pub(crate) fn report_damage(&mut self, damage: DamageReport) {
        let unlisted = damage.pages.saturating_sub(damage.listed.len() as u64);
        let last = damage.listed.last().cloned();
        for page in damage.listed {
            self.writer.add_damage(page);
        }
        // Pages that nobody listed are counted: the list is full, so which they are is not told.
        for page in std::iter::repeat_n(last, unlisted as usize).flatten() {
            self.writer.add_damage(page);
        }
    }

    /// Stores a file that is at hand.
    pub(crate) async fn small_file(&mut self, path: &str, file: FileContents) -> Result<()> {
        self.writer.begin_file(path, file.mode, file.mtime)?;
        self.writer.write(&Bytes::from(file.bytes)).await?;
        Ok(self.writer.end_file()?)
    }
}

fn disorder() -> Error {
    Error::new(ErrorKind::Io, "the source of pages answered out of order")
}

/// Keeps the average since the beginning below a rate.
struct Throttle {
    bytes_per_second: Option<f64>,
    begun: Instant,
    passed: u64,
}

impl Throttle {
    fn new(max_rate: Option<u32>) -> Self {
        let bytes_per_second = max_rate.map(|rate| f64::from(rate.max(1)) * 1024.0);
        Self { bytes_per_second, begun: Instant::now(), passed: 0 }
    }

    async fn pass(&mut self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        self.passed += bytes as u64;
        let due = Duration::from_secs_f64(self.passed as f64 / rate);
        sleep_until(self.begun + due).await;
    }
}
