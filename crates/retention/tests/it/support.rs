//! Inventories written by hand.

use std::collections::BTreeMap;

use jiff::{Timestamp, Zoned};
use walbrook_retention::{Action, Backup, Inventory, Plan, Policy, TimelineOrigin, WalRange, plan};
use walbrook_types::{Lsn, SegmentNumber, SystemId, TimelineId, WalSegmentSize};

pub(crate) const SIZE: WalSegmentSize = WalSegmentSize::DEFAULT;
pub(crate) const SYSTEM: SystemId = SystemId(7);

pub(crate) fn tli(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

pub(crate) fn segment(number: u64) -> Lsn {
    SegmentNumber(number).start(SIZE)
}

/// A moment: `2026-03-29T01:30[Europe/Rome]`, or UTC when it names no zone.
pub(crate) fn at(text: &str) -> Zoned {
    let text = if text.contains('[') { text.to_owned() } else { format!("{text}[UTC]") };
    text.parse().unwrap()
}

/// A backup on the first timeline that needs the segments from `first` to `last`.
pub(crate) fn backup(id: &str, started_at: Timestamp, first: u64, last: u64) -> Backup {
    Backup {
        id: id.to_owned(),
        system: SYSTEM,
        timeline: tli(1),
        start_lsn: segment(first) + 40,
        stop_lsn: segment(last + 1),
        started_at,
        stopped_at: started_at,
        self_contained: false,
        damaged: false,
        pins: Vec::new(),
        annotations: BTreeMap::new(),
        bytes: 1000,
    }
}

pub(crate) fn wal(timeline: u32, first: u64, last: u64) -> WalRange {
    let (first, last) = (SegmentNumber(first), SegmentNumber(last));
    WalRange { bytes: 100, ..WalRange::segments(SYSTEM, tli(timeline), first, last, SIZE) }
}

pub(crate) fn origin(timeline: u32, parent: u32, switch_lsn: Lsn) -> TimelineOrigin {
    let (timeline, parent) = (tli(timeline), tli(parent));
    TimelineOrigin { system: SYSTEM, timeline, parent, switch_lsn, seen_at: None }
}

/// Backups at these moments, oldest first, each needing one segment, ten segments apart; named by
/// their moments; and all WAL from the beginning to ten segments behind the last.
pub(crate) fn series(moments: &[Zoned]) -> Inventory {
    let mut inventory = Inventory::default();
    for (number, moment) in (1..).zip(moments) {
        let first = number * 10;
        let id = moment.strftime("%Y-%m-%dT%H:%M%:z").to_string();
        inventory.backups.push(backup(&id, moment.timestamp(), first, first));
    }
    let last = (moments.len() as u64 + 1) * 10;
    inventory.wal.push(wal(1, 1, last));
    inventory
}

pub(crate) fn run(inventory: &Inventory, policy: &str, now: &Zoned) -> Plan {
    let policy: Policy = policy.parse().unwrap();
    plan(inventory, &policy, now).unwrap()
}

/// The backups that stay, oldest first.
pub(crate) fn kept(plan: &Plan) -> Vec<&str> {
    let kept = plan.backups.iter().rev().filter(|d| d.action == Action::Keep);
    kept.map(|d| d.backup.id.as_str()).collect()
}

/// The segments that stay, as timeline, first and last.
pub(crate) fn kept_wal(plan: &Plan) -> Vec<(u32, u64, u64)> {
    let mut kept: Vec<(u32, u64, u64)> = Vec::new();
    for decision in plan.wal.iter().filter(|d| d.action == Action::Keep) {
        let range = &decision.range;
        let size = range.segment_size;
        let (first, last) = (size.segment_of(range.start).0, size.segment_before(range.end).0);
        match kept.last_mut() {
            Some(before) if before.0 == range.timeline.get() && before.2 + 1 == first => {
                before.2 = last;
            }
            _ => kept.push((range.timeline.get(), first, last)),
        }
    }
    kept
}

/// The words for a backup.
pub(crate) fn words(plan: &Plan, id: &str) -> String {
    let decision = plan.backups.iter().find(|d| d.backup.id == id).unwrap();
    decision.reasons.iter().map(|r| r.to_string()).collect::<Vec<_>>().join("; ")
}
