use proptest::prelude::*;
use walbrook_page::{ControlFile, Page, PageHeader, checksum, parse_pg_version, verify};

/// The algorithm as its header describes it, one word at a time and with no thought of speed.
fn plain(page: &Page, block: u32) -> u16 {
    let mut page = *page;
    page[8] = 0;
    page[9] = 0;
    // What each lane starts from is its result on nothing; taken from the crate's answer is no
    // option, so the table of storage/checksum_impl.h stands here a second time.
    let mut sums: [u32; 32] = [
        0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2,
        0x83E13D2C, 0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C,
        0xF718902A, 0x0B1C9CDB, 0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979,
        0xCCA6C0B2, 0x304A0979, 0x85AA43D4, 0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E,
        0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
    ];
    for word in 0..66 * 32 {
        let value = page
            .get(word * 4..word * 4 + 4)
            .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let mixed = sums[word % 32] ^ value;
        sums[word % 32] = mixed.wrapping_mul(16_777_619) ^ (mixed >> 17);
    }
    ((sums.iter().fold(0, |a, b| a ^ b) ^ block) % 65_535 + 1) as u16
}

proptest! {
    #[test]
    fn the_fast_checksum_is_the_plain_one(
        bytes in proptest::collection::vec(any::<u8>(), 8192),
        block in any::<u32>(),
    ) {
        let page: Page = bytes.try_into().unwrap();
        prop_assert_eq!(checksum(&page, block), plain(&page, block));
        prop_assert_ne!(checksum(&page, block), 0);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
        let _ = ControlFile::parse(&bytes);
        let _ = parse_pg_version(&String::from_utf8_lossy(&bytes));
        if let Ok(page) = <&Page>::try_from(bytes.get(..8192).unwrap_or_default()) {
            let _ = verify(page, 1, true).to_string();
            let _ = verify(page, 1, false).to_string();
            let _ = format!("{:?}", PageHeader::new(page));
        }
    }
}
