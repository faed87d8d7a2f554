//! PostgreSQL's own compression (format described in `common/pg_lzcompress.c`).
//!
//! A control byte tells of the eight items that follow, lowest bit first: 0 is a byte as it is, 1 is a
//! copy of what was unpacked before. A copy is two bytes, `LLLL` the low half of the first: the upper half
//! of the first and the second are the distance back, 1 to 4095, and `LLLL` + 3 the length, to which
//! a third byte is added when `LLLL` is 15.

/// Unpacks exactly as many bytes as there is room for, from exactly these; none when it does not come
/// out so.
pub(super) fn decompress(mut packed: &[u8], out: &mut [u8]) -> Option<()> {
    let mut at = 0;
    while let (Some((control, rest)), true) = (packed.split_first(), at < out.len()) {
        packed = rest;
        for bit in 0..8 {
            if packed.is_empty() || at == out.len() {
                break;
            }
            if control >> bit & 1 == 0 {
                let (byte, rest) = packed.split_first()?;
                *out.get_mut(at)? = *byte;
                packed = rest;
                at += 1;
                continue;
            }
            let ([first, second], rest) = packed.split_first_chunk()?;
            packed = rest;
            let distance = usize::from(first & 0xF0) << 4 | usize::from(*second);
            let mut len = usize::from(first & 0x0F) + 3;
            if len == 18 {
                let (more, rest) = packed.split_first()?;
                packed = rest;
                len += usize::from(*more);
            }
            let from = at.checked_sub(distance).filter(|_| distance > 0)?;
            // The last copy may say more than there is room for, as PostgreSQL reads it.
            let end = (at + len).min(out.len());
            if distance >= end - at {
                out.copy_within(from..from + (end - at), at);
            } else {
                // It overlaps what it makes: a pattern that repeats.
                for to in at..end {
                    let byte = *out.get(to - distance)?;
                    *out.get_mut(to)? = byte;
                }
            }
            at = end;
        }
    }
    (at == out.len() && packed.is_empty()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::decompress;

    #[test]
    fn copies_may_overlap_and_reach_far() {
        // "ab", then 3 + 15 + 10 more of it.
        let mut out = [0; 30];
        decompress(&[0b100, b'a', b'b', 0x0F, 2, 10], &mut out).unwrap();
        assert_eq!(&out, b"ababababababababababababababab");
        // The same and a byte behind it.
        let mut out = [0; 31];
        decompress(&[0b0100, b'a', b'b', 0x0F, 2, 10, b'z'], &mut out).unwrap();
        assert_eq!(out[30], b'z');
    }

    #[test]
    fn damage_is_no_panic() {
        let mut out = [0; 30];
        for bad in [
            &[][..],
            &[0b1],
            &[0b1, 0x00, 1],
            &[0b10, b'a', 0x00, 0],
            &[0b10, b'a', 0x00, 2],
            &[0b100, b'a', b'b', 0x0F, 2],
            &[0b100, b'a', b'b', 0x0F, 2, 9],
            &[0b100, b'a', b'b', 0x0F, 2, 10, b'z'],
        ] {
            assert_eq!(decompress(bad, &mut out), None, "{bad:?}");
        }
    }
}
