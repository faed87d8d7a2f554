//! Grandfather, father, son against tables made by hand, in zones whose days are not all alike.

use jiff::Zoned;
use walbrook_retention::Length;

use crate::support::{at, kept, run, series, words};

fn hourly(from: &str, count: i64) -> Vec<Zoned> {
    let from = at(from);
    (0..count).map(|n| from.checked_add(jiff::Span::new().hours(n)).unwrap()).collect()
}

/// Rome, 2026-03-29: 02:00 does not exist, the day has 23 hours.
#[test]
fn a_day_of_23_hours() {
    let moments = hourly("2026-03-28T00:00[Europe/Rome]", 24 + 23 + 24);
    let inventory = series(&moments);
    let now = at("2026-03-30T23:30[Europe/Rome]");
    let plan = run(&inventory, "daily=3", &now);
    assert_eq!(
        kept(&plan),
        ["2026-03-28T23:00+01:00", "2026-03-29T23:00+02:00", "2026-03-30T23:00+02:00"]
    );
    // By UTC the days are others.
    let plan = run(&inventory, "daily=2", &now.with_time_zone(jiff::tz::TimeZone::UTC));
    assert_eq!(kept(&plan), ["2026-03-30T01:00+02:00", "2026-03-30T23:00+02:00"]);
    // Every hour that there was.
    let plan = run(&inventory, "hourly=71", &now);
    assert_eq!(kept(&plan).len(), 71);
    assert!(
        words(&plan, "2026-03-29T03:00+02:00").starts_with("newest of hour 2026-03-29T03+02:00")
    );
}

/// Rome, 2026-10-25: 02:00 to 03:00 comes twice, the day has 25 hours, and none of them is lost.
#[test]
fn a_day_of_25_hours() {
    let moments = hourly("2026-10-25T00:00[Europe/Rome]", 25);
    let inventory = series(&moments);
    let now = at("2026-10-25T23:30[Europe/Rome]");
    assert_eq!(kept(&run(&inventory, "hourly=25", &now)).len(), 25);
    assert_eq!(kept(&run(&inventory, "hourly=24", &now)).len(), 24);
    assert_eq!(kept(&run(&inventory, "daily=1", &now)), ["2026-10-25T23:00+01:00"]);
    let plan = run(&inventory, "hourly=25", &now);
    for id in ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"] {
        assert!(words(&plan, id).contains("hourly"), "{}", words(&plan, id));
    }
}

/// Apia, Samoa: 2011-12-30 never was. Days before and after follow each other.
#[test]
fn a_day_that_never_was() {
    let moments = hourly("2011-12-29T12:00[Pacific/Apia]", 24);
    let plan = run(&series(&moments), "daily=5", &at("2011-12-31T13:00[Pacific/Apia]"));
    assert_eq!(
        kept(&plan),
        // The oldest too, for there are but two days.
        ["2011-12-29T12:00-10:00", "2011-12-29T23:00-10:00", "2011-12-31T11:00+14:00"]
    );
}

/// ISO weeks: 2026 has 53; 2027-01-03 is in the last of them; Monday begins the next.
#[test]
fn weeks_at_the_turn_of_a_year() {
    let moments = [
        "2026-12-27T03:00",
        "2026-12-28T03:00",
        "2027-01-01T03:00",
        "2027-01-03T03:00",
        "2027-01-04T03:00",
    ];
    let plan = run(&series(&moments.map(at)), "weekly=3", &at("2027-01-04T04:00"));
    assert_eq!(
        kept(&plan),
        ["2026-12-27T03:00+00:00", "2027-01-03T03:00+00:00", "2027-01-04T03:00+00:00"]
    );
    assert_eq!(words(&plan, "2027-01-03T03:00+00:00"), "newest of week 2026-W53, weekly 2 of 3");
    assert_eq!(
        words(&plan, "2027-01-01T03:00+00:00"),
        "2027-01-03T03:00+00:00 stands for week 2026-W53"
    );
}

