//! The examples that other tools' documents give of their own policies. Where Walbrook differs, the
//! test says why.

use jiff::{Span, Zoned};
use walbrook_retention::Inventory;

use crate::support::{at, kept, kept_wal, run, series, words};

fn weekly(first: &str, count: i64) -> Vec<Zoned> {
    let first = at(first);
    (0..count).map(|n| first.checked_add(Span::new().weeks(n)).unwrap()).collect()
}

fn dates(kept: &[&str]) -> Vec<String> {
    kept.iter().map(|id| id[..10].to_owned()).collect()
}

/// restic, "Removing backup snapshots" (doc/060_forget.rst): a backup every Sunday for twelve weeks
/// from 2019-09-01 11:00; `--keep-daily 4` keeps the last four Sundays.
#[test]
fn restic_keep_daily_counts_days_with_backups() {
    let inventory = series(&weekly("2019-09-01T11:00", 12));
    let plan = run(&inventory, "daily=4", &at("2019-11-17T12:00"));
    assert_eq!(dates(&kept(&plan)), ["2019-10-27", "2019-11-03", "2019-11-10", "2019-11-17"]);
    assert_eq!(words(&plan, "2019-11-10T11:00+00:00"), "newest of day 2019-11-10, daily 2 of 4");
    assert_eq!(words(&plan, "2019-10-20T11:00+00:00"), "day 2019-10-20 is beyond 4 daily");
}

/// The same page: one backup a day for 100 years and `--keep-daily 7 --keep-weekly 5 --keep-monthly 12
/// --keep-yearly 75` keeps the last 7 days, 4 more last days of weeks, 12 or 11 more last days of months,
/// and 75 or 74 more last days of years. Counted out here for one day: 2026-11-22 is a Sunday, so its
/// week, its month and its year are among the seven days.
#[test]
fn restic_a_century_of_days() {
    let last = at("2026-11-22T05:00");
    let days: Vec<Zoned> =
        (0..36_500i64).rev().map(|n| last.checked_sub(Span::new().days(n)).unwrap()).collect();
    let plan =
        run(&series(&days), "daily=7 weekly=5 monthly=12 yearly=75", &at("2026-11-22T06:00"));
    let kept = dates(&kept(&plan));
    // 7 days; 4 Sundays before; 11 ends of months from October back to December; 74 years before, of
    // which 2025 is that December.
    assert_eq!(kept.len(), 7 + 4 + 11 + 73);
    let newest: Vec<&str> = kept.iter().rev().take(13).map(String::as_str).collect();
    assert_eq!(
        newest,
        [
            "2026-11-22",
            "2026-11-21",
            "2026-11-20",
            "2026-11-19",
            "2026-11-18",
            "2026-11-17",
            "2026-11-16",
            "2026-11-15",
            "2026-11-08",
            "2026-11-01",
            "2026-10-31",
            "2026-10-25",
            "2026-09-30",
        ]
    );
    assert_eq!(kept[0], "1952-12-31");
}

/// The same page's notes: when there are fewer than asked for, the oldest is kept in addition; a
/// policy that says nothing removes nothing.
#[test]
fn restic_keeps_the_oldest_while_there_are_fewer() {
    let moments = ["2026-01-05T01:00", "2026-01-05T02:00", "2026-01-05T03:00", "2026-01-06T01:00"];
    let inventory = series(&moments.map(at));
    let now = at("2026-01-06T02:00");
    let plan = run(&inventory, "daily=3", &now);
    assert_eq!(
        kept(&plan),
        ["2026-01-05T01:00+00:00", "2026-01-05T03:00+00:00", "2026-01-06T01:00+00:00"]
    );
    assert_eq!(words(&plan, "2026-01-05T01:00+00:00"), "oldest, while there are 2 of 3 daily");
    let plan = run(&inventory, "daily=2", &now);
    assert_eq!(kept(&plan), ["2026-01-05T03:00+00:00", "2026-01-06T01:00+00:00"]);
    assert_eq!(kept(&run(&inventory, "", &now)).len(), 4);
    assert_eq!(kept(&run(&inventory, "daily=0", &now)).len(), 4);
    assert_eq!(kept(&run(&inventory, "daily=all", &now)).len(), 3);
}

