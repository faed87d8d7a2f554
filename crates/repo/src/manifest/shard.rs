use std::collections::HashMap;

use crate::codec::Codec;
use crate::frame::{self, Kind, MAX_RAW_LEN};
use crate::manifest::entry::{MAX_PATH, is_safe_path};
use crate::manifest::{Entry, EntryKind, Extent, Place};
use crate::wire::{self, Put, Reader};
use crate::{BackupId, Digest, Error, Result};

/// A pack, of whichever backup.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackRef {
    /// The backup that wrote it.
    pub backup: BackupId,
    /// Its number there: the `n` of `pack-n`.
    pub number: u32,
}

/// A frame in a pack, and the digest that it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef {
    /// Which pack, in the shard's table of packs.
    pub pack: u32,
    /// Where it begins in the pack, in bytes.
    pub offset: u64,
    /// Its length in the pack, header and all.
    pub stored_len: u32,
    /// The length of its content.
    pub raw_len: u32,
    /// Its digest.
    pub digest: Digest,
}

/// One shard of a manifest: entries in the order of their paths, and the tables that their
/// extents point into. Complete by itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// The packs that the frames are in.
    pub packs: Vec<PackRef>,
    /// The frames that the extents are in.
    pub frames: Vec<FrameRef>,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// The version of both encodings below.
const VERSION: u8 = 1;

impl Shard {
    /// The object's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut tables = vec![VERSION];
        tables.put_number(self.packs.len() as u64);
        for pack in &self.packs {
            tables.put_bytes(pack.backup.as_str().as_bytes());
            tables.put_number(u64::from(pack.number));
        }
        tables.put_number(self.frames.len() as u64);
        for frame in &self.frames {
            tables.put_number(u64::from(frame.pack));
            tables.put_number(frame.offset);
            tables.put_number(u64::from(frame.stored_len));
            tables.put_number(u64::from(frame.raw_len));
            tables.extend_from_slice(frame.digest.as_bytes());
        }
        let mut entries = vec![VERSION];
        entries.put_number(self.entries.len() as u64);
        let mut last_path = "";
        let mut last_frame = 0;
        for entry in &self.entries {
            let shared = shared_prefix(last_path, &entry.path);
            entries.put_number(shared as u64);
            entries.put_bytes(&entry.path.as_bytes()[shared..]);
            entry.encode(&mut last_frame, &mut entries);
            last_path = &entry.path;
        }
        let mut object = Vec::new();
        frame::encode(Kind::ManifestTables, Codec::default(), &tables, &mut object);
        frame::encode(Kind::ManifestEntries, Codec::default(), &entries, &mut object);
        object
    }

    /// Reads the object back, and checks all that a restore relies on: every path is safe and they
    /// ascend, every extent lies inside its frame.
    pub(crate) fn decode(object: &str, bytes: &[u8]) -> Result<Self> {
        let damaged = |what: &str| Error::corrupt(object, what);
        let (tables, len) =
            frame::decode(bytes, Kind::ManifestTables, None).map_err(|e| e.at(object))?;
        let (entries, rest) =
            frame::decode(&bytes[len..], Kind::ManifestEntries, None).map_err(|e| e.at(object))?;
        if len + rest != bytes.len() {
            return Err(damaged("something follows its last frame"));
        }
        wire::check_version(object, &tables, VERSION)?;
        wire::check_version(object, &entries, VERSION)?;
        let (packs, frames) =
            decode_tables(&tables).ok_or_else(|| damaged("its tables are malformed"))?;
        let entries =
            decode_entries(&entries).ok_or_else(|| damaged("its entries are malformed"))?;
        let shard = Self { packs, frames, entries };
        match shard.problem() {
            Some(problem) => Err(damaged(&problem)),
            None => Ok(shard),
        }
    }

    fn problem(&self) -> Option<String> {
        let frame_problem = self.frames.iter().find(|frame| {
            frame.pack as usize >= self.packs.len()
                || frame.raw_len as usize > MAX_RAW_LEN
                || frame.stored_len as usize > MAX_RAW_LEN + frame::HEADER_LEN
                || frame.offset.checked_add(u64::from(frame.stored_len)).is_none()
        });
        if frame_problem.is_some() {
            return Some("a frame of it can't be".to_owned());
        }
        if let Some(entry) = self.entries.iter().find(|entry| !is_safe_path(&entry.path)) {
            return Some(format!("path {:?} leaves the data directory", entry.path));
        }
        if !self.entries.is_sorted_by(|a, b| a.path < b.path) {
            return Some("its paths are not in order".to_owned());
        }
        let inside = |extent: &Extent| match extent.place {
            Place::Zero => true,
            Place::Frame { frame, offset } => usize::try_from(frame)
                .ok()
                .and_then(|n| self.frames.get(n))
                .zip(u64::from(offset).checked_add(extent.len))
                .is_some_and(|(frame, end)| end <= u64::from(frame.raw_len)),
        };
        self.entries.iter().find_map(|entry| match &entry.kind {
            EntryKind::File(content) if !content.extents.iter().all(inside) => {
                Some(format!("an extent of {:?} lies outside its frame", entry.path))
            }
            _ => None,
        })
    }
}

