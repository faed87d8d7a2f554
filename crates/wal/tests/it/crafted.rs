//! Situations that a server gets into only by crashing at the right moment, made by hand from
//! pages laid out as PostgreSQL lays them out.

use bytes::Bytes;
use walbrook_types::{Lsn, SystemId, WalSegmentSize};
use walbrook_wal::{Decoder, EndReason, ErrorKind, SegmentHeader, Straddling, join, scan_segment};

use crate::writer::{BASE, MIB, OVERWRITE, Writer};

fn decoder() -> Decoder {
    Decoder::new(Lsn(BASE), WalSegmentSize::new(MIB).unwrap())
}

fn lsns(decoder: &mut Decoder) -> Vec<u64> {
    std::iter::from_fn(|| decoder.next().unwrap()).map(|record| record.lsn.0).collect()
}

#[test]
fn a_record_that_was_given_up_is_passed_over() {
    let mut w = Writer::new();
    w.record(21, 0, &[1; 100]);
    w.leave(64, 8192);
    // The server crashed with the next page unwritten, and put something else there.
    let kept = w.bytes.len() + 64;
    let before = w.prev;
    let broken = w.record(21, 0, &[2; 1000]);
    w.bytes.truncate(kept);
    w.prev = before;
    w.page(OVERWRITE, 0);
    let mut data = broken.to_le_bytes().to_vec();
    data.extend(5i64.to_le_bytes());
    let overwrite = w.record(0, 0xD0, &data);
    let after = w.record(21, 0, &[3; 10]);
    let bytes = w.padded(MIB);

    let mut decoder = decoder();
    decoder.feed(bytes.clone());
    let lsns = lsns(&mut decoder);
    assert!(!lsns.contains(&broken));
    assert_eq!(lsns[lsns.len() - 2..], [overwrite, after]);
    let facts = scan_segment(&bytes, true).unwrap();
    assert_eq!(facts.incomplete, Some(Lsn(broken)));
    assert_eq!(facts.last_record_lsn, Some(Lsn(after)));
    assert_eq!(facts.end, Some(EndReason::Zeroed));
}

#[test]
fn a_record_header_may_lie_on_two_pages() {
    for left in [8, 16, 24, 32] {
        let mut w = Writer::new();
        w.leave(left, 8192);
        let lsn = w.record(21, 0, &[7; 300]);
        assert_eq!(8192 - lsn % 8192, left);
        let after = w.record(21, 0, &[3; 10]);
        let bytes = w.padded(MIB);
        for piece in [1, 5, 8192, MIB as usize] {
            let mut decoder = decoder();
            let mut seen = Vec::new();
            for part in bytes[..16384 * 2].chunks(piece) {
                decoder.feed(Bytes::copy_from_slice(part));
                seen.extend(lsns(&mut decoder));
            }
            assert_eq!(seen[seen.len() - 2..], [lsn, after], "{left} left, pieces of {piece}");
        }
        assert_eq!(scan_segment(&bytes, true).unwrap().last_record_lsn, Some(Lsn(after)));
    }
}

#[test]
fn the_log_ends_where_a_former_life_begins() {
    let mut w = Writer::new();
    w.record(21, 0, &[1; 100]);
    w.leave(0, 8192);
    let last = w.prev;
    // What follows was written a segment earlier.
    let mut old = Writer { bytes: vec![0; 8192], ..Writer::new() };
    old.record(21, 0, &[1; 100]);
    for byte in &mut old.bytes[8192 + 8..8192 + 16] {
        *byte = 0;
    }
    old.bytes[8192 + 8..8192 + 16].copy_from_slice(&(BASE - MIB + 8192).to_le_bytes());
    let mut bytes = w.padded(8192);
    bytes.extend(&old.bytes[8192..]);
    bytes.resize(MIB as usize, 0);
    let mut decoder = decoder();
    decoder.feed(bytes.clone());
    assert_eq!(lsns(&mut decoder).last(), Some(&last));
    let end = decoder.end().unwrap();
    assert_eq!(
        (end.reason, end.lsn, end.incomplete),
        (EndReason::Recycled, Lsn(BASE + 8192), None)
    );
    let facts = scan_segment(&bytes, true).unwrap();
    assert_eq!((facts.end, facts.end_lsn), (Some(EndReason::Recycled), Lsn(BASE + 8192)));
}

#[test]
fn a_record_without_its_end_is_told() {
    let mut w = Writer::new();
    w.leave(64, 8192);
    let torn = w.record(21, 0, &[2; 1000]);
    w.bytes.truncate(8192);
    let bytes = w.padded(MIB);
    let mut decoder = decoder();
    decoder.feed(bytes.clone());
    lsns(&mut decoder);
    let end = decoder.end().unwrap();
    assert_eq!((end.incomplete, end.lsn), (Some(Lsn(torn)), Lsn(torn)));
    let facts = scan_segment(&bytes, true).unwrap();
    assert_eq!((facts.incomplete, facts.end_lsn), (Some(Lsn(torn)), Lsn(torn)));
}

