//! Reading what `pg_waldump` prints.

use std::collections::BTreeMap;

use walbrook_testkit::Cluster;
use walbrook_types::{Lsn, PgTimestamp, TimelineId};
use walbrook_wal::Xid;

/// One line of `pg_waldump`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) lsn: Lsn,
    pub(crate) prev: Lsn,
    pub(crate) rmgr: String,
    pub(crate) total_len: u32,
    pub(crate) xid: Xid,
    /// From the operation's name on, without the block references.
    pub(crate) desc: String,
    /// As it prints them: `rel 1663/5/16384 fork vm blk 0 FPW`.
    pub(crate) blocks: Vec<String>,
}

/// All records of the log from its start.
pub(crate) fn dump(cluster: &Cluster, start: Lsn) -> Vec<Line> {
    let lines = dump_timeline(cluster, TimelineId::FIRST, start);
    assert!(lines.len() > 10_000, "{}", lines.len());
    lines
}

/// All records in the files of this timeline, from a record or a segment's start on.
pub(crate) fn dump_timeline(cluster: &Cluster, timeline: TimelineId, start: Lsn) -> Vec<Line> {
    let output = cluster
        .command("pg_waldump")
        .arg("-p")
        .arg(cluster.wal_dir())
        .args(["-t", &timeline.get().to_string(), "-s", &start.to_string()])
        .env("TZ", "UTC")
        .output()
        .unwrap();
    // It ends with an error at the end of the log, always.
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = text.lines().filter_map(parse).collect();
    assert!(!lines.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    lines
}

/// How many records of each operation there are, from its start on: their number, the length of all
/// without images, and that of the images.
pub(crate) fn stats(cluster: &Cluster, start: Lsn) -> BTreeMap<String, (u64, u64, u64)> {
    let output = cluster
        .command("pg_waldump")
        .arg("--stats=record")
        .arg("-p")
        .arg(cluster.wal_dir())
        .arg("-s")
        .arg(start.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let totals = text.lines().filter_map(|line| {
        // `Heap/INSERT   1234 (  5.67)   89 ( 1.23) …`; the last line is that of all.
        let (name, rest) = line.split_once(' ').filter(|(name, _)| name.contains('/'))?;
        let mut columns = rest.split('(').filter_map(|part| part.split_whitespace().last());
        let mut number = || columns.next().unwrap().parse::<u64>().ok();
        Some((name.to_owned(), (number()?, number()?, number()?)))
    });
    totals.collect()
}

fn parse(line: &str) -> Option<Line> {
    let rest = line.strip_prefix("rmgr: ")?;
    let (rmgr, rest) = rest.split_once("len (rec/tot):")?;
    let (len, rest) = rest.split_once(", tx:")?;
    let (xid, rest) = rest.split_once(", lsn:")?;
    let (lsn, rest) = rest.split_once(", prev ")?;
    let (prev, rest) = rest.split_once(", desc: ").unwrap();
    let mut parts = rest.split(", blkref #");
    let desc = parts.next()?.trim().to_owned();
    let blocks = parts.map(|part| part.split_once(": ").unwrap().1.trim().to_owned()).collect();
    Some(Line {
        lsn: lsn.trim().parse().unwrap(),
        prev: prev.trim().parse().unwrap(),
        rmgr: rmgr.trim().to_owned(),
        total_len: len.split_once('/').unwrap().1.trim().parse().unwrap(),
        xid: xid.trim().parse().unwrap(),
        desc,
        blocks,
    })
}

impl Line {
    /// The operation's name.
    pub(crate) fn operation(&self) -> &str {
        self.desc.split(' ').next().unwrap()
    }

    /// The moment that a description of the `Transaction` manager holds.
    pub(crate) fn time(&self) -> Option<PgTimestamp> {
        // `COMMIT 2026-11-22 04:31:56.123456 UTC; …`, `COMMIT_PREPARED 745: 2026-…`
        let (clock, _) = self.desc.split_once(" UTC")?;
        let (rest, time) = clock.rsplit_once(' ')?;
        let (_, date) = rest.rsplit_once(' ')?;
        Some(format!("{date}T{time}Z").parse().unwrap())
    }

    /// The prepared transaction that a description names.
    pub(crate) fn prepared_xid(&self) -> Option<Xid> {
        let (_, rest) = self.desc.split_once("_PREPARED ")?;
        rest.split_once(": ")?.0.parse().ok()
    }
}
