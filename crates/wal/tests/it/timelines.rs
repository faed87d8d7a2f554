use std::fs;
use std::time::Duration;

use bytes::Bytes;
use walbrook_testkit::{Cluster, StopMode, majors};
use walbrook_types::{Lsn, TimelineId, WalFileName, WalSegmentSize};
use walbrook_wal::{Decoder, TimelineHistory, XlogRecord, scan_segment};

use crate::waldump;

#[test]
fn a_promotion_is_followed() {
    for installation in majors() {
        let mut cluster = Cluster::builder(installation)
            .config("archive_mode", "on")
            .config("archive_command", "true")
            .config("wal_keep_size", "1GB")
            .start()
            .unwrap();
        cluster
            .psql_ok(
                "postgres",
                "CREATE TABLE t AS SELECT 1 AS n; SELECT pg_switch_wal(); INSERT INTO t VALUES (2)",
            )
            .unwrap();
        cluster.stop(StopMode::Fast).unwrap();
        // Promoted at its start: recovery ends where the log does, and a new timeline begins.
        fs::write(cluster.data_dir().join("recovery.signal"), "").unwrap();
        walbrook_testkit::give_to_server(&cluster.data_dir().join("recovery.signal")).unwrap();
        cluster.append_config(&[("restore_command", "false")]).unwrap();
        cluster.start_again().unwrap();
        let limit = Duration::from_secs(30);
        walbrook_testkit::wait_for("the end of recovery", limit, || {
            cluster.psql("postgres", "SELECT pg_is_in_recovery()").is_ok_and(|text| text == "f")
        })
        .unwrap();
        // More than a page of it, and more than a segment: a page header tells the timeline that its page began with.
        cluster
            .psql_ok(
                "postgres",
                "INSERT INTO t SELECT generate_series(1, 1000); SELECT pg_switch_wal(); \
             INSERT INTO t SELECT generate_series(1, 1000)",
            )
            .unwrap();
        cluster.stop(StopMode::Fast).unwrap();

        let two = TimelineId::new(2).unwrap();
        let name = WalFileName::TimelineHistory { timeline: two }.to_string();
        let text = fs::read_to_string(cluster.wal_dir().join(name)).unwrap();
        let history = TimelineHistory::parse(two, &text).unwrap();
        let parent = history.parent().unwrap();
        assert_eq!(parent.timeline, TimelineId::FIRST);

        let size = WalSegmentSize::DEFAULT;
        let segment = WalFileName::containing(two, parent.switch_lsn, size);
        let bytes = fs::read(cluster.wal_dir().join(segment.to_string())).unwrap();
        let facts = scan_segment(&bytes, true).unwrap();
        assert_eq!((facts.header.timeline, facts.last_timeline), (TimelineId::FIRST, two));

        let mut decoder = Decoder::new(facts.header.start, size);
        decoder.feed(Bytes::from(bytes));
        let mut found = false;
        while let Some(record) = decoder.next().unwrap() {
            match record.xlog().unwrap() {
                Some(XlogRecord::EndOfRecovery { timeline, previous_timeline, .. }) => {
                    assert_eq!((timeline, previous_timeline), (two, TimelineId::FIRST));
                    assert_eq!(record.lsn, parent.switch_lsn);
                    found = true;
                }
                Some(XlogRecord::CheckpointShutdown(checkpoint)) if !found => {
                    // Without hot standby the promotion may be recorded by a checkpoint alone.
                    found = checkpoint.timeline == two && record.lsn == parent.switch_lsn;
                }
                _ => {}
            }
        }
        assert!(found, "{installation:?}");
        assert_eq!(decoder.timeline(), Some(two));
        // What the old timeline's last file is called when archiving is on; it ends where it was left.
        let WalFileName::Segment { log, segment, .. } =
            WalFileName::containing(TimelineId::FIRST, parent.switch_lsn, size)
        else {
            panic!("no name of a segment")
        };
        let partial = WalFileName::Partial { timeline: TimelineId::FIRST, log, segment };
        let bytes = fs::read(cluster.wal_dir().join(partial.to_string())).unwrap();
        let mut decoder = Decoder::new(facts.header.start, size);
        decoder.feed(bytes);
        while decoder.next().unwrap().is_some() {}
        assert_eq!(decoder.end().map(|end| end.lsn), Some(parent.switch_lsn), "{installation}");
        // Named as ever, `pg_waldump` reads it too.
        let name = WalFileName::containing(TimelineId::FIRST, parent.switch_lsn, size);
        let path = cluster.wal_dir().join(name.to_string());
        fs::rename(cluster.wal_dir().join(partial.to_string()), &path).unwrap();
        follow(&cluster, &history);
    }
}

/// From the first segment of the first timeline to the end of the second, each segment from the file
/// that the history tells, and the same records as `pg_waldump` finds on either timeline.
fn follow(cluster: &Cluster, history: &TimelineHistory) {
    let size = WalSegmentSize::DEFAULT;
    let mut number = size.segment_of(Lsn(0x100_0000));
    let mut decoder = Decoder::new(number.start(size), size);
    let (mut ours, mut timelines) = (Vec::new(), Vec::new());
    loop {
        let timeline = history.timeline_of_segment(number, size);
        let name = WalFileName::segment(timeline, number, size);
        let Ok(bytes) = fs::read(cluster.wal_dir().join(name.to_string())) else { break };
        timelines.push(timeline);
        decoder.feed(bytes);
        while let Some(record) = decoder.next().unwrap() {
            ours.push((record.lsn, record.header.rmgr.to_string()));
        }
        number = number.next();
    }
    assert!(decoder.end().is_some());
    let switch = history.parent().unwrap().switch_lsn;
    assert_eq!(timelines.first(), Some(&TimelineId::FIRST));
    assert_eq!(timelines.last(), Some(&history.timeline()));
    let theirs = |timeline, start| {
        let lines = waldump::dump_timeline(cluster, timeline, start);
        lines.into_iter().map(|line| (line.lsn, line.rmgr))
    };
    let mut expected: Vec<_> = theirs(TimelineId::FIRST, Lsn(0x100_0000)).collect();
    expected.retain(|(lsn, _)| *lsn < switch);
    expected.extend(theirs(history.timeline(), switch));
    assert!(ours.iter().filter(|(lsn, _)| *lsn >= switch).count() > 1000);
    assert_eq!(ours, expected);
}
