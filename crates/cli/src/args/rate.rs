/// The slowest and the fastest rate that a server takes: `MAX_RATE_LOWER` and `MAX_RATE_UPPER` in
/// PostgreSQL's `backup/basebackup.h`, in kilobytes per second.
const RANGE: std::ops::RangeInclusive<f64> = 32.0..=1_048_576.0;

/// A transfer rate, in KiB per second: kilobytes unless `k` or `M` follows, as for
/// `pg_basebackup --max-rate`.
pub(crate) fn rate(text: &str) -> Result<u32, String> {
    let (number, factor) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1.0),
        Some(b'M') => (&text[..text.len() - 1], 1024.0),
        _ => (text, 1.0),
    };
    let digits = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let rate = number.parse::<f64>().ok().filter(|_| digits).map(|number| number * factor);
    match rate {
        Some(rate) if RANGE.contains(&rate) => Ok(rate.round() as u32),
        Some(_) => Err("it must be from 32 kilobytes to 1024 megabytes per second".to_owned()),
        None => Err("write kilobytes per second, or a number with k or M, such as 100M".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!(rate("100M"), Ok(102_400));
        assert_eq!(rate("32"), Ok(32));
        assert_eq!(rate("32k"), Ok(32));
        assert_eq!(rate("0.5M"), Ok(512));
        assert_eq!(rate("1024M"), Ok(1_048_576));
        for wrong in
            ["", "M", "31", "1025M", "1G", "-5M", "1e3", "inf", "nan", "10 M", "1.2.3", "ü"]
        {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
