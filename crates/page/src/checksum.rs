use walbrook_types::BlockNumber;

use crate::Page;

/// How many hashes run side by side, each over every 32nd word (`N_SUMS`).
const LANES: usize = 32;

/// Bytes that one round over all lanes takes.
const STRIDE: usize = LANES * 4;

/// The multiplier of 32-bit FNV-1a (`FNV_PRIME`).
const PRIME: u32 = 16_777_619;

/// Where `pd_checksum` lies in the page header.
const CHECKSUM_AT: usize = 8;

/// What each lane starts from (`checksumBaseOffsets`); part of the on-disk format.
const BASE: [u32; LANES] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// The checksum that PostgreSQL stores in `pd_checksum` of this page at this block.
///
/// `pg_checksum_page` of PostgreSQL's `storage/checksum_impl.h`: 32 interleaved FNV-1a variants
/// over little-endian words, with the field itself taken as zero. `block` is the number within the
/// whole fork, not within its file of 1 GiB, so that a page moved elsewhere is found out. The
/// result is never zero. New pages have no checksum: [`verify`](crate::verify) knows that.
pub fn checksum(page: &Page, block: BlockNumber) -> u16 {
    let mut lanes = BASE;
    let (strides, _) = page.as_chunks::<STRIDE>();
    let mut rest = strides.iter();
    // The first stride alone holds the field to be masked: doing it apart keeps the hot loop
    // free of tests and the page uncopied.
    if let Some(first) = rest.next() {
        let mut first = *first;
        first[CHECKSUM_AT..CHECKSUM_AT + 2].fill(0);
        mix(&mut lanes, &first);
    }
    for stride in rest {
        mix(&mut lanes, stride);
    }
    for _ in 0..2 {
        mix(&mut lanes, &[0; STRIDE]);
    }
    let folded = lanes.iter().fold(0, |sum, lane| sum ^ lane) ^ block;
    // At most 65535: it fits.
    (folded % 65_535 + 1) as u16
}

/// One round of every lane (`CHECKSUM_COMP`). Written as a plain loop over fixed arrays, which
/// the compiler turns into vector instructions.
#[inline(always)]
fn mix(lanes: &mut [u32; LANES], stride: &[u8; STRIDE]) {
    let (words, _) = stride.as_chunks::<4>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        let mixed = *lane ^ u32::from_le_bytes(*word);
        *lane = mixed.wrapping_mul(PRIME) ^ (mixed >> 17);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_checksum_does_not_matter() {
        let mut page = [7; 8192];
        let before = checksum(&page, 3);
        page[8] = 0xFF;
        page[9] = 0x12;
        assert_eq!(checksum(&page, 3), before);
    }

    #[test]
    fn the_block_number_matters() {
        assert_ne!(checksum(&[7; 8192], 3), checksum(&[7; 8192], 4));
    }
}