/// Months and years are the zone's: at 23:30 UTC on New Year's Eve it is January in Rome.
#[test]
fn months_and_years_of_the_zone() {
    let moments = ["2025-11-30T12:00", "2025-12-31T12:00", "2025-12-31T23:30", "2026-01-15T12:00"];
    let inventory = series(&moments.map(at));
    let now = at("2026-01-16T00:00");
    assert_eq!(
        kept(&run(&inventory, "monthly=3", &now)),
        ["2025-11-30T12:00+00:00", "2025-12-31T23:30+00:00", "2026-01-15T12:00+00:00"]
    );
    let rome = now.with_time_zone(jiff::tz::TimeZone::get("Europe/Rome").unwrap());
    assert_eq!(
        kept(&run(&inventory, "monthly=3", &rome)),
        ["2025-11-30T12:00+00:00", "2025-12-31T12:00+00:00", "2026-01-15T12:00+00:00"]
    );
    assert_eq!(
        kept(&run(&inventory, "yearly=2", &rome)),
        ["2025-12-31T12:00+00:00", "2026-01-15T12:00+00:00"]
    );
}

/// A window of days is the calendar's: a day back over a change of clocks is 23 or 25 hours.
#[test]
fn a_window_over_a_change_of_clocks() {
    let moments = ["2026-03-28T11:30[Europe/Rome]", "2026-03-28T12:30[Europe/Rome]"];
    let now = at("2026-03-29T12:00[Europe/Rome]");
    let inventory = series(&moments.map(at));
    // One day back is 12:00 the day before, 23 hours ago; 24 hours back is 11:00.
    assert!(
        words(&run(&inventory, "window=1d", &now), "2026-03-28T11:30+01:00").contains("from it")
    );
    let hours = run(&inventory, "window=24h", &now);
    assert!(words(&hours, "2026-03-28T11:30+01:00").starts_with("in the window"));
}

/// The union of rules, as a table: a backup each day of 2026 up to 22 November.
#[test]
fn a_usual_policy_by_hand() {
    let first = at("2026-01-01T02:00[Europe/Rome]");
    let days = (0..326i64).map(|n| first.checked_add(jiff::Span::new().days(n)).unwrap());
    let inventory = series(&days.collect::<Vec<_>>());
    let now = at("2026-11-22T03:00[Europe/Rome]");
    let plan = run(&inventory, "keep-last=2 daily=7 weekly=4 monthly=12 yearly=3", &now);
    let kept: Vec<String> = kept(&plan).iter().map(|id| id[..10].to_owned()).collect();
    let table = "2026-01-01 2026-01-31 2026-02-28 2026-03-31 2026-04-30 2026-05-31 2026-06-30 2026-07-31 \
                 2026-08-31 2026-09-30 2026-10-31 2026-11-01 2026-11-08 2026-11-15 2026-11-16 2026-11-17 \
                 2026-11-18 2026-11-19 2026-11-20 2026-11-21 2026-11-22";
    assert_eq!(kept.join(" "), table);
    assert_eq!(
        words(&plan, "2026-01-01T02:00+01:00"),
        "oldest, while there are 11 of 12 monthly; oldest, while there are 1 of 3 yearly"
    );
    assert_eq!(
        words(&plan, "2026-11-14T02:00+01:00"),
        "number 9 by age, beyond the newest 2; day 2026-11-14 is beyond 7 daily; \
         2026-11-15T02:00+01:00 stands for week 2026-W46; \
         2026-11-22T02:00+01:00 stands for month 2026-11; \
         2026-11-22T02:00+01:00 stands for year 2026"
    );
}

#[test]
fn lengths_read_back() {
    for (text, printed) in [
        ("7d", "7d"),
        ("2 weeks", "2w"),
        ("12mo", "12mo"),
        ("1y 6mo", "1y6mo"),
        ("36h", "36h"),
        ("90m", "90m"),
    ] {
        let length: Length = text.parse().unwrap();
        assert_eq!(length.to_string(), printed);
        assert_eq!(length, printed.parse().unwrap());
    }
    for wrong in ["", "7", "0d", "-7d", "7 bananas", "7d ago", "99999999y"] {
        let error = wrong.parse::<Length>().unwrap_err();
        assert_eq!(error.kind(), walbrook_retention::ErrorKind::Policy, "{wrong}: {error}");
    }
}
