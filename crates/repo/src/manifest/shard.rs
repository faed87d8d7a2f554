use std::collections::HashMap;

use crate::codec::Codec;
use crate::frame::{self, Kind, MAX_RAW_LEN};
use crate::manifest::entry::{MAX_PATH, is_safe_path};
use crate::manifest::{Entry, EntryKind, Extent, Place};
use crate::wire::{self, Put, Reader};
use crate::{BackupId, Digest, Error, Result};

/// A pack, of whichever backup.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

    /// The packs that a shard names, without its entries.
    pub(crate) fn decode_packs(object: &str, bytes: &[u8]) -> Result<Vec<PackRef>> {
        let (tables, _) =
            frame::decode(bytes, Kind::ManifestTables, None).map_err(|e| e.at(object))?;
        wire::check_version(object, &tables, VERSION)?;
        let mut r = Reader(&tables);
        let packs = r.byte().and_then(|_| decode_packs(&mut r));
        packs.ok_or_else(|| Error::corrupt(object, "its tables are malformed"))
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
    let packs = decode_packs(&mut r)?;
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

fn decode_packs(r: &mut Reader<'_>) -> Option<Vec<PackRef>> {
    let count = r.count(2)?;
    (0..count)
        .map(|_| Some(PackRef { backup: r.text()?.parse().ok()?, number: r.number_as()? }))
        .collect()
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
    /// By their numbers in the backup.
    frames: HashMap<u64, u64>,
    /// By pack and place: frames of the base have several numbers, one for each of its shards.
    places: HashMap<(u32, u64), u64>,
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
                    None => self.add_frame(*frame, lookup(*frame)?)?,
                };
            }
        }
        self.shard.entries.push(entry);
        Ok(())
    }

    fn add_frame(&mut self, global: u64, (pack, mut frame): (PackRef, FrameRef)) -> Result<u64> {
        let shard = &mut self.shard;
        frame.pack = *self.packs.entry(pack.clone()).or_insert_with(|| {
            shard.packs.push(pack);
            shard.packs.len() as u32 - 1
        });
        let next = shard.frames.len() as u64;
        let local = *self.places.entry((frame.pack, frame.offset)).or_insert(next);
        if local == next {
            shard.frames.push(frame);
            self.weight += 16 + Digest::LEN;
        } else if shard.frames[local as usize] != frame {
            let what = format!("two frames begin at byte {} of one pack", frame.offset);
            return Err(Error::corrupt("the base's manifest", what));
        }
        self.frames.insert(global, local);
        Ok(local)
    }

    pub(crate) fn finish(self) -> Shard {
        self.shard
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::ErrorKind;
    use crate::manifest::FileContent;

    fn id() -> impl Strategy<Value = BackupId> {
        "2026[01][0-9][0-3][0-9]T[0-9]{6}Z-[0-9a-f]{8}"
            .prop_map(|text| text.parse().expect("an identifier"))
    }

    fn frames() -> impl Strategy<Value = Vec<FrameRef>> {
        let frame = (any::<u32>(), 48..70_000u32, 1..=MAX_RAW_LEN as u32, any::<[u8; 32]>());
        vec(frame, 1..20).prop_map(|frames| {
            let frame = |(offset, stored_len, raw_len, digest)| FrameRef {
                pack: 0,
                offset: u64::from(offset),
                stored_len,
                raw_len,
                digest: Digest::from_bytes(digest),
            };
            frames.into_iter().map(frame).collect()
        })
    }

    /// The numbers of an extent, to be fitted into the frames that there are.
    type Numbers = (bool, u64, u32, u64);

    #[derive(Debug, Clone)]
    enum Shape {
        Directory,
        Symlink(String),
        File(Option<u32>, Vec<Numbers>),
    }

    fn shapes() -> impl Strategy<Value = Shape> {
        prop_oneof![
            Just(Shape::Directory),
            "[a-z/é]{1,20}".prop_map(Shape::Symlink),
            (any::<Option<u32>>(), vec(any::<Numbers>(), 0..6))
                .prop_map(|(crc, numbers)| Shape::File(crc, numbers)),
        ]
    }

    fn extent((zero, len, number, offset): Numbers, frames: &[FrameRef]) -> Extent {
        if zero {
            return Extent { len: len % (1 << 50) + 1, place: Place::Zero };
        }
        let frame = number as usize % frames.len();
        let raw_len = u64::from(frames[frame].raw_len);
        let offset = offset % raw_len;
        let len = len % (raw_len - offset) + 1;
        Extent { len, place: Place::Frame { frame: frame as u64, offset: offset as u32 } }
    }

    fn shards() -> impl Strategy<Value = Shard> {
        let path = "[a-cé]{1,3}(/[a-cé0-9]{1,4}){0,3}";
        let entries = btree_map(path, (any::<u32>(), any::<i64>(), shapes()), 0..20);
        let packs = vec((id(), any::<u32>()), 1..4);
        (packs, frames(), entries).prop_map(|(packs, mut frames, entries)| {
            for (number, frame) in frames.iter_mut().enumerate() {
                frame.pack = (number % packs.len()) as u32;
            }
            let entry = |(path, (mode, mtime, shape))| {
                let kind = match shape {
                    Shape::Directory => EntryKind::Directory,
                    Shape::Symlink(target) => EntryKind::Symlink { target },
                    Shape::File(crc32c, numbers) => {
                        let extents: Vec<Extent> =
                            numbers.into_iter().map(|n| extent(n, &frames)).collect();
                        let size = extents.iter().map(|extent| extent.len).sum();
                        EntryKind::File(FileContent { size, crc32c, extents })
                    }
                };
                Entry { path, mode, mtime, kind }
            };
            let entries = entries.into_iter().map(entry).collect();
            let packs = packs.into_iter().map(|(backup, number)| PackRef { backup, number });
            Shard { packs: packs.collect(), frames, entries }
        })
    }

    /// An object of these tables and entries, whose digests are right whatever is in them.
    fn object(tables: &[u8], entries: &[u8]) -> Vec<u8> {
        let mut object = Vec::new();
        frame::encode(Kind::ManifestTables, Codec::None, tables, &mut object);
        frame::encode(Kind::ManifestEntries, Codec::None, entries, &mut object);
        object
    }

    proptest! {
        #[test]
        fn a_shard_reads_back(shard in shards()) {
            prop_assert_eq!(Shard::decode("shard", &shard.encode()).expect("decodes"), shard);
        }

        #[test]
        fn any_tables_are_refused_or_hold_together(
            mut tables in vec(any::<u8>(), 0..300),
            mut entries in vec(any::<u8>(), 0..300),
        ) {
            tables.insert(0, VERSION);
            entries.insert(0, VERSION);
            if let Ok(shard) = Shard::decode("shard", &object(&tables, &entries)) {
                prop_assert!(shard.problem().is_none());
            }
        }

        #[test]
        fn a_changed_shard_is_refused_or_holds_together(
            shard in shards(),
            in_entries in any::<bool>(),
            at in any::<prop::sample::Index>(),
            change in 1..=255u8,
        ) {
            let stored = shard.encode();
            let (mut tables, len) =
                frame::decode(&stored, Kind::ManifestTables, None).expect("its tables");
            let (mut entries, _) =
                frame::decode(&stored[len..], Kind::ManifestEntries, None).expect("its entries");
            let bytes = if in_entries { &mut entries } else { &mut tables };
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            if let Ok(shard) = Shard::decode("shard", &object(&tables, &entries)) {
                prop_assert!(shard.problem().is_none());
            }
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let (tables, later_tables) = ([VERSION, 0, 0], [VERSION + 1, 0, 0]);
        let (entries, later_entries) = ([VERSION, 0], [VERSION + 1, 0]);
        Shard::decode("shard", &object(&tables, &entries)).expect("an empty shard");
        for later in [object(&later_tables, &entries), object(&tables, &later_entries)] {
            let error = Shard::decode("shard", &later).expect_err("too new");
            assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
        }
    }
}
