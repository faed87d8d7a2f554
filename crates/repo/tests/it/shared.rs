//! Backups that share what earlier ones have stored, against a model that knows nothing of
//! pages, frames or packs: a map from paths to contents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use walbrook_repo::{
    BackupId, BackupReader, BackupRecord, BackupWriter, BaseIndex, Cluster, Codec,
    CompactionOptions, DamagedPage, EntryKind, ErrorKind, PackRef, Result, ResumedBackups,
    UncommittedBackup, WornPacks, WriterOptions,
};
use walbrook_store::{MemoryStore, Store};
use walbrook_types::SystemId;

use crate::sample;

const PAGE: usize = 8192;

type Files = BTreeMap<String, Vec<u8>>;

/// A cheap source of choices that a seed repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn page(&mut self) -> Vec<u8> {
        if self.one_in(6) {
            return vec![0; PAGE];
        }
        // Few different ones, so that pages come back to what they were.
        let seed = self.below(40) as u8;
        (0..PAGE).map(|at| seed ^ (at / 64) as u8 | 1).collect()
    }

    fn path(&mut self, files: &Files) -> Option<String> {
        files.keys().nth(self.below(files.len())).cloned()
    }
}

fn is_relation(path: &str) -> bool {
    path.starts_with("base/")
}

/// One thing that happens to a cluster between two backups.
fn change(random: &mut Random, files: &mut Files) {
    let Some(path) = random.path(files) else {
        files.insert("base/5/1".into(), random.page());
        return;
    };
    match random.below(8) {
        0 => {
            let pages = random.below(90);
            let content = (0..pages).flat_map(|_| random.page()).collect();
            files.insert(format!("base/5/{}", random.below(30)), content);
        }
        1 => {
            let content = vec![random.below(3) as u8; random.below(20_000)];
            files.insert(format!("pg_xact/{:04}", random.below(20)), content);
        }
        2 => {
            files.remove(&path);
        }
        3 => {
            let content = files.remove(&path).unwrap_or_default();
            let folder = if is_relation(&path) { "base/5" } else { "pg_xact" };
            files.insert(format!("{folder}/{}", 100 + random.below(30)), content);
        }
        4 => {
            let content = files.get_mut(&path).unwrap();
            let unit = if is_relation(&path) { PAGE } else { 1 };
            content.truncate(random.below(content.len() / unit + 1) * unit);
        }
        5 if is_relation(&path) => {
            let more: Vec<u8> = (0..random.below(40)).flat_map(|_| random.page()).collect();
            files.get_mut(&path).unwrap().extend(more);
        }
        _ => {
            let content = files.get_mut(&path).unwrap();
            if is_relation(&path) && !content.is_empty() {
                for _ in 0..random.below(20) {
                    let at = random.below(content.len() / PAGE) * PAGE;
                    content[at..at + PAGE].copy_from_slice(&random.page());
                }
            } else if !content.is_empty() {
                let at = random.below(content.len());
                content[at] ^= 1;
            }
        }
    }
}

/// The pages of a file that are not zeros and not what the base has there: what has to be stored.
fn new_pages<'a>(now: &'a [u8], before: Option<&Vec<u8>>) -> BTreeMap<usize, &'a [u8]> {
    let before = before.map_or(&[][..], Vec::as_slice);
    let pages = now.chunks(PAGE).enumerate().filter(|(number, page)| {
        let same = before.chunks(PAGE).nth(*number) == Some(page);
        !same && page.iter().any(|byte| *byte != 0)
    });
    pages.collect()
}

/// What has to be stored of a file when `left` is what an interrupted backup has stored of it.
fn new_bytes(now: &[u8], before: Option<&Vec<u8>>, left: &BTreeMap<usize, &[u8]>) -> u64 {
    let new = new_pages(now, before);
    let new = new.into_iter().filter(|(number, page)| left.get(number) != Some(page));
    new.map(|(_, page)| page.len() as u64).sum()
}

/// A part of a file as it is given to the writer.
enum Part {
    Write(usize, usize),
    Reuse(usize, usize),
    Zeros(usize, usize),
}

