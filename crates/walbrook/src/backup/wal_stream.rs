use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use walbrook_replication::{ConnInfo, Session, WalMessage, WalStream};
use walbrook_repo::{FileCopy, WalArchive, WalInfo};
use walbrook_types::{Lsn, SegmentNumber, TimelineId, WalFileName, WalSegmentSize};

use crate::backup::segment_buffer::SegmentBuffer;
use crate::{Error, ErrorKind, Result};

/// A connection that holds the server's WAL back for a backup, and later streams it.
pub(crate) struct WalReservation {
    session: Session,
    slot: String,
}

impl WalReservation {
    /// Connects, and creates a temporary slot: from now on the server keeps its WAL for us. It
    /// vanishes with the connection, whatever becomes of this process.
    pub(crate) async fn new(info: &ConnInfo, backup: &str) -> Result<Self> {
        let mut session = Session::replication(info).await?;
        // Slot names have lower-case letters, digits and underscores.
        let slot = format!("walbrook_{}", backup.to_ascii_lowercase().replace('-', "_"));
        session.create_physical_slot(&slot, true, true).await?;
        Ok(Self { session, slot })
    }

    /// Streams whole segments into the archive, from the one that holds `start` on.
    pub(crate) async fn stream(
        self,
        archive: WalArchive,
        start: Lsn,
        timeline: TimelineId,
    ) -> Result<WalStreaming> {
        let size = archive.segment_size();
        let first = size.segment_of(start);
        let stream =
            self.session.start_replication(Some(&self.slot), first.start(size), timeline).await?;
        let (stop, stop_seen) = watch::channel(None);
        let streamer = Streamer {
            stream,
            archive,
            timeline,
            size,
            buffer: SegmentBuffer::new(first, size),
            position: first.start(size),
            durable: first.start(size),
            puts: JoinSet::new(),
            in_flight: VecDeque::new(),
            facts: WalFacts::default(),
        };
        Ok(WalStreaming { task: tokio::spawn(streamer.run(stop_seen)), stop })
    }
}

/// Streaming under way, in a task of its own. Dropping it ends the task.
pub(crate) struct WalStreaming {
    task: JoinHandle<Result<WalFacts>>,
    stop: watch::Sender<Option<Lsn>>,
}

