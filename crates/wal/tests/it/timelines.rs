use std::fs;
use std::time::Duration;

use bytes::Bytes;
use walbrook_testkit::{Cluster, StopMode, majors};
use walbrook_types::{TimelineId, WalFileName, WalSegmentSize};
use walbrook_wal::{Decoder, TimelineHistory, XlogRecord, scan_segment};

#[test]
fn a_promotion_is_followed() {
    for installation in majors() {
        let mut cluster =
            Cluster::builder(installation).config("archive_mode", "off").start().unwrap();
        cluster.psql_ok("postgres", "CREATE TABLE t AS SELECT 1 AS n").unwrap();
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
        // More than a page of it: a page header tells the timeline that its page began with.
        cluster.psql_ok("postgres", "INSERT INTO t SELECT generate_series(1, 1000)").unwrap();
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
    }
}
