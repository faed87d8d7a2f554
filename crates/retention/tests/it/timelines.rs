//! Timelines and systems, case by case.

use walbrook_retention::{
    Action, Backup, ErrorKind, Inventory, Pin, Plan, Policy, SystemInfo, WalRange, plan_removal,
};
use walbrook_types::SystemId;

use crate::support::{at, backup, kept, kept_wal, origin, run, segment, series, tli, wal, words};

fn on(timeline: u32, backup: Backup) -> Backup {
    Backup { timeline: tli(timeline), ..backup }
}

fn day(day: i64) -> jiff::Timestamp {
    at("2026-11-01T00:00").checked_add(jiff::Span::new().days(day)).unwrap().timestamp()
}

fn now(days: i64) -> jiff::Zoned {
    day(days).to_zoned(jiff::tz::TimeZone::UTC)
}

fn why(plan: &Plan, timeline: u32) -> Vec<String> {
    let of = plan.wal.iter().filter(|d| d.range.timeline == tli(timeline));
    of.map(|d| format!("{:?}: {}", d.action, d.reasons[0])).collect()
}

/// A failover. The end of timeline 1 behind the switch goes when no kept backup can reach it.
#[test]
fn an_abandoned_end_goes_with_the_last_backup_that_reaches_it() {
    let mut inventory = Inventory {
        backups: vec![backup("a", day(0), 10, 10), on(2, backup("b", day(10), 50, 50))],
        // The old primary went on up to segment 60.
        wal: vec![wal(1, 1, 60), wal(2, 40, 70)],
        origins: vec![origin(2, 1, segment(40) + 5)],
        ..Inventory::default()
    };
    for range in &mut inventory.wal {
        range.written_by = Some(day(if range.timeline == tli(1) { 5 } else { 12 }));
    }
    // The first promoted moment of the window still needs `a`, which reaches timeline 1's end as well.
    let plan = run(&inventory, "window=7d", &now(12));
    assert_eq!(kept(&plan), ["a", "b"]);
    assert_eq!(kept_wal(&plan), [(1, 10, 60), (2, 40, 70)]);
    assert_eq!(
        words(&plan, "a"),
        "the window since 2026-11-06T00:00:00Z is restored from it; \
         the window since 2026-11-06T00:00:00Z on timeline 2 is restored from it"
    );
    let plan = run(&inventory, "window=7d", &now(20));
    assert_eq!(kept(&plan), ["b"]);
    assert_eq!(kept_wal(&plan), [(2, 50, 70)]);
    assert_eq!(why(&plan, 1), ["Remove: no kept backup leads to it"]);
    assert_eq!(why(&plan, 2)[0], "Remove: older than b, the first backup kept on its timeline");
}

/// Restored to a point before the newest backup: only the older one leads to where the cluster is now.
#[test]
fn the_way_to_the_current_timeline_stays() {
    let inventory = Inventory {
        backups: vec![backup("a", day(0), 10, 10), backup("b", day(5), 50, 50)],
        wal: vec![wal(1, 1, 60), wal(2, 30, 33)],
        origins: vec![origin(2, 1, segment(30) + 7)],
        ..Inventory::default()
    };
    let plan = run(&inventory, "keep-last=1", &now(6));
    assert_eq!(kept(&plan), ["a", "b"]);
    assert_eq!(words(&plan, "a"), "the newest that leads to timeline 2, the current one");
    assert_eq!(kept_wal(&plan), [(1, 10, 60), (2, 30, 33)]);
    // A backup on timeline 2 takes its place.
    let mut later = inventory.clone();
    later.backups.push(on(2, backup("c", day(6), 32, 32)));
    let plan = run(&later, "keep-last=1", &now(6));
    assert_eq!((kept(&plan), kept_wal(&plan)), (vec!["c"], vec![(2, 32, 33)]));
}

