use bytes::Bytes;
use walbrook_types::Lsn;
use walbrook_wal::{
    DbaseRecord, EndReason, FileCopy, Record, SegmentFacts, SegmentHeader, SegmentScanner,
    Straddling, XactRecord, XlogRecord, join, scan_segment,
};

use crate::oracle::decode;
use crate::server::{Wal, each};

fn facts(wal: &Wal) -> Vec<SegmentFacts> {
    wal.segments.iter().map(|(_, bytes)| scan_segment(bytes, true).unwrap()).collect()
}

#[test]
fn facts_are_what_the_records_say() {
    each(&[1, 16, 64], |wal| {
        let records = decode(wal, &Bytes::from(wal.read()), 1 << 20);
        let end_of_log = records.last().unwrap().end_lsn;
        let all = facts(wal);
        let (mut straddling, mut copied) = (0, 0);
        for (index, facts) in all.iter().enumerate() {
            let start = facts.header.start;
            let end = start + wal.size.bytes();
            assert_eq!(facts.header.version.major(), wal.major);
            assert_eq!(facts.header.segment_size, wal.size);
            let here: Vec<&Record> =
                records.iter().filter(|r| r.lsn >= start && r.lsn < end).collect();
            let first_lsn = here.first().map(|r| r.lsn);
            assert_eq!(facts.records, here.len() as u64, "segment {start}");
            assert_eq!(facts.first_record_lsn, first_lsn);
            assert_eq!(facts.last_record_lsn, here.last().map(|r| r.lsn));
            assert_eq!(facts.end_lsn, end.min(end_of_log), "segment {start}");

            // What crosses the end belongs to neither.
            let crossing = here.last().filter(|r| !r.header.is_switch() && r.end_lsn > end);
            assert_eq!(facts.crossing.as_ref().map(|c| c.lsn), crossing.map(|r| r.lsn));
            let inside: Vec<_> =
                here.iter().filter(|r| r.header.is_switch() || r.end_lsn <= end).collect();
            let switch = inside.iter().any(|r| r.header.is_switch());
            assert_eq!(facts.switch, switch);
            let (mut commits, mut aborts, mut times, mut xids) = (0, 0, Vec::new(), Vec::new());
            let (mut points, mut copies) = (Vec::new(), Vec::new());
            for record in inside {
                match record.xact().unwrap() {
                    Some(XactRecord::Commit(end)) => {
                        commits += 1;
                        times.push(end.time);
                        xids.extend((end.xid > 0).then_some(end.xid));
                    }
                    Some(XactRecord::Abort(end)) => {
                        aborts += 1;
                        times.push(end.time);
                        xids.extend((end.xid > 0).then_some(end.xid));
                    }
                    _ => {}
                }
                if let Some(XlogRecord::RestorePoint { name, time }) = record.xlog().unwrap() {
                    points.push((name, record.lsn, time));
                }
                if let Some(DbaseRecord::CreateFileCopy { database, source_database, .. }) =
                    record.dbase().unwrap()
                {
                    copies.push(FileCopy { lsn: record.lsn, database, source_database });
                }
            }
            assert_eq!((facts.commits, facts.aborts), (commits, aborts), "segment {start}");
            assert_eq!(facts.first_xact_time.as_ref(), times.first());
            assert_eq!(facts.last_xact_time.as_ref(), times.last());
            assert_eq!(facts.min_xact_time.as_ref(), times.iter().min());
            assert_eq!(facts.max_xact_time.as_ref(), times.iter().max());
            assert_eq!(facts.oldest_xid.as_ref(), xids.iter().min());
            assert_eq!(facts.newest_xid.as_ref(), xids.iter().max());
            let ours: Vec<_> =
                facts.restore_points.iter().map(|p| (p.name.clone(), p.lsn, p.time)).collect();
            assert_eq!(ours, points);
            assert_eq!(facts.file_copies, copies);
            copied += copies.len();

            if let Some(next) = all.get(index + 1) {
                let joined = join(facts, next).unwrap();
                assert_eq!(joined.is_some(), crossing.is_some());
                if let (Some(joined), Some(record)) = (joined, crossing) {
                    straddling += 1;
                    check_joined(&joined, record);
                }
            }
        }
        assert_eq!(all.last().unwrap().end, Some(EndReason::Zeroed));
        assert!(copied > 0, "no database was copied");
        if wal.size.bytes() == 1 << 20 {
            assert!(straddling > 5, "{straddling}");
            // The record that is longer than two segments.
            assert!(all.iter().any(|f| f.leading.as_ref().is_some_and(|l| !l.ends)));
        }
    });
}

fn check_joined(joined: &Straddling, record: &Record) {
    match (joined, record.xact().unwrap(), record.xlog().unwrap()) {
        (
            Straddling::XactEnd { lsn, xid, time, commit: true },
            Some(XactRecord::Commit(end)),
            _,
        )
        | (
            Straddling::XactEnd { lsn, xid, time, commit: false },
            Some(XactRecord::Abort(end)),
            _,
        ) => assert_eq!((*lsn, *xid, *time), (record.lsn, end.xid, end.time)),
        (Straddling::RestorePoint(point), _, Some(XlogRecord::RestorePoint { name, time })) => {
            assert_eq!((&point.name, point.time), (&name, time))
        }
        (Straddling::FileCopy(copy), ..) => assert_eq!(copy.lsn, record.lsn),
        (Straddling::Other, xact, xlog) => {
            assert!(!matches!(xact, Some(XactRecord::Commit(_) | XactRecord::Abort(_))));
            assert!(!matches!(xlog, Some(XlogRecord::RestorePoint { .. })));
        }
        other => panic!("{other:?} of {record:?}"),
    }
}

#[test]
fn the_size_of_the_pieces_does_not_matter() {
    each(&[1], |wal| {
        for (_, bytes) in wal.segments.iter().take(6) {
            let whole = scan_segment(bytes, false).unwrap();
            assert_eq!(scan_segment(bytes, true).unwrap(), whole);
            for piece in [1 << 16, 8192, 8191, 777, 24] {
                let mut scanner = SegmentScanner::new(true);
                for part in bytes.chunks(piece) {
                    scanner.feed(part).unwrap();
                }
                assert_eq!(scanner.finish().unwrap(), whole, "pieces of {piece} bytes");
            }
        }
    });
}

#[test]
fn segments_tell_what_they_are() {
    each(&[1, 16], |wal| {
        for (name, bytes) in wal.segments.iter().take(4) {
            let header = SegmentHeader::parse(&bytes[..40]).unwrap();
            assert_eq!(header.timeline, name.timeline());
            assert_eq!(header.start, name.segment_number(wal.size).unwrap().start(wal.size));
            assert_eq!(header.segment_size, wal.size);
            assert_eq!(header.system_id.to_string(), wal.system_id);
            let cut = scan_segment(&bytes[..bytes.len() - 8192], false).unwrap_err();
            assert_eq!(cut.kind(), walbrook_wal::ErrorKind::Truncated);
            let long = scan_segment(&[&bytes[..], &[0]].concat(), false).unwrap_err();
            assert_eq!(long.lsn(), Some(header.start));
        }
        assert_ne!(wal.start(), Lsn::INVALID);
    });
}