/// How many leading bytes two paths share, cut so that the rest is text again.
fn shared_prefix(a: &str, b: &str) -> usize {
    let mut shared = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    while !b.is_char_boundary(shared) {
        shared -= 1;
    }
    shared
}

fn decode_tables(bytes: &[u8]) -> Option<(Vec<PackRef>, Vec<FrameRef>)> {
    let mut r = Reader(bytes);
    if r.byte()? != VERSION {
        return None;
    }
    let count = r.count(2)?;
    let packs = (0..count)
        .map(|_| Some(PackRef { backup: r.text()?.parse().ok()?, number: r.number_as()? }))
        .collect::<Option<_>>()?;
    let count = r.count(4 + Digest::LEN)?;
    let frames = (0..count)
        .map(|_| {
            Some(FrameRef {
                pack: r.number_as()?,
                offset: r.number()?,
                stored_len: r.number_as()?,
                raw_len: r.number_as()?,
                digest: Digest::from_bytes(r.array()?),
            })
        })
        .collect::<Option<_>>()?;
    r.is_empty().then_some((packs, frames))
}

fn decode_entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut r = Reader(bytes);
    if r.byte()? != VERSION {
        return None;
    }
    let count = r.count(4)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    let mut last_frame = 0;
    for _ in 0..count {
        let shared: usize = r.number_as()?;
        let last_path = entries.last().map_or("", |entry| entry.path.as_str());
        let path = format!("{}{}", last_path.get(..shared)?, r.text()?);
        // Before it can be the beginning of a longer one.
        if path.len() > MAX_PATH {
            return None;
        }
        entries.push(Entry::decode(path, &mut last_frame, &mut r)?);
    }
    r.is_empty().then_some(entries)
}

/// Collects entries into a shard, and gives the frames that they use numbers in its own table.
#[derive(Debug, Default)]
pub(crate) struct ShardBuilder {
    shard: Shard,
    packs: HashMap<PackRef, u32>,
    frames: HashMap<u64, u64>,
    weight: usize,
}

/// Above this many bytes of entries and tables, before compression, a shard is full.
const SHARD_WEIGHT: usize = 4 << 20;

impl ShardBuilder {
    pub(crate) fn is_full(&self) -> bool {
        self.weight >= SHARD_WEIGHT
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shard.entries.is_empty()
    }

    /// Adds an entry whose extents have backup-wide frame numbers; `lookup` tells what frame each
    /// is.
    pub(crate) fn push(
        &mut self,
        mut entry: Entry,
        mut lookup: impl FnMut(u64) -> Result<(PackRef, FrameRef)>,
    ) -> Result<()> {
        self.weight += 24 + entry.path.len();
        if let EntryKind::File(content) = &mut entry.kind {
            self.weight += 8 * content.extents.len();
            for extent in &mut content.extents {
                let Place::Frame { frame, .. } = &mut extent.place else { continue };
                *frame = match self.frames.get(frame) {
                    Some(local) => *local,
                    None => self.add_frame(*frame, lookup(*frame)?),
                };
            }
        }
        self.shard.entries.push(entry);
        Ok(())
    }

    fn add_frame(&mut self, global: u64, (pack, mut frame): (PackRef, FrameRef)) -> u64 {
        let shard = &mut self.shard;
        frame.pack = *self.packs.entry(pack.clone()).or_insert_with(|| {
            shard.packs.push(pack);
            shard.packs.len() as u32 - 1
        });
        let local = shard.frames.len() as u64;
        shard.frames.push(frame);
        self.frames.insert(global, local);
        self.weight += 16 + Digest::LEN;
        local
    }

    pub(crate) fn finish(self) -> Shard {
        self.shard
    }
}
