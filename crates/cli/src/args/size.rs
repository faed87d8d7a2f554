/// Bytes: a number, or one with k, M or G for KiB, MiB or GiB.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let bytes = number.parse::<u64>().ok().filter(|_| is_number);
    bytes
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "write bytes, or a number with k, M or G, such as 64M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("17"), Ok(17));
        assert_eq!(size("4k"), Ok(4096));
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("3G"), Ok(3 << 30));
        for wrong in ["", "M", "-1", "+1", "1.5G", "1T", "99999999999999999999", "18000000000G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