/// Cuts a file into parts: what is as before is mostly referred to, zeros mostly said to be zeros.
fn parts(random: &mut Random, now: &[u8], before: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < now.len() {
        let end = now.len().min(at + PAGE * (1 + random.below(5)));
        let page_end = end.is_multiple_of(PAGE) || end == before.len();
        let same = before.get(at..end) == Some(&now[at..end]) && page_end;
        let zeros = now[at..end].iter().all(|byte| *byte == 0);
        parts.push(match random.below(4) {
            1.. if same => Part::Reuse(at, end),
            1.. if zeros => Part::Zeros(at, end),
            _ => Part::Write(at, end),
        });
        at = end;
    }
    for last in (1..parts.len()).rev() {
        parts.swap(last, random.below(last + 1));
    }
    parts
}

async fn take(
    cluster: &Cluster,
    id: &BackupId,
    files: &Files,
    base: Option<(&BackupRecord, &Files)>,
    random: &mut Random,
) -> Result<BackupRecord> {
    let describe = |written: walbrook_repo::Written| {
        let base = written.intent.base.clone();
        BackupRecord { base, ..sample::record(written) }
    };
    fill(cluster, id, files, base, &[], random).await?.commit(describe).await
}

/// Stores a backup of the model, with an earlier one as its base and others that it continues, by
/// all the ways that there are.
async fn fill(
    cluster: &Cluster,
    id: &BackupId,
    files: &Files,
    base: Option<(&BackupRecord, &Files)>,
    resumes: &[BackupId],
    random: &mut Random,
) -> Result<UncommittedBackup> {
    // Nothing is worn.
    let compaction = CompactionOptions::new(0);
    fill_compacting(cluster, id, files, base, resumes, random, compaction).await
}

async fn fill_compacting(
    cluster: &Cluster,
    id: &BackupId,
    files: &Files,
    base: Option<(&BackupRecord, &Files)>,
    resumes: &[BackupId],
    random: &mut Random,
    compaction: CompactionOptions,
) -> Result<UncommittedBackup> {
    let mut intent = sample::intent(id);
    intent.base = base.map(|(record, _)| record.id.clone());
    intent.resumes = resumes.to_vec();
    let options = WriterOptions { codec: Codec::default(), workers: 2, check: None };
    let mut writer = BackupWriter::begin(cluster, intent, options).await?;
    let index = match base {
        Some((record, _)) => {
            let index = BaseIndex::open(&BackupReader::new(cluster, record.clone())).await?;
            writer.set_base(index.clone())?;
            writer.set_compaction(WornPacks::find(cluster, &index, compaction).await?);
            Some(index)
        }
        None => None,
    };
    writer.set_resumed(ResumedBackups::open(cluster, resumes).await?)?;
    let mut open = Vec::new();
    for (path, now) in files {
        let before = base.and_then(|(_, files)| files.get(path));
        let known = match &index {
            Some(index) => index.lookup(path)?,
            None => None,
        };
        assert_eq!(known.as_ref().map(|file| file.size() as usize), before.map(Vec::len));
        match known {
            Some(known) if before == Some(now) && !random.one_in(3) => {
                writer.reuse_file(path, 0o600, 7, known)?;
            }
            known if random.one_in(2) => {
                let mut parts = parts(random, now, before.map_or(&[], Vec::as_slice));
                if known.is_none() {
                    parts.retain_mut(|part| {
                        if let Part::Reuse(at, end) = *part {
                            *part = Part::Write(at, end);
                        }
                        true
                    });
                }
                let file = writer.open_file(path, 0o600, 7, known)?;
                open.push((file, now, parts));
            }
            _ => {
                writer.begin_file(path, 0o600, 7)?;
                let mut rest = Bytes::from(now.clone());
                while !rest.is_empty() {
                    let chunk = rest.split_to(rest.len().min(1 + random.below(30_000)));
                    writer.write(&chunk).await?;
                }
                writer.end_file()?;
            }
        }
    }
    // The parts of all files that are open, as they come.
    while !open.is_empty() {
        let number = random.below(open.len());
        let (file, now, parts) = &mut open[number];
        match parts.pop() {
            Some(Part::Write(at, end)) => {
                writer.write_at(*file, at as u64, &now[at..end]).await?;
            }
            Some(Part::Reuse(at, end)) => writer.reuse(*file, at as u64..end as u64)?,
            Some(Part::Zeros(at, end)) => writer.zeros(*file, at as u64..end as u64)?,
            None => {
                writer.close_file(*file, now.len() as u64)?;
                open.swap_remove(number);
            }
        }
    }
    writer.finish(|_| Ok(())).await
}

