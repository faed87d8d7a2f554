use std::io::Read;
use std::time::SystemTime;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use walbrook_store::{ErrorKind as StoreErrorKind, LockUntil, Payload};
use walbrook_types::{SegmentNumber, SystemId, TimelineId, WalFileName, WalSegmentSize};

use crate::codec::Codec;
use crate::wal::encode::{self, EncodedWal, WalSource};
use crate::wal::info::WalInfo;
use crate::wal::ranges::{WalRange, fold, wal_names};
use crate::wal::stored::{StoredWal, info_in_tail};
use crate::{Cluster, Digest, Error, ErrorKind, Repository, Result, SystemRecord, layout};

/// The WAL of one system of a cluster: segments, partial segments, timeline and backup history
/// files, each one object.
#[derive(Debug, Clone)]
pub struct WalArchive {
    cluster: Cluster,
    system: SystemId,
    segment_size: WalSegmentSize,
    pg_major: u32,
    codec: Codec,
    workers: usize,
    streamed: bool,
}

/// What became of a file that was put into the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// It was stored.
    Stored,
    /// It was there before, with the same content.
    AlreadyThere,
}

/// A file that was put into the archive.
#[derive(Debug, Clone)]
pub struct Put {
    /// What became of it.
    pub outcome: PutOutcome,
    /// What its object says of itself.
    pub info: WalInfo,
}

/// What one request reads from the end of an object to find its description.
const TAIL: u64 = 4096;

impl WalArchive {
    pub(crate) fn new(cluster: Cluster, system: &SystemRecord) -> Self {
        Self {
            cluster,
            system: system.system_identifier,
            segment_size: system.wal_segment_size,
            pg_major: system.pg_version.major(),
            codec: Codec::default(),
            workers: std::thread::available_parallelism().map_or(1, |n| n.get().min(4)),
            streamed: false,
        }
    }

    /// Compresses what is put with `codec`, on up to `workers` threads.
    pub fn with_compression(mut self, codec: Codec, workers: usize) -> Self {
        self.codec = codec;
        self.workers = workers.max(1);
        self
    }

    /// Notes with what is put that a backup has streamed it: whoever asks whether the server's own
    /// archiver brings its WAL here must not take it for the archiver's.
    pub fn for_streaming(mut self) -> Self {
        self.streamed = true;
        self
    }

    /// The system identifier.
    pub fn system(&self) -> SystemId {
        self.system
    }

    /// The size of its segments.
    pub fn segment_size(&self) -> WalSegmentSize {
        self.segment_size
    }

    pub(super) fn path(&self, name: &WalFileName) -> String {
        layout::wal_file(self.cluster.name(), self.system, name)
    }

    /// Stores a file; durable on return. Putting the same content again is no error, putting
    /// other content under a name that is there is ([`ErrorKind::Conflict`]), and changes nothing.
    ///
    /// `open` is called on a blocking thread, once or twice, to read the file from its start.
    /// A segment is checked to be what its name says and of this system ([`ErrorKind::Invalid`]).
    pub async fn put<R: Read>(
        &self,
        name: WalFileName,
        open: impl Fn() -> std::io::Result<R> + Send + 'static,
    ) -> Result<Put> {
        let known = self.info(&name).await?;
        let source = WalSource {
            name,
            system: self.system,
            segment_size: self.segment_size,
            pg_major: self.pg_major,
            streamed: self.streamed,
        };
        let (codec, workers) = (self.codec, self.workers);
        let encoded = tokio::task::spawn_blocking(move || {
            let unreadable = |e| Error::local(format!("{name} can't be read"), e);
            let mut content = open().map_err(unreadable)?;
            match known {
                // The archiver asks again for what a look ahead has stored: compare, no more.
                Some(info) => {
                    let mut hasher = blake3::Hasher::new();
                    hasher.update_reader(&mut content).map_err(unreadable)?;
                    compare(&info, Digest::finish(&hasher))?;
                    Ok(EncodedWal { parts: None, info, summary: None })
                }
                None => encode::encode(&source, &mut content, codec, workers),
            }
        })
        .await??;
        let EncodedWal { parts, info, summary } = encoded;
        let Some(parts) = parts else {
            return Ok(Put { outcome: PutOutcome::AlreadyThere, info });
        };
        let outcome =
            match self.cluster.store().create(&self.path(&name), Payload::from(parts)).await {
                Ok(()) => PutOutcome::Stored,
                // Another writer was faster, or the store lost its answer to our first attempt.
                Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {
                    let Some(there) = self.info(&name).await? else { return Err(error.into()) };
                    compare(&there, info.blake3)?;
                    PutOutcome::AlreadyThere
                }
                Err(error) => return Err(error.into()),
            };
        // Behind the segment, so that a file that is refused leaves none.
        if let Some(summary) = summary {
            self.put_summary(&name, summary).await;
        }
        Ok(Put { outcome, info })
    }

