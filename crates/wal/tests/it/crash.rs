//! A server that dies while it writes a long record.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use walbrook_testkit::{Cluster, StopMode, majors};
use walbrook_types::{Lsn, TimelineId, WalFileName, WalSegmentSize};
use walbrook_wal::{Decoder, EndReason, XlogRecord, scan_segment};

use crate::waldump;

/// The names of the segment files, in order.
fn segments(cluster: &Cluster) -> Vec<WalFileName> {
    let mut names: Vec<WalFileName> = fs::read_dir(cluster.wal_dir())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|name| matches!(name, WalFileName::Segment { .. }))
        .collect();
    names.sort();
    names
}

/// On the oldest and the newest major: what a crash leaves has not changed between them.
#[test]
fn a_record_cut_off_by_a_crash_is_given_up() {
    let majors = majors();
    for installation in [majors.first().unwrap(), majors.last().unwrap()] {
        let size = WalSegmentSize::new(1 << 20).unwrap();
        let mut cluster = Cluster::builder(installation)
            .wal_segsize_mb(1)
            .config("wal_keep_size", "4GB")
            .start()
            .unwrap();
        cluster.psql_ok("postgres", "CREATE TABLE t (s text); CHECKPOINT;").unwrap();
        let before = segments(&cluster).last().cloned().unwrap();
        let mut long = cluster
            .command("psql")
            .args(["-X", "-c"])
            .arg("SELECT pg_logical_emit_message(false, 'long', repeat('y', 200000000))")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        walbrook_testkit::wait_for("WAL of the long record", Duration::from_secs(60), || {
            segments(&cluster).last() > Some(&before)
        })
        .unwrap();
        cluster.stop(StopMode::Immediate).unwrap();
        long.wait().unwrap();
        cluster.start_again().unwrap();
        cluster.psql_ok("postgres", "INSERT INTO t VALUES ('after')").unwrap();
        cluster.stop(StopMode::Fast).unwrap();

        let names = segments(&cluster);
        let start = names[0].segment_number(size).unwrap().start(size);
        let mut decoder = Decoder::new(start, size);
        let (mut records, mut incomplete) = (Vec::new(), Vec::new());
        for name in &names {
            let bytes = Bytes::from(fs::read(cluster.wal_dir().join(name.to_string())).unwrap());
            if decoder.end().is_none() {
                let facts = scan_segment(&bytes, true).unwrap();
                incomplete.extend(facts.crossing.map(|crossing| crossing.lsn));
                incomplete.extend(facts.incomplete);
            }
            decoder.feed(bytes);
            while let Some(record) = decoder.next().unwrap() {
                records.push(record);
            }
        }
        let lines = waldump::dump_timeline(&cluster, TimelineId::FIRST, start);
        let theirs: Vec<_> = lines.iter().map(|line| (line.lsn, line.prev)).collect();
        let ours: Vec<_> = records.iter().map(|r| (r.lsn, r.header.prev)).collect();
        assert_eq!(ours, theirs, "{installation}");
        // `OVERWRITE_CONTRECORD lsn 0/1234; time …`
        let line = lines.iter().find(|l| l.operation() == "OVERWRITE_CONTRECORD").unwrap();
        let given_up = records
            .iter()
            .find_map(|record| match record.xlog().unwrap() {
                Some(XlogRecord::OverwriteContrecord { overwritten_lsn, .. }) => {
                    Some(overwritten_lsn)
                }
                _ => None,
            })
            .unwrap();
        let theirs = line.desc.split(['=', ' ', ';']).find_map(|word| word.parse::<Lsn>().ok());
        assert_eq!(theirs, Some(given_up), "{line:?}");
        assert!(records.iter().all(|record| record.lsn != given_up));
        assert!(incomplete.contains(&given_up), "{incomplete:?}, {given_up}");
        let end = decoder.end().unwrap();
        assert!(matches!(end.reason, EndReason::Recycled | EndReason::Zeroed));
        assert_eq!((end.lsn, end.incomplete), (records.last().unwrap().end_lsn, None));
    }
}