fn id(number: u32) -> BackupId {
    format!("20261122T0345{number:02}Z-0000abcd").parse().unwrap()
}

/// Bytes of files in the packs that a backup wrote, before compression.
async fn packed(cluster: &Cluster, record: &BackupRecord) -> u64 {
    let reader = BackupReader::new(cluster, record.clone());
    let mut bytes = 0;
    for number in 0..record.size.packs {
        let index = reader.pack_index(number).await.unwrap();
        bytes += index.frames.iter().map(|frame| u64::from(frame.raw_len)).sum::<u64>();
    }
    bytes
}

async fn check(cluster: &Cluster, id: &BackupId, files: &Files) {
    let found = sample::read_backup(cluster, id).await.unwrap();
    assert!(found.keys().eq(files.keys()), "{id}");
    for (path, content) in files {
        assert!(found[path] == content, "{path} in {id}");
    }
}

/// Six backups of a changing cluster; then all of them but some are deleted.
async fn history(seed: u64) {
    let mut random = Random(seed | 1);
    let store = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(store.clone()).await.unwrap();
    let mut files = Files::from([("PG_VERSION".to_owned(), b"18\n".to_vec())]);
    let mut taken: Vec<(BackupRecord, Files)> = Vec::new();
    for number in 0..6 {
        for _ in 0..random.below(40) {
            change(&mut random, &mut files);
        }
        // Mostly the one before, sometimes an older one, seldom none.
        let base = match random.below(8) {
            0 => None,
            1 => taken.get(random.below(taken.len())),
            _ => taken.last(),
        };
        let base = base.map(|(record, files)| (record, files));
        let before = |path| base.and_then(|(_, files)| files.get(path));

        // Sometimes the first attempt dies before its commit, and the cluster changes again.
        let attempt = files.clone();
        let mut left = BTreeMap::new();
        let mut resumes = Vec::new();
        if random.one_in(3) {
            resumes.push(id(50 + number));
            fill(&cluster, &resumes[0], &attempt, base, &[], &mut random).await.unwrap();
            for _ in 0..random.below(10) {
                change(&mut random, &mut files);
            }
            let stored = attempt.iter().map(|(path, now)| (path, new_pages(now, before(path))));
            left.extend(stored);
        }
        let stored = fill(&cluster, &id(number), &files, base, &resumes, &mut random).await;
        let describe = |written: walbrook_repo::Written| {
            let base = written.intent.base.clone();
            BackupRecord { base, ..sample::record(written) }
        };
        let record = stored.unwrap().commit(describe).await.unwrap();

        let none = BTreeMap::new();
        let left = |path| left.get(path).unwrap_or(&none);
        let new = files.iter().map(|(path, now)| new_bytes(now, before(path), left(path)));
        let new: u64 = new.sum();
        assert_eq!(packed(&cluster, &record).await, new, "backup {number} stored something twice");
        let database_bytes: usize = files.values().map(Vec::len).sum();
        assert_eq!(record.size.database_bytes, database_bytes as u64);
        assert_eq!(record.base, base.map(|(record, _)| record.id.clone()));
        assert_eq!(record.resumes, resumes);
        assert!(record.size.resumed_bytes <= record.size.reused_bytes, "{:?}", record.size);
        check_checksums(&cluster, &record, &files).await;
        taken.push((record, files.clone()));
    }
    for (record, files) in &taken {
        check(&cluster, &record.id, files).await;
    }
    let (mut kept, mut deleted) = (Vec::new(), Vec::new());
    for backup in taken {
        if random.one_in(2) { kept.push(backup) } else { deleted.push(backup) }
    }
    for (record, _) in deleted {
        let folder = format!("main/backups/{}", record.id);
        store.delete(&format!("{folder}/backup.json")).await.unwrap();
        store.delete(&format!("{folder}/intent.json")).await.unwrap();
        for shard in &record.manifest {
            store.delete(&format!("{folder}/manifest-{:05}", shard.number)).await.unwrap();
        }
    }
    for (record, files) in &kept {
        check(&cluster, &record.id, files).await;
    }
    if let Some((base, files)) = kept.last() {
        compact(&cluster, base, files, &mut random).await;
    }
}

