//! Ten thousand backups and five million segments. Prints what it took; asserts no time.

use std::time::Instant;

use jiff::{SignedDuration, Zoned};
use walbrook_retention::{Action, Backup, Inventory, WalFolder};
use walbrook_types::{Lsn, SegmentNumber};

use crate::support::{SIZE, SYSTEM, at, backup, origin, run, tli};

const BACKUPS: u64 = 10_000;
const SEGMENTS: u64 = 5_000_000;
/// A failover every hundred backups.
const TIMELINES: u64 = 100;

fn inventory(now: &Zoned, gap_every: u64) -> Inventory {
    let mut folder = WalFolder::new(SYSTEM, SIZE);
    let of_timeline = |number: u64| tli((number * TIMELINES / SEGMENTS) as u32 + 1);
    for number in (1..=SEGMENTS).filter(|n| n % gap_every != 0) {
        folder.push(of_timeline(number.min(SEGMENTS - 1)), SegmentNumber(number), 1 << 20, None);
    }
    let mut inventory = Inventory { wal: folder.finish(), ..Inventory::default() };
    let apart = SEGMENTS / BACKUPS;
    for number in 0..BACKUPS {
        let first = number * apart + 2;
        let ago = SignedDuration::from_hours((BACKUPS - number) as i64);
        let one = backup(&format!("b{number}"), now.timestamp() - ago, first, first + 3);
        inventory.backups.push(Backup { timeline: of_timeline(first + 3), ..one });
    }
    for number in 2..=TIMELINES as u32 {
        let switch = u64::from(number - 1) * (SEGMENTS / TIMELINES);
        inventory.origins.push(origin(number, number - 1, Lsn(switch * SIZE.bytes())));
    }
    inventory
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: unknown");
    peak.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

#[test]
fn ten_thousand_backups_and_five_million_segments() {
    let now = at("2026-11-22T05:00[Europe/Rome]");
    let policy =
        "keep-last=7 window=30d hourly=48 daily=30 weekly=8 monthly=12 yearly=3 wal=newest:50";
    // A gap after every thousand segments, and after every twenty.
    for gap_every in [1000, 20] {
        let begun = Instant::now();
        let inventory = inventory(&now, gap_every);
        let folded = begun.elapsed();
        let begun = Instant::now();
        let plan = run(&inventory, policy, &now);
        let planned = begun.elapsed();
        println!(
            "{} backups, {} ranges: folded in {folded:?}, planned in {planned:?}; peak {}",
            inventory.backups.len(),
            inventory.wal.len(),
            peak_memory(),
        );
        let kept = plan.backups.iter().filter(|d| d.action == Action::Keep).count();
        assert!(plan.holds.is_empty(), "{:?}", plan.holds);
        // 30 days of hours, and what the months and years add.
        assert!((720..=760).contains(&kept), "{kept}");
    }
}
