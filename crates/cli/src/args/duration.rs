use std::time::Duration;

use jiff::SignedDuration;

/// A span of time with PostgreSQL's unit names: `30s`, `5min`, `1h 30min`, `500ms`, `1d`; a bare
/// number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let wrong = || "write a duration such as 30s, 5min or 1h".to_owned();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(Duration::from_secs).map_err(|_| wrong());
    }
    // To jiff a day is not a fixed span; to PostgreSQL's settings it is 24 hours.
    if let Some(days) = text.strip_suffix('d') {
        let days: Option<u64> = days.trim_end().parse().ok();
        let seconds = days.and_then(|days| days.checked_mul(86_400));
        return seconds.map(Duration::from_secs).ok_or_else(wrong);
    }
    let span: SignedDuration = text.parse().map_err(|_| wrong())?;
    span.try_into().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("300", 300_000),
            ("30s", 30_000),
            ("5min", 300_000),
            ("5 min", 300_000),
            ("1h30min", 5_400_000),
            ("1h 30min", 5_400_000),
            ("500ms", 500),
            ("1d", 86_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "5 parsecs", "-5min", "min", "-1", "d", "1.5d", "99999999999999999999"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
