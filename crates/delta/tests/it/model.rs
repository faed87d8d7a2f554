//! A server of a few relations, as far as backups see it: what is restored from a base, what a map
//! says is to be read, and the log, must be what the server had.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use walbrook_delta::{BaseBackupSpan, ChangeMap, ChangeMapBuilder, FilePlan, PageLsnFilter, Span};
use walbrook_types::{BLOCK_SIZE, BLOCKS_PER_FILE, Fork, Lsn, TimelineId};
use walbrook_wal::{RelLocator, TimelineHistory};

/// A relation by database and number, both small.
type Rel = (u32, u32);

/// A relation's main fork: pages by block, each with the LSN of its last change as its content.
/// What is not there is zeros.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pages {
    len: u32,
    pages: BTreeMap<u32, u64>,
}

impl Pages {
    fn truncate(&mut self, len: u32) {
        self.len = self.len.min(len);
        self.pages.retain(|block, _| *block < len);
    }

    fn write(&mut self, block: u32, lsn: u64) {
        self.len = self.len.max(block + 1);
        self.pages.insert(block, lsn);
    }

    /// The same without the zeros at its end, which no log restores.
    fn trimmed(&self) -> Self {
        let len = self.pages.last_key_value().map_or(0, |(block, _)| block + 1);
        Self { len, pages: self.pages.clone() }
    }
}

#[derive(Debug, Clone, Default)]
struct Server {
    files: BTreeMap<Rel, Pages>,
    /// Which directory of that number it is: what the times of `PG_VERSION` tell.
    databases: BTreeMap<u32, u64>,
    lsn: u64,
    log: Vec<(u64, Record)>,
}

#[derive(Debug, Clone)]
enum Record {
    Create(Rel),
    Drop(Rel),
    Write(Rel, u32),
    Truncate(Rel, u32),
    /// Copies the files of the second to the first, past the log.
    CopyDatabase(u32, u32),
    DropDatabase(u32),
    Other,
}

#[derive(Debug, Clone)]
enum Op {
    Log(Record),
    /// Extends a relation by zeros, which is not logged.
    Extend(Rel, u32),
}

impl Server {
    fn run(&mut self, op: &Op) {
        match op {
            Op::Extend(rel, len) => {
                if let Some(pages) = self.files.get_mut(rel) {
                    pages.len = pages.len.max(*len);
                }
            }
            Op::Log(record) => {
                // What a server never does.
                let possible = match record {
                    Record::Create(rel) => {
                        !self.files.contains_key(rel) && self.databases.contains_key(&rel.0)
                    }
                    Record::Drop(rel) | Record::Write(rel, _) => self.files.contains_key(rel),
                    Record::Truncate(rel, len) => {
                        self.files.get(rel).is_some_and(|pages| pages.len >= *len)
                    }
                    Record::CopyDatabase(to, from) => {
                        !self.databases.contains_key(to) && self.databases.contains_key(from)
                    }
                    Record::DropDatabase(database) => self.databases.contains_key(database),
                    Record::Other => true,
                };
                if possible {
                    self.lsn += 8;
                    self.log.push((self.lsn, record.clone()));
                    self.replay(self.lsn, record);
                }
            }
        }
    }

    fn replay(&mut self, lsn: u64, record: &Record) {
        match *record {
            Record::Create(rel) => drop(self.files.entry(rel).or_default()),
            Record::Drop(rel) => drop(self.files.remove(&rel)),
            Record::Write(rel, block) => self.files.entry(rel).or_default().write(block, lsn),
            Record::Truncate(rel, len) => self.files.entry(rel).or_default().truncate(len),
            Record::CopyDatabase(to, from) => {
                self.drop_database(to);
                self.databases.insert(to, lsn);
                let copies: Vec<_> = self.files.iter().filter(|((db, _), _)| *db == from).collect();
                let copies: Vec<_> =
                    copies.into_iter().map(|((_, n), pages)| ((to, *n), pages.clone())).collect();
                self.files.extend(copies);
            }
            Record::DropDatabase(database) => self.drop_database(database),
            Record::Other => {}
        }
    }

    fn drop_database(&mut self, database: u32) {
        self.databases.remove(&database);
        self.files.retain(|(db, _), _| *db != database);
    }
}

fn rel() -> impl Strategy<Value = Rel> {
    (5u32..7, 1u32..4)
}

