//! What the fuzz targets share.

use bytes::Bytes;
use walbrook_types::{BLOCK_SIZE, Lsn, WalSegmentSize};
use walbrook_wal::{Decoder, Record, RecordHeader, WAL_PAGE_SIZE, WalVersion};

/// The bytes up to the last whole page.
pub fn whole_pages(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len() / WAL_PAGE_SIZE * WAL_PAGE_SIZE]
}

/// What a decoder yields that is fed `bytes` in pieces of this length: each record, or the error at
/// which it went on; and how it ended.
pub fn decode_all(start: Lsn, size: WalSegmentSize, bytes: &[u8], piece: usize) -> Vec<String> {
    let mut decoder = Decoder::new(start, size);
    let mut seen = Vec::new();
    for part in bytes.chunks(piece) {
        decoder.feed(Bytes::copy_from_slice(part));
        loop {
            match decoder.next() {
                Ok(Some(record)) => {
                    ask_everything(&record);
                    seen.push(format!("{} {}", record.lsn, record.header.total_len));
                }
                Ok(None) => break,
                Err(error) => {
                    seen.push(error.to_string());
                    decoder.resync();
                }
            }
        }
        assert!(decoder.buffered() <= bytes.len());
    }
    seen.push(format!("{:?}", decoder.end()));
    seen
}

/// The record that a fuzzer's input stands for: the version, then the record, whose length is
/// made right.
pub fn record(bytes: &[u8]) -> Option<Record> {
    let (version, bytes) = bytes.split_first()?;
    let version = WalVersion::ALL[usize::from(*version) % WalVersion::ALL.len()];
    let mut bytes = bytes.to_vec();
    let total_len = u32::try_from(bytes.len()).ok()?.to_le_bytes();
    bytes.get_mut(..4)?.copy_from_slice(&total_len);
    let header = RecordHeader::parse(&bytes)?;
    let lsn = Lsn(0x100_0028);
    let end_lsn = Lsn(lsn.0 + (bytes.len() as u64).next_multiple_of(8));
    Some(Record { lsn, end_lsn, version, header, bytes: bytes.into() })
}

/// Asks a record all that it can be asked.
pub fn ask_everything(record: &Record) {
    if let Ok(parts) = record.parts() {
        let mut data = parts.main_data().len();
        for block in parts.blocks() {
            data += block.data.len() + block.image.map_or(0, |image| image.bytes.len());
            let mut page = [0; BLOCK_SIZE];
            let _ = block.image.map(|image| image.restore(&mut page));
        }
        assert!(data < record.bytes.len());
    }
    let _ = record.operation_name();
    let _ = record.changes().map(|change| format!("{change:?}"));
    let _ = record.xlog();
    let _ = record.smgr();
    let _ = record.dbase().map(|dbase| format!("{dbase:?}"));
    let _ = record.tablespace().map(|tablespace| format!("{tablespace:?}"));
    let _ = record.relmap().map(|update| format!("{update:?}"));
    if let Ok(Some(xact)) = record.xact() {
        let _ = format!("{xact:?}");
    }
}