/// A backup that compacts all that it may stores what it would otherwise have of removed backups, and
/// nothing else.
async fn compact(cluster: &Cluster, base: &BackupRecord, before: &Files, random: &mut Random) {
    let mut files = before.clone();
    for _ in 0..random.below(10) {
        change(random, &mut files);
    }
    let exist = cluster.backup_ids().await.unwrap();
    let removed = |packs: &BTreeSet<PackRef>| {
        packs.iter().filter(|pack| !exist.contains(&pack.backup)).cloned().collect::<Vec<_>>()
    };
    for (number, live_share) in [(98, 0.0), (99, f64::INFINITY)] {
        let mut options = CompactionOptions::new(u64::MAX);
        options.live_share = live_share;
        let base = Some((base, before));
        let stored =
            fill_compacting(cluster, &id(number), &files, base, &[], random, options).await;
        let record = stored.unwrap().commit(sample::record).await.unwrap();
        check(cluster, &record.id, &files).await;
        check_checksums(cluster, &record, &files).await;
        let packs = packs_of(cluster, &record).await;
        let left = removed(&packs).iter().filter(|pack| pack.backup != record.id).count();
        let compacted = record.size.compacted_bytes;
        if live_share == 0.0 {
            assert_eq!(compacted, 0);
        } else {
            assert_eq!(left, 0, "{packs:?}");
            let new: u64 = files
                .iter()
                .map(|(path, now)| new_bytes(now, before.get(path), &BTreeMap::new()))
                .sum();
            assert_eq!(packed(cluster, &record).await, new + compacted);
        }
    }
}

/// The packs that a backup's manifest names.
async fn packs_of(cluster: &Cluster, record: &BackupRecord) -> BTreeSet<PackRef> {
    let reader = BackupReader::new(cluster, record.clone());
    let mut packs = BTreeSet::new();
    for shard in 0..record.manifest.len() {
        packs.extend(reader.shard(shard).await.unwrap().packs);
    }
    packs
}

/// Packs are compacted the emptiest first, within the budget, and not at all while the backup that
/// wrote them exists; one that is damaged is referred to as before.
#[tokio::test]
async fn compaction_keeps_to_its_budget_and_passes_over_damage() {
    let store = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(store.clone()).await.unwrap();
    let files = noise();
    let first = take(&cluster, &id(0), &files, None, &mut Random(1)).await.unwrap();
    let mut changed = files.clone();
    for (path, content) in &mut changed {
        if !path.ends_with('7') {
            content.iter_mut().for_each(|byte| *byte ^= 0x55);
        }
    }
    let base = take(&cluster, &id(1), &changed, Some((&first, &files)), &mut Random(3)).await;
    let base = base.unwrap();
    let index = BaseIndex::open(&BackupReader::new(&cluster, base.clone())).await.unwrap();
    let worn = async |budget| {
        WornPacks::find(&cluster, &index, CompactionOptions::new(budget)).await.unwrap().len()
    };
    assert_eq!(worn(u64::MAX).await, 0, "its own backup has all of the pack in use");
    store.delete(&format!("main/backups/{}/backup.json", first.id)).await.unwrap();
    assert_eq!((worn(u64::MAX).await, worn(1 << 20).await), (1, 0));

    let pack = format!("main/backups/{}/pack-0000000", first.id);
    let whole = store.get(&pack).await.unwrap();
    let mut damaged = whole.to_vec();
    // In the first frame, which has some of the files that did not change.
    damaged[1000] ^= 1;
    store.overwrite(&pack, damaged).unwrap();
    let options = CompactionOptions::new(u64::MAX);
    let base = Some((&base, &changed));
    let mut random = Random(7);
    let stored = fill_compacting(&cluster, &id(2), &changed, base, &[], &mut random, options).await;
    let record = stored.unwrap().commit(sample::record).await.unwrap();
    let packs = packs_of(&cluster, &record).await;
    assert!(packs.iter().any(|pack| pack.backup == first.id), "{packs:?}");
    assert!(record.size.compacted_bytes > 0);
    store.overwrite(&pack, whole).unwrap();
    check(&cluster, &record.id, &changed).await;
}

