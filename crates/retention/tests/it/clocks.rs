//! Clocks that are wrong, and inventories that look wrong: nothing is removed.

use jiff::Span;
use walbrook_retention::{Action, Hold, Inventory, Plan, Policy, RunningBackup, WalReason};

use crate::support::{at, kept, run, series};

fn inventory() -> Inventory {
    series(&["2026-11-10T02:00", "2026-11-15T02:00", "2026-11-20T02:00"].map(at))
}

fn held(plan: &Plan) -> bool {
    plan.removes_nothing()
        && plan.backups.iter().all(|d| d.action == Action::Keep)
        && plan.wal.iter().all(|d| d.action == Action::Keep)
}

#[test]
fn a_backup_from_the_future() {
    let plan = run(&inventory(), "keep-last=1", &at("2026-11-19T02:00"));
    assert!(held(&plan));
    let words = plan.holds[0].to_string();
    assert!(words.starts_with("backup 2026-11-20T02:00+00:00 is from the future"), "{words}");
    // Clocks of two machines may differ by minutes.
    let plan = run(&inventory(), "keep-last=1", &at("2026-11-20T01:56"));
    assert!(!held(&plan) && plan.holds.is_empty());
}

#[test]
fn a_clock_that_was_put_back() {
    let seen = at("2026-11-22T02:00").timestamp();
    let inventory = Inventory { last_seen: Some(seen), ..inventory() };
    let plan = run(&inventory, "keep-last=1", &at("2026-11-21T02:00"));
    assert!(held(&plan));
    assert_eq!(plan.holds, [Hold::ClockPutBack { seen }]);
    assert!(!held(&run(&inventory, "keep-last=1", &at("2026-11-22T02:00"))));
}

/// Ten years ahead a window would leave one backup, and every pin would have ended.
#[test]
fn a_clock_that_was_put_forward() {
    let plan = run(&inventory(), "window=7d", &at("2036-11-21T02:00"));
    assert!(held(&plan));
    assert!(matches!(plan.holds[..], [Hold::Silence { .. }]));
    // WAL that is still archived is a sign of life.
    let mut alive = inventory();
    alive.wal[0].written_by = Some(at("2036-11-20T02:00").timestamp());
    assert!(run(&alive, "window=7d", &at("2036-11-21T02:00")).holds.is_empty());
    // Counting needs no clock.
    assert_eq!(kept(&run(&inventory(), "keep-last=1", &at("2036-11-21T02:00"))).len(), 1);
    // Who backs up once a year says so.
    let plan = run(&inventory(), "window=7d max-silence=400d", &at("2027-11-21T02:00"));
    assert!(plan.holds.is_empty());
}

/// At every moment from long before to long after: no clock makes a plan remove the newest, and one
/// that is behind makes it remove nothing.
#[test]
fn no_clock_costs_the_newest() {
    let inventory = inventory();
    let policy: Policy = "window=7d daily=1".parse().unwrap();
    for day in -4000i64..8000 {
        let now = at("2026-11-20T02:00").checked_add(Span::new().days(day)).unwrap();
        let plan = walbrook_retention::plan(&inventory, &policy, &now).unwrap();
        assert!(kept(&plan).contains(&"2026-11-20T02:00+00:00"), "{now}");
        assert!(day >= 0 || held(&plan), "{now}");
    }
}

#[test]
fn an_empty_policy() {
    let plan = run(&inventory(), "min-redundancy=1", &at("2026-11-21T02:00"));
    assert!(held(&plan));
    assert_eq!(plan.holds, [Hold::EmptyPolicy]);
    // One that is about WAL alone keeps all backups.
    let plan = run(&inventory(), "wal=standalone", &at("2026-11-21T02:00"));
    assert_eq!((kept(&plan).len(), plan.removes_nothing()), (3, false));
}

#[test]
fn nothing_can_be_restored() {
    let mut inventory = inventory();
    inventory.wal.clear();
    let plan = run(&inventory, "keep-last=1", &at("2026-11-21T02:00"));
    assert!(held(&plan));
    assert_eq!(plan.holds, [Hold::NothingRestorable]);
    // Backups that hold their WAL themselves are another matter.
    inventory.backups.iter_mut().for_each(|backup| backup.self_contained = true);
    assert_eq!(kept(&run(&inventory, "keep-last=1", &at("2026-11-21T02:00"))).len(), 1);
}

/// The newest lacks WAL: it does not cost the last good one.
#[test]
fn a_useless_backup_counts_for_nothing() {
    let mut inventory = inventory();
    inventory.wal[0].end = crate::support::segment(30);
    for policy in ["keep-last=1", "daily=1"] {
        let plan = run(&inventory, policy, &at("2026-11-21T02:00"));
        assert_eq!(kept(&plan), ["2026-11-15T02:00+00:00", "2026-11-20T02:00+00:00"]);
    }
    for policy in ["keep-last=2", "daily=2", "min-redundancy=2 keep-last=1"] {
        let plan = run(&inventory, policy, &at("2026-11-21T02:00"));
        assert_eq!(kept(&plan).len(), 3, "{policy}");
    }
}

#[test]
fn a_running_backup_keeps_the_wal_of_its_system() {
    let mut inventory = inventory();
    let backup = inventory.backups[0].clone();
    let running = |id: &str, wal_from| RunningBackup {
        id: id.into(),
        system: backup.system,
        wal_from,
        base: None,
    };
    inventory.running = vec![running("r", None), running("s", Some(backup.start_lsn))];
    let plan = run(&inventory, "keep-last=1", &at("2026-11-21T02:00"));
    assert_eq!(kept(&plan).len(), 1);
    assert_eq!(plan.wal.len(), 1);
    assert_eq!(plan.wal[0].reasons, [WalReason::RunningBackup { id: "r".into() }]);

    // From where on it may need it, when that is known.
    inventory.running = vec![running("s", Some(backup.stop_lsn))];
    let plan = run(&inventory, "keep-last=1", &at("2026-11-21T02:00"));
    let stays: Vec<_> = plan.wal.iter().filter(|d| d.action == Action::Keep).collect();
    assert_eq!(plan.wal[0].action, Action::Remove);
    assert_eq!(stays[0].reasons, [WalReason::RunningBackup { id: "s".into() }]);
    let size = stays[0].range.segment_size;
    assert_eq!(stays[0].range.start, size.segment_of(backup.stop_lsn).start(size));
}