/// Timelines that branch off before a backup is consistent are not reached from it.
#[test]
fn a_branch_before_the_stop_is_not_reached() {
    let inventory = Inventory {
        backups: vec![backup("a", day(0), 10, 20), on(3, backup("c", day(9), 40, 40))],
        wal: vec![wal(1, 1, 25), wal(2, 15, 19), wal(3, 21, 50)],
        origins: vec![origin(2, 1, segment(15)), origin(3, 1, segment(21))],
        ..Inventory::default()
    };
    let plan = run(&inventory, "keep-last=2", &now(9));
    assert_eq!(kept_wal(&plan), [(1, 10, 25), (3, 21, 50)]);
    assert_eq!(why(&plan, 2), ["Remove: no kept backup leads to it"]);
}

/// Grandchildren are reached through timelines that have no WAL of their own left.
#[test]
fn reaching_through_a_timeline_without_wal() {
    let inventory = Inventory {
        backups: vec![backup("a", day(0), 10, 10)],
        wal: vec![wal(1, 10, 30), wal(3, 30, 44)],
        origins: vec![origin(2, 1, segment(30)), origin(3, 2, segment(30) + 9)],
        ..Inventory::default()
    };
    let plan = run(&inventory, "keep-last=1", &now(1));
    assert_eq!(why(&plan, 3), ["Keep: rolls backup a forward"]);
}

/// Nobody knows where timeline 5 comes from: its WAL stays while a backup could lead there.
#[test]
fn a_timeline_of_unknown_ancestry_stays() {
    let mut inventory = Inventory {
        backups: vec![backup("a", day(0), 10, 10)],
        wal: vec![wal(1, 10, 30), wal(5, 5, 44)],
        ..Inventory::default()
    };
    let plan = run(&inventory, "keep-last=1", &now(1));
    assert_eq!(why(&plan, 5), ["Keep: nobody knows where its timeline comes from"]);
    // With all kept backups on it, what is before them is of no use, whatever the ancestry.
    inventory.backups = vec![on(5, backup("b", day(2), 20, 20))];
    let plan = run(&inventory, "keep-last=1", &now(3));
    assert_eq!(kept_wal(&plan), [(5, 20, 44)]);
    // Histories that contradict each other are worth as much as none.
    inventory.backups = vec![backup("a", day(0), 10, 10)];
    inventory.origins = vec![origin(5, 1, segment(12)), origin(5, 1, segment(3))];
    let plan = run(&inventory, "keep-last=1", &now(1));
    assert_eq!(why(&plan, 5), ["Keep: nobody knows where its timeline comes from"]);
}

fn of(system: u64, backup: Backup) -> Backup {
    Backup { system: SystemId(system), ..backup }
}

/// `pg_upgrade`: a new system identifier, timelines that begin again, names that sort before the old
/// ones. Age is a matter of time alone.
#[test]
fn after_pg_upgrade_age_is_time() {
    let range = |system, range: WalRange| WalRange { system: SystemId(system), ..range };
    let inventory = Inventory {
        backups: vec![
            of(9_000, on(8, backup("z-old", day(0), 900, 900))),
            of(9_000, on(8, backup("y-old", day(8), 910, 910))),
            of(17, backup("a-new", day(10), 3, 3)),
        ],
        wal: vec![range(9_000, wal(8, 890, 920)), range(17, wal(1, 1, 9))],
        origins: vec![],
        systems: vec![
            SystemInfo { system: SystemId(9_000), registered_at: day(-100) },
            SystemInfo { system: SystemId(17), registered_at: day(9) },
        ],
        ..Inventory::default()
    };
    let plan = run(&inventory, "keep-last=2", &now(11));
    assert_eq!(kept(&plan), ["y-old", "a-new"]);
    // The window reaches back to the old server.
    let plan = run(&inventory, "window=2d", &now(11));
    assert_eq!(kept(&plan), ["y-old", "a-new"]);
    let plan = run(&inventory, "window=2d", &now(13));
    assert_eq!(kept(&plan), ["a-new"]);
    assert_eq!(why(&plan, 8), ["Remove: of a system that the cluster left, without a kept backup"]);
    // Stopped after the backups were removed: the next run removes the WAL all the same.
    let half = Inventory { backups: plan.applied_to(&inventory).backups, ..inventory.clone() };
    let again = run(&half, "window=2d", &now(13));
    assert_eq!(
        why(&again, 8),
        ["Remove: of a system that the cluster left, without a kept backup"]
    );
    // Upgraded, and the first backup not taken yet: its WAL stays.
    let early = Inventory { backups: inventory.backups[..2].to_vec(), ..inventory };
    let plan = run(&early, "keep-last=1", &now(9));
    assert_eq!(kept(&plan), ["y-old"]);
    assert_eq!(why(&plan, 1), ["Keep: the cluster is on this timeline"]);
}