/// The forum's short example ("Keep vs keep-within"): backups on the 1st, twice on the 2nd, on the 4th
/// and 5th of May; `--keep-daily 4` drops only the earlier one of the 2nd.
#[test]
fn restic_days_without_backups_do_not_count() {
    let moments = [
        "2026-05-01T08:00",
        "2026-05-02T08:00",
        "2026-05-02T11:00",
        "2026-05-04T09:00",
        "2026-05-05T10:00",
    ];
    let plan = run(&series(&moments.map(at)), "daily=4", &at("2026-05-05T12:00"));
    assert_eq!(kept(&plan).len(), 4);
    assert_eq!(
        words(&plan, "2026-05-02T08:00+00:00"),
        "2026-05-02T11:00+00:00 stands for day 2026-05-02"
    );
}

fn ages(now: &Zoned, days: &[i64]) -> Inventory {
    let moments = days.iter().map(|n| now.checked_sub(Span::new().days(*n)).unwrap());
    series(&moments.collect::<Vec<_>>())
}

/// pgBackRest, "repo-retention-full-type" (configuration reference, and user guide, "Retention"): full
/// backups that ended 25, 20 and 10 days ago, type `time`, 15 days: only the first expires, for the
/// window's first five days need the second.
#[test]
fn pgbackrest_retention_by_time() {
    let now = at("2026-11-22T05:00");
    let inventory = ages(&now, &[25, 20, 10]);
    let plan = run(&inventory, "window=15d", &now);
    assert_eq!(dates(&kept(&plan)), ["2026-11-02", "2026-11-12"]);
    // Without archive retention of its own, WAL before the oldest that is kept goes.
    assert_eq!(kept_wal(&plan), [(1, 20, 40)]);
    assert!(words(&plan, "2026-11-02T05:00+00:00").contains("is restored from it"));
}

/// EnterpriseDB's page on pgBackRest's retention: one backup 25 days old, one 35 days, others older;
/// 30 days keep the first two.
#[test]
fn pgbackrest_retention_by_time_keeps_one_older() {
    let now = at("2026-11-22T05:00");
    let plan = run(&ages(&now, &[60, 50, 40, 35, 25]), "window=30d", &now);
    assert_eq!(dates(&kept(&plan)), ["2026-10-18", "2026-10-28"]);
}

/// pgBackRest, user guide, "Full Backup Retention": `repo1-retention-full=2` and a third full backup:
/// the first is expired, and WAL before the second's start.
#[test]
fn pgbackrest_retention_by_count() {
    let now = at("2026-11-22T05:00");
    let plan = run(&ages(&now, &[2, 1]), "keep-last=2", &now);
    assert_eq!(kept(&plan).len(), 2);
    let plan = run(&ages(&now, &[3, 2, 1]), "keep-last=2", &now);
    assert_eq!(dates(&kept(&plan)), ["2026-11-20", "2026-11-21"]);
    assert_eq!(kept_wal(&plan), [(1, 20, 40)]);
}

/// pgBackRest, "repo-retention-archive": so many backups' worth of continuous WAL; what makes the
/// older ones consistent is always retained.
#[test]
fn pgbackrest_archive_retention() {
    let now = at("2026-11-22T05:00");
    let inventory = ages(&now, &[4, 3, 2, 1]);
    let plan = run(&inventory, "keep-last=4 wal=newest:2", &now);
    assert_eq!(kept_wal(&plan), [(1, 10, 10), (1, 20, 20), (1, 30, 50)]);
    let plan = run(&inventory, "keep-last=3 wal=newest:1", &now);
    assert_eq!(kept_wal(&plan), [(1, 20, 20), (1, 30, 30), (1, 40, 50)]);
    // What follows the newest stays in any case: nobody could roll forward without it.
    let plan = run(&inventory, "keep-last=3 wal=standalone", &now);
    assert_eq!(kept_wal(&plan), [(1, 20, 20), (1, 30, 30), (1, 40, 50)]);
    let between = plan.wal.iter().find(|d| d.range.start == crate::support::segment(21)).unwrap();
    assert_eq!(between.reasons[0].to_string(), "between backups that are kept without replay");
    // A window is a promise of its own: it brings its WAL.
    let plan = run(&inventory, "window=2d12h wal=standalone", &now);
    assert_eq!(kept_wal(&plan), [(1, 20, 50)]);
}

