//! Measures how fast a directory's WAL segments are scanned and decoded on one core, in memory:
//! `cargo run --release -p walbrook-wal --example scan -- DIR`.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use walbrook_wal::{Decoder, SegmentHeader, WalSummary, scan_segment, summarize_segment};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: scan DIR")?;
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    let mut segments = Vec::new();
    for path in paths {
        if path.file_name().is_some_and(|name| name.len() == 24) {
            let bytes = Bytes::from(std::fs::read(path)?);
            // Segments made in advance and not used yet are not of interest.
            if SegmentHeader::parse(&bytes).is_ok() {
                segments.push(bytes);
            }
        }
    }
    let first = SegmentHeader::parse(segments.first().ok_or("no WAL segments there")?)?;
    let total: usize = segments.iter().map(Bytes::len).sum();
    let report = |what: &str, records: u64, start: Instant| {
        let seconds = start.elapsed().as_secs_f64();
        println!("{what}: {records} records, {:.2} GB/s", total as f64 / seconds / 1e9);
    };

    for verify_crc in [false, true] {
        let (mut records, start) = (0, Instant::now());
        for bytes in &segments {
            records += scan_segment(bytes, verify_crc)?.records;
        }
        report(if verify_crc { "scan with CRCs" } else { "scan" }, records, start);
    }
    let (mut summaries, start) = (Vec::new(), Instant::now());
    for bytes in &segments {
        summaries.push(summarize_segment(bytes, false)?);
    }
    report("scan with block summaries", 0, start);
    let encoded: Vec<_> = summaries.iter().map(WalSummary::encode).collect();
    report("the same and encoded", 0, start);
    let bytes: usize = encoded.iter().map(Vec::len).sum();
    let start = Instant::now();
    let mut whole: Option<WalSummary> = None;
    for encoded in &encoded {
        let next = WalSummary::decode(encoded)?;
        match &mut whole {
            Some(whole) if whole.ended.is_none() && whole.end == next.start => {
                whole.merge(&next)?
            }
            Some(_) => {}
            None => whole = Some(next),
        }
    }
    report(&format!("decode and merge {bytes} bytes of summaries"), 0, start);
    for blocks in [false, true] {
        let (mut records, mut seen, start) = (0, 0, Instant::now());
        let mut decoder = Decoder::new(first.start, first.segment_size);
        for bytes in &segments {
            decoder.feed(bytes.clone());
            while let Some(record) = decoder.next()? {
                records += 1;
                if blocks {
                    seen += record.parts()?.blocks().count();
                }
            }
        }
        let what =
            if blocks { format!("decode, {seen} block references") } else { "decode".into() };
        report(&what, records, start);
    }
    Ok(())
}
