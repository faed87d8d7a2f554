//! WAL from its first page on: the decoder yields the same whatever pieces it is fed in, and
//! neither it nor the scanner, which checks no CRC, panics or takes more memory than its input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walbrook_fuzz::{decode_all, whole_pages};
use walbrook_wal::{SegmentHeader, SegmentScanner};

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let mut scanner = SegmentScanner::new(false);
    let _ = scanner.feed(whole_pages(bytes)).map(|()| scanner.finish());

    let Ok(header) = SegmentHeader::parse(bytes) else { return };
    let (start, size) = (header.start, header.segment_size);
    let whole = decode_all(start, size, bytes, bytes.len().max(1));
    let pieces = decode_all(start, size, bytes, 1 + usize::from(piece) * 37);
    assert_eq!(whole, pieces);
});
