use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use walbrook_repo::WalRange;
use walbrook_types::{SegmentNumber, TimelineId, WalFileName, WalSegmentSize};
use walbrook_wal::{SegmentHeader, SegmentScanner, TimelineHistory};

use super::time::{EndTimes, timestamp};
use crate::segment_path::{SegmentPath, Step};
use crate::{Error, ErrorKind, Result};

/// WAL in local files.
#[derive(Debug)]
pub(super) struct LocalSource {
    path: SegmentPath,
    partial: Option<WalFileName>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    /// Files that may be called anything, by the segment that their first bytes say they are.
    Files(HashMap<WalFileName, PathBuf>),
}

impl LocalSource {
    /// The segments of a directory along the history of a timeline: this one, or the newest.
    pub(super) fn directory(path: &Path, timeline: Option<TimelineId>) -> Result<Self> {
        let (directory, names) = find_segments(path)?;
        let no_wal = || {
            let message = format!("there are no WAL segments in {}", path.display());
            Error::new(ErrorKind::NotFound, message)
        };
        let is_segment = |n: &&WalFileName| {
            matches!(n, WalFileName::Segment { .. } | WalFileName::Partial { .. })
        };
        let any = names.iter().find(is_segment).ok_or_else(no_wal)?;
        let size = header(&directory.join(any.to_string()))?.segment_size;
        let newest = names.iter().filter(is_segment).map(WalFileName::timeline).max();
        let timeline = timeline.or(newest).ok_or_else(no_wal)?;
        let history = history(&directory, &names, timeline)?;
        let place = Place::Directory(directory);
        let source = Self::new(history, size, &names, place);
        if source.path.runs().is_empty() && source.partial.is_none() {
            let message = format!("{} has no WAL of timeline {timeline}", path.display());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        Ok(source)
    }

    /// These files, of one timeline and its ancestors.
    pub(super) fn files(files: &[PathBuf]) -> Result<Self> {
        let mut by_name = HashMap::with_capacity(files.len());
        let mut size = None;
        for path in files {
            let header = header(path)?;
            let expected = *size.get_or_insert(header.segment_size);
            if header.segment_size != expected {
                let message = format!(
                    "{} is of a cluster with segments of {}, the files before it of one with {expected}",
                    path.display(),
                    header.segment_size
                );
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            let number = expected.segment_of(header.start);
            // The first segment of a timeline begins with a page of the timeline before it: the
            // file's name knows better, where it is one.
            let named =
                file_name(path).filter(|name| name.segment_number(expected) == Some(number));
            let timeline = named.map_or(header.timeline, |name| name.timeline());
            let name = WalFileName::segment(timeline, number, expected);
            if let Some(other) = by_name.insert(name, path.clone()) {
                let (path, other) = (path.display(), other.display());
                let message = format!("{other} and {path} are the same segment: give one of them");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        let Some(size) = size else {
            return Err(Error::new(ErrorKind::Invalid, "no file is given"));
        };
        let mut names: Vec<WalFileName> = by_name.keys().copied().collect();
        names.sort_unstable();
        let newest = names.iter().map(WalFileName::timeline).max().unwrap_or(TimelineId::FIRST);
        // Whatever other timelines there are come before it: their history is not asked for.
        let history = TimelineHistory::root(newest);
        let mut source = Self::new(history.clone(), size, &names, Place::Files(by_name));
        if names.iter().any(|name| name.timeline() != newest) {
            let mut steps = Vec::new();
            for (timeline, ranges) in ranges(&names, size) {
                let first = ranges.iter().map(|range| range.first).min();
                let first = first.unwrap_or(SegmentNumber(0));
                steps.push(Step { timeline, first, last: None, ranges });
            }
            source.path = SegmentPath::new(history, size, steps);
        }
        Ok(source)
    }

    fn new(
        history: TimelineHistory,
        size: WalSegmentSize,
        names: &[WalFileName],
        place: Place,
    ) -> Self {
        let mut by_timeline = ranges(names, size);
        let steps = history.path().map(|(timeline, begin, end)| {
            let ranges = by_timeline.remove(&timeline).unwrap_or_default();
            Step::new(timeline, begin, end, size, ranges)
        });
        let path = SegmentPath::new(history.clone(), size, steps.collect());
        let whole = path.runs().last().map(|(_, last)| *last);
        let partial = names.iter().filter(|name| {
            let last = matches!(name, WalFileName::Partial { .. })
                && name.timeline() == history.timeline();
            last && name.segment_number(size) > whole
        });
        let partial = partial.max().copied();
        Self { path, partial, place }
    }

    pub(super) fn path(&self) -> &SegmentPath {
        &self.path
    }

    pub(super) fn partial(&self) -> Option<WalFileName> {
        self.partial
    }

    /// How many bytes of a segment are read: all, unless its file is shorter.
    pub(super) fn length(&self, number: SegmentNumber) -> u64 {
        let size = self.path.size();
        match self.partial.filter(|name| name.segment_number(size) == Some(number)) {
            Some(name) => fs::metadata(self.file(&name)).map_or(size.bytes(), |meta| meta.len()),
            None => size.bytes(),
        }
    }

    fn file(&self, name: &WalFileName) -> PathBuf {
        match &self.place {
            Place::Directory(directory) => directory.join(name.to_string()),
            Place::Files(files) => files.get(name).cloned().unwrap_or_default(),
        }
    }

    pub(super) fn read(&self, name: &WalFileName, offset: u64, len: u64) -> Result<Bytes> {
        let path = self.file(name);
        let size = self.path.size().bytes();
        let content = || {
            let file = File::open(&path)?;
            let end = file.metadata()?.len().min(size);
            let len = end.saturating_sub(offset).min(len);
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, offset)?;
            Ok::<_, std::io::Error>(bytes)
        };
        let bytes = content().map_err(|e| unreadable(&path, e))?;
        let whole = matches!(name, WalFileName::Segment { .. });
        if whole && offset + (bytes.len() as u64) < size.min(offset + len) {
            let message = format!("{} is shorter than a segment of {size} bytes", path.display());
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok(bytes.into())
    }

    pub(super) fn end_times(&self, name: &WalFileName) -> Result<Option<EndTimes>> {
        let path = self.file(name);
        let mut scanner = SegmentScanner::new(false);
        let mut offset = 0;
        loop {
            let bytes = self.read(name, offset, super::source::PIECE)?;
            if bytes.is_empty() {
                break;
            }
            offset += bytes.len() as u64;
            if let Err(error) = scanner.feed(&bytes) {
                tracing::debug!(file = %path.display(), %error, "not understood to its end");
                break;
            }
        }
        let last = scanner.facts().and_then(|facts| facts.max_xact_time);
        Ok(last.map(|last| EndTimes { last: timestamp(last) }))
    }
}

/// The WAL files of a directory, or of the `pg_wal` inside it, in order.
fn find_segments(path: &Path) -> Result<(PathBuf, Vec<WalFileName>)> {
    let mut found = (path.to_owned(), Vec::new());
    for directory in [path.to_owned(), path.join("pg_wal")] {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if directory == path => return Err(unreadable(&directory, error)),
            Err(_) => continue,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| unreadable(&directory, e))?;
            names.extend(file_name(&entry.path()));
        }
        if !names.is_empty() {
            names.sort_unstable();
            found = (directory, names);
            break;
        }
    }
    Ok(found)
}

fn file_name(path: &Path) -> Option<WalFileName> {
    path.file_name()?.to_str()?.parse().ok()
}

/// The first bytes of a segment.
fn header(path: &Path) -> Result<SegmentHeader> {
    let mut bytes = Vec::new();
    let read = |bytes: &mut Vec<u8>| {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(0))?;
        file.take(64).read_to_end(bytes)
    };
    read(&mut bytes).map_err(|e| unreadable(path, e))?;
    SegmentHeader::parse(&bytes).map_err(|error| {
        let message = format!("{} is no WAL segment: {error}", path.display());
        Error::new(ErrorKind::Invalid, message).with_source(error)
    })
}

fn history(
    directory: &Path,
    names: &[WalFileName],
    timeline: TimelineId,
) -> Result<TimelineHistory> {
    let name = WalFileName::TimelineHistory { timeline };
    if !names.contains(&name) {
        // A copy of a few segments has none: then only the timeline's own can be told.
        return Ok(TimelineHistory::root(timeline));
    }
    let path = directory.join(name.to_string());
    let text = fs::read_to_string(&path).map_err(|e| unreadable(&path, e))?;
    TimelineHistory::parse(timeline, &text).map_err(|error| {
        let message = format!("{}: {error}", path.display());
        Error::new(ErrorKind::Corrupt, message).with_source(error)
    })
}

/// The segments of each timeline as runs without gaps. `names` are in order.
fn ranges(names: &[WalFileName], size: WalSegmentSize) -> HashMap<TimelineId, Vec<WalRange>> {
    let mut all: HashMap<TimelineId, Vec<WalRange>> = HashMap::new();
    for name in names {
        let WalFileName::Segment { timeline, .. } = *name else { continue };
        let Some(number) = name.segment_number(size) else { continue };
        let ranges = all.entry(timeline).or_default();
        match ranges.last_mut() {
            Some(range) if range.last.next() == number => range.last = number,
            _ => {
                let range = WalRange { timeline, first: number, last: number, stored_bytes: 0 };
                ranges.push(range);
            }
        }
    }
    all
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("{} can't be read", path.display()), error)
}
