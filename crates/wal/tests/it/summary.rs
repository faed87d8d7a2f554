//! Block summaries of whole logs of every major version, against what `pg_waldump` says of them.

use bytes::Bytes;
use walbrook_types::Lsn;
use walbrook_wal::{BlockSummaryBuilder, ErrorKind, WalSummary, summarize_segment};

use crate::naive::{Naive, assert_same, entries};
use crate::oracle::decode;
use crate::server::{Wal, each};

fn summaries(wal: &Wal) -> Vec<WalSummary> {
    wal.segments.iter().map(|(_, bytes)| summarize_segment(bytes, true).unwrap()).collect()
}

fn merged(parts: &[WalSummary]) -> WalSummary {
    let mut whole = parts[0].clone();
    for next in &parts[1..] {
        whole.merge(next).unwrap();
    }
    whole
}

#[test]
fn the_whole_log_is_what_pg_waldump_says() {
    each(&[1, 16, 64], |wal| {
        let what = format!("{} with segments of {}", wal.major, wal.size);
        let expected = Naive::ours(&wal.lines);
        let whole = merged(&summaries(wal));
        assert_eq!((whole.unknown, whole.minimal), (None, None), "{what}");
        assert_same(&entries(&whole.blocks), &expected, &what);
        assert!(expected.len() > 300, "{what}: {} forks", expected.len());
        assert!(expected.keys().any(|(relation, _)| relation.number == 0), "a database");
        let unlimited = expected.values().filter(|(limit, _)| limit.is_none());
        assert!(unlimited.count() > 0, "{what}: all forks were created or cut");
        assert!(expected.values().any(|(_, blocks)| blocks.len() > 1000));

        let bytes = Bytes::from(wal.read());
        let mut builder = BlockSummaryBuilder::new();
        for record in decode(wal, &bytes, bytes.len()) {
            builder.record(&record).unwrap();
        }
        assert_eq!(builder.finish(), whole.blocks, "{what}");

        // What is proven, and what is not.
        let end = whole.end;
        assert_eq!(whole.proven(wal.start(), end).unwrap(), &whole.blocks);
        let error = whole.proven(Lsn(wal.start().0 - 1), end).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IncompleteSummary);
        let error = whole.proven(wal.start(), Lsn(end.0 + 1)).unwrap_err();
        assert_eq!((error.kind(), error.lsn()), (ErrorKind::IncompleteSummary, Some(end)));
    });
}

#[test]
fn merging_is_associative_and_any_part_is_what_pg_waldump_says() {
    each(&[1], |wal| {
        let parts = summaries(wal);
        let whole = merged(&parts);
        // Pairs first, then pairs of pairs; from the right; and every prefix with every suffix.
        let mut level = parts.clone();
        while level.len() > 1 {
            level = level.chunks(2).map(merged).collect();
        }
        assert_eq!(level[0], whole);
        let mut right = parts.last().unwrap().clone();
        for part in parts.iter().rev().skip(1) {
            let mut left = part.clone();
            left.merge(&right).unwrap();
            right = left;
        }
        assert_eq!(right, whole);
        for at in 1..parts.len() {
            let (left, right) = (merged(&parts[..at]), merged(&parts[at..]));
            let mut both = left.clone();
            both.merge(&right).unwrap();
            assert_eq!(both, whole, "cut at segment {at}");

            // Each half alone: the records that lie in it, but not the one that is cut.
            let cut = right.start;
            let within = |line: &&crate::waldump::Line| {
                line.lsn < cut && left.crossing().is_none_or(|crossing| line.lsn < crossing)
            };
            let expected = Naive::ours(wal.lines.iter().filter(within));
            assert_same(&entries(&left.blocks), &expected, "left half");
            let expected = Naive::ours(wal.lines.iter().filter(|line| line.lsn >= cut));
            assert_same(&entries(&right.blocks), &expected, "right half");
            assert_eq!(left.crossing().is_some(), right.begins_within_record());
        }
        // The log has records that lie in two segments and in more than two.
        let crossing = parts.iter().filter(|part| part.crossing().is_some()).count();
        let inside = parts
            .iter()
            .filter(|part| part.begins_within_record() && part.crossing().is_none())
            .filter(|part| part.blocks.is_empty());
        assert!(crossing > 3 && inside.count() > 0);

        let error = merged(&parts[..2]).merge(&parts[3]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SummaryGap);
        let error = parts[1].clone().merge(&parts[1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SummaryGap);
        let error = whole.clone().merge(&whole).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SummaryGap);
    });
}

#[test]
fn what_is_encoded_is_read_back() {
    each(&[1, 16], |wal| {
        let parts = summaries(wal);
        let mut stored = Vec::new();
        for part in &parts {
            let encoded = part.encode();
            assert_eq!(&WalSummary::decode(&encoded).unwrap(), part);
            // Small beside its segment, but for the rest of a record, which is kept as it is.
            let small = encoded.len() < 20_000 || part.begins_within_record();
            assert!(small, "{} bytes", encoded.len());
            stored.push(WalSummary::decode(&encoded).unwrap());
        }
        let whole = merged(&stored);
        assert_eq!(whole, merged(&parts));
        assert_eq!(WalSummary::decode(&whole.encode()).unwrap(), whole);
    });
}