/// Where an entry has a checksum it is the right one.
async fn check_checksums(cluster: &Cluster, record: &BackupRecord, files: &Files) {
    let reader = BackupReader::new(cluster, record.clone());
    for shard in 0..record.manifest.len() {
        for entry in reader.shard(shard).await.unwrap().entries {
            let EntryKind::File(content) = entry.kind else { continue };
            let expected = crc32c::crc32c(&files[&entry.path]);
            assert!(content.crc32c.is_none_or(|crc| crc == expected), "{}", entry.path);
            let extents = content.extents.windows(2);
            assert!(
                extents.into_iter().all(|pair| match (pair[0].place, pair[1].place) {
                    (walbrook_repo::Place::Zero, next) => next != walbrook_repo::Place::Zero,
                    _ => true,
                }),
                "neighbouring zeros are one extent"
            );
        }
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 0, ..Default::default() })]

    #[test]
    fn i4_every_backup_is_complete_whatever_it_shares(seed in any::<u64>()) {
        block_on(history(seed));
    }
}

/// Three hundred files with noise in them, 20 MiB together.
fn noise() -> Files {
    let mut random = Random(99);
    let word = |random: &mut Random| (random.next() as u32).to_le_bytes();
    (0..300)
        .map(|number| {
            let content = (0..16 * 1024 + 3).flat_map(|_| word(&mut random)).collect();
            (format!("base/5/{number}"), content)
        })
        .collect()
}

#[tokio::test]
async fn an_unchanged_backup_is_a_few_references() {
    let store = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(store.clone()).await.unwrap();
    let files = noise();
    let first = take(&cluster, &id(0), &files, None, &mut Random(1)).await.unwrap();
    assert!(first.size.stored_bytes > 19_000_000);
    // Said to be unchanged, or found to be.
    for (number, seed) in [(1, 3), (2, 5)] {
        let base = Some((&first, &files));
        let again = take(&cluster, &id(number), &files, base, &mut Random(seed)).await.unwrap();
        assert_eq!(again.size.packs, 0);
        assert_eq!(again.size.reused_bytes, again.size.database_bytes);
        assert!(again.size.stored_bytes < 8_000, "{} bytes", again.size.stored_bytes);
        check(&cluster, &again.id, &files).await;
    }
}

