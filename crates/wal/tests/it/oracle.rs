use std::fmt::Write as _;

use bytes::Bytes;
use walbrook_types::Fork;
use walbrook_wal::{BlockRef, Decoder, EndReason, Record, RmgrId, XactRecord, XlogRecord};

use crate::server::{Wal, each};
use crate::waldump::Line;

/// All records of the log, fed in pieces of this size.
pub(crate) fn decode(wal: &Wal, bytes: &Bytes, piece: usize) -> Vec<Record> {
    let mut decoder = Decoder::new(wal.start(), wal.size);
    let mut records = Vec::new();
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        decoder.feed(rest.split_to(piece.min(rest.len())));
        while let Some(record) = decoder.next().unwrap() {
            records.push(record);
        }
    }
    if let Some(end) = decoder.end() {
        assert_eq!(end.incomplete, None);
        assert!(matches!(end.reason, EndReason::Zeroed | EndReason::Recycled));
    }
    assert_eq!(decoder.position(), records.last().unwrap().end_lsn);
    assert_eq!(decoder.version().unwrap().major(), wal.major);
    records
}

/// As `XLogRecGetBlockRefInfo` prints it.
fn block(b: &BlockRef<'_>) -> String {
    let r = b.relation;
    let mut text = format!("rel {}/{}/{}", r.tablespace_oid, r.database, r.number);
    match b.fork {
        Fork::Main => {}
        Fork::FreeSpaceMap => text.push_str(" fork fsm"),
        Fork::VisibilityMap => text.push_str(" fork vm"),
        Fork::Init => text.push_str(" fork init"),
    }
    write!(text, " blk {}", b.block).unwrap();
    match b.image {
        Some(image) if image.apply => text.push_str(" FPW"),
        Some(_) => text.push_str(" FPW for WAL verification"),
        None => {}
    }
    text
}

#[test]
fn every_record_is_that_of_pg_waldump() {
    each(&[1, 16, 64], |wal| {
        let bytes = Bytes::from(wal.read());
        let records = decode(wal, &bytes, bytes.len());
        let lines = &wal.lines;
        let what = format!("{} with segments of {}", wal.major, wal.size);
        for (record, line) in records.iter().zip(lines) {
            let ours = Line {
                lsn: record.lsn,
                prev: record.header.prev,
                rmgr: record.header.rmgr.to_string(),
                total_len: record.header.total_len,
                xid: record.header.xid,
                desc: line.desc.clone(),
                blocks: record.parts().unwrap().blocks().map(|b| block(&b)).collect(),
            };
            assert_eq!(&ours, line, "{what}");
            assert_eq!(record.operation_name(), Some(line.operation()), "{what}, {line:?}");
        }
        assert_eq!(records.len(), lines.len(), "{what}");
        assert!(lines.iter().any(|line| line.blocks.iter().any(|b| b.ends_with("FPW"))));
        assert!(lines.iter().any(|line| line.blocks.iter().any(|b| b.contains("fork vm"))));
    });
}

#[test]
fn ends_of_transactions_are_those_of_pg_waldump() {
    each(&[1, 16], |wal| {
        let bytes = Bytes::from(wal.read());
        let records = decode(wal, &bytes, 1 << 20);
        let lines = &wal.lines;
        let (mut ends, mut prepared, mut subxids, mut dropped) = (0, 0, 0, 0);
        for (record, line) in records.iter().zip(lines) {
            let Some(meaning) = record.xact().unwrap() else { continue };
            match meaning {
                XactRecord::Commit(end) | XactRecord::Abort(end) => {
                    let commit = matches!(record.xact().unwrap(), Some(XactRecord::Commit(_)));
                    assert_eq!(commit, line.desc.starts_with("COMMIT"), "{line:?}");
                    assert_eq!(Some(end.time), line.time(), "{line:?}");
                    assert_eq!(end.xid, line.prepared_xid().unwrap_or(line.xid), "{line:?}");
                    assert_eq!(end.prepared, line.prepared_xid().is_some(), "{line:?}");
                    if end.prepared {
                        // With wal_level=logical the name is recorded.
                        assert!(end.gid.unwrap().starts_with(b"walbrook "), "{line:?}");
                        prepared += 1;
                    }
                    if let Some((_, list)) = line.desc.split_once("subxacts: ") {
                        let list = list.split(';').next().unwrap().trim();
                        let ours: Vec<_> = end.subxids().map(|xid| xid.to_string()).collect();
                        assert_eq!(ours.join(" "), list);
                        subxids += ours.len();
                    } else {
                        assert_eq!(end.subxids().len(), 0, "{line:?}");
                    }
                    for relation in end.dropped_relations() {
                        let path = format!("/{}/{}", relation.database, relation.number);
                        assert!(line.desc.contains(&path), "{line:?} lacks {path}");
                        dropped += 1;
                    }
                    ends += 1;
                }
                XactRecord::Prepare(prepare) => {
                    assert!(line.desc.starts_with("PREPARE"), "{line:?}");
                    let gid = String::from_utf8_lossy(prepare.gid).into_owned();
                    assert!(line.desc.contains(&format!("gid {gid}:")), "{line:?}");
                    assert_eq!(Some(prepare.time), line.time(), "{line:?}");
                    assert_eq!(prepare.xid, line.xid);
                }
                _ => {}
            }
        }
        assert!(ends > 1_000 && prepared >= 2 && subxids > 4_000 && dropped > 1);
    });
}

