//! Properties of block summaries: merging, storing, and damage.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use walbrook_types::Fork;
use walbrook_wal::{BlockSet, BlockSummary, PgSummary, RelLocator, WalSummary, summarize_segment};

use crate::naive::{Entries, entries};
use crate::writer::{MIB, Writer};

#[derive(Debug, Clone)]
enum Op {
    Mark(u32, Fork, u32),
    /// A run of blocks: long ones make bitmaps.
    Run(u32, u32, u32),
    Limit(u32, Fork, u32),
    Database(u32),
}

fn relation(number: u32) -> RelLocator {
    RelLocator { tablespace_oid: 1663 + number % 2, database: 5 + number % 3, number }
}

fn block() -> impl Strategy<Value = u32> {
    prop_oneof![0..20u32, 65_500..65_600u32, 0..300_000u32, any::<u32>()]
}

fn fork() -> impl Strategy<Value = Fork> {
    prop_oneof![Just(Fork::Main), Just(Fork::VisibilityMap), Just(Fork::Init)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..5u32, fork(), block()).prop_map(|(n, fork, block)| Op::Mark(n, fork, block)),
        2 => (1..5u32, 0..140_000u32, 1..9000u32).prop_map(|(n, at, len)| Op::Run(n, at, len)),
        2 => (1..5u32, fork(), block()).prop_map(|(n, fork, block)| Op::Limit(n, fork, block)),
        1 => (1..5u32).prop_map(Op::Database),
    ]
}

fn apply(summary: &mut BlockSummary, ops: &[Op]) {
    for op in ops {
        match *op {
            Op::Mark(n, fork, block) => summary.mark(relation(n), fork, block),
            Op::Run(n, at, len) => {
                for block in at..at + len {
                    summary.mark(relation(n), Fork::Main, block);
                }
            }
            Op::Limit(n, fork, block) => summary.limit(relation(n), fork, block),
            Op::Database(n) => {
                let all = relation(n);
                summary.recreate_database(all.tablespace_oid, all.database);
            }
        }
    }
}

