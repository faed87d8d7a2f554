//! The binary encoding of pack indexes and manifest shards: little-endian LEB128 numbers, and
//! byte strings with their length in front.

use crate::{Error, Result};

/// Checks the version that a table begins with, so that a later one is not taken for damage. The
/// digest of the table was checked before.
pub(crate) fn check_version(object: &str, table: &[u8], known: u8) -> Result<()> {
    match table.first() {
        Some(version) if *version > known => {
            Err(Error::too_new(object, format_args!("format version {version}")))
        }
        _ => Ok(()),
    }
}

/// Writes to the end of a buffer.
pub(crate) trait Put {
    fn put_number(&mut self, number: u64);
    fn put_signed(&mut self, number: i64);
    fn put_bytes(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    fn put_number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.push(number as u8);
    }

    /// Zigzag: small numbers of either sign are short.
    fn put_signed(&mut self, number: i64) {
        self.put_number(((number << 1) ^ (number >> 63)) as u64);
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_number(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }
}

/// Reads from the front of a slice; `None` when the slice ends early or a number is not one.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            // The tenth byte has room for one bit only.
            if shift == 63 && byte > 1 {
                return None;
            }
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn number_as<T: TryFrom<u64>>(&mut self) -> Option<T> {
        self.number()?.try_into().ok()
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.number_as()?;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A count of things of at least `size` bytes each: never more than there are bytes left for,
    /// so that a hostile count can't make anybody reserve memory for it.
    pub(crate) fn count(&mut self, size: usize) -> Option<usize> {
        let count: usize = self.number_as()?;
        (count <= self.0.len() / size.max(1)).then_some(count)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let mut buffer = Vec::new();
        for number in numbers {
            buffer.put_number(number);
            buffer.put_signed(number as i64);
            buffer.put_signed((number as i64).wrapping_neg());
        }
        let mut reader = Reader(&buffer);
        for number in numbers {
            assert_eq!(reader.number(), Some(number));
            assert_eq!(reader.signed(), Some(number as i64));
            assert_eq!(reader.signed(), Some((number as i64).wrapping_neg()));
        }
        assert!(reader.is_empty());
    }

    #[test]
    fn overlong_numbers_and_absurd_counts_are_refused() {
        assert_eq!(Reader(&[0xFF; 10]).number(), None);
        assert_eq!(Reader(&[0x80; 3]).number(), None);
        assert_eq!(Reader(&[0xFF, 0x7F, 0, 0]).count(1), None);
    }
}