fn block() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0u32..12, 1 => BLOCKS_PER_FILE - 3..BLOCKS_PER_FILE + 6]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => rel().prop_map(|rel| Op::Log(Record::Create(rel))),
        1 => rel().prop_map(|rel| Op::Log(Record::Drop(rel))),
        9 => (rel(), block()).prop_map(|(rel, block)| Op::Log(Record::Write(rel, block))),
        3 => (rel(), block()).prop_map(|(rel, len)| Op::Log(Record::Truncate(rel, len))),
        1 => Just(Op::Log(Record::CopyDatabase(6, 5))),
        1 => Just(Op::Log(Record::CopyDatabase(5, 6))),
        1 => (5u32..7).prop_map(|database| Op::Log(Record::DropDatabase(database))),
        1 => Just(Op::Log(Record::Other)),
        2 => (rel(), block()).prop_map(|(rel, len)| Op::Extend(rel, len)),
    ]
}

/// What happens during a backup. No database is copied past the log then and its template changed
/// after: PostgreSQL's documentation of `CREATE DATABASE` excludes that, for replay copies again.
fn op_during() -> impl Strategy<Value = Op> {
    op().prop_map(|op| match op {
        Op::Log(Record::CopyDatabase(..)) => Op::Log(Record::Other),
        op => op,
    })
}

/// What a backup holds, and where it lies in the log.
struct Backup {
    files: BTreeMap<String, File>,
    databases: BTreeMap<u32, u64>,
    start: u64,
    stop: u64,
}

/// A segment file: blocks within it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    len: u32,
    pages: BTreeMap<u32, u64>,
}

fn path(rel: Rel, segment: u32) -> String {
    let suffix = if segment == 0 { String::new() } else { format!(".{segment}") };
    format!("base/{}/{}{suffix}", rel.0, rel.1)
}

/// The segment files of a fork. As in PostgreSQL there is always a first one, and one behind a full
/// one is there if it has blocks.
fn segments(pages: &Pages) -> Vec<File> {
    let count = pages.len.div_ceil(BLOCKS_PER_FILE).max(1);
    (0..count)
        .map(|segment| {
            let first = segment * BLOCKS_PER_FILE;
            let len = (pages.len - first).min(BLOCKS_PER_FILE);
            let within = pages.pages.range(first..first + len);
            File { len, pages: within.map(|(block, lsn)| (block - first, *lsn)).collect() }
        })
        .collect()
}

/// Copies the server's files while it works: `during` is done between them.
fn copy(
    server: &mut Server,
    during: &[Op],
    mut take: impl FnMut(&str, &File, &Server) -> File,
) -> Backup {
    server.run(&Op::Log(Record::Other));
    let start = server.lsn;
    let mut work = during.iter();
    let mut files = BTreeMap::new();
    let names: Vec<Rel> = server.files.keys().copied().collect();
    let databases = server.databases.clone();
    for rel in names {
        for segment in 0..2 {
            work.next().into_iter().for_each(|op| server.run(op));
            let Some(pages) = server.files.get(&rel) else { continue };
            let Some(file) = segments(pages).get(segment as usize).cloned() else { continue };
            let path = path(rel, segment);
            files.insert(path.clone(), take(&path, &file, server));
        }
    }
    work.for_each(|op| server.run(op));
    server.run(&Op::Log(Record::Other));
    Backup { files, databases, start, stop: server.lsn }
}

/// Summaries of the log from `from` to `to`, cut in two.
fn summarise(server: &Server, span: Span, cut: u64) -> ChangeMap {
    let (from, to) = (span.from().0, span.to().0);
    let cut = from + (to - from) * cut / 100;
    let mut builder = ChangeMapBuilder::new(span);
    for (from, to) in [(cut, to), (from.saturating_sub(16), cut)] {
        let mut notes = builder.summary(TimelineId::FIRST, Lsn(from), Lsn(to));
        let main = |rel: Rel| RelLocator { tablespace_oid: 1663, database: rel.0, number: rel.1 };
        // A record begins where the one before it ends; its page's LSN is its own end.
        let here = server.log.iter().filter(|(end, _)| (from..to).contains(&(end - 8)));
        for (_, record) in here {
            match *record {
                Record::Write(rel, block) => notes.block(main(rel), Fork::Main, block),
                Record::Truncate(rel, len) => notes.limit(main(rel), Fork::Main, len),
                Record::Create(rel) | Record::Drop(rel) => notes.limit(main(rel), Fork::Main, 0),
                Record::CopyDatabase(db, _) | Record::DropDatabase(db) => {
                    notes.limit(main((db, 0)), Fork::Main, 0);
                }
                Record::Other => {}
            }
        }
        notes.complete();
    }
    builder.finish().unwrap()
}

fn size(file: &File) -> u64 {
    u64::from(file.len) * BLOCK_SIZE as u64
}