fn naive(ops: &[Op]) -> Entries {
    let mut forks: Entries = BTreeMap::new();
    for op in ops {
        let (key, limit, marks) = match *op {
            Op::Mark(n, fork, block) => ((relation(n), fork), None, block..block),
            Op::Run(n, at, len) => ((relation(n), Fork::Main), None, at..at + len),
            Op::Limit(n, fork, block) => ((relation(n), fork), Some(block), 0..0),
            Op::Database(n) => {
                ((RelLocator { number: 0, ..relation(n) }, Fork::Main), Some(0), 0..0)
            }
        };
        let (least, blocks) = forks.entry(key).or_default();
        if let Some(limit) = limit {
            blocks.retain(|block| *block < limit);
            *least = Some(least.map_or(limit, |least| least.min(limit)));
        }
        if let Op::Mark(_, _, block) = op {
            blocks.insert(*block);
        }
        blocks.extend(marks);
    }
    forks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parts_merge_into_the_whole(
        ops in prop::collection::vec(op(), 0..40),
        cuts in prop::collection::vec(0..41usize, 2),
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(ops.len())).collect();
        cuts.sort();
        let part = |from: usize, to: usize| {
            let mut summary = BlockSummary::new();
            apply(&mut summary, &ops[from..to]);
            summary
        };
        let whole = part(0, ops.len());
        prop_assert_eq!(entries(&whole), naive(&ops));
        let (a, b, c) = (part(0, cuts[0]), part(cuts[0], cuts[1]), part(cuts[1], ops.len()));
        let mut left = a.clone();
        left.merge(&b);
        left.merge(&c);
        let (mut right, mut bc) = (a, b);
        bc.merge(&c);
        right.merge(&bc);
        prop_assert_eq!(&left, &whole);
        prop_assert_eq!(&right, &whole);
        for (key, (limit, blocks)) in naive(&ops) {
            let fork = whole.get(key.0, key.1).unwrap();
            prop_assert_eq!(fork.blocks.len(), blocks.len() as u64);
            for block in [0, 5, 19, 65_535, 65_536, 140_000, u32::MAX] {
                prop_assert_eq!(fork.blocks.contains(block), blocks.contains(&block));
                let beyond = limit.is_some_and(|limit| block >= limit);
                prop_assert_eq!(fork.is_changed(block), beyond || blocks.contains(&block));
            }
            let range: Vec<_> = fork.blocks.range(10, 131_072).collect();
            prop_assert_eq!(range, blocks.range(10..131_072).copied().collect::<Vec<_>>());
        }
        // Through a file of PostgreSQL's, and through one of ours.
        prop_assert_eq!(&PgSummary::read(&PgSummary::write(&whole)).unwrap(), &whole);
        let mut stored = segment();
        stored.blocks = whole;
        prop_assert_eq!(&WalSummary::decode(&stored.encode()).unwrap(), &stored);
    }

    #[test]
    fn damage_is_seen_and_forgery_does_no_harm(
        ops in prop::collection::vec(op(), 0..12),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut summary = segment();
        apply(&mut summary.blocks, &ops);
        let encoded = summary.encode();
        let mut damaged = encoded.clone();
        for (at, change) in changes {
            damaged[at.index(encoded.len())] ^= change;
        }
        if damaged != encoded {
            prop_assert!(WalSummary::decode(&damaged).is_err());
        }
        prop_assert!(WalSummary::decode(&encoded[..cut.index(encoded.len())]).is_err());
        // With a right CRC.
        let body = damaged.len() - 4;
        let crc = crc32c::crc32c(&damaged[..body]).to_le_bytes();
        damaged[body..].copy_from_slice(&crc);
        if let Ok(read) = WalSummary::decode(&damaged) {
            prop_assert_eq!(&WalSummary::decode(&read.encode()).unwrap(), &read);
            let mut merged = summary.clone();
            let _ = merged.merge(&read);
            let _ = read.proven(read.start, read.end);
        }
        let mut file = PgSummary::write(&summary.blocks);
        prop_assert_eq!(&PgSummary::read(&file).unwrap(), &summary.blocks);
        let at = cut.index(file.len());
        file[at] ^= 0x41;
        prop_assert!(PgSummary::read(&file).is_err());
        let body = file.len() - 4;
        let crc = crc32c::crc32c(&file[..body]).to_le_bytes();
        file[body..].copy_from_slice(&crc);
        let _ = PgSummary::read(&file);
    }

    #[test]
    fn sets_are_sets(
        one in prop::collection::vec(block(), 0..50),
        other in prop::collection::vec(block(), 0..50),
        limit in block(),
    ) {
        let (mut set, mut naive) = (BlockSet::new(), BTreeSet::new());
        for block in &one {
            prop_assert_eq!(set.insert(*block), naive.insert(*block));
        }
        set.union(&other.iter().copied().collect());
        naive.extend(other);
        prop_assert!(set.iter().eq(naive.iter().copied()));
        set.truncate(limit);
        naive.retain(|block| *block < limit);
        prop_assert_eq!(&set, &naive.iter().copied().collect::<BlockSet>());
        prop_assert_eq!(set.is_empty(), naive.is_empty());
    }
}

/// A segment's summary, with a record that goes on before it and one that goes on behind.
fn segment() -> WalSummary {
    let mut w = Writer::new();
    w.leave(64, MIB);
    w.record(1, 0, &[9; 5000]);
    while w.at() % MIB < MIB - 9000 {
        w.record(21, 0, &[1; 7000]);
    }
    w.leave(512, MIB);
    w.record(1, 0x80, &[0x17; 4000]);
    let bytes = w.padded(3 * MIB);
    summarize_segment(&bytes[MIB as usize..2 * MIB as usize], true).unwrap()
}
