//! Moments as people and PostgreSQL write them.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Timestamp, Zoned};

/// What to write instead.
const FORMS: &str = "write it as 2026-11-22T04:00:00Z, '2026-11-22 04:00:00.123+00', \
                     '2026-11-22 04:00:00 Europe/Berlin', or without a zone for this machine's own";

/// A recovery target's time, down to PostgreSQL's microseconds.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let system = TimeZone::try_system().ok();
    let time = parse(text.trim(), system.as_ref())?;
    // Anything finer lies between two times that a server can tell apart: what ended before it
    // ended at or before the microsecond before it.
    let time = Timestamp::from_microsecond(time.as_nanosecond().div_euclid(1000) as i64)
        .map_err(|_| FORMS.to_owned())?;
    if time < Timestamp::from_second(946_684_800).unwrap_or_default() {
        return Err("no backup reaches back before the year 2000".to_owned());
    }
    Ok(time)
}

fn parse(text: &str, system: Option<&TimeZone>) -> Result<Timestamp, String> {
    let (clock, zone) = split(text).ok_or_else(|| FORMS.to_owned())?;
    let civil: DateTime = clock.parse().map_err(|_| FORMS.to_owned())?;
    let in_zone = |zone: &TimeZone| resolve(civil, zone, |_| true);
    match zone {
        "" => in_zone(system.ok_or_else(|| {
            "this machine's time zone is not known: write the offset from UTC, such as +00".to_owned()
        })?),
        "Z" | "z" | "UTC" | "GMT" => in_zone(&TimeZone::UTC),
        zone if zone.starts_with('[') || zone.contains('[') => {
            // RFC 9557, with offset and name: jiff checks the one against the other.
            let text = format!("{clock}{zone}");
            text.parse::<Zoned>().map(|z| z.timestamp()).map_err(|e| format!("{e}; {FORMS}"))
        }
        zone if zone.starts_with(['+', '-']) => {
            let offset = offset(zone).ok_or_else(|| FORMS.to_owned())?;
            offset.to_timestamp(civil).map_err(|_| FORMS.to_owned())
        }
        zone if zone.contains('/') => in_zone(&TimeZone::get(zone).map_err(|_| {
            format!("the time zone {zone:?} is not known on this machine: write the offset from UTC, such as +01")
        })?),
        // CST is an hour in America, another in China: an abbreviation counts only when it is what
        // this machine's own clock showed, as in lines of its server's log.
        abbreviation => {
            let matching = |zone: &TimeZone| {
                resolve(civil, zone, |t| zone.to_offset_info(t).abbreviation() == abbreviation).ok()
            };
            system.and_then(matching).ok_or_else(|| {
                format!(
                    "{abbreviation:?} is not one time zone for everybody: write the offset from \
                     UTC, such as +01, or a name such as Europe/Berlin"
                )
            })
        }
    }
}

/// Date and time of day in front, and what follows: the zone.
fn split(text: &str) -> Option<(&str, &str)> {
    let day = text.get(..10)?;
    let shape = |i: usize, b: u8| if matches!(i, 4 | 7) { b == b'-' } else { b.is_ascii_digit() };
    if !day.bytes().enumerate().all(|(i, b)| shape(i, b)) {
        return None;
    }
    let clock = text[10..].strip_prefix(['T', 't', ' '])?;
    let len = clock.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'));
    let (clock_len, zone) = match len {
        Some(len) => (len, clock[len..].trim_start()),
        None => (clock.len(), ""),
    };
    // Hours and minutes at least: a date alone says neither its beginning nor its end.
    if clock.get(2..3) != Some(":") || clock_len < 5 {
        return None;
    }
    Some((&text[..11 + clock_len], zone))
}

/// `+01`, `-0330`, `+05:30` or, as PostgreSQL shows old times, `+00:53:28`.
fn offset(text: &str) -> Option<Offset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = match text[1..].split(':').collect::<Vec<_>>()[..] {
        [one] if matches!(one.len(), 1 | 2 | 4) => format!("{one:0>2}"),
        [h, m] if h.len() == 2 && m.len() == 2 => format!("{h}{m}"),
        [h, m, s] if h.len() == 2 && m.len() == 2 && s.len() == 2 => format!("{h}{m}{s}"),
        _ => return None,
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |two| two.parse::<i32>().ok());
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
    // PostgreSQL's MAX_TZDISP_HOUR is 15.
    let sane = hours <= 15 && minutes < 60 && seconds < 60;
    sane.then(|| Offset::from_seconds(sign * (hours * 3600 + minutes * 60 + seconds)).ok())?
}

