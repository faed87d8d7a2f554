//! Records cut by ends of segments at every place, given up there, and of the wrong history; and WAL
//! that lacks changes.

use bytes::Bytes;
use walbrook_testkit::{Cluster, StopMode, majors};
use walbrook_types::{Fork, Lsn, WalSegmentSize};
use walbrook_wal::{
    BlockSummary, BlockSummaryBuilder, Decoder, ErrorKind, RelLocator, WalSummary,
    summarize_segment,
};

use crate::server::read;
use crate::writer::{BASE, MIB, OVERWRITE, Writer};

const XACT: u8 = 1;
const SMGR: u8 = 2;
const DBASE: u8 = 4;
const HEAP: u8 = 10;

fn relation(number: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&1663u32.to_le_bytes());
    bytes[4..8].copy_from_slice(&5u32.to_le_bytes());
    bytes[8..].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn locator(number: u32) -> RelLocator {
    RelLocator { tablespace_oid: 1663, database: 5, number }
}

/// A heap record that refers to these blocks of relations, with an image each of this many bytes.
fn changes(w: &mut Writer, blocks: &[(u32, u32)], image: u16) -> u64 {
    let mut body = Vec::new();
    for (id, (number, block)) in blocks.iter().enumerate() {
        body.extend([id as u8, if image > 0 { 0x10 } else { 0 }, 0, 0]);
        if image > 0 {
            // Compressed, with a hole: the longest header.
            body.extend(image.to_le_bytes());
            body.extend(100u16.to_le_bytes());
            body.push(0x01 | 0x02 | 0x04);
            body.extend(50u16.to_le_bytes());
        }
        body.extend(relation(*number));
        body.extend(block.to_le_bytes());
    }
    body.extend([255, 3]);
    body.resize(body.len() + usize::from(image) * blocks.len(), 0xEE);
    body.extend([1, 2, 3]);
    w.raw(HEAP, 0, &body)
}

fn truncate(w: &mut Writer, number: u32, block: u32) -> u64 {
    let mut data = block.to_le_bytes().to_vec();
    data.extend(relation(number));
    data.extend(7u32.to_le_bytes());
    w.record(SMGR, 0x20, &data)
}

/// A commit with this many subtransactions, dropped relations and invalidations.
fn commit(w: &mut Writer, subxacts: u32, dropped: u32, invalidations: u32) -> u64 {
    let mut data = 5i64.to_le_bytes().to_vec();
    data.extend((1u32 | 2 | 4 | 8).to_le_bytes());
    data.extend([5u32, 1663].iter().flat_map(|oid| oid.to_le_bytes()));
    data.extend(subxacts.to_le_bytes());
    data.extend((0..subxacts).flat_map(u32::to_le_bytes));
    data.extend(dropped.to_le_bytes());
    data.extend((0..dropped).flat_map(|n| relation(20_000 + n)));
    data.extend(invalidations.to_le_bytes());
    data.resize(data.len() + 16 * invalidations as usize, 0x77);
    w.record(XACT, 0x80, &data)
}

fn segments(bytes: &[u8]) -> Vec<WalSummary> {
    bytes.chunks(MIB as usize).map(|segment| summarize_segment(segment, true).unwrap()).collect()
}

/// From the left, from the right, and both from what was stored.
fn merged(parts: &[WalSummary]) -> WalSummary {
    let mut left = parts[0].clone();
    for next in &parts[1..] {
        left = WalSummary::decode(&left.encode()).unwrap();
        left.merge(next).unwrap();
    }
    let mut right = parts.last().unwrap().clone();
    for part in parts.iter().rev().skip(1) {
        let next = WalSummary::decode(&right.encode()).unwrap();
        right = part.clone();
        right.merge(&next).unwrap();
    }
    assert_eq!(left, right);
    left
}

fn decoded(bytes: &[u8]) -> BlockSummary {
    let mut decoder = Decoder::new(Lsn(BASE), WalSegmentSize::new(MIB).unwrap());
    decoder.feed(Bytes::copy_from_slice(bytes));
    let mut builder = BlockSummaryBuilder::new();
    while let Some(record) = decoder.next().unwrap() {
        builder.record(&record).unwrap();
    }
    builder.finish()
}