impl WalStreaming {
    /// Fails as soon as the streaming does; otherwise waits for ever.
    pub(crate) async fn failure(&mut self) -> Error {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => Error::new(ErrorKind::Server, "the WAL stream ended too early"),
            Err(error) => error.into(),
        }
    }

    /// Waits until all WAL up to `stop` is durable in the archive.
    pub(crate) async fn finish(mut self, stop: Lsn, timeout: Duration) -> Result<WalFacts> {
        // A receiver that is gone has failed: its error comes from the task.
        let _ = self.stop.send(Some(stop));
        match tokio::time::timeout(timeout, &mut self.task).await {
            Ok(outcome) => outcome?,
            Err(_) => {
                let message = format!(
                    "the server did not send the WAL up to {stop} within {} seconds: its last \
                     segment is not complete; on a standby, run SELECT pg_switch_wal() on the \
                     primary, or wait longer with --wal-timeout",
                    timeout.as_secs()
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }
}

impl Drop for WalStreaming {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Copies that are remembered.
const COPIES: usize = 100;

/// What is known of the WAL that a backup needs.
#[derive(Debug, Default)]
pub(crate) struct WalFacts {
    /// The time of the last transaction in it, in the server's clock.
    pub(crate) last_transaction: Option<jiff::Timestamp>,
    /// Databases that were copied file by file in the segments that it is in.
    pub(crate) file_copies: Vec<FileCopy>,
}

impl WalFacts {
    pub(crate) fn add(&mut self, info: &WalInfo) {
        let transactions = info.content.as_ref().and_then(|content| content.transactions);
        self.last_transaction = self.last_transaction.max(transactions.map(|t| t.last_time));
        let copies = info.content.iter().flat_map(|content| &content.file_copies);
        self.file_copies.extend(copies.take(COPIES.saturating_sub(self.file_copies.len())));
    }
}

struct Streamer {
    stream: WalStream,
    archive: WalArchive,
    timeline: TimelineId,
    size: WalSegmentSize,
    buffer: SegmentBuffer,
    /// Where the next byte must begin.
    position: Lsn,
    /// Everything before is in the archive.
    durable: Lsn,
    puts: JoinSet<Result<(SegmentNumber, WalInfo)>>,
    /// Segments that are being stored, oldest first, and whether they are.
    in_flight: VecDeque<(SegmentNumber, bool)>,
    facts: WalFacts,
}

/// Segments that are stored at once; more are left with the server until one is done.
const PUTS: usize = 3;

/// How often the server hears from us: well within its `wal_sender_timeout`.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

impl Streamer {
    async fn run(mut self, mut stop_seen: watch::Receiver<Option<Lsn>>) -> Result<WalFacts> {
        let mut status = interval(STATUS_INTERVAL);
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let stop = *stop_seen.borrow_and_update();
            if stop.is_some_and(|stop| self.durable >= stop) {
                // Everything is safe: a farewell that goes wrong changes nothing.
                let _ = tokio::time::timeout(STATUS_INTERVAL, self.stream.stop()).await;
                return Ok(self.facts);
            }
            // Past the last segment that is needed there is nothing more to read. Only whole
            // segments are stored: the one that `stop` lies in is read to its end.
            let wanted = stop
                .is_none_or(|stop| self.position < self.size.segment_before(stop).end(self.size));
            tokio::select! {
                message = self.stream.next(), if wanted && self.puts.len() < PUTS => {
                    self.take(message?).await?;
                }
                Some(put) = self.puts.join_next(), if !self.puts.is_empty() => {
                    self.stored(put??);
                }
                _ = status.tick() => self.send_status().await?,
                changed = stop_seen.changed() => {
                    if changed.is_err() {
                        return Err(Error::new(ErrorKind::Server, "the backup was abandoned"));
                    }
                }
            }
        }
    }

    async fn take(&mut self, message: WalMessage) -> Result<()> {
        match message {
            WalMessage::Data { start, bytes, .. } => {
                if start != self.position {
                    let message = format!(
                        "the server sent WAL at {start} where {} should follow",
                        self.position
                    );
                    return Err(Error::new(ErrorKind::ServerChanged, message));
                }
                self.position = start + bytes.len() as u64;
                for (number, content) in self.buffer.push(bytes)? {
                    let archive = self.archive.clone();
                    let name = WalFileName::segment(self.timeline, number, self.size);
                    self.in_flight.push_back((number, false));
                    self.puts.spawn(async move {
                        let put = archive.put(name, move || content.open()).await?;
                        Ok((number, put.info))
                    });
                }
                Ok(())
            }
            WalMessage::KeepAlive { reply_requested: true, .. } => self.send_status().await,
            WalMessage::Ended { .. } => {
                let message = "the server ended its WAL stream during the backup: it was shut \
                               down, or promoted to a new timeline; take the backup again";
                Err(Error::new(ErrorKind::ServerChanged, message))
            }
            _ => Ok(()),
        }
    }

    fn stored(&mut self, (number, info): (SegmentNumber, WalInfo)) {
        self.facts.add(&info);
        if let Some(put) = self.in_flight.iter_mut().find(|put| put.0 == number) {
            put.1 = true;
        }
        while let Some((number, true)) = self.in_flight.front() {
            self.durable = number.end(self.size);
            self.in_flight.pop_front();
        }
    }

    async fn send_status(&mut self) -> Result<()> {
        Ok(self.stream.send_status(self.position, self.durable, Lsn::INVALID, false).await?)
    }
}

/// Waits until the server's own archiver has brought all segments that hold `start` to `stop`.
pub(crate) async fn wait_for_archive(
    archive: &WalArchive,
    timeline: TimelineId,
    (start, stop): (Lsn, Lsn),
    timeout: Duration,
) -> Result<WalFacts> {
    let size = archive.segment_size();
    let deadline = Instant::now() + timeout;
    let mut facts = WalFacts::default();
    let mut number = size.segment_of(start);
    let last = size.segment_before(stop);
    while number <= last {
        let name = WalFileName::segment(timeline, number, size);
        if let Some(info) = archive.info(&name).await? {
            facts.add(&info);
            number = number.next();
            continue;
        }
        if Instant::now() >= deadline {
            let message = format!(
                "the server's archiver did not bring {name} into the repository within {} \
                 seconds: see why archive_command fails in the server's log, or take the backup \
                 with --wal stream",
                timeout.as_secs()
            );
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(facts)
}

/// Whether the server's archiver is seen to bring its WAL into this repository: one of the last
/// complete segments before `flushed` is there, and no backup has streamed it. An archiver that is
/// there may serve another tool: waiting for it would be in vain.
pub(crate) async fn archiver_is_seen(
    archive: &WalArchive,
    timeline: TimelineId,
    flushed: Lsn,
) -> Result<bool> {
    let size = archive.segment_size();
    let current = size.segment_of(flushed).0;
    for number in (current.saturating_sub(3)..current).rev() {
        let name = WalFileName::segment(timeline, SegmentNumber(number), size);
        if archive.info(&name).await?.is_some_and(|info| !info.streamed) {
            return Ok(true);
        }
    }
    Ok(false)
}
