//! Reading with several readers at once, and yet in order.
//!
//! Requests are cut into chunks, and chunks put together to units of a MiB. The units are
//! dealt to the readers ("lanes") in turn; whoever takes the result takes a unit from each in the
//! same turn. So all lanes work on neighbouring parts, and none needs more than a few units of
//! memory, however large a batch each is given at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use walbrook_types::{BLOCK_SIZE, RelFile};

use super::{Piece, ReadEnd, ReadRequest};
use crate::{Error, ErrorKind, Result};

/// The most bytes of a chunk. `pg_read_binary_file` copies them several times, which its core's cache
/// holds up to this size: with PostgreSQL 18 a GiB took 0.52 s of its server's CPU time in chunks of
/// 128 to 256 KiB, 0.68 s in chunks of 1 MiB, and 0.82 s in chunks of 2 MiB.
const CHUNK: u64 = 256 << 10;

/// The most bytes of a unit, unless it is one chunk.
const UNIT: u64 = 1 << 20;

/// Chunks in a unit at most.
const UNIT_CHUNKS: usize = 64;

/// Units that a lane is given at once at most.
const BATCH_UNITS: usize = 32;

/// Units that a lane may be ahead of whoever takes them.
const AHEAD: usize = 3;

/// A run of bytes of one file, to be read at once.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) path: Arc<str>,
    pub(crate) relation: Option<RelFile>,
    pub(crate) offset: u64,
    pub(crate) len: u32,
}

/// Neighbouring chunks that travel together.
pub(crate) type Unit = Vec<Chunk>;

/// What came of the chunks of a [`Unit`]: their bytes, as many as there were; none for a file that
/// does not exist.
pub(crate) type UnitRead = Vec<Option<Bytes>>;

/// The end of a lane that its reader holds.
pub(crate) struct Lane {
    pub(crate) batches: mpsc::Receiver<Vec<Unit>>,
    pub(crate) done: mpsc::Sender<Result<UnitRead>>,
}

/// What is read, in the order in which it was requested.
pub struct Pieces {
    lanes: Vec<mpsc::Receiver<Result<UnitRead>>>,
    /// The lane that has the next unit.
    turn: usize,
    unit: std::vec::IntoIter<Option<Bytes>>,
    /// How each chunk continues or ends its request, in order.
    plan: mpsc::UnboundedReceiver<Step>,
    state: FileState,
    /// Whether the current request's file has been seen at all.
    seen: bool,
    queued: VecDeque<Piece>,
    /// The planner and the readers: they end with this.
    tasks: JoinSet<()>,
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces").field("lanes", &self.lanes.len()).finish_non_exhaustive()
    }
}

/// What the planner tells of a chunk, or of a request without any.
struct Step {
    /// Where the chunk is and how long; none for a request that has no chunk.
    chunk: Option<(u64, u32)>,
    is_relation: bool,
    /// Whether the request ends with it.
    last: bool,
}

/// What has become of the current request's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileState {
    Whole,
    Ended(ReadEnd),
}

/// Makes the lanes: their readers' ends, and the pieces that come out.
pub(crate) fn lanes(count: usize, requests: mpsc::Receiver<ReadRequest>) -> (Vec<Lane>, Pieces) {
    let mut readers = Vec::new();
    let mut batches = Vec::new();
    let mut outputs = Vec::new();
    for _ in 0..count.max(1) {
        let (batch_in, batch_out) = mpsc::channel(1);
        let (done_in, done_out) = mpsc::channel(AHEAD);
        readers.push(Lane { batches: batch_out, done: done_in });
        batches.push(batch_in);
        outputs.push(done_out);
    }
    let (plan_in, plan) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    let pending = batches.iter().map(|_| Vec::new()).collect();
    let planner =
        Planner { batches, pending, turn: 0, unit: Vec::new(), unit_bytes: 0, plan: plan_in };
    tasks.spawn(planner.run(requests));
    let pieces = Pieces {
        lanes: outputs,
        turn: 0,
        unit: Vec::new().into_iter(),
        plan,
        state: FileState::Whole,
        seen: false,
        queued: VecDeque::new(),
        tasks,
    };
    (readers, pieces)
}

