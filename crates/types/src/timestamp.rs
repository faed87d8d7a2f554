use std::fmt;
use std::str::FromStr;

use crate::{ParseError, ParseErrorKind};

/// Seconds from 1970-01-01 to 2000-01-01, both at midnight UTC.
const EPOCH: i64 = 946_684_800;

const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400;

/// A moment as PostgreSQL counts it: microseconds since 2000-01-01 00:00 UTC, without leap seconds.
///
/// `TimestampTz` in PostgreSQL's `datatype/timestamp.h`; this is what commit records and restore
/// points carry. Prints and parses as `2026-11-22T04:03:29.123456Z`, always in UTC and always
/// with six decimals, so that texts sort as times do.
///
/// ```
/// use walbrook_types::PgTimestamp;
///
/// assert_eq!(PgTimestamp(0).to_string(), "2000-01-01T00:00:00.000000Z");
/// assert_eq!(PgTimestamp(0).unix_micros(), 946_684_800_000_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PgTimestamp(pub i64);

impl PgTimestamp {
    /// The moment this many seconds after 1970 (`pg_time_t`). Saturates.
    pub fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_sub(EPOCH).saturating_mul(MICROS))
    }

    /// The moment this many microseconds after 1970. Saturates.
    pub fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(EPOCH * MICROS))
    }

    /// Microseconds since 1970. Saturates.
    pub fn unix_micros(self) -> i64 {
        self.0.saturating_add(EPOCH * MICROS)
    }
}

impl fmt::Display for PgTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0.div_euclid(MICROS), self.0.rem_euclid(MICROS));
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days + EPOCH / DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

impl FromStr for PgTimestamp {
    type Err = ParseError;

    /// Reads what [`Display`](fmt::Display) prints, with any number of decimals up to six. Other
    /// zones and notations are for a calendar library.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).ok_or_else(|| ParseError::new(ParseErrorKind::Timestamp, text))
    }
}

fn parse(text: &str) -> Option<PgTimestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    // The year comes last when seen from the right: it alone may be signed or longer.
    let mut date = date.rsplitn(3, '-');
    let day = number(date.next()?, 2)?;
    let month = number(date.next()?, 2)?;
    let year = date.next()?;
    let year: i64 = match year.strip_prefix('-') {
        Some(digits) => -digits_of(digits)?,
        None if year.len() >= 4 => digits_of(year)?,
        None => return None,
    };
    let (time, decimals) = time.split_once('.').map_or((time, "0"), |(t, d)| (t, d));
    let mut time = time.splitn(3, ':');
    let hour = number(time.next()?, 2)?;
    let minute = number(time.next()?, 2)?;
    let second = number(time.next()?, 2)?;
    let valid = (-300_000..=300_000).contains(&year) && hour < 24 && minute < 60 && second < 60;
    if !valid || decimals.len() > 6 {
        return None;
    }
    let micros = digits_of(decimals)? * 10i64.pow(6 - decimals.len() as u32);
    let days = days_from_civil(year, month, day);
    // A day that the month does not have comes back as another.
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    let seconds = (days - EPOCH / DAY) * DAY + hour * 3600 + minute * 60 + second;
    Some(PgTimestamp(seconds.checked_mul(MICROS)?.checked_add(micros)?))
}

fn number(text: &str, len: usize) -> Option<i64> {
    (text.len() == len).then(|| digits_of(text)).flatten()
}

fn digits_of(text: &str) -> Option<i64> {
    let digits = (1..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Days of one 400-year cycle of the Gregorian calendar.
const CYCLE: i64 = 146_097;

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
/// Years are taken to begin in March, so that the leap day is a year's last.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // 719468 days lie between 0000-03-01 and 1970-01-01.
    let days = days + 719_468;
    let (cycle, day) = (days.div_euclid(CYCLE), days.rem_euclid(CYCLE));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March on are 31, 30, 31, 30, 31 days long, again and again.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil_from_days`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    cycle * CYCLE + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - 719_468
}
