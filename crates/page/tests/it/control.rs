use std::collections::HashMap;
use std::fs;

use walbrook_page::{ControlFile, ErrorKind, parse_pg_version};
use walbrook_testkit::{Cluster, majors};

use crate::cluster::stopped;

/// What `pg_controldata` prints, by label.
fn oracle(cluster: &Cluster) -> HashMap<String, String> {
    let output = cluster
        .command("pg_controldata")
        .arg(cluster.data_dir())
        .env("TZ", "UTC")
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(label, value)| (label.to_owned(), value.trim().to_owned()))
        .collect()
}

/// The labels and our values for them.
fn ours(c: &ControlFile) -> Vec<(&'static str, String)> {
    let on = |flag: bool| if flag { "on" } else { "off" }.to_owned();
    let mut values = vec![
        ("pg_control version number", c.control_version.to_string()),
        ("Catalog version number", c.catalog_version.to_string()),
        ("Database system identifier", c.system_id.to_string()),
        ("Database cluster state", c.state.as_str().to_owned()),
        ("Latest checkpoint location", c.checkpoint_lsn.to_string()),
        ("Latest checkpoint's REDO location", c.checkpoint.redo.to_string()),
        ("Latest checkpoint's TimeLineID", c.checkpoint.timeline.to_string()),
        ("Latest checkpoint's PrevTimeLineID", c.checkpoint.previous_timeline.to_string()),
        ("Latest checkpoint's full_page_writes", on(c.checkpoint.full_page_writes)),
        (
            "Latest checkpoint's NextXID",
            format!("{}:{}", c.checkpoint.next_xid >> 32, c.checkpoint.next_xid as u32),
        ),
        ("Latest checkpoint's NextOID", c.checkpoint.next_oid.to_string()),
        ("Latest checkpoint's NextMultiXactId", c.checkpoint.next_multi.to_string()),
        ("Latest checkpoint's NextMultiOffset", c.checkpoint.next_multi_offset.to_string()),
        ("Latest checkpoint's oldestXID", c.checkpoint.oldest_xid.to_string()),
        ("Latest checkpoint's oldestMultiXid", c.checkpoint.oldest_multi.to_string()),
        ("Latest checkpoint's oldestActiveXID", c.checkpoint.oldest_active_xid.to_string()),
        ("Minimum recovery ending location", c.min_recovery_point.to_string()),
        (
            "Min recovery ending loc's timeline",
            c.min_recovery_timeline.map_or(0, |timeline| timeline.get()).to_string(),
        ),
        ("Backup start location", c.backup_start_point.to_string()),
        ("Backup end location", c.backup_end_point.to_string()),
        (
            "End-of-backup record required",
            if c.backup_end_required { "yes" } else { "no" }.to_owned(),
        ),
        ("wal_level setting", c.wal_level.as_str().to_owned()),
        ("wal_log_hints setting", on(c.wal_log_hints)),
        ("max_connections setting", c.max_connections.to_string()),
        ("max_worker_processes setting", c.max_worker_processes.to_string()),
        ("max_wal_senders setting", c.max_wal_senders.to_string()),
        ("max_prepared_xacts setting", c.max_prepared_xacts.to_string()),
        ("max_locks_per_xact setting", c.max_locks_per_xact.to_string()),
        ("track_commit_timestamp setting", on(c.track_commit_timestamp)),
        ("Database block size", c.block_size.to_string()),
        ("Blocks per segment of large relation", c.relseg_size.to_string()),
        ("WAL block size", c.wal_block_size.to_string()),
        ("Bytes per WAL segment", c.wal_segment_size.bytes().to_string()),
        ("Data page checksum version", c.data_checksum_version.to_string()),
    ];
    // The tool prints local time in C style; its clock part is comparable as it stands.
    for (label, time) in
        [("pg_control last modified", c.time), ("Time of latest checkpoint", c.checkpoint.time)]
    {
        values.push((label, time.to_string()[11..19].to_owned()));
    }
    values
}

fn compare(cluster: &Cluster, major: u32) {
    let bytes = fs::read(cluster.data_dir().join("global/pg_control")).unwrap();
    let control = ControlFile::parse(&bytes).unwrap();
    assert_eq!(control.major_version(), Some(major));
    let oracle = oracle(cluster);
    for (label, value) in ours(&control) {
        let said = oracle.get(label).unwrap_or_else(|| panic!("pg_controldata lacks {label}"));
        if label.starts_with("pg_control last") || label.starts_with("Time of") {
            assert!(said.contains(&value), "{major} {label}: {said}, not {value}");
        } else {
            // Newer minors print LSNs with leading zeros.
            let same = *said == value || said.replace("/0", "/").replace("/0", "/") == value;
            assert!(same, "{major} {label}: {said}, not {value}");
        }
    }
}

#[test]
fn says_what_pg_controldata_says() {
    for installation in majors() {
        let mut cluster = stopped(installation, true);
        compare(&cluster, installation.major());
        cluster.start_again().unwrap();
        compare(&cluster, installation.major());
        let version = fs::read_to_string(cluster.data_dir().join("PG_VERSION")).unwrap();
        assert_eq!(parse_pg_version(&version), Ok(installation.major()));
    }
}

#[test]
fn every_flipped_byte_is_found() {
    for installation in majors() {
        let cluster = Cluster::builder(installation).create().unwrap();
        let bytes = fs::read(cluster.data_dir().join("global/pg_control")).unwrap();
        let end = if installation.major() >= 18 { 296 } else { 292 };
        for at in 0..end {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x40;
            assert!(ControlFile::parse(&bytes).is_err(), "byte {at}");
        }
        // Too short to tell the version, or shorter than that version's structure.
        for len in 0..end {
            let error = ControlFile::parse(&bytes[..len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Truncated, "{len} bytes");
        }
        assert!(ControlFile::parse(&bytes[..end]).is_ok());
    }
}