/// What was there before is not trusted when it can't be looked at.
#[tokio::test]
async fn content_is_stored_again_when_the_base_s_packs_are_damaged_or_gone() {
    let memory = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(memory.clone()).await.unwrap();
    let files = Files::from([("base/5/1".to_owned(), vec![7; 30 * PAGE])]);
    let first = take(&cluster, &id(0), &files, None, &mut Random(1)).await.unwrap();
    let pack = format!("main/backups/{}/pack-0000000", first.id);
    let whole = memory.get(&pack).await.unwrap();
    for case in 0..3 {
        let mut damaged = whole.to_vec();
        match case {
            // In the index, in the trailer, altogether.
            0 => damaged[whole.len() - 40] ^= 1,
            1 => damaged[whole.len() - 1] ^= 1,
            _ => memory.delete(&pack).await.unwrap(),
        }
        if case < 2 {
            memory.overwrite(&pack, damaged).unwrap();
        }
        let mut intent = sample::intent(&id(10 + case));
        intent.base = Some(first.id.clone());
        let options = WriterOptions { codec: Codec::default(), workers: 1, check: None };
        let mut writer = BackupWriter::begin(&cluster, intent, options).await.unwrap();
        let reader = BackupReader::new(&cluster, first.clone());
        writer.set_base(BaseIndex::open(&reader).await.unwrap()).unwrap();
        writer.begin_file("base/5/1", 0o600, 0).unwrap();
        writer.write(&files["base/5/1"].clone().into()).await.unwrap();
        writer.end_file().unwrap();
        let record = writer.finish(|_| Ok(())).await.unwrap().commit(sample::record).await.unwrap();
        assert_eq!((record.size.packs, record.size.reused_bytes), (1, 0), "case {case}");
        check(&cluster, &record.id, &files).await;
    }
    // A reader of the first backup is told which pack is not there.
    let error = sample::read_backup(&cluster, &first.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&pack), "{error}");
}

/// Pages that were damaged in the base, and are taken over, are damaged in the new backup.
#[tokio::test]
async fn damage_is_handed_on() {
    let cluster = sample::cluster(Arc::new(MemoryStore::new())).await.unwrap();
    let options = WriterOptions { codec: Codec::default(), workers: 1, check: None };
    let bad = |block| DamagedPage { path: "base/5/1.2".into(), block, problem: "torn".into() };
    let mut writer = BackupWriter::begin(&cluster, sample::intent(&id(0)), options).await.unwrap();
    writer.begin_file("base/5/1.2", 0o600, 0).unwrap();
    writer.write(&vec![7; 6 * PAGE].into()).await.unwrap();
    writer.end_file().unwrap();
    let first_block = 2 * 131_072;
    for block in [1, 2, 4, 5] {
        writer.add_damage(bad(first_block + block));
    }
    let first = writer.finish(|_| Ok(())).await.unwrap().commit(sample::record).await.unwrap();

    let mut intent = sample::intent(&id(1));
    intent.base = Some(id(0));
    let mut writer = BackupWriter::begin(&cluster, intent, options).await.unwrap();
    let base = BaseIndex::open(&BackupReader::new(&cluster, first)).await.unwrap();
    writer.set_base(base.clone()).unwrap();
    let known = base.lookup("base/5/1.2").unwrap();
    let file = writer.open_file("base/5/1.2", 0o600, 0, known).unwrap();
    let page = |n: usize| (n * PAGE) as u64;
    writer.reuse(file, 0..page(2)).unwrap();
    writer.write_at(file, page(2), &[9; PAGE]).await.unwrap();
    writer.reuse(file, page(3)..page(5)).unwrap();
    writer.close_file(file, page(5)).unwrap();
    let stored = writer.finish(|_| Ok(())).await.unwrap();
    assert_eq!(stored.damage().listed, [bad(first_block + 1), bad(first_block + 4)]);
    assert_eq!(stored.damage().pages, 2);
}

