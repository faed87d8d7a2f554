//! Makes seeds of real WAL: `seeds FOLDER SEGMENT...` writes the beginning of each segment to
//! `FOLDER/segment`, one short record of each kind to `FOLDER/record`, and each segment's block summary
//! to `FOLDER/summary`.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use walbrook_wal::{Decoder, SegmentHeader, WAL_PAGE_SIZE, WalVersion, summarize_segment};

/// Longer records are passed over: a short seed is mutated more to the point.
const LONGEST: usize = 600;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = args.next().ok_or("usage: seeds FOLDER SEGMENT...")?;
    for kind in ["segment", "record", "summary"] {
        fs::create_dir_all(folder.join(kind))?;
    }
    let mut kinds = BTreeSet::<(WalVersion, u8, u8)>::new();
    for file in args {
        let bytes = fs::read(&file)?;
        let header = SegmentHeader::parse(&bytes)?;
        let version = header.version;
        let name = format!("{}-{:x}", version.major(), header.start.0);
        if let Ok(summary) = summarize_segment(&bytes, true) {
            fs::write(folder.join("summary").join(&name), summary.encode())?;
        }
        if kinds.iter().all(|(v, ..)| *v != version) {
            write(&folder.join("segment").join(name), 3, &bytes[..3 * WAL_PAGE_SIZE])?;
        }
        let mut decoder = Decoder::new(header.start, header.segment_size);
        decoder.feed(bytes);
        while let Some(record) = decoder.next()? {
            let (rmgr, operation) = (record.header.rmgr, record.header.operation());
            if record.bytes.len() <= LONGEST && kinds.insert((version, rmgr.0, operation)) {
                let name = format!("{}-{rmgr}-{operation:02x}", version.major());
                let number = WalVersion::ALL.iter().position(|v| *v == version).unwrap_or(0);
                write(&folder.join("record").join(name), number as u8, &record.bytes)?;
            }
        }
    }
    Ok(())
}

fn write(file: &Path, first: u8, rest: &[u8]) -> std::io::Result<()> {
    fs::write(file, [&[first], rest].concat())
}