#[test]
fn a_record_may_be_cut_anywhere() {
    let many: Vec<(u32, u32)> = (0..33).map(|n| (20_000 + n, n)).collect();
    let mut crossed = 0;
    for eighth in (1..130).chain([200, 400, 600, 1000]) {
        for kind in 0..5 {
            let mut w = Writer::new();
            while w.at() + 20_000 < BASE + MIB {
                changes(&mut w, &[(20_000, 9), (20_001, 3)], 900);
            }
            w.leave(8 * eighth, MIB);
            let (lsn, expected) = match kind {
                0 => (changes(&mut w, &many, 8000), None),
                1 => (changes(&mut w, &many, 0), None),
                2 => (commit(&mut w, 20, 40, 300), Some((20_000, 0))),
                3 => (truncate(&mut w, 20_000, 5), Some((20_000, 5))),
                _ => {
                    let mut drop = 5u32.to_le_bytes().to_vec();
                    drop.extend(60u32.to_le_bytes());
                    drop.extend((0..60u32).flat_map(|n| (1700 + n).to_le_bytes()));
                    (w.record(DBASE, 0x20, &drop), None)
                }
            };
            changes(&mut w, &[(20_000, 2), (20_001, 77)], 0);
            w.record(21, 0, &[1; 10_000]);
            let bytes = w.padded(2 * MIB);
            let parts = segments(&bytes);
            let what = format!("kind {kind}, {} bytes left", 8 * eighth);
            // Where the short ones fit in, the next one crosses.
            let crosses = parts[0].crossing() == Some(Lsn(lsn));
            crossed += usize::from(crosses);
            let whole = merged(&parts);
            assert_eq!(whole.unknown, None, "{what}");
            assert_eq!(whole.blocks, decoded(&bytes), "{what}");
            if let Some((number, limit)) = expected {
                // What came before is cut off, what came after is not.
                let fork = whole.blocks.get(locator(number), Fork::Main).unwrap();
                assert_eq!(fork.limit_block, Some(limit), "{what}");
                assert_eq!(fork.blocks.iter().collect::<Vec<_>>(), [2], "{what}");
            }
            // A segment with a record that does not end is proven up to that record only.
            assert!(parts[0].proven(Lsn(BASE), Lsn(lsn)).is_ok());
            if crosses {
                let error = parts[0].proven(Lsn(BASE), Lsn(lsn + 8)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::IncompleteSummary);
            }
        }
    }
    assert!(crossed > 350, "{crossed}");
}

#[test]
fn a_commit_that_drops_a_hundred_thousand_relations_spans_many_segments() {
    for (subxacts, invalidations, left) in [(0, 0, 40), (300_000, 200_000, 500_000)] {
        let mut w = Writer::new();
        changes(&mut w, &[(20_000, 9), (20_001, 3), (119_999, 4), (120_000, 8)], 0);
        while w.at() + left + 20_000 < BASE + MIB {
            changes(&mut w, &[(7, 7)], 900);
        }
        w.leave(left, MIB);
        commit(&mut w, subxacts, 100_000, invalidations);
        changes(&mut w, &[(20_001, 77)], 0);
        let len = (w.bytes.len() as u64).next_multiple_of(MIB);
        let bytes = w.padded(len);
        let parts = segments(&bytes);
        assert!(parts.len() >= 3);
        let whole = merged(&parts);
        assert_eq!(whole.unknown, None);
        assert_eq!(whole.blocks, decoded(&bytes));
        assert_eq!(whole.blocks.limit_block(locator(119_999), Fork::Main), Some(0));
        assert_eq!(whole.blocks.limit_block(locator(120_000), Fork::Main), None);
        // And what was not dropped: 120000 and 7.
        assert_eq!(whole.blocks.len(), 300_002);
        // Not more is kept of it than the list and what comes before.
        let tail = parts[0].encode().len();
        assert!(tail < left as usize + 10_000, "{tail}");
    }
}

