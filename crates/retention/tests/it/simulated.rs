//! A simulated year.

use walbrook_retention::{Action, Inventory, Policy, Simulation, Step};

use crate::support::{at, series};

fn simulate(policy: &str, every: &str, length: &str) -> Vec<Step> {
    let start = at("2026-01-01T02:00[Europe/Rome]");
    let policy: Policy = policy.parse().unwrap();
    let (every, length) = (every.parse().unwrap(), length.parse().unwrap());
    let simulation = Simulation::new(Inventory::default(), policy, &start, every, length).unwrap();
    simulation.map(Result::unwrap).collect()
}

fn counts(steps: &[Step]) -> Vec<usize> {
    steps.iter().map(Step::kept).collect()
}

fn left(step: &Step) -> Vec<String> {
    let kept = step.plan.backups.iter().rev().filter(|d| d.action == Action::Keep);
    let zone = step.now.time_zone();
    kept.map(|d| d.backup.started_at.to_zoned(zone.clone()).date().to_string()).collect()
}

#[test]
fn a_year_of_counting() {
    let steps = simulate("keep-last=5", "1d", "365d");
    assert_eq!(steps.len(), 365);
    let counts = counts(&steps);
    assert_eq!(counts[..6], [1, 2, 3, 4, 5, 5]);
    assert!(counts[5..].iter().all(|count| *count == 5));
    // In local time each backup is at two, but on the day that has no such hour.
    let other: Vec<_> = steps.iter().filter(|s| s.now.hour() != 2).collect();
    assert_eq!(other.len(), 1);
    assert_eq!(other[0].now.to_string(), "2026-03-29T03:00:00+02:00[Europe/Rome]");
}

/// With a window of a week eight backups a day apart stay: seven in it, and one for its beginning.
#[test]
fn a_year_of_windows() {
    let steps = simulate("window=7d", "1d", "365d");
    let counts = counts(&steps);
    assert!(counts[8..].iter().all(|count| *count == 8), "{counts:?}");
    // The WAL kept is that of the seven days, in minutes as segments: 167 and 169 hours when clocks
    // are changed.
    let hours: Vec<u64> = steps[8..]
        .iter()
        .map(|step| {
            let kept = step.plan.wal.iter().filter(|d| d.action == Action::Keep);
            (kept.map(|d| d.range.segment_count()).sum::<u64>() - 1) / 60
        })
        .collect();
    assert_eq!(hours.iter().filter(|h| **h == 168).count(), hours.len() - 14);
    assert_eq!(hours.iter().filter(|h| **h == 167).count(), 7);
    assert_eq!(hours.iter().filter(|h| **h == 169).count(), 7);
}

/// Grandfather, father, son: after a year and a half of days, by hand.
#[test]
fn a_year_and_a_half_of_generations() {
    let steps = simulate("daily=3 weekly=3 monthly=4 yearly=2", "1d", "546d");
    let last = steps.last().unwrap();
    assert_eq!(last.now.date().to_string(), "2027-07-01");
    assert_eq!(
        left(last),
        [
            "2026-12-31", // last of 2026
            "2027-04-30",
            "2027-05-31", // months; June and July follow
            "2027-06-20",
            "2027-06-27", // Sundays; the week of July 1 is the third
            "2027-06-29",
            "2027-06-30",
            "2027-07-01",
        ]
    );
    // Never more than the counts together allow, whatever the day.
    assert!(counts(&steps).iter().all(|count| *count <= 3 + 3 + 4 + 2));
}

/// A simulation goes on from what there is.
#[test]
fn from_what_there_is() {
    let inventory = series(&["2026-11-20T02:00", "2026-11-21T02:00"].map(at));
    let policy: Policy = "keep-last=2".parse().unwrap();
    let now = at("2026-11-21T03:00");
    let (every, length) = ("1d".parse().unwrap(), "2d".parse().unwrap());
    let steps: Vec<_> = Simulation::new(inventory, policy, &now, every, length)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let dates: Vec<_> = steps.iter().map(left).collect();
    assert_eq!(dates, [["2026-11-21", "2026-11-22"], ["2026-11-22", "2026-11-23"]]);
    assert!(steps.iter().all(|step| step.plan.holds.is_empty()));
}

#[test]
fn the_end_of_the_calendar_is_an_error_and_not_a_panic() {
    let start = at("9999-01-01T00:00");
    let policy: Policy = "keep-last=1".parse().unwrap();
    let length = "2y".parse().unwrap();
    let simulation =
        Simulation::new(Inventory::default(), policy, &start, "1d".parse().unwrap(), length);
    assert_eq!(simulation.unwrap_err().kind(), walbrook_retention::ErrorKind::Time);
}
