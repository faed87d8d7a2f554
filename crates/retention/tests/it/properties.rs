//! Properties of plans for clusters that lived.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use walbrook_retention::{
    Action, BackupReason, Inventory, Plan, Policy, Removal, Restorable, RunningBackup, WalRule,
    plan, plan_removal,
};

use crate::oracle::Oracle;
use crate::world::{World, events};

fn policies() -> impl Strategy<Value = Policy> {
    let wal = prop_oneof![
        Just(None),
        Just(Some(WalRule::All)),
        (1u32..4).prop_map(|n| Some(WalRule::Newest(n))),
        Just(Some(WalRule::Standalone)),
    ];
    let window = prop::option::of(1u32..15);
    let small = || prop_oneof![3 => Just(0u32), 2 => 1u32..5];
    (small(), window, [small(), small(), small(), small(), small()], small(), wal).prop_map(
        |(last, window, [hourly, daily, weekly, monthly, yearly], redundancy, wal)| Policy {
            keep_last: last.into(),
            window: window.map(|days| format!("{days}d").parse().unwrap()),
            hourly: hourly.into(),
            daily: daily.into(),
            weekly: weekly.into(),
            monthly: monthly.into(),
            yearly: yearly.into(),
            min_redundancy: redundancy.into(),
            wal,
            ..Policy::default()
        },
    )
}

fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// The inventory when only these removals were carried out.
fn after<'a>(inventory: &Inventory, removals: impl Iterator<Item = Removal<'a>>) -> Inventory {
    let mut left = inventory.clone();
    for removal in removals {
        match removal {
            Removal::Backup(backup) => left.backups.retain(|b| b.id != backup.id),
            Removal::Wal(gone) => {
                let all = std::mem::take(&mut left.wal);
                for range in all {
                    let same = (range.system, range.timeline) == (gone.system, gone.timeline);
                    if !same || gone.end <= range.start || range.end <= gone.start {
                        left.wal.push(range);
                        continue;
                    }
                    let (before, behind) = (
                        walbrook_retention::WalRange { end: gone.start, ..range },
                        walbrook_retention::WalRange { start: gone.end, ..range },
                    );
                    left.wal.extend([before, behind].into_iter().filter(|r| r.start < r.end));
                }
            }
        }
    }
    left
}

fn ids(inventory: &Inventory) -> BTreeSet<&str> {
    inventory.backups.iter().map(|backup| backup.id.as_str()).collect()
}

