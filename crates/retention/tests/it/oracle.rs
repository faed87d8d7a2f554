//! What can be restored: by replaying segment after segment from every backup, along every timeline.
//! Shares no code and no idea with the plan.

use std::collections::{BTreeMap, BTreeSet};

use walbrook_retention::{Backup, Inventory};
use walbrook_types::Lsn;

use crate::world::{Line, World};

/// What one backup reaches: for each timeline from where to where.
type Reach = BTreeMap<Line, (u64, u64)>;

pub(crate) struct Oracle<'w> {
    world: &'w World,
    segments: BTreeSet<(Line, u64)>,
    reaches: Vec<Reach>,
}

impl<'w> Oracle<'w> {
    pub(crate) fn new(world: &'w World, inventory: &Inventory) -> Self {
        let size = world.size.bytes();
        let mut segments = BTreeSet::new();
        for range in &inventory.wal {
            assert_eq!((range.start.0 % size, range.end.0 % size), (0, 0), "whole segments");
            for number in range.start.0 / size..range.end.0 / size {
                segments.insert(((range.system, range.timeline), number));
            }
        }
        let mut oracle = Self { world, segments, reaches: Vec::new() };
        oracle.reaches = inventory.backups.iter().map(|b| oracle.reach(b)).collect();
        oracle
    }

    /// Replays a backup as far as it goes; empty when it does not become consistent.
    fn reach(&self, backup: &Backup) -> Reach {
        let mut reach = Reach::new();
        if backup.damaged {
            return reach;
        }
        let line = (backup.system, backup.timeline);
        let from = if backup.self_contained { backup.stop_lsn } else { backup.start_lsn };
        let mut end = self.run(line, from.0 / self.world.size.bytes());
        if backup.self_contained {
            end = end.max(backup.stop_lsn.0);
        }
        if end >= backup.stop_lsn.0 {
            reach.insert(line, (backup.stop_lsn.0, end));
            self.children(line, backup.stop_lsn.0, end, &mut reach);
        }
        reach
    }

    /// Where a run of segments ends that begins with this one.
    fn run(&self, line: Line, mut number: u64) -> u64 {
        while self.segments.contains(&(line, number)) {
            number += 1;
        }
        number * self.world.size.bytes()
    }

    fn children(&self, parent: Line, from: u64, end: u64, reach: &mut Reach) {
        let size = self.world.size.bytes();
        for (line, branch) in &self.world.branches {
            let Some((of, switch)) = branch.origin else { continue };
            // The segment in which the child begins is a file of the child's, copied at promotion.
            let first = switch.0 / size;
            if (line.0, of) != parent || switch.0 < from || first * size > end {
                continue;
            }
            let child_end = self.run(*line, first);
            if child_end > switch.0 {
                reach.insert(*line, (switch.0, child_end));
                self.children(*line, switch.0, child_end, reach);
            }
        }
    }

    /// Whether a position of a timeline can be restored.
    pub(crate) fn recovers(&self, line: Line, lsn: Lsn) -> bool {
        let within = |reach: &Reach| {
            reach.get(&line).is_some_and(|(from, end)| (*from..=*end).contains(&lsn.0))
        };
        self.reaches.iter().any(within)
    }

    /// Whether a backup, by its index in the inventory, becomes consistent.
    pub(crate) fn restores(&self, index: usize) -> bool {
        !self.reaches[index].is_empty()
    }
}
