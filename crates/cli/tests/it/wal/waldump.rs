//! What `pg_waldump` prints, in the terms of `walbrook-wal show --output json`.

use std::process::Command;

use serde_json::{Value, json};
use walbrook_testkit::Cluster;

/// The lines that it prints of the WAL from this segment of 16 MiB on, for these arguments; it ends
/// with an error at the end of the WAL, always.
pub(super) fn output(cluster: &Cluster, first: &str, args: &[&str]) -> Vec<String> {
    let mut command: Command = cluster.command("pg_waldump");
    let start = format!("0/{}000000", &first[22..]);
    command.arg("-p").arg(cluster.wal_dir()).args(["-s", &start]).args(args);
    let output = command.output().unwrap();
    assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| !line.starts_with("first record is after"));
    lines.map(str::to_owned).collect()
}

/// A line as a record; none for a line that is no record's.
pub(super) fn record(line: &str) -> Option<Value> {
    let rest = line.strip_prefix("rmgr: ")?;
    let (rmgr, rest) = rest.split_once("len (rec/tot):").unwrap();
    let (len, rest) = rest.split_once(", tx:").unwrap();
    let (xid, rest) = rest.split_once(", lsn:").unwrap();
    let (lsn, rest) = rest.split_once(", prev ").unwrap();
    let (prev, rest) = rest.split_once(", desc: ").unwrap();
    let mut parts = rest.split(", blkref #");
    let description = parts.next().unwrap();
    let op = match description.strip_prefix("UNKNOWN") {
        Some(_) => description.trim(),
        None => description.split_whitespace().next().unwrap().trim_end_matches(','),
    };
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    Some(json!({
        "rmgr": rmgr.trim(),
        "total_len": number(len.split_once('/').unwrap().1),
        "xid": number(xid),
        "lsn": lsn_of(lsn),
        "prev": lsn_of(prev),
        "op": op,
        "blocks": parts.map(block).collect::<Vec<_>>(),
    }))
}

/// `0: rel 1663/5/16384 fork vm blk 0 FPW for WAL verification`
fn block(text: &str) -> Value {
    let mut words = text.split_whitespace().skip(2);
    let relation: Vec<u64> = words.next().unwrap().split('/').map(|n| n.parse().unwrap()).collect();
    let mut fork = "main";
    let mut word = words.next().unwrap();
    if word == "fork" {
        fork = words.next().unwrap();
        word = words.next().unwrap();
    }
    assert_eq!(word, "blk", "{text}");
    let block: u64 = words.next().unwrap().parse().unwrap();
    let image = words.next() == Some("FPW");
    json!({ "spc": relation[0], "db": relation[1], "rel": relation[2], "fork": fork, "blk": block,
            "fpi": image, "apply": image && words.next().is_none() })
}

/// Without the zeros in front of the lower half.
fn lsn_of(text: &str) -> String {
    let (high, low) = text.trim().split_once('/').unwrap();
    format!("{high}/{:X}", u64::from_str_radix(low, 16).unwrap())
}

/// What `show --output json` says that `pg_waldump` says as well.
pub(super) fn common(line: &str) -> Value {
    let mut record: Value = serde_json::from_str(line).unwrap();
    let kept = ["rmgr", "total_len", "xid", "lsn", "prev", "op", "blocks"];
    json!(
        kept.map(|key| (key, record[key].take()))
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
    )
}