/// Barman, "Configuring retention policies" (enterprisedb.com): weekly backups and `REDUNDANCY 4`: from
/// the fifth position on, ordered from the newest, they go.
#[test]
fn barman_redundancy() {
    let inventory = series(&weekly("2026-09-06T04:00", 12));
    let plan = run(&inventory, "keep-last=4", &at("2026-11-22T05:00"));
    assert_eq!(dates(&kept(&plan)), ["2026-11-01", "2026-11-08", "2026-11-15", "2026-11-22"]);
}

/// Barman, module documentation of `RecoveryWindowRetentionPolicy`: a window of seven days on Friday
/// 9:30 reaches back to Friday 9:30; and "retention_policy" syntax: the first valid backup is the first
/// available before that point.
#[test]
fn barman_recovery_window() {
    // Friday 2026-11-20. One backup at the very moment is the first valid one; a minute later, the
    // one before is.
    let now = at("2026-11-20T09:30");
    let moments = ["2026-11-11T09:30", "2026-11-12T09:30", "2026-11-13T09:30", "2026-11-18T09:30"];
    let plan = run(&series(&moments.map(at)), "window=7d", &now);
    assert_eq!(dates(&kept(&plan)), ["2026-11-13", "2026-11-18"]);
    let moments = ["2026-11-11T09:30", "2026-11-12T09:30", "2026-11-13T09:31", "2026-11-18T09:30"];
    let plan = run(&series(&moments.map(at)), "window=7d", &now);
    assert_eq!(dates(&kept(&plan)), ["2026-11-12", "2026-11-13", "2026-11-18"]);
}

/// Barman, `minimum_redundancy`: never fewer in the catalogue, whatever the policy's window.
#[test]
fn barman_minimum_redundancy() {
    let now = at("2026-11-22T05:00");
    let inventory = ages(&now, &[20, 19, 18, 17, 9]);
    let plan = run(&inventory, "window=7d", &now);
    assert_eq!(dates(&kept(&plan)), ["2026-11-13"]);
    let plan = run(&inventory, "window=7d min-redundancy=3", &now);
    assert_eq!(dates(&kept(&plan)), ["2026-11-04", "2026-11-05", "2026-11-13"]);
    assert_eq!(words(&plan, "2026-11-05T05:00+00:00"), "one of at least 3 that can be restored");
}

/// pg_probackup, "Configuring Retention Policy": the catalogue of 2019-04-10 with a window of 7 days.
/// P7XDHU and P7XDHB are outside it and stay there, because the incremental backups after them build on
/// them; only P7XDFT goes. Walbrook has no chains: of the three older ones the newest, P7XDHU, is what the
/// window's beginning needs, and deleting the others harms nothing.
#[test]
fn pg_probackup_window() {
    let moments = [
        "2019-03-29T05:26:25", // P7XDFT, full
        "2019-04-01T05:27:15", // P7XDHB, full
        "2019-04-02T05:27:59", // P7XDHU, page
        "2019-04-03T05:28:36", // P7XDJA, delta
        "2019-04-08T05:32:59", // P7XDQV, page
        "2019-04-10T05:27:15", // P7XDHR, full
    ];
    let zone = |text: &str| at(&format!("{text}[+03:00]"));
    let plan = run(&series(&moments.map(zone)), "window=7d", &zone("2019-04-10T05:28"));
    assert_eq!(dates(&kept(&plan)), ["2019-04-02", "2019-04-03", "2019-04-08", "2019-04-10"]);
}

/// pg_probackup 3, the same section: redundancy 2 and a window of 6 days: two copies, and all that the
/// last six days need; one goes only when neither asks for it.
#[test]
fn pg_probackup_redundancy_and_window() {
    let now = at("2026-11-22T05:00");
    let policy = "keep-last=2 window=6d";
    let plan = run(&ages(&now, &[12, 9, 8, 3]), policy, &now);
    assert_eq!(dates(&kept(&plan)), ["2026-11-14", "2026-11-19"]);
    let plan = run(&ages(&now, &[12, 9, 8]), policy, &now);
    assert_eq!(dates(&kept(&plan)), ["2026-11-13", "2026-11-14"]);
    let plan = run(&ages(&now, &[12, 7, 5, 3, 1]), policy, &now);
    assert_eq!(dates(&kept(&plan)), ["2026-11-15", "2026-11-17", "2026-11-19", "2026-11-21"]);
}
