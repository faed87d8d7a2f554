//! A cluster that lives: it writes, takes backups, fails over, is restored to an earlier point,
//! has an old primary that goes on, loses WAL, is upgraded. What happened when is known, as it is not
//! to a plan.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use walbrook_retention::{Backup, Inventory, Pin, SystemInfo, TimelineOrigin, WalFolder, WalRange};
use walbrook_types::{Lsn, SegmentNumber, SystemId, TimelineId, WalSegmentSize};

use crate::support::tli;

pub(crate) type Line = (SystemId, TimelineId);

/// What can happen. Numbers choose among what there is, modulo.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// The server runs on for so many minutes and writes so many kilobytes.
    Write(u64, u64),
    /// Nothing happens for so many minutes.
    Idle(u64),
    /// A backup of so many minutes; whether it holds its own WAL.
    Backup(u64, bool),
    /// A standby is promoted.
    Promote,
    /// The server is restored to where an earlier backup ended, and promoted.
    RestoreTo(usize),
    /// A server on another timeline of this system writes.
    OldPrimaryWrites(usize, u64, u64),
    /// And takes a backup.
    OldPrimaryBackup(usize),
    /// `pg_upgrade`: a new system.
    Upgrade,
    /// A segment gets lost.
    Lose(usize),
    /// A backup is pinned, for ever or for so many minutes.
    Pin(usize, Option<u64>),
    /// A backup is found damaged.
    Damage(usize),
}

pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        12 => (1u64..3000, 100u64..5000).prop_map(|(m, k)| Event::Write(m, k)),
        3 => (1u64..5000).prop_map(Event::Idle),
        10 => (1u64..600, prop::bool::weighted(0.1)).prop_map(|(m, own)| Event::Backup(m, own)),
        2 => Just(Event::Promote),
        2 => any::<usize>().prop_map(Event::RestoreTo),
        2 => (any::<usize>(), 1u64..3000, 100u64..5000)
            .prop_map(|(line, m, k)| Event::OldPrimaryWrites(line, m, k)),
        1 => any::<usize>().prop_map(Event::OldPrimaryBackup),
        1 => Just(Event::Upgrade),
        1 => any::<usize>().prop_map(Event::Lose),
        1 => (any::<usize>(), prop::option::of(1u64..50_000)).prop_map(|(b, u)| Event::Pin(b, u)),
        1 => any::<usize>().prop_map(Event::Damage),
    ];
    prop::collection::vec(event, 1..60)
}

/// One timeline.
#[derive(Debug, Clone, Default)]
pub(crate) struct Branch {
    /// Where it left which timeline.
    pub(crate) origin: Option<(TimelineId, Lsn)>,
    /// Up to where it is written.
    head: u64,
    /// Complete segments in the archive, and when each came there.
    pub(crate) segments: BTreeMap<u64, Timestamp>,
    /// What was written up to where, when.
    pub(crate) moments: Vec<(Timestamp, Lsn)>,
}

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) size: WalSegmentSize,
    pub(crate) now: Timestamp,
    pub(crate) branches: BTreeMap<Line, Branch>,
    pub(crate) current: Line,
    /// From when on the cluster was where.
    pub(crate) lives: Vec<(Timestamp, Line)>,
    backups: Vec<Backup>,
    systems: Vec<SystemInfo>,
    lost: BTreeSet<(Line, u64)>,
}

