use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use walbrook_repo::{BackupWriter, DamageReport, Entry, EntryKind};

use crate::backup::changes::Changes;
use crate::backup::reading::{Plans, Reading};
use crate::backup::source::{
    FileContents, FileInfo, FileKind, FileList, PageSource, Piece, ReadEnd, ReadRequest,
};
use crate::{Error, ErrorKind, Progress, Result};

/// Files that are requested ahead of those that are being stored, so that readers find batches
/// worth a statement even where files are small.
const AHEAD: usize = 8192;

/// Parts of files that are requested ahead at most: a file can have very many.
const PARTS_AHEAD: usize = 1 << 17;

/// Moves what a page source reads into a writer.
pub(crate) struct PageCopier<'a> {
    writer: &'a mut BackupWriter,
    progress: &'a dyn Progress,
    /// In KiB per second.
    max_rate: Option<u32>,
    plans: Plans<'a>,
}

/// A file that was requested.
struct Waiting {
    file: FileInfo,
    reading: Reading,
}

impl Waiting {
    fn parts(&self) -> usize {
        match &self.reading {
            Reading::Parts(parts) => parts.len(),
            _ => 1,
        }
    }
}

impl<'a> PageCopier<'a> {
    /// With what is known of the changes since the writer's base.
    pub(crate) fn new(
        writer: &'a mut BackupWriter,
        progress: &'a dyn Progress,
        max_rate: Option<u32>,
        changes: &'a Changes,
    ) -> Self {
        let plans = Plans::new(changes, writer.base().cloned());
        Self { writer, progress, max_rate, plans }
    }

    /// Takes all files of the list.
    pub(crate) async fn run(
        &mut self,
        source: &mut impl PageSource,
        mut list: FileList,
    ) -> Result<()> {
        let (requests, receiver) = mpsc::channel(AHEAD);
        let mut requests = Some(requests);
        let mut pieces = source.read(receiver).await?;
        let mut waiting = VecDeque::new();
        let mut parts = 0;
        let mut throttle = Throttle::new(self.max_rate);
        self.request(&mut list, &mut requests, &mut waiting, &mut parts)?;
        let mut open = None;
        while let Some(piece) = pieces.next().await? {
            let Waiting { file, reading } = waiting.front().ok_or_else(disorder)?;
            match piece {
                Piece::Data { offset, bytes } => {
                    let number = match open {
                        Some(number) => number,
                        None => *open.insert(self.plans.open(self.writer, file)?),
                    };
                    self.plans.store(self.writer, number, file, reading, offset, &bytes).await?;
                    self.progress.advance(bytes.len() as u64);
                    throttle.pass(bytes.len()).await;
                }
                Piece::End(end) => {
                    // An empty one is there still; one that is gone was removed by WAL.
                    if open.is_none() && end != ReadEnd::Vanished {
                        open = Some(self.plans.open(self.writer, file)?);
                    }
                    if let Some(number) = open.take() {
                        let size = match end {
                            ReadEnd::Complete => file.size,
                            ReadEnd::Shorter(size) => size,
                            // It can't be, once something of it was read.
                            ReadEnd::Vanished => return Err(disorder()),
                        };
                        self.plans.close(self.writer, number, reading, size)?;
                    }
                    if let Reading::Parts(read) = reading {
                        let read: u64 = read.iter().map(|range| range.end - range.start).sum();
                        self.progress.advance(file.size.saturating_sub(read));
                    }
                    parts -= waiting.pop_front().map_or(0, |done: Waiting| done.parts());
                    self.request(&mut list, &mut requests, &mut waiting, &mut parts)?;
                }
            }
        }
        match waiting.is_empty() {
            true => Ok(()),
            false => Err(disorder()),
        }
    }

    /// Requests files while there is room, and stores what needs no reading.
    fn request(
        &mut self,
        list: &mut FileList,
        requests: &mut Option<mpsc::Sender<ReadRequest>>,
        waiting: &mut VecDeque<Waiting>,
        parts: &mut usize,
    ) -> Result<()> {
        while waiting.len() < AHEAD
            && *parts < PARTS_AHEAD
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
                    let number = self.writer.open_file(path, *mode, *mtime, None)?;
                    self.writer.close_file(number, 0)?;
                }
                FileKind::File => {
                    let reading = self.plans.reading(&file)?;
                    let ranges = match &reading {
                        Reading::Reused => {
                            let number = self.plans.open(self.writer, &file)?;
                            self.plans.close(self.writer, number, &reading, *size)?;
                            self.progress.advance(*size);
                            continue;
                        }
                        Reading::Parts(parts) => parts.clone(),
                        Reading::Whole | Reading::Filtered(_) => {
                            std::iter::once(0..*size).collect()
                        }
                    };
                    let request = ReadRequest { path: Arc::from(path.as_str()), ranges };
                    sender.try_send(request).map_err(|_| disorder())?;
                    let next = Waiting { file, reading };
                    *parts += next.parts();
                    waiting.push_back(next);
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
        self.progress.advance(file.bytes.len() as u64);
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