#[test]
fn a_record_given_up_never_was() {
    // In the first page of the second segment, and in the tenth.
    for pages in [0, 9] {
        let mut w = Writer::new();
        while w.at() + 20_000 < BASE + MIB {
            changes(&mut w, &[(1, 1)], 900);
        }
        w.leave(64, MIB);
        let before = w.prev;
        let kept = w.bytes.len() + 64 + pages * 8192;
        let broken = w.at();
        let many: Vec<(u32, u32)> = (0..33).map(|n| (30_000 + n, n)).collect();
        assert_eq!(changes(&mut w, &many, 8000), broken);
        w.bytes.truncate(kept);
        w.prev = before;
        w.page(OVERWRITE, 0);
        let mut data = broken.to_le_bytes().to_vec();
        data.extend(5i64.to_le_bytes());
        w.record(0, 0xD0, &data);
        changes(&mut w, &[(2, 2)], 0);
        let bytes = w.padded(2 * MIB);
        let parts = segments(&bytes);
        assert_eq!(parts[0].crossing(), Some(Lsn(broken)));
        let whole = merged(&parts);
        assert_eq!((whole.unknown, whole.crossing()), (None, None));
        assert_eq!(whole.blocks, decoded(&bytes));
        assert!(whole.blocks.get(locator(30_000), Fork::Main).is_none());
        assert!(whole.blocks.get(locator(2), Fork::Main).is_some());
    }
}

#[test]
fn segments_of_different_histories_do_not_merge() {
    let write = |extra: usize, more: &[usize]| {
        let mut w = Writer::new();
        while w.at() + 30_000 < BASE + MIB {
            changes(&mut w, &[(1, 1)], 900);
        }
        w.record(21, 0, &vec![1; extra]);
        w.leave(0, MIB);
        for len in more {
            w.record(21, 0, &vec![2; *len]);
        }
        w.padded(2 * MIB)
    };
    let (one, other) = (segments(&write(100, &[10])), segments(&write(1000, &[10])));
    assert_ne!(one[0], other[0]);
    let mut mixed = one[0].clone();
    match mixed.merge(&other[1]) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::SummaryGap),
        // Unless the last records of both begin at the same place.
        Ok(()) => assert_eq!(one[1], other[1]),
    }
    // A record that should go on, and does not.
    let mut w = Writer::new();
    w.leave(64, MIB);
    commit(&mut w, 0, 100, 0);
    let crossing = segments(&w.padded(2 * MIB));
    for (first, second) in [(&crossing[0], &one[1]), (&one[0], &crossing[1])] {
        let mut first = first.clone();
        let before = first.clone();
        let error = first.merge(second).unwrap_err();
        assert_eq!((error.kind(), error.lsn()), (ErrorKind::SummaryGap, Some(first.end)));
        assert_eq!(first, before);
    }
}

fn set_level(cluster: &Cluster, level: &str, senders: &str) {
    cluster.append_config(&[("wal_level", level), ("max_wal_senders", senders)]).unwrap();
}

#[test]
fn wal_of_the_level_minimal_proves_nothing() {
    for installation in [majors()[0], majors()[majors().len() - 1]] {
        let mut cluster = Cluster::builder(installation)
            .wal_segsize_mb(1)
            .config("wal_keep_size", "1GB")
            .start()
            .unwrap();
        set_level(&cluster, "minimal", "0");
        cluster.restart(StopMode::Fast).unwrap();
        let sql = "BEGIN; CREATE TABLE t (n int); COPY t FROM PROGRAM 'seq 1000'; COMMIT;
                   SELECT pg_switch_wal()";
        cluster.psql_ok("postgres", sql).unwrap();
        set_level(&cluster, "replica", "5");
        cluster.restart(StopMode::Fast).unwrap();
        let sql = "CREATE TABLE u (n int); SELECT pg_switch_wal(); CREATE TABLE v (n int);
                   INSERT INTO v SELECT generate_series(1, 10000); SELECT pg_switch_wal();
                   CREATE TABLE w (n int)";
        cluster.psql_ok("postgres", sql).unwrap();
        cluster.stop(StopMode::Fast).unwrap();
        let wal = read(&cluster, installation.major(), 1);
        let parts: Vec<_> = wal
            .segments
            .iter()
            .map(|(_, bytes)| summarize_segment(bytes, false).unwrap())
            .collect();
        // Segments kept for later still hold older WAL.
        let in_use = parts.windows(2).take_while(|two| two[1].start == two[0].end).count() + 1;
        let parts = &parts[..in_use];
        let whole = merged(parts);
        let minimal = whole.minimal.unwrap();
        let line = wal.lines.iter().find(|line| line.lsn == minimal).unwrap();
        assert!(line.desc.contains("minimal"), "{line:?}");
        let error = whole.proven(whole.start, whole.end).unwrap_err();
        assert_eq!((error.kind(), error.lsn()), (ErrorKind::IncompleteSummary, Some(minimal)));
        // The last segment is of a better time.
        let last = parts.last().unwrap();
        assert_eq!(last.minimal, None);
        last.proven(last.start, last.end).unwrap();
    }
}
