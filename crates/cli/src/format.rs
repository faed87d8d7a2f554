//! Sizes and times as PostgreSQL's own tools write them.

use jiff::Timestamp;

/// A size in powers of 1024 with PostgreSQL's unit names, as `pg_size_pretty` writes it: a unit is
/// used up to 10239 of it.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes;
    let mut units = ["bytes", "kB", "MB", "GB", "TB", "PB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 10 * 1024 {
            break;
        }
        value = value.saturating_add(512) / 1024;
        unit = next;
    }
    format!("{value} {unit}")
}

/// A time in UTC to the second, as a server with `timezone = UTC` shows it.
pub(crate) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S+00").to_string()
}

/// A time in UTC to the microsecond, for the ends of a recovery window: a target must not be
/// rounded out of it.
pub(crate) fn exact_time(time: Timestamp) -> String {
    if time.subsec_nanosecond() == 0 {
        return self::time(time);
    }
    time.strftime("%Y-%m-%d %H:%M:%S.%6f+00").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_like_pg_size_pretty() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (31 << 20, "31 MB"),
            (u64::MAX, "16384 PB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_are_utc() {
        let time = "2026-11-22T05:00:00.25+01:00".parse().unwrap();
        assert_eq!(self::time(time), "2026-11-22 04:00:00+00");
        assert_eq!(exact_time(time), "2026-11-22 04:00:00.250000+00");
    }
}