#[tokio::test]
async fn files_must_be_given_once_and_whole() {
    let cluster = sample::cluster(Arc::new(MemoryStore::new())).await.unwrap();
    let files = Files::from([("base/5/1".to_owned(), vec![7; 3 * PAGE])]);
    let first = take(&cluster, &id(0), &files, None, &mut Random(1)).await.unwrap();
    let page = vec![1; PAGE];
    let base = BaseIndex::open(&BackupReader::new(&cluster, first)).await.unwrap();
    for case in 0..8 {
        let mut intent = sample::intent(&id(10 + case));
        intent.base = Some(id(0));
        let options = WriterOptions { codec: Codec::default(), workers: 1, check: None };
        let mut writer = BackupWriter::begin(&cluster, intent, options).await.unwrap();
        writer.set_base(base.clone()).unwrap();
        let known = base.lookup("base/5/1").unwrap();
        let file = writer.open_file("base/5/1", 0o600, 0, known).unwrap();
        let outcome = async {
            match case {
                // A gap, an overlap, too little, too much.
                0 => writer.write_at(file, PAGE as u64, &page).await?,
                1 => {
                    writer.write_at(file, 0, &page).await?;
                    writer.reuse(file, 0..2 * PAGE as u64)?;
                }
                2 => writer.reuse(file, 0..PAGE as u64)?,
                3 => writer.reuse(file, 0..3 * PAGE as u64)?,
                // Inside a page, past the base's end, of no file.
                4 => writer.write_at(file, 100, &page).await?,
                5 => writer.reuse(file, 0..4 * PAGE as u64)?,
                6 => writer.reuse(file, 0..100)?,
                _ => return Err(writer.finish(|_| Ok(())).await.unwrap_err()),
            }
            writer.close_file(file, 2 * PAGE as u64)?;
            writer.finish(|_| Ok(())).await.map(|_| ())
        };
        let error = outcome.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "case {case}: {error}");
        assert!(error.to_string().contains("base/5/1"), "case {case}: {error}");
    }
}

#[tokio::test]
async fn only_the_base_of_the_intent_is_shared() {
    let cluster = sample::cluster(Arc::new(MemoryStore::new())).await.unwrap();
    let files = Files::from([("PG_VERSION".to_owned(), b"18\n".to_vec())]);
    let first = take(&cluster, &id(0), &files, None, &mut Random(1)).await.unwrap();
    let base = BaseIndex::open(&BackupReader::new(&cluster, first)).await.unwrap();
    let options = WriterOptions { codec: Codec::default(), workers: 1, check: None };
    let mut other_system = sample::intent(&id(2));
    other_system.base = Some(id(0));
    other_system.system_identifier.0 += 1;
    for intent in [sample::intent(&id(1)), other_system] {
        let mut writer = BackupWriter::begin(&cluster, intent, options).await.unwrap();
        let error = writer.set_base(base.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let known = base.lookup("PG_VERSION").unwrap().unwrap();
        writer.reuse_file("PG_VERSION", 0o600, 0, known).unwrap_err();
    }
}

/// Those that left something, of this system, and since a moment.
#[tokio::test]
async fn interrupted_backups_are_found() {
    let memory = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(memory.clone()).await.unwrap();
    let system = sample::system().system_identifier;
    let files = Files::from([("base/5/1".to_owned(), vec![7; 3 * PAGE])]);
    let mut random = Random(1);
    for number in [1, 2, 5] {
        fill(&cluster, &id(number), &files, None, &[], &mut random).await.unwrap();
    }
    let options = WriterOptions { codec: Codec::default(), workers: 1, check: None };
    BackupWriter::begin(&cluster, sample::intent(&id(3)), options).await.unwrap();
    let first = take(&cluster, &id(4), &files, None, &mut random).await.unwrap();
    memory.overwrite(&format!("main/backups/{}/intent.json", id(5)), b"{}".to_vec()).unwrap();

    let found = async |system, since| {
        let found = cluster.interrupted_backups(system, since).await.unwrap();
        assert!(found.iter().all(|backup| backup.packs == 1 && backup.bytes > 0), "{found:?}");
        found.into_iter().map(|backup| backup.intent.id).collect::<Vec<_>>()
    };
    assert_eq!(found(system, None).await, [id(1), id(2)]);
    assert_eq!(found(SystemId(1), None).await, []);
    // In the same second, or later.
    let second = "20261122T034502Z-ffffffff".parse().unwrap();
    assert_eq!(found(system, Some(&second)).await, [id(2)]);
    assert_eq!(found(system, Some(&first.id)).await, []);

    let again = [id(1), id(2)];
    let stored = fill(&cluster, &id(6), &files, None, &again, &mut random).await.unwrap();
    let record = stored.commit(sample::record).await.unwrap();
    assert_eq!((record.size.packs, record.size.resumed_bytes), (0, 3 * PAGE as u64));
    assert_eq!(record.resumes, again);
    check(&cluster, &record.id, &files).await;
}