/// The one moment at which clocks of this zone show this. When the clocks are set back there are
/// two, when they are set forward none.
fn resolve(
    civil: DateTime,
    zone: &TimeZone,
    wanted: impl Fn(Timestamp) -> bool,
) -> Result<Timestamp, String> {
    let candidates = match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => vec![offset],
        AmbiguousOffset::Gap { .. } => {
            return Err("there is no such time in that zone: the clocks were set forward over it"
                .to_owned());
        }
        AmbiguousOffset::Fold { before, after } => vec![before, after],
    };
    let mut times =
        candidates.iter().filter_map(|o| o.to_timestamp(civil).ok()).filter(|t| wanted(*t));
    match (times.next(), times.next()) {
        (Some(time), None) => Ok(time),
        (Some(first), Some(second)) => Err(format!(
            "there are two such times in that zone, as the clocks were set back: write {first} or {second}"
        )),
        (None, _) => Err(FORMS.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        // The rule itself: a machine that runs tests may have no database of zones.
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn utc(text: &str) -> String {
        parse(text, Some(&berlin())).map_or_else(|e| format!("error: {e}"), |time| time.to_string())
    }

    #[test]
    fn what_people_write() {
        for (text, expected) in [
            ("2026-11-22T04:00:00Z", "2026-11-22T04:00:00Z"),
            ("2026-11-22t04:00:00z", "2026-11-22T04:00:00Z"),
            ("2026-11-22 04:00:00+00", "2026-11-22T04:00:00Z"),
            ("2026-11-22 04:00:00.123456+00", "2026-11-22T04:00:00.123456Z"),
            ("2026-11-22 04:00:00 +01", "2026-11-22T03:00:00Z"),
            ("2026-11-22T04:00:00-03:30", "2026-11-22T07:30:00Z"),
            ("2026-11-22T04:00:00+0530", "2026-11-21T22:30:00Z"),
            ("2026-11-22 04:00:00 UTC", "2026-11-22T04:00:00Z"),
            ("2026-11-22 04:00+00", "2026-11-22T04:00:00Z"),
            ("2026-11-22 04:00:00", "2026-11-22T03:00:00Z"),
            ("2026-07-01 04:00", "2026-07-01T02:00:00Z"),
            ("2026-11-22 04:00:00 CET", "2026-11-22T03:00:00Z"),
            ("2026-10-25 02:30:00 CEST", "2026-10-25T00:30:00Z"),
            ("2026-10-25 02:30:00 CET", "2026-10-25T01:30:00Z"),
            ("2026-10-25 02:30:00+01", "2026-10-25T01:30:00Z"),
        ] {
            assert_eq!(utc(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_refused_and_why() {
        for (text, expected) in [
            ("", "write it as"),
            ("now", "write it as"),
            ("yesterday", "write it as"),
            ("1795000000", "write it as"),
            ("22.11.2026 04:00", "write it as"),
            ("11/22/2026 04:00:00", "write it as"),
            ("2026-11-22", "write it as"),
            ("2026-11-22 04", "write it as"),
            ("2026-13-22 04:00:00", "write it as"),
            ("2026-11-22 25:00:00", "write it as"),
            ("2026-11-22 04:00:00 +99", "write it as"),
            ("2026-11-22 04:00:00 +ü", "write it as"),
            ("2026-11-22 04:00:00 CST", "not one time zone"),
            ("2026-07-01 04:00:00 CET", "not one time zone"),
            ("2026-11-22 04:00:00 pm", "not one time zone"),
            ("2026-11-22 04:00:00 Europe/Nowhere", "not known"),
            ("2026-10-25 02:30:00", "two such times"),
            ("2026-03-29 02:30:00", "no such time"),
        ] {
            let error = utc(text);
            assert!(error.starts_with("error: ") && error.contains(expected), "{text}: {error}");
        }
        assert!(parse("2026-11-22 04:00", None).unwrap_err().contains("not known"));
        assert!(time("1999-12-31 23:59:59Z").unwrap_err().contains("2000"));
    }

    #[test]
    fn microseconds_and_no_finer() {
        assert_eq!(
            time("2026-11-22 04:00:00.1234569Z").unwrap().to_string(),
            "2026-11-22T04:00:00.123456Z"
        );
    }

    #[test]
    fn zone_names() {
        // Skipped only where there is no database of zones at all.
        if TimeZone::get("Europe/Berlin").is_ok() {
            assert_eq!(utc("2026-11-22 04:00:00 Europe/Berlin"), "2026-11-22T03:00:00Z");
            assert_eq!(utc("2026-11-22T04:00:00+01:00[Europe/Berlin]"), "2026-11-22T03:00:00Z");
            assert!(utc("2026-11-22T04:00:00+02:00[Europe/Berlin]").starts_with("error"));
        }
    }
}