#[test]
fn commits_and_restore_points_between_segments_are_joined() {
    let mut point = 11i64.to_le_bytes().to_vec();
    point.extend(b"between");
    point.resize(72, 0);
    let commit = 12i64.to_le_bytes().to_vec();
    for (rmgr, info, data, left) in [(0, 0x70, point, 40), (1, 0x00, commit, 8)] {
        let mut w = Writer::new();
        while w.at() + 20_000 < BASE + MIB {
            w.record(21, 0, &[1; 9000]);
        }
        w.leave(left, MIB);
        let lsn = w.record(rmgr, info, &data);
        let bytes = w.padded(2 * MIB);
        let (first, second) = bytes.split_at(MIB as usize);
        let first = scan_segment(first, true).unwrap();
        let second = scan_segment(second, true).unwrap();
        assert!(first.crosses_into_next);
        assert_eq!((first.commits, second.commits), (0, 0));
        assert_eq!(first.end_lsn, Lsn(BASE + MIB));
        match join(&first, &second).unwrap() {
            Some(Straddling::RestorePoint(found)) => {
                assert_eq!(
                    (found.name.as_str(), found.lsn, found.time.0),
                    ("between", Lsn(lsn), 11)
                );
            }
            Some(Straddling::XactEnd { lsn: at, commit: true, xid: 9, time }) => {
                assert_eq!((at, time.0), (Lsn(lsn), 12));
            }
            other => panic!("{other:?}"),
        }
        assert!(join(&second, &first).is_err());
    }
}

#[test]
fn what_does_not_belong_is_refused() {
    let mut w = Writer::new();
    w.record(21, 0, &[1; 20_000]);
    let good = w.padded(MIB);
    let fails = |change: &dyn Fn(&mut Vec<u8>), kind: ErrorKind| {
        let mut bytes = good.clone();
        change(&mut bytes);
        let mut decoder = decoder().of_system(SystemId(77));
        decoder.feed(bytes.clone());
        let error = loop {
            match decoder.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("no error but {:?}", decoder.end()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), kind, "{error}");
        // A scanner knows no cluster to compare with.
        if kind != ErrorKind::ForeignSystem {
            assert_eq!(scan_segment(&bytes, true).unwrap_err().kind(), kind);
        }
    };
    fails(&|b| b[0] = 0x99, ErrorKind::UnknownMagic);
    fails(&|b| b[2] |= 0x80, ErrorKind::BadPage);
    fails(&|b| b[24] = 78, ErrorKind::ForeignSystem);
    fails(&|b| b[40 + 17] = 99, ErrorKind::BadRecord);
    fails(&|b| b[40..44].copy_from_slice(&[23, 0, 0, 0]), ErrorKind::BadRecord);
    fails(&|b| b[43] = 0x7F, ErrorKind::BadRecord);
    fails(&|b| b[100] ^= 1, ErrorKind::BadChecksum);
    fails(&|b| b[8192 + 2] = 0, ErrorKind::BadContinuation);
    fails(&|b| b[8192 + 16] ^= 1, ErrorKind::BadContinuation);
    fails(&|b| b[8192 + 15] = 1, ErrorKind::BadPage);
    fails(&|b| b[8192] = 0x18, ErrorKind::BadPage);
    fails(&|b| b[4] = 2, ErrorKind::TimelineOrder);
}

#[test]
fn segments_of_every_size_are_read() {
    for shift in 0..=10 {
        let size = WalSegmentSize::new(MIB << shift).unwrap();
        // Over the end of a segment: its last page, and the first of the next.
        let base = 3 * size.bytes() - 8192;
        let mut w = Writer { base, segment: size.bytes(), ..Writer::new() };
        let first = w.record(21, 0, &[1; 100]);
        w.leave(64, 8192);
        let crossing = w.record(21, 0, &[2; 1000]);
        let last = w.record(21, 0, &[3; 10]);
        let bytes = w.padded(3 * 8192);
        let header = SegmentHeader::parse(&bytes[8192..]).unwrap();
        assert_eq!((header.segment_size, header.start), (size, Lsn(3 * size.bytes())));
        assert_eq!(header.system_id, SystemId(77));
        let mut decoder = Decoder::new(Lsn(base), size);
        decoder.feed(bytes);
        let lsns = lsns(&mut decoder);
        assert_eq!(lsns[0], first, "{size}");
        assert_eq!(lsns[lsns.len() - 2..], [crossing, last], "{size}");
        assert_eq!(decoder.end().map(|end| end.reason), Some(EndReason::Zeroed));
    }
}
