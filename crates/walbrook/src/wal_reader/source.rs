use std::sync::Arc;

use bytes::Bytes;
use walbrook_types::{Lsn, SegmentNumber, TimelineId, WalFileName, WalSegmentSize};

use super::archive::ArchiveSource;
use super::local::LocalSource;
use super::options::{ReadOptions, WalInput};
use super::time::EndTimes;
use crate::Result;
use crate::segment_path::SegmentPath;

/// Segments of one place.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Archive(Arc<ArchiveSource>),
    Local(Arc<LocalSource>),
}

/// What is read at once: a segment, or a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) number: SegmentNumber,
    pub(super) offset: u64,
}

/// The most bytes of a file that are read at once.
pub(super) const PIECE: u64 = 4 << 20;

impl Source {
    pub(super) async fn open(options: &ReadOptions) -> Result<Self> {
        Ok(match &options.input {
            WalInput::Repository { repository, cluster } => {
                let source = ArchiveSource::open(repository, cluster, options.timeline).await?;
                Self::Archive(Arc::new(source))
            }
            WalInput::Directory(path) => {
                let (path, timeline) = (path.clone(), options.timeline);
                let hint = options.to_segment.or(options.from_segment).map(|name| name.timeline());
                let opened = move || LocalSource::directory(&path, timeline.or(hint));
                Self::Local(Arc::new(tokio::task::spawn_blocking(opened).await??))
            }
            WalInput::Files(files) => {
                let files = files.clone();
                let opened = move || LocalSource::files(&files);
                Self::Local(Arc::new(tokio::task::spawn_blocking(opened).await??))
            }
        })
    }

    pub(super) fn path(&self) -> &SegmentPath {
        match self {
            Self::Archive(source) => source.path(),
            Self::Local(source) => source.path(),
        }
    }

    pub(super) fn size(&self) -> WalSegmentSize {
        self.path().size()
    }

    /// The file that has a segment: whole, or partial where that is all there is.
    pub(super) fn name(&self, number: SegmentNumber) -> Option<WalFileName> {
        let whole = self.path().name(number);
        let partial = match self {
            Self::Archive(source) => source.partial(),
            Self::Local(source) => source.partial(),
        };
        whole.or_else(|| partial.filter(|name| name.segment_number(self.size()) == Some(number)))
    }

    /// Where the path leaves the timeline of the file that has this segment.
    pub(super) fn switch_lsn(&self, timeline: TimelineId) -> Option<Lsn> {
        self.path().history().switch_lsn(timeline)
    }

    /// The runs of segments without a gap, the partial one at the end included.
    pub(super) fn runs(&self) -> Vec<(SegmentNumber, SegmentNumber)> {
        let mut runs = self.path().runs();
        let partial = match self {
            Self::Archive(source) => source.partial(),
            Self::Local(source) => source.partial(),
        };
        let number = partial.and_then(|name| name.segment_number(self.size()));
        match (runs.last_mut(), number) {
            (Some((_, last)), Some(number)) if last.next() == number => *last = number,
            (Some((_, last)), Some(number)) if *last < number => runs.push((number, number)),
            (None, Some(number)) => runs.push((number, number)),
            _ => {}
        }
        runs
    }

    /// The unit that begins where a segment does.
    pub(super) fn first_unit(number: SegmentNumber) -> Unit {
        Unit { number, offset: 0 }
    }

    /// The unit that follows; the first of the next segment behind a segment's last.
    pub(super) fn next_unit(&self, unit: Unit) -> Unit {
        let next = unit.offset + PIECE;
        match self {
            Self::Local(source) if next < source.length(unit.number) => {
                Unit { number: unit.number, offset: next }
            }
            _ => Self::first_unit(unit.number.next()),
        }
    }

    /// How much memory a unit takes.
    pub(super) fn unit_len(&self) -> u64 {
        match self {
            Self::Archive(_) => self.size().bytes(),
            Self::Local(_) => PIECE.min(self.size().bytes()),
        }
    }

    /// The content of a unit, of which [`name`](Self::name) says that it is there.
    pub(super) async fn read(&self, unit: Unit, name: WalFileName) -> Result<Vec<Bytes>> {
        match self {
            Self::Archive(source) => source.read(&name).await,
            Self::Local(source) => {
                let source = source.clone();
                let read = move || source.read(&name, unit.offset, PIECE);
                Ok(vec![tokio::task::spawn_blocking(read).await??])
            }
        }
    }

    /// When the transactions ended whose records lie in this segment; none when there are none.
    pub(super) async fn end_times(&self, number: SegmentNumber) -> Result<Option<EndTimes>> {
        let Some(name) = self.name(number) else { return Ok(None) };
        match self {
            Self::Archive(source) => source.end_times(&name).await,
            Self::Local(source) => {
                let source = source.clone();
                tokio::task::spawn_blocking(move || source.end_times(&name)).await?
            }
        }
    }
}