/// A file of which `read` blocks were read and the others taken from the base.
fn assemble(now: &File, base: &File, read: impl Fn(u32, u64) -> bool) -> File {
    let blocks: BTreeSet<u32> = now.pages.keys().chain(base.pages.keys()).copied().collect();
    let mut file = File { len: now.len, pages: BTreeMap::new() };
    for block in blocks.into_iter().filter(|block| *block < now.len) {
        let current = now.pages.get(&block).copied();
        let page = match read(block, current.unwrap_or(0)) {
            true => current,
            false => base.pages.get(&block).copied(),
        };
        file.pages.extend(page.map(|lsn| (block, lsn)));
    }
    file
}

/// Restores a backup and replays the log.
fn restore(backup: &Backup, server: &Server) -> BTreeMap<Rel, Pages> {
    let mut restored = Server { databases: backup.databases.clone(), ..Server::default() };
    for (path, file) in &backup.files {
        let file_of = walbrook_types::RelFile::from_path(path).unwrap();
        let pages = restored.files.entry((file_of.database, file_of.number)).or_default();
        for (block, lsn) in &file.pages {
            pages.write(block + file_of.first_block(), *lsn);
        }
    }
    for (lsn, record) in server.log.iter().filter(|(lsn, _)| *lsn > backup.start) {
        restored.replay(*lsn, record);
    }
    restored.files
}

fn same(restored: &BTreeMap<Rel, Pages>, server: &Server) -> Result<(), TestCaseError> {
    let trimmed = |files: &BTreeMap<Rel, Pages>| -> BTreeMap<Rel, Pages> {
        files.iter().map(|(rel, pages)| (*rel, pages.trimmed())).collect()
    };
    prop_assert_eq!(trimmed(restored), trimmed(&server.files));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn what_is_restored_is_what_the_server_had(
        before in proptest::collection::vec(op(), 0..40),
        rounds in proptest::collection::vec(
            (
                proptest::collection::vec(op(), 0..20),
                proptest::collection::vec(op_during(), 0..12),
                0u64..=100,
                any::<bool>(),
            ),
            1..5,
        ),
    ) {
        let mut server = Server { lsn: 800, ..Server::default() };
        server.databases.insert(5, 1);
        before.iter().for_each(|op| server.run(op));
        let mut base: Option<Backup> = None;
        for (between, during, cut, by_page) in rounds {
            between.iter().for_each(|op| server.run(op));
            let Some(old) = base else {
                let backup = copy(&mut server, &during, |_, file, _| file.clone());
                same(&restore(&backup, &server), &server)?;
                base = Some(backup);
                continue;
            };
            // The record that begins this backup is logged by `copy`; its start is known only there.
            let history = TimelineHistory::root(TimelineId::FIRST);
            let old_span = BaseBackupSpan {
                timeline: TimelineId::FIRST,
                start: Lsn(old.start),
                stop: Lsn(old.stop),
            };
            let span = Span::new(old_span, Lsn(server.lsn + 8), &history).unwrap();
            let mut filter = PageLsnFilter::new(&span);
            for (database, made) in &server.databases {
                if old.databases.get(database) == Some(made) {
                    filter.trust_database(walbrook_types::Tablespace::Default, *database);
                }
            }
            let mut map = None;
            let mut span = Some(span);
            let backup = copy(&mut server, &during, |path, now, server| {
                let map =
                    map.get_or_insert_with(|| summarise(server, span.take().unwrap(), cut));
                let of_base = old.files.get(path);
                let base_size = of_base.map(size);
                let none = File { len: 0, pages: BTreeMap::new() };
                if by_page {
                    let from = filter.comparable(path, size(now), base_size).unwrap_or(0);
                    return assemble(now, of_base.unwrap_or(&none), |block, lsn| {
                        block >= from || filter.is_changed(&page(lsn))
                    });
                }
                match map.plan(path, size(now), base_size) {
                    FilePlan::Whole(_) => now.clone(),
                    FilePlan::Unchanged => assemble(now, of_base.unwrap(), |_, _| false),
                    FilePlan::Blocks(ranges) => {
                        let mut end = 0;
                        for range in &ranges {
                            assert!(range.start < range.end && (range.start > end || end == 0));
                            end = range.end;
                        }
                        assert!(end <= now.len);
                        assemble(now, of_base.unwrap(), |block, _| {
                            ranges.iter().any(|range| range.contains(&block))
                        })
                    }
                }
            });
            same(&restore(&backup, &server), &server)?;
            base = Some(backup);
        }
    }
}

fn page(lsn: u64) -> walbrook_page::Page {
    let mut page = [0; BLOCK_SIZE];
    page[..4].copy_from_slice(&((lsn >> 32) as u32).to_le_bytes());
    page[4..8].copy_from_slice(&(lsn as u32).to_le_bytes());
    page
}