struct Planner {
    batches: Vec<mpsc::Sender<Vec<Unit>>>,
    /// What each lane is to be given next.
    pending: Vec<Vec<Unit>>,
    turn: usize,
    unit: Unit,
    unit_bytes: u64,
    plan: mpsc::UnboundedSender<Step>,
}

impl Planner {
    /// Ends with the requests, or when nobody wants the result any more.
    async fn run(mut self, mut requests: mpsc::Receiver<ReadRequest>) {
        loop {
            let request = match requests.try_recv() {
                Ok(request) => request,
                Err(_) => {
                    // Whoever sends requests may be waiting for answers: nothing is held back.
                    self.close_unit();
                    if self.hand_out().await.is_none() {
                        return;
                    }
                    match requests.recv().await {
                        Some(request) => request,
                        None => return,
                    }
                }
            };
            self.add(&request);
            if self.pending.iter().any(|units| units.len() >= BATCH_UNITS)
                && self.hand_out().await.is_none()
            {
                return;
            }
        }
    }

    fn add(&mut self, request: &ReadRequest) {
        let relation = RelFile::from_path(&request.path);
        let mut chunks = Vec::new();
        for range in &request.ranges {
            let mut at = range.start;
            while at < range.end {
                let len = (range.end - at).min(CHUNK);
                chunks.push((at, len as u32));
                at += len;
            }
        }
        let count = chunks.len();
        let is_relation = relation.is_some();
        if count == 0 {
            // A receiver that is gone is noticed when a batch is handed out.
            let _ = self.plan.send(Step { chunk: None, is_relation, last: true });
        }
        for (index, (offset, len)) in chunks.into_iter().enumerate() {
            if self.unit_bytes + u64::from(len) > UNIT || self.unit.len() >= UNIT_CHUNKS {
                self.close_unit();
            }
            self.unit_bytes += u64::from(len);
            self.unit.push(Chunk { path: request.path.clone(), relation, offset, len });
            let last = index + 1 == count;
            let _ = self.plan.send(Step { chunk: Some((offset, len)), is_relation, last });
        }
    }

    fn close_unit(&mut self) {
        if !self.unit.is_empty() {
            self.pending[self.turn].push(std::mem::take(&mut self.unit));
            self.turn = (self.turn + 1) % self.pending.len();
            self.unit_bytes = 0;
        }
    }

    /// Gives each lane what is meant for it, as soon as it takes it: a batch to each in turn. Were
    /// one given several first, it would wait for units of the others to be taken, which they
    /// have not got.
    async fn hand_out(&mut self) -> Option<()> {
        while self.pending.iter().any(|units| !units.is_empty()) {
            for (sender, units) in self.batches.iter().zip(&mut self.pending) {
                if !units.is_empty() {
                    let batch = units.drain(..units.len().min(BATCH_UNITS)).collect();
                    sender.send(batch).await.ok()?;
                }
            }
        }
        Some(())
    }
}

