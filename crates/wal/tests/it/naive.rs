//! Block summaries by the letter and by way of `pg_waldump`'s text: the rules of
//! `postmaster/walsummarizer.c` and `common/blkreftable.c`, on sets and maps.

use std::collections::{BTreeMap, BTreeSet};

use walbrook_types::{Fork, RelFile, Tablespace};
use walbrook_wal::{BlockSummary, RelLocator};

use crate::waldump::Line;

/// When a truncation forgets the blocks that it cuts off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forget {
    /// Always: Walbrook's rule, by which summaries of parts can be merged.
    Always,
    /// If the fork was never shorter before: PostgreSQL's.
    IfShorter,
}

/// How the record of a truncation limits a visibility map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapLimit {
    /// By the map's pages that are kept wholly: Walbrook's.
    MapPages,
    /// By the number of heap blocks: PostgreSQL's.
    HeapBlocks,
    /// By the map's pages that are kept at least in part: PostgreSQL's when mended.
    MapPagesUp,
}

pub(crate) type Entries = BTreeMap<(RelLocator, Fork), (Option<u32>, BTreeSet<u32>)>;

pub(crate) struct Naive {
    pub(crate) forget: Forget,
    pub(crate) map_limit: MapLimit,
    pub(crate) entries: Entries,
}

impl Naive {
    pub(crate) fn new(forget: Forget, map_limit: MapLimit) -> Self {
        Self { forget, map_limit, entries: Entries::new() }
    }

    pub(crate) fn ours<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Entries {
        let mut naive = Self::new(Forget::Always, MapLimit::MapPages);
        lines.into_iter().for_each(|line| naive.line(line));
        naive.entries
    }

    fn limit(&mut self, relation: RelLocator, fork: Fork, block: u32) {
        let (limit, blocks) = self.entries.entry((relation, fork)).or_default();
        if self.forget == Forget::Always || limit.is_none_or(|limit| block < limit) {
            blocks.retain(|changed| *changed < block);
        }
        *limit = Some(limit.map_or(block, |limit| limit.min(block)));
    }

    pub(crate) fn line(&mut self, line: &Line) {
        match line.rmgr.as_str() {
            "Storage" => self.storage(&line.desc),
            "Database" => self.database(&line.desc),
            "Transaction" => self.transaction(&line.desc),
            _ => {}
        }
        for block in &line.blocks {
            // `rel 1663/5/16384 fork vm blk 0 FPW`
            let mut words = block.split(' ').skip(1);
            let mut oids = words.next().unwrap().split('/').map(|oid| oid.parse().unwrap());
            let mut oid = || oids.next().unwrap();
            let relation = RelLocator { tablespace_oid: oid(), database: oid(), number: oid() };
            let mut fork = Fork::Main;
            let mut next = words.next().unwrap();
            if next == "fork" {
                fork = match words.next().unwrap() {
                    "fsm" => Fork::FreeSpaceMap,
                    "vm" => Fork::VisibilityMap,
                    "init" => Fork::Init,
                    other => panic!("{other}"),
                };
                next = words.next().unwrap();
            }
            assert_eq!(next, "blk");
            if fork != Fork::FreeSpaceMap {
                let number = words.next().unwrap().parse().unwrap();
                self.entries.entry((relation, fork)).or_default().1.insert(number);
            }
        }
    }

    /// `CREATE base/5/16384_vm`, `TRUNCATE base/5/16384 to 3 blocks flags 7`
    fn storage(&mut self, desc: &str) {
        let words: Vec<_> = desc.split(' ').collect();
        let (relation, fork) = relation(words[1]);
        match words[0] {
            "CREATE" if fork != Fork::FreeSpaceMap => self.limit(relation, fork, 0),
            "TRUNCATE" => {
                let (block, flags): (u32, u32) =
                    (words[3].parse().unwrap(), words[6].parse().unwrap());
                if flags & 1 != 0 {
                    self.limit(relation, Fork::Main, block);
                }
                if flags & 2 != 0 {
                    let map = match self.map_limit {
                        MapLimit::MapPages => block / 32_672,
                        MapLimit::HeapBlocks => block,
                        MapLimit::MapPagesUp => block.div_ceil(32_672),
                    };
                    self.limit(relation, Fork::VisibilityMap, map);
                }
            }
            _ => {}
        }
    }

    /// `CREATE_FILE_COPY copy dir 1663/1 to 1663/16385`, `CREATE_WAL_LOG create dir 1663/16386`,
    /// `DROP dir 1663/16385 16390/16385`
    fn database(&mut self, desc: &str) {
        let dirs: Vec<_> = match desc.split_once(" to ") {
            Some((_, to)) => vec![to],
            None => desc.split(' ').filter(|word| word.contains('/')).collect(),
        };
        assert!(!dirs.is_empty(), "{desc}");
        for dir in dirs {
            let (tablespace, database) = dir.split_once('/').unwrap();
            let tablespace_oid = tablespace.parse().unwrap();
            let database = database.trim_end_matches(';').parse().unwrap();
            self.limit(RelLocator { tablespace_oid, database, number: 0 }, Fork::Main, 0);
        }
    }

    /// `COMMIT 2026-…; rels: base/5/16390 base/5/16391; …`
    fn transaction(&mut self, desc: &str) {
        if desc.starts_with("PREPARE") {
            return;
        }
        let Some((_, rels)) = desc.split_once("; rels: ") else { return };
        for path in rels.split(';').next().unwrap().split_whitespace() {
            let (relation, _) = relation(path);
            for fork in [Fork::Main, Fork::VisibilityMap, Fork::Init] {
                self.limit(relation, fork, 0);
            }
        }
    }
}

fn relation(path: &str) -> (RelLocator, Fork) {
    let file = RelFile::from_path(path).unwrap_or_else(|| panic!("{path}"));
    let tablespace_oid = match file.tablespace {
        Tablespace::Default => 1663,
        Tablespace::Global => 1664,
        Tablespace::Other(oid) => oid,
    };
    (RelLocator { tablespace_oid, database: file.database, number: file.number }, file.fork)
}

pub(crate) fn entries(summary: &BlockSummary) -> Entries {
    let fork = |(relation, fork, entry): (_, _, &walbrook_wal::ForkSummary)| {
        ((relation, fork), (entry.limit_block, entry.blocks.iter().collect()))
    };
    summary.iter().map(fork).collect()
}

/// Fails with the first difference, not with all of both.
pub(crate) fn assert_same(ours: &Entries, theirs: &Entries, what: &str) {
    for (key, entry) in theirs {
        assert_eq!(ours.get(key), Some(entry), "{what}: {key:?}");
    }
    for key in ours.keys() {
        assert!(theirs.contains_key(key), "{what}: {key:?} is ours alone");
    }
}
