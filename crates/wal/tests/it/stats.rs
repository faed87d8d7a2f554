//! Totals by operation, against `pg_waldump --stats=record`.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::oracle::decode;
use crate::server::each;

#[test]
fn totals_are_those_of_pg_waldump() {
    each(&[1, 16, 64], |wal| {
        let bytes = Bytes::from(wal.read());
        // How many, their length without images, and that of the images.
        let mut totals: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
        for record in decode(wal, &bytes, bytes.len()) {
            let images: u64 = record
                .parts()
                .unwrap()
                .blocks()
                .filter_map(|block| block.image)
                .map(|image| image.bytes.len() as u64)
                .sum();
            let name = record.operation_name().unwrap();
            let total = totals.entry(format!("{}/{name}", record.header.rmgr)).or_default();
            total.0 += 1;
            total.1 += u64::from(record.header.total_len) - images;
            total.2 += images;
        }
        assert!(totals.len() > 50, "{}", totals.len());
        assert_eq!(totals, wal.stats, "{} with segments of {}", wal.major, wal.size);
    });
}
