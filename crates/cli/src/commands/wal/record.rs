//! One record, as a line of text or of JSON.

use std::fmt::Write as _;

use serde::Serialize;
use walbrook::types::{Fork, Lsn, PgTimestamp, TimelineId};
use walbrook::wal::{Error, Record, XactRecord, XlogRecord};
use walbrook::wal_reader::{operation_text, relation_text};

use super::relation::fork_name;

/// The layout of `XLogDumpDisplayRecord` in PostgreSQL's `pg_waldump.c`; what follows the
/// operation's name is shorter.
pub(super) fn text(record: &Record) -> Result<String, Error> {
    let header = &record.header;
    let parts = record.parts()?;
    let images = parts.blocks().filter_map(|block| block.image);
    let image_bytes: u64 = images.map(|image| image.bytes.len() as u64).sum();
    let mut line = format!(
        "rmgr: {:<11} len (rec/tot): {:>6}/{:>6}, tx: {:>10}, lsn: {}, prev {}, desc: {}",
        header.rmgr.to_string(),
        u64::from(header.total_len) - image_bytes,
        header.total_len,
        header.xid,
        padded(record.lsn),
        padded(header.prev),
        operation_text(record),
    );
    if let Some(description) = describe(record)? {
        line.push(' ');
        line += &description;
    }
    for block in parts.blocks() {
        let relation = relation_text(block.relation);
        let _ = write!(line, ", blkref #{}: rel {relation}", block.id);
        if block.fork != Fork::Main {
            let _ = write!(line, " fork {}", fork_name(block.fork));
        }
        let _ = write!(line, " blk {}", block.block);
        line += match block.image {
            Some(image) if image.apply => " FPW",
            Some(_) => " FPW for WAL verification",
            None => "",
        };
    }
    Ok(line)
}

/// With the zeros that `pg_waldump` puts in front of the lower half.
pub(super) fn padded(lsn: Lsn) -> String {
    format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 & 0xFFFF_FFFF)
}

fn clock(time: PgTimestamp) -> String {
    let text = time.to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// What the record says, for those that somebody who looks for a moment is after.
fn describe(record: &Record) -> Result<Option<String>, Error> {
    if let Some(xact) = record.xact()? {
        return Ok(match xact {
            XactRecord::Commit(end) | XactRecord::Abort(end) => {
                let mut text = clock(end.time);
                if end.prepared {
                    text = format!("{}: {text}", end.xid);
                }
                if end.subxids().len() > 0 {
                    text += "; subxacts:";
                    end.subxids().for_each(|xid| text += &format!(" {xid}"));
                }
                Some(text)
            }
            XactRecord::Prepare(prepare) => {
                let gid = String::from_utf8_lossy(prepare.gid);
                Some(format!("gid {}: {}", gid.replace(char::is_control, "?"), clock(prepare.time)))
            }
            _ => None,
        });
    }
    Ok(match record.xlog()? {
        Some(XlogRecord::CheckpointShutdown(c) | XlogRecord::CheckpointOnline(c)) => Some(format!(
            "redo {}; tli {}; xid {}:{}",
            padded(c.redo),
            c.timeline,
            c.next_xid >> 32,
            c.next_xid as u32
        )),
        Some(XlogRecord::RestorePoint { name, .. }) => Some(name.replace(char::is_control, "?")),
        Some(XlogRecord::EndOfRecovery { time, timeline, previous_timeline, .. }) => {
            let time = clock(time);
            Some(format!("tli {timeline}; prev tli {previous_timeline}; time {time}"))
        }
        Some(XlogRecord::BackupEnd { start_lsn }) => Some(padded(start_lsn)),
        _ => None,
    })
}

/// A record for programs.
#[derive(Serialize)]
pub(super) struct JsonRecord {
    lsn: Lsn,
    end_lsn: Lsn,
    timeline: TimelineId,
    prev: Lsn,
    rmgr: String,
    op: String,
    total_len: u32,
    xid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prepared_xid: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subxids: Vec<u32>,
    blocks: Vec<JsonBlock>,
}

#[derive(Serialize)]
struct JsonBlock {
    spc: u32,
    db: u32,
    rel: u32,
    fork: &'static str,
    blk: u32,
    /// Whether there is a full-page image.
    fpi: bool,
    /// Whether replay restores it.
    apply: bool,
}

impl JsonRecord {
    pub(super) fn new(record: &Record, timeline: TimelineId) -> Result<Self, Error> {
        let blocks = record.parts()?.blocks().map(|block| JsonBlock {
            spc: block.relation.tablespace_oid,
            db: block.relation.database,
            rel: block.relation.number,
            fork: fork_name(block.fork),
            blk: block.block,
            fpi: block.image.is_some(),
            apply: block.image.is_some_and(|image| image.apply),
        });
        let (mut time, mut prepared_xid, mut subxids) = (None, None, Vec::new());
        match record.xact()? {
            Some(XactRecord::Commit(end) | XactRecord::Abort(end)) => {
                time = Some(end.time);
                prepared_xid = end.prepared.then_some(end.xid);
                subxids = end.subxids().collect();
            }
            Some(XactRecord::Prepare(prepare)) => time = Some(prepare.time),
            _ => {}
        }
        Ok(Self {
            lsn: record.lsn,
            end_lsn: record.end_lsn,
            timeline,
            prev: record.header.prev,
            rmgr: record.header.rmgr.to_string(),
            op: operation_text(record),
            total_len: record.header.total_len,
            xid: record.header.xid,
            time: time.map(|time| time.to_string()),
            prepared_xid,
            subxids,
            blocks: blocks.collect(),
        })
    }
}