    /// Stores a file that is in memory.
    pub async fn put_bytes(&self, name: WalFileName, content: Bytes) -> Result<Put> {
        self.put(name, move || Ok(std::io::Cursor::new(content.clone()))).await
    }

    /// Sees to it that a file that is there is locked, as if it were put now. That it was deleted once
    /// and put again is no error here: what is there now was compared.
    pub async fn lock(&self, name: &WalFileName, until: LockUntil) -> Result<()> {
        let lock = until.lock(SystemTime::now());
        for outcome in self.cluster.store().lock(&[self.path(name)], lock).await {
            match outcome {
                Err(error) if error.kind() == StoreErrorKind::Tampered => {
                    tracing::warn!(%error, "locked all the same");
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// What a file's object says of itself; `None` when there is none.
    pub async fn info(&self, name: &WalFileName) -> Result<Option<WalInfo>> {
        let path = self.path(name);
        let store = self.cluster.store();
        let (mut tail, size) = match store.get_tail(&path, TAIL).await {
            Ok(found) => found,
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut info = info_in_tail(&path, &tail)?;
        if info.is_none() && (tail.len() as u64) < size {
            tail = store.get(&path).await?;
            info = info_in_tail(&path, &tail)?;
        }
        let info = info.ok_or_else(|| Error::corrupt(&path, "it is cut off"))?;
        self.check(&path, name, &info)?;
        Ok(Some(info))
    }

    /// Reads a file; `None` when it certainly is not in the archive: the repository was seen, and
    /// the file not in it. Trouble of any kind is an error.
    pub async fn get(&self, name: &WalFileName) -> Result<Option<StoredWal>> {
        let path = self.path(name);
        let bytes = match self.cluster.store().get(&path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                // An empty directory where a disk should be mounted has no segments either.
                Repository::open(self.cluster.repository().store().clone()).await?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let stored = StoredWal::open(path.clone(), bytes)?;
        self.check(&path, name, stored.info())?;
        Ok(Some(stored))
    }

    /// An object must be about the file whose name it has.
    fn check(&self, path: &str, name: &WalFileName, info: &WalInfo) -> Result<()> {
        if info.name == *name && info.system_identifier == self.system {
            return Ok(());
        }
        let what = format!("it holds {} of system {}", info.name, info.system_identifier);
        Err(Error::corrupt(path, what))
    }

    /// The names of a timeline's files in order, from the segment `from` on, with their sizes in
    /// the repository.
    pub fn names(
        &self,
        timeline: TimelineId,
        from: Option<SegmentNumber>,
    ) -> BoxStream<'_, Result<(WalFileName, u64)>> {
        let prefix = layout::wal_timeline(self.cluster.name(), self.system, timeline.get());
        let first = from.map(|n| WalFileName::segment(timeline, n, self.segment_size));
        // A listing begins behind a path: its name cut by one character sorts before it, with no more than
        // fifteen others between.
        let after = first.map(|name| self.path(&name)).map(|mut path| {
            path.pop();
            path
        });
        let size = self.segment_size;
        let is_wanted = move |name: &WalFileName| {
            let number = name.segment_number(size);
            from.is_none_or(|from| number.is_none_or(|number| number >= from))
        };
        let names = wal_names(self.cluster.store(), prefix, after);
        names.try_filter(move |(name, _)| std::future::ready(is_wanted(name))).boxed()
    }

    /// The segments of a timeline, as runs without gaps, by a listing of all:
    /// [`known_ranges`](Self::known_ranges) takes fewer requests.
    pub async fn ranges(&self, timeline: TimelineId) -> Result<Vec<WalRange>> {
        fold(self.names(timeline, None), self.segment_size).await
    }

    /// The timelines that have segments or a history file here, ascending.
    pub async fn timelines(&self) -> Result<Vec<TimelineId>> {
        let folder = layout::wal(self.cluster.name(), self.system);
        let children = self.cluster.store().list_children(&folder).await?;
        let objects = children.objects.iter().map(|object| object.path.as_str());
        let names = children.folders.iter().map(String::as_str).chain(objects);
        let timeline = |path: &str| {
            let name = path.rsplit('/').next()?;
            let digits = name.strip_suffix(".history").unwrap_or(name);
            TimelineId::new(u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 8)?)
        };
        let mut timelines: Vec<_> = names.filter_map(timeline).collect();
        timelines.sort_unstable();
        timelines.dedup();
        Ok(timelines)
    }

    /// The cluster that it belongs to.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

fn compare(there: &WalInfo, digest: Digest) -> Result<()> {
    if there.blake3 == digest {
        return Ok(());
    }
    let message = format!(
        "{} is in the archive already, with other content: two servers archive to the same \
         cluster, or an old segment was archived again; nothing was changed",
        there.name
    );
    Err(Error::new(ErrorKind::Conflict, message))
}