impl World {
    pub(crate) fn after(events: &[Event]) -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut world = Self {
            size: WalSegmentSize::new(1 << 20).unwrap(),
            now,
            branches: BTreeMap::new(),
            // Systems go down in number: nothing may be concluded from names.
            current: (SystemId(1000), tli(1)),
            lives: Vec::new(),
            backups: Vec::new(),
            systems: Vec::new(),
            lost: BTreeSet::new(),
        };
        world.begin(world.current, None, 1 << 20);
        world.systems.push(SystemInfo { system: SystemId(1000), registered_at: now });
        for event in events {
            world.run(event);
        }
        world
    }

    fn begin(&mut self, line: Line, origin: Option<(TimelineId, Lsn)>, head: u64) {
        self.branches.insert(line, Branch { origin, head, ..Branch::default() });
        self.current = line;
        self.lives.push((self.now, line));
    }

    fn run(&mut self, event: &Event) {
        match *event {
            Event::Write(minutes, kilobytes) => {
                self.pass(minutes);
                self.write(self.current, kilobytes << 10);
            }
            Event::Idle(minutes) => self.pass(minutes),
            Event::Backup(minutes, own) => self.back_up(self.current, minutes, own),
            Event::Promote => {
                let head = self.branches[&self.current].head;
                self.branch_off(self.current, Lsn(head));
            }
            Event::RestoreTo(choice) => {
                let here = |b: &&Backup| b.system == self.current.0;
                let backups: Vec<_> = self.backups.iter().filter(here).collect();
                if let Some(backup) = pick(&backups, choice) {
                    let (line, stop) = ((backup.system, backup.timeline), backup.stop_lsn);
                    self.branch_off(line, stop);
                }
            }
            Event::OldPrimaryWrites(choice, minutes, kilobytes) => {
                self.pass(minutes);
                if let Some(line) = self.old_line(choice) {
                    self.write(line, kilobytes << 10);
                }
            }
            Event::OldPrimaryBackup(choice) => {
                if let Some(line) = self.old_line(choice) {
                    self.back_up(line, 5, false);
                }
            }
            Event::Upgrade => {
                self.pass(30);
                let system = SystemId(self.current.0.0 - 1);
                self.systems.push(SystemInfo { system, registered_at: self.now });
                let head = self.branches[&self.current].head.next_multiple_of(1 << 20);
                self.begin((system, tli(1)), None, head);
            }
            Event::Lose(choice) => {
                let all = self.branches.iter();
                let all = all.flat_map(|(line, b)| b.segments.keys().map(|n| (*line, *n)));
                if let Some(segment) = pick(&all.collect::<Vec<_>>(), choice) {
                    self.lost.insert(*segment);
                }
            }
            Event::Pin(choice, minutes) => {
                let until = minutes.map(|m| self.now + SignedDuration::from_mins(m as i64));
                if let Some(backup) = pick_mut(&mut self.backups, choice) {
                    backup.pins.push(Pin { until, note: String::new() });
                }
            }
            Event::Damage(choice) => {
                if let Some(backup) = pick_mut(&mut self.backups, choice) {
                    backup.damaged = true;
                }
            }
        }
    }

    fn old_line(&self, choice: usize) -> Option<Line> {
        let of_system = |line: &&Line| line.0 == self.current.0;
        let lines: Vec<_> = self.branches.keys().filter(of_system).copied().collect();
        pick(&lines, choice).copied()
    }

    pub(crate) fn pass(&mut self, minutes: u64) {
        self.now += SignedDuration::from_mins(minutes as i64);
    }

    fn write(&mut self, line: Line, bytes: u64) {
        let (size, now) = (self.size.bytes(), self.now);
        let branch = self.branches.get_mut(&line).unwrap();
        let complete = branch.head / size;
        branch.head += bytes;
        for number in complete..branch.head / size {
            branch.segments.insert(number, now);
        }
        branch.moments.push((now, Lsn(branch.head)));
    }

    fn switch_wal(&mut self, line: Line) {
        let to_border = self.size.bytes() - self.branches[&line].head % self.size.bytes();
        self.write(line, to_border);
    }

    fn branch_off(&mut self, parent: Line, switch: Lsn) {
        let of_system = self.branches.keys().filter(|line| line.0 == parent.0);
        let highest = of_system.map(|line| line.1.get()).max().unwrap();
        self.begin((parent.0, tli(highest + 1)), Some((parent.1, switch)), switch.0);
        self.write(self.current, 1000);
    }

    fn back_up(&mut self, line: Line, minutes: u64, self_contained: bool) {
        self.write(line, 100);
        let (start_lsn, started_at) = (Lsn(self.branches[&line].head), self.now);
        self.pass(minutes);
        self.write(line, 5000);
        self.switch_wal(line);
        let stop_lsn = Lsn(self.branches[&line].head);
        // Named so that the order of names is none.
        let id = format!("b{}", (self.backups.len() * 7919 + 13) % 10_007);
        self.backups.push(Backup {
            id,
            system: line.0,
            timeline: line.1,
            start_lsn,
            stop_lsn,
            started_at,
            stopped_at: self.now,
            self_contained,
            damaged: false,
            pins: Vec::new(),
            annotations: BTreeMap::new(),
            bytes: 1,
        });
    }

    /// What a repository would tell of it.
    pub(crate) fn inventory(&self, with_times: bool) -> Inventory {
        let mut wal: Vec<WalRange> = Vec::new();
        let mut origins = Vec::new();
        for (line, branch) in &self.branches {
            let mut folder = WalFolder::new(line.0, self.size);
            for (number, at) in &branch.segments {
                if !self.lost.contains(&(*line, *number)) {
                    let at = with_times.then_some(*at);
                    folder.push(line.1, SegmentNumber(*number), 10, at);
                }
            }
            wal.extend(folder.finish());
            if let Some((parent, switch_lsn)) = branch.origin {
                let (system, timeline) = *line;
                let seen_at = branch.moments.first().map(|m| m.0).filter(|_| with_times);
                origins.push(TimelineOrigin { system, timeline, parent, switch_lsn, seen_at });
            }
        }
        let (backups, systems) = (self.backups.clone(), self.systems.clone());
        Inventory { backups, wal, origins, systems, ..Inventory::default() }
    }
}

fn pick<T>(from: &[T], choice: usize) -> Option<&T> {
    from.get(choice.checked_rem(from.len())?)
}

fn pick_mut<T>(from: &mut [T], choice: usize) -> Option<&mut T> {
    let index = choice.checked_rem(from.len())?;
    from.get_mut(index)
}