/// Somebody restored a copy of the server, promoted it, and let it archive here. Quiet since, it does
/// not hold an old backup for ever.
#[test]
fn a_timeline_made_in_passing() {
    let mut inventory = Inventory {
        backups: (0..30u64)
            .map(|n| backup(&format!("b{n}"), day(n as i64), 10 + 10 * n, 10 + 10 * n))
            .collect(),
        wal: vec![wal(1, 1, 320), wal(2, 35, 36)],
        origins: vec![origin(2, 1, segment(35))],
        ..Inventory::default()
    };
    let plan = run(&inventory, "keep-last=3", &now(30));
    assert_eq!(kept(&plan), ["b2", "b27", "b28", "b29"]);
    inventory.wal[0].written_by = Some(day(30));
    inventory.wal[1].written_by = Some(day(3));
    let plan = run(&inventory, "keep-last=3", &now(30));
    assert_eq!(kept(&plan), ["b27", "b28", "b29"]);
    let plan = run(&inventory, "window=7d", &now(30));
    assert_eq!(kept(&plan), ["b23", "b24", "b25", "b26", "b27", "b28", "b29"]);
    assert_eq!(kept_wal(&plan), [(1, 240, 320)]);
}

/// The same when an old primary goes on after the failover: as long as nobody knows when it wrote, or if
/// it wrote in the window, the backup that leads there stays.
#[test]
fn an_old_primary_that_goes_on() {
    let mut inventory = Inventory {
        backups: vec![
            backup("a", day(0), 10, 10),
            backup("b", day(4), 42, 42),
            on(2, backup("c", day(10), 50, 50)),
        ],
        wal: vec![wal(1, 1, 60), wal(2, 40, 70)],
        origins: vec![origin(2, 1, segment(40) + 5)],
        ..Inventory::default()
    };
    assert_eq!(kept(&run(&inventory, "window=7d", &now(20))), ["b", "c"]);
    inventory.wal[0].written_by = Some(day(14));
    inventory.wal[1].written_by = Some(day(19));
    assert_eq!(kept(&run(&inventory, "window=7d", &now(20))), ["b", "c"]);
    inventory.wal[0].written_by = Some(day(5));
    assert_eq!(kept(&run(&inventory, "window=7d", &now(20))), ["c"]);
    // Its WAL ends where timeline 2 begins: there is nothing to go back to.
    inventory.wal = vec![wal(1, 1, 39), wal(2, 40, 70)];
    inventory.backups.remove(1);
    assert_eq!(kept(&run(&inventory, "window=7d", &now(20))), ["c"]);
}

/// The cluster was promoted and then idle; a backup of the old primary is newer than its last WAL, by
/// less than clocks may differ. What it was when the window began still needs the backup before.
#[test]
fn an_idle_cluster_keeps_its_way() {
    let mut inventory = Inventory {
        backups: vec![backup("a", day(0), 10, 10), backup("b", day(5), 42, 42)],
        wal: vec![wal(1, 1, 60), wal(2, 40, 41)],
        origins: vec![origin(2, 1, segment(40) + 5)],
        ..Inventory::default()
    };
    inventory.wal[0].written_by = Some(day(5));
    inventory.wal[1].written_by = Some(day(4));
    let plan = run(&inventory, "window=7d", &now(20));
    assert_eq!(kept(&plan), ["a", "b"]);
    assert!(
        words(&plan, "a").contains("on timeline 2 is restored from it"),
        "{}",
        words(&plan, "a")
    );
}