impl Pieces {
    /// Runs a task that ends when this is dropped.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// The next piece, or `None` when all requests are answered and no more can come.
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        loop {
            if let Some(piece) = self.queued.pop_front() {
                return Ok(Some(piece));
            }
            let Some(step) = self.plan.recv().await else { return Ok(None) };
            if let Some((offset, len)) = step.chunk {
                let read = self.next_chunk().await?;
                self.take(offset, len, read, step.is_relation);
            }
            if step.last {
                self.seen = false;
                let end = match std::mem::replace(&mut self.state, FileState::Whole) {
                    FileState::Whole => ReadEnd::Complete,
                    FileState::Ended(end) => end,
                };
                self.queued.push_back(Piece::End(end));
            }
        }
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(chunk) = self.unit.next() {
                return Ok(chunk);
            }
            let unit = self.lanes[self.turn].recv().await.ok_or_else(|| {
                Error::new(ErrorKind::Io, "a reader of the server's files ended too early")
            })??;
            self.turn = (self.turn + 1) % self.lanes.len();
            self.unit = unit.into_iter();
        }
    }

    /// Takes a chunk. Once a file has been found shorter than it was listed, what is behind that
    /// is not of the same moment and is left out, though another lane may have read it.
    fn take(&mut self, offset: u64, len: u32, read: Option<Bytes>, is_relation: bool) {
        if self.state != FileState::Whole {
            return;
        }
        let Some(mut bytes) = read else {
            self.state = FileState::Ended(match self.seen {
                false => ReadEnd::Vanished,
                true => ReadEnd::Shorter(offset),
            });
            return;
        };
        self.seen = true;
        bytes.truncate(len as usize);
        if bytes.len() < len as usize {
            if is_relation {
                bytes.truncate(bytes.len() / BLOCK_SIZE * BLOCK_SIZE);
            }
            self.state = FileState::Ended(ReadEnd::Shorter(offset + bytes.len() as u64));
        }
        if !bytes.is_empty() {
            self.queued.push_back(Piece::Data { offset, bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A lane that reads files of `size` bytes each, `short` of which ends at half of that, and
    /// `gone` of which is not there.
    async fn read(mut lane: Lane, size: u64) {
        let zeros = Bytes::from(vec![0; CHUNK as usize]);
        while let Some(units) = lane.batches.recv().await {
            for unit in units {
                let read = |chunk: &Chunk| {
                    let end = match &*chunk.path {
                        "gone" => return None,
                        "short" => size / 2,
                        _ => size,
                    };
                    let len = end.saturating_sub(chunk.offset).min(u64::from(chunk.len));
                    Some(zeros.slice(..len as usize))
                };
                if lane.done.send(Ok(unit.iter().map(read).collect())).await.is_err() {
                    return;
                }
            }
        }
    }

    /// What came of each request, with the bytes that came before: a stall fails.
    async fn run(jobs: usize, size: u64, paths: &[&str]) -> Vec<(u64, ReadEnd)> {
        let (sender, receiver) = mpsc::channel(paths.len());
        for path in paths {
            let request =
                ReadRequest { path: Arc::from(*path), ranges: std::iter::once(0..size).collect() };
            sender.try_send(request).expect("there is room");
        }
        drop(sender);
        let (readers, mut pieces) = lanes(jobs, receiver);
        for lane in readers {
            pieces.spawn(read(lane, size));
        }
        let mut ends = Vec::new();
        let mut at = 0;
        loop {
            let piece = tokio::time::timeout(Duration::from_secs(60), pieces.next()).await;
            match piece.expect("no stall").expect("no error") {
                Some(Piece::Data { offset, bytes }) => {
                    assert_eq!(offset, at);
                    at += bytes.len() as u64;
                }
                Some(Piece::End(end)) => ends.push((std::mem::take(&mut at), end)),
                None => return ends,
            }
        }
    }

    #[tokio::test]
    async fn files_come_whole_and_in_order() {
        // Larger than what all lanes may be given at once; and many that are small.
        for (jobs, size, count) in [(1, 300, 2), (2, 700, 2), (3, 1000, 2), (7, 1, 2000)] {
            let size = size * UNIT + 8192;
            let ends = run(jobs, size, &vec!["whole"; count]).await;
            assert_eq!(ends, vec![(size, ReadEnd::Complete); count], "{jobs} lanes");
        }
        let tiny = run(2, 100, &vec!["whole"; 5000]).await;
        assert_eq!(tiny, vec![(100, ReadEnd::Complete); 5000]);
    }

    #[tokio::test]
    async fn files_that_were_cut_or_removed() {
        let size = 9 * UNIT;
        let ends = run(2, size, &["whole", "short", "gone", "whole"]).await;
        let half = size / 2;
        let expected = [
            (size, ReadEnd::Complete),
            (half, ReadEnd::Shorter(half)),
            (0, ReadEnd::Vanished),
            (size, ReadEnd::Complete),
        ];
        assert_eq!(ends, expected);
    }
}