/// Pieces of WAL are those of the inventory, no more and no less, and all reasons fit.
fn check_form(plan: &Plan, inventory: &Inventory) -> Result<(), TestCaseError> {
    let length = |ranges: &mut dyn Iterator<Item = (u64, u64)>| ranges.map(|(a, b)| b - a).sum();
    let given: u64 = length(&mut inventory.wal.iter().map(|r| (r.start.0, r.end.0)));
    let decided: u64 = length(&mut plan.wal.iter().map(|d| (d.range.start.0, d.range.end.0)));
    prop_assert_eq!(given, decided);
    prop_assert_eq!(plan.backups.len(), inventory.backups.len());
    for decision in &plan.backups {
        prop_assert!(!decision.reasons.is_empty(), "{decision:?}");
        let keep = decision.action == Action::Keep;
        prop_assert!(decision.reasons.iter().all(|r| r.keeps() == keep), "{decision:?}");
    }
    for decision in &plan.wal {
        prop_assert!(!decision.reasons.is_empty() && decision.range.start < decision.range.end);
        let keep = decision.action == Action::Keep;
        prop_assert!(decision.reasons.iter().all(|r| r.keeps() == keep), "{decision:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases())]

    /// The window: whatever minute of it could be restored before can be restored afterwards, on
    /// every timeline. Between two moments at which something was written a minute's state is that of
    /// the earlier one; so those of the window and the last before it stand for all its minutes.
    #[test]
    fn every_minute_of_the_window_stays(
        events in events(), policy in policies(), days in 1u32..15, idle in 0u64..30_000,
        with_times in any::<bool>(),
    ) {
        let mut world = World::after(&events);
        world.pass(idle);
        let policy = Policy {
            window: Some(format!("{days}d").parse().unwrap()),
            max_silence: Some("10y".parse().unwrap()),
            ..policy
        };
        let inventory = world.inventory(with_times);
        let now = world.now.to_zoned(TimeZone::UTC);
        let since = now.checked_sub(policy.window.unwrap().span()).unwrap().timestamp();
        let plan = plan(&inventory, &policy, &now).unwrap();
        check_form(&plan, &inventory)?;
        let left = plan.applied_to(&inventory);
        let (before, after) = (Oracle::new(&world, &inventory), Oracle::new(&world, &left));
        let living = world.lives.iter().rev().find(|(from, _)| *from <= since).map(|(_, l)| *l);
        for (line, branch) in &world.branches {
            let split = branch.moments.partition_point(|(at, _)| *at < since);
            let in_window = branch.moments[split..].iter();
            // What the cluster was at the window's first minute.
            let first = branch.moments[..split].last().filter(|_| living == Some(*line));
            for (at, lsn) in first.into_iter().chain(in_window) {
                let lost = before.recovers(*line, *lsn) && !after.recovers(*line, *lsn);
                prop_assert!(!lost, "{line:?} {lsn} of {at}, window since {since}: {plan:#?}");
            }
        }
    }

    /// With any policy, what the cluster is now can be restored afterwards if it could before.
    #[test]
    fn the_present_stays(events in events(), policy in policies(), with_times in any::<bool>()) {
        let world = World::after(&events);
        let inventory = world.inventory(with_times);
        let plan = plan(&inventory, &policy, &world.now.to_zoned(TimeZone::UTC)).unwrap();
        let left = plan.applied_to(&inventory);
        let (before, after) = (Oracle::new(&world, &inventory), Oracle::new(&world, &left));
        // When the cluster wrote nothing for days before somebody backed up another timeline, nobody
        // can tell from outside which of the two it is on.
        let newest = plan.backups.iter().find(|d| d.restorable == Restorable::Yes);
        let branch = &world.branches[&world.current];
        let began = branch.moments.first().map(|m| m.0);
        let written = branch.segments.values().copied().max().max(began);
        let quiet = newest.is_some_and(|newest| {
            let at = newest.backup.started_at - SignedDuration::from_hours(24);
            let elsewhere = (newest.backup.system, newest.backup.timeline) != world.current;
            elsewhere && written.is_some_and(|written| written < at)
        });
        if quiet {
            return Ok(());
        }
        for (at, lsn) in &world.branches[&world.current].moments {
            // The last that was archived.
            let newest = before.recovers(world.current, *lsn)
                && !world.branches[&world.current].moments.iter()
                    .any(|(_, later)| later > lsn && before.recovers(world.current, *later));
            prop_assert!(!newest || after.recovers(world.current, *lsn), "{at} {plan:#?}");
        }
    }

    /// Removals in any order, stopped anywhere: a backup that stays can be restored as before.
    #[test]
    fn stopping_anywhere_harms_no_kept_backup(
        events in events(), policy in policies(), order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let world = World::after(&events);
        let inventory = world.inventory(true);
        let plan = plan(&inventory, &policy, &world.now.to_zoned(TimeZone::UTC)).unwrap();
        let before = Oracle::new(&world, &inventory);
        let mut removals: Vec<_> = plan.removals().collect();
        let stop = order.index(removals.len() + 1);

        // In the plan's order: all that is still there is as good as before.
        let left = after(&inventory, removals[..stop].iter().copied());
        let oracle = Oracle::new(&world, &left);
        let wal_untouched = left.wal == inventory.wal;
        for (index, backup) in left.backups.iter().enumerate() {
            let old = inventory.backups.iter().position(|b| b.id == backup.id).unwrap();
            prop_assert!(wal_untouched || !before.restores(old) || oracle.restores(index));
        }

        // In any order: those that the plan keeps are.
        let mut state = seed | 1;
        removals.sort_by_cached_key(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        });
        let left = after(&inventory, removals[..stop].iter().copied());
        let oracle = Oracle::new(&world, &left);
        for decision in plan.backups.iter().filter(|d| d.action == Action::Keep) {
            let id = &decision.backup.id;
            let old = inventory.backups.iter().position(|b| b.id == *id).unwrap();
            let new = left.backups.iter().position(|b| b.id == *id).unwrap();
            prop_assert_eq!(before.restores(old), oracle.restores(new), "{}", id);
        }
    }

    /// A plan that was carried out leaves nothing more to remove, whole or stopped midway: the
    /// same end is reached.
    #[test]
    fn planning_again_comes_to_the_same_end(
        events in events(), policy in policies(), stop in any::<prop::sample::Index>(),
        with_times in any::<bool>(),
    ) {
        let world = World::after(&events);
        let inventory = world.inventory(with_times);
        let now = world.now.to_zoned(TimeZone::UTC);
        let first = plan(&inventory, &policy, &now).unwrap();
        let left = first.applied_to(&inventory);
        let again = plan(&left, &policy, &now).unwrap();
        prop_assert!(again.removes_nothing(), "{first:#?}\n{again:#?}");

        let removals: Vec<_> = first.removals().collect();
        let half = after(&inventory, removals[..stop.index(removals.len() + 1)].iter().copied());
        let resumed = plan(&half, &policy, &now).unwrap().applied_to(&half);
        prop_assert_eq!(ids(&resumed), ids(&left));
    }

    /// Nothing depends on the order of lists, nor on names.
    #[test]
    fn order_and_names_mean_nothing(events in events(), policy in policies()) {
        let world = World::after(&events);
        let inventory = world.inventory(true);
        let now = world.now.to_zoned(TimeZone::UTC);
        let mut other = inventory.clone();
        other.backups.reverse();
        other.wal.reverse();
        other.origins.reverse();
        other.systems.reverse();
        let plans = [plan(&inventory, &policy, &now), plan(&other, &policy, &now)];
        let [one, two] = plans.map(Result::unwrap);
        prop_assert_eq!(&one.backups, &two.backups);
        prop_assert_eq!(&one.wal, &two.wal);
        for backup in &mut other.backups {
            backup.id = format!("{:?}", backup.id.bytes().rev().collect::<Vec<_>>());
        }
        let renamed = plan(&other, &policy, &now).unwrap();
        let actions = |plan: &Plan| plan.backups.iter().map(|d| d.action).collect::<Vec<_>>();
        prop_assert_eq!(actions(&one), actions(&renamed));
    }

    /// Counts are kept, of those that can be restored too.
    #[test]
    fn counts_hold(events in events(), policy in policies()) {
        let world = World::after(&events);
        let inventory = world.inventory(true);
        let plan = plan(&inventory, &policy, &world.now.to_zoned(TimeZone::UTC)).unwrap();
        let oracle = Oracle::new(&world, &inventory);
        let good = |id: &str| {
            oracle.restores(inventory.backups.iter().position(|b| b.id == id).unwrap())
        };
        let kept = |good_only: bool| {
            let kept = plan.backups.iter().filter(|d| d.action == Action::Keep);
            kept.filter(|d| !good_only || good(&d.backup.id)).count()
        };
        let all_good = inventory.backups.iter().filter(|b| good(&b.id)).count();
        let enough = policy.keep_last.get().max(policy.min_redundancy.get()).max(1) as usize;
        prop_assert!(kept(true) >= enough.min(all_good));
        let newest = plan.backups.iter().take(policy.keep_last.get() as usize);
        prop_assert!(newest.into_iter().all(|d| d.action == Action::Keep));
        for decision in &plan.backups {
            let says = decision.restorable == Restorable::Yes;
            prop_assert_eq!(says, good(&decision.backup.id));
            let pinned = decision.backup.pins.iter().any(|pin| pin.holds_at(world.now));
            prop_assert!(!pinned || decision.action == Action::Keep);
        }
    }

    /// While a backup is being taken, its base stays, and so does the WAL of its system that it may
    /// need.
    #[test]
    fn a_running_backup_is_left_alone(
        events in events(), policy in policies(), base in any::<prop::sample::Index>(),
        says in any::<bool>(),
    ) {
        let world = World::after(&events);
        let mut inventory = world.inventory(true);
        if inventory.backups.is_empty() {
            return Ok(());
        }
        let base = base.get(&inventory.backups).clone();
        let wal_from = says.then_some(base.stop_lsn);
        inventory.running.push(RunningBackup {
            id: "running".into(), system: world.current.0, wal_from, base: Some(base.id.clone()),
        });
        let plan = plan(&inventory, &policy, &world.now.to_zoned(TimeZone::UTC)).unwrap();
        for removal in plan.removals() {
            match removal {
                Removal::Backup(backup) => prop_assert_ne!(&backup.id, &base.id),
                Removal::Wal(range) => prop_assert!(
                    range.system != world.current.0 || wal_from.is_some_and(|lsn| range.end <= lsn)
                ),
            }
        }
    }

    /// Removing one by name harms no other: each of them reaches what it reached.
    #[test]
    fn removing_one_harms_no_other(events in events(), which in any::<prop::sample::Index>()) {
        let world = World::after(&events);
        let inventory = world.inventory(true);
        if inventory.backups.is_empty() {
            return Ok(());
        }
        let id = which.get(&inventory.backups).id.clone();
        let now = world.now.to_zoned(TimeZone::UTC);
        let Ok(plan) = plan_removal(&inventory, &[&id], &Policy::default(), &now) else {
            return Ok(());
        };
        let left = plan.applied_to(&inventory);
        prop_assert_eq!(left.backups.len() + 1, inventory.backups.len());
        let others =
            Inventory { backups: left.backups.clone(), ..inventory.clone() };
        let (before, after) = (Oracle::new(&world, &others), Oracle::new(&world, &left));
        for (line, branch) in &world.branches {
            for (_, lsn) in &branch.moments {
                prop_assert_eq!(before.recovers(*line, *lsn), after.recovers(*line, *lsn));
            }
        }
        let requested = |r: &BackupReason| *r == BackupReason::Requested;
        let removed = plan.backups.iter().find(|d| d.backup.id == id).unwrap();
        prop_assert!(removed.reasons.iter().any(requested));
    }
}