#[test]
fn pins_and_holds() {
    let mut inventory = series(
        &["2026-11-01T02:00", "2026-11-02T02:00", "2026-11-03T02:00", "2026-11-04T02:00"].map(at),
    );
    let until = Some(at("2026-11-10T00:00").timestamp());
    inventory.backups[0].pins.push(Pin { until, note: "before the migration".into() });
    inventory.backups[1].annotations.insert("legal-hold".into(), "case 12".into());
    inventory.backups[2].annotations.insert("legal-hold".into(), "No".into());
    let plan = run(&inventory, "keep-last=1", &at("2026-11-09T23:59"));
    assert_eq!(kept(&plan).len(), 3);
    assert_eq!(
        words(&plan, "2026-11-01T02:00+00:00"),
        "pinned until 2026-11-10T00:00:00Z (before the migration)"
    );
    assert_eq!(
        words(&plan, "2026-11-02T02:00+00:00"),
        "on hold by its annotation legal-hold=case 12"
    );
    let plan = run(&inventory, "keep-last=1", &at("2026-11-10T00:00"));
    assert_eq!(kept(&plan), ["2026-11-02T02:00+00:00", "2026-11-04T02:00+00:00"]);
    let plan = run(&inventory, "keep-last=1 hold-annotations=a+b", &at("2026-11-10T00:00"));
    assert_eq!(kept(&plan), ["2026-11-04T02:00+00:00"]);
}

/// By name: the first backup goes, the WAL that only it could replay goes, and the second restores.
#[test]
fn one_by_name() {
    let mut inventory =
        series(&["2026-11-01T02:00", "2026-11-02T02:00", "2026-11-03T02:00"].map(at));
    let now = at("2026-11-04T02:00");
    let policy = Policy::default();
    let first = "2026-11-01T02:00+00:00";
    let plan = plan_removal(&inventory, &[first], &policy, &now).unwrap();
    assert_eq!(kept(&plan).len(), 2);
    assert_eq!(kept_wal(&plan), [(1, 20, 40)]);
    assert_eq!(words(&plan, first), "its removal was asked for");

    let kind = |ids: &[&str], inventory: &Inventory| {
        let error = plan_removal(inventory, ids, &policy, &now).unwrap_err();
        (error.kind(), error.to_string())
    };
    assert_eq!(kind(&["x"], &inventory).0, ErrorKind::NotFound);
    let newest = "2026-11-03T02:00+00:00";
    let (refused, message) = kind(&[first, newest], &inventory);
    assert_eq!(refused, ErrorKind::Protected);
    assert_eq!(
        message,
        format!("backup {newest} can't be removed: the newest that can be restored")
    );
    inventory.backups[0].pins.push(Pin::default());
    assert_eq!(kind(&[first], &inventory).1, format!("backup {first} can't be removed: pinned"));
    assert!(plan.backups.iter().any(|d| d.action == Action::Remove));
}

#[test]
fn an_inventory_that_contradicts_itself() {
    let policy: Policy = "keep-last=1".parse().unwrap();
    let mut inventory = series(&["2026-11-01T02:00", "2026-11-02T02:00"].map(at));
    inventory.wal.push(wal(1, 5, 5));
    let error = walbrook_retention::plan(&inventory, &policy, &now(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Inventory);
    assert!(error.to_string().contains("overlap at 0/5000000"), "{error}");
    inventory.wal.clear();
    inventory.backups[1].id = inventory.backups[0].id.clone();
    let error = walbrook_retention::plan(&inventory, &policy, &now(5)).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
}