#[test]
fn records_of_the_log_itself_are_those_of_pg_waldump() {
    each(&[1, 16], |wal| {
        let bytes = Bytes::from(wal.read());
        let records = decode(wal, &bytes, 1 << 20);
        let lines = &wal.lines;
        let (mut points, mut switches, mut checkpoints) = (Vec::new(), 0, 0);
        for (record, line) in records.iter().zip(lines) {
            match record.xlog().unwrap() {
                Some(XlogRecord::RestorePoint { name, .. }) => {
                    assert_eq!(line.desc, format!("RESTORE_POINT {name}"));
                    points.push(name);
                }
                Some(XlogRecord::Switch) => {
                    assert_eq!(line.desc, "SWITCH");
                    assert_eq!(wal.size.offset_of(record.end_lsn), 0);
                    switches += 1;
                }
                Some(XlogRecord::CheckpointOnline(checkpoint)) => {
                    assert!(line.desc.starts_with("CHECKPOINT_ONLINE"), "{line:?}");
                    assert!(line.desc.contains(&format!(
                        "xid {}:{}; oid {};",
                        checkpoint.next_xid >> 32,
                        checkpoint.next_xid as u32,
                        checkpoint.next_oid
                    )));
                    checkpoints += 1;
                }
                Some(XlogRecord::CheckpointShutdown(checkpoint)) => {
                    assert!(line.desc.starts_with("CHECKPOINT_SHUTDOWN"), "{line:?}");
                    assert_eq!(checkpoint.redo, record.lsn);
                    let tli = format!("tli {}; prev tli {};", 1, 1);
                    assert!(line.desc.contains(&tli), "{line:?}");
                }
                Some(_) | None => {}
            }
            assert_eq!(record.header.rmgr == RmgrId::XLOG, line.rmgr == "XLOG");
        }
        points.retain(|name| name != "a point of the workload");
        assert_eq!(points[..2], ["before lunch", "évening"]);
        assert_eq!(points[2], "n".repeat(62));
        assert!(points.len() == 3 && switches >= 2);
        assert!(checkpoints > 0);
    });
}

#[test]
fn the_size_of_the_pieces_does_not_matter() {
    each(&[1], |wal| {
        // The first segments hold records of every length.
        let bytes = Bytes::from(wal.read()).slice(..6 << 20);
        let whole = decode(wal, &bytes, bytes.len());
        for piece in [8192, 8191, 1000, 61] {
            assert_eq!(decode(wal, &bytes, piece), whole, "pieces of {piece} bytes");
        }
    });
}

#[test]
fn records_within_a_page_are_not_copied() {
    each(&[16], |wal| {
        let bytes = Bytes::from(wal.read());
        let range = bytes.as_ptr_range();
        let (mut shared, mut copied) = (0, 0);
        for record in decode(wal, &bytes, bytes.len()) {
            if range.contains(&record.bytes.as_ptr()) {
                shared += 1;
            } else {
                let page = |lsn: u64| lsn / 8192;
                let last = record.lsn.0 + u64::from(record.header.total_len) - 1;
                assert_ne!(page(record.lsn.0), page(last), "copied without need");
                copied += 1;
            }
        }
        assert!(shared > 2 * copied, "{shared} shared, {copied} copied");
    });
}

#[test]
fn reading_can_begin_anywhere() {
    each(&[1], |wal| {
        let bytes = Bytes::from(wal.read());
        let whole = decode(wal, &bytes, bytes.len());
        let version = whole[0].version;
        // At every segment's start, and at records here and there.
        for (index, (name, _)) in wal.segments.iter().enumerate() {
            let start = name.segment_number(wal.size).unwrap().start(wal.size);
            let mut decoder = Decoder::new(start, wal.size);
            decoder.feed(bytes.slice(index * wal.size.bytes() as usize..));
            let expected = whole.iter().find(|record| record.lsn >= start);
            assert_eq!(decoder.next().unwrap().as_ref(), expected, "from {start}");
        }
        for records in whole.windows(2).step_by(997) {
            let start = records[0].end_lsn;
            let mut decoder = match start.0 % 8192 {
                0 => Decoder::new(start, wal.size),
                _ => Decoder::from_record(start, wal.size, version),
            };
            decoder.feed(bytes.slice((start.0 - wal.start().0) as usize..));
            assert_eq!(decoder.next().unwrap().as_ref(), Some(&records[1]), "from {start}");
        }
        let wanted = &whole[whole.len() / 2];
        let mut decoder = Decoder::new(wal.start(), wal.size).yield_from(wanted.lsn);
        decoder.feed(bytes);
        assert_eq!(decoder.next().unwrap().as_ref(), Some(wanted));
    });
}
