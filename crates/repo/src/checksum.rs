//! CRC-32C of what is put together of parts.
//!
//! A CRC is a polynomial over GF(2), modulo that of Castagnoli; appending a zero byte multiplies it
//! by x⁸. So the checksum of a whole follows from those of its parts, in a microsecond and
//! whatever their lengths.

/// Castagnoli's polynomial. The highest bit of a word stands for x⁰, the lowest for x³¹.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// x⁰.
const ONE: u32 = 1 << 31;

/// x to the power of 2ⁿ.
const POWERS: [u32; 67] = {
    let mut powers = [ONE >> 1; 67];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = product(powers[n - 1], powers[n - 1]);
        n += 1;
    }
    powers
};

const fn product(a: u32, mut b: u32) -> u32 {
    let mut sum = 0;
    let mut bit = 0;
    while bit < 32 {
        if a & (ONE >> bit) != 0 {
            sum ^= b;
        }
        // Times x.
        b = (b >> 1) ^ if b & 1 == 1 { POLYNOMIAL } else { 0 };
        bit += 1;
    }
    sum
}

/// A polynomial times x to the power of 8 for each byte.
fn shifted(crc: u32, bytes: u64) -> u32 {
    let used = (0..u64::BITS - bytes.leading_zeros()).filter(|bit| bytes >> bit & 1 == 1);
    used.fold(crc, |crc, bit| product(POWERS[bit as usize + 3], crc))
}

/// The CRC-32C of a whole, of those of its two parts and the length of the second in bytes.
pub fn combine(first: u32, second: u32, second_len: u64) -> u32 {
    shifted(first, second_len) ^ second
}

/// The CRC-32C of so many zeros.
pub fn of_zeros(len: u64) -> u32 {
    !shifted(!0, len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_make_the_whole(bytes: Vec<u8>, zeros in 0..5000usize) {
            let whole = [&bytes[..], &vec![0; zeros], &bytes].concat();
            let with_zeros = combine(crc32c::crc32c(&bytes), of_zeros(zeros as u64), zeros as u64);
            let found = combine(with_zeros, crc32c::crc32c(&bytes), bytes.len() as u64);
            prop_assert_eq!(found, crc32c::crc32c(&whole));
        }

        /// Of lengths that nobody waits for.
        #[test]
        fn long_parts(first: u32, second: u32, len in 0..1u64 << 40) {
            let expected = crc32c::crc32c_combine(first, second, len as usize);
            prop_assert_eq!(combine(first, second, len), expected);
        }
    }
}
