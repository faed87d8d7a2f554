//! What the rules ask of an inventory, found out once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};
use walbrook_types::{Lsn, SystemId, TimelineId};

use crate::error::shown;
use crate::lineage::{Line, Lineage};
use crate::{Backup, Error, ErrorKind, Inventory, Result, WalRange};

/// By how much clocks of different machines are allowed to differ where their times are compared.
pub(crate) const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(24);

/// What keeps a backup from being restored, if anything does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum Restorable {
    /// Nothing does.
    Yes,
    /// WAL between its start and its stop is missing.
    WalMissing,
    /// It is known to be damaged.
    Damaged,
}

/// An inventory, put in order. Backups are known by their index in it.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) inventory: &'a Inventory,
    pub(crate) lineage: Lineage,
    /// Newest first.
    pub(crate) order: Vec<usize>,
    pub(crate) restorable: Vec<Restorable>,
    /// The WAL of each timeline, by position.
    pub(crate) wal: BTreeMap<Line, Vec<&'a WalRange>>,
    /// The backups of each timeline, newest first.
    pub(crate) of_line: BTreeMap<Line, Vec<usize>>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(inventory: &'a Inventory) -> Result<Self> {
        let backups = &inventory.backups;
        let mut ids = HashSet::new();
        if let Some(twice) = backups.iter().find(|backup| !ids.insert(backup.id.as_str())) {
            let message = format!("backup {} is in the inventory twice", shown(&twice.id));
            return Err(Error::new(ErrorKind::Inventory, message));
        }
        let mut order: Vec<usize> = (0..backups.len()).collect();
        // By age. Names and positions only make the order certain.
        let age = |&i: &usize| {
            let b = &backups[i];
            (b.started_at, b.consistent_at(), b.stop_lsn, b.id.as_str())
        };
        order.sort_by(|a, b| age(b).cmp(&age(a)));
        let mut wal: BTreeMap<Line, Vec<&WalRange>> = BTreeMap::new();
        for range in inventory.wal.iter().filter(|range| range.start < range.end) {
            wal.entry(range.line()).or_default().push(range);
        }
        for ranges in wal.values_mut() {
            ranges.sort_by_key(|range| (range.start, range.end));
            if let Some(pair) = ranges.windows(2).find(|pair| pair[1].start < pair[0].end) {
                let message = format!(
                    "two ranges of WAL on timeline {} of system {} overlap at {}",
                    pair[1].timeline, pair[1].system, pair[1].start
                );
                return Err(Error::new(ErrorKind::Inventory, message));
            }
        }
        let mut of_line: BTreeMap<Line, Vec<usize>> = BTreeMap::new();
        for &i in &order {
            of_line.entry((backups[i].system, backups[i].timeline)).or_default().push(i);
        }
        let restorable = backups.iter().map(|backup| restorable(backup, &wal)).collect();
        let lineage = Lineage::new(&inventory.origins);
        Ok(Self { inventory, lineage, order, restorable, wal, of_line })
    }

    pub(crate) fn backup(&self, i: usize) -> &'a Backup {
        &self.inventory.backups[i]
    }

    pub(crate) fn line(&self, i: usize) -> Line {
        (self.backup(i).system, self.backup(i).timeline)
    }

    pub(crate) fn is_restorable(&self, i: usize) -> bool {
        self.restorable[i] == Restorable::Yes
    }

    /// Those that can be restored, newest first.
    pub(crate) fn restorable(&self) -> impl Iterator<Item = usize> + '_ {
        self.order.iter().copied().filter(|i| self.is_restorable(*i))
    }

    /// The newest backup that can be restored to the end of a timeline, among those that `fit`.
    pub(crate) fn newest_leading_to(
        &self,
        line: Line,
        fit: impl Fn(&Backup) -> bool,
    ) -> Option<usize> {
        self.lineage.way_back(line).find_map(|(line, up_to)| {
            let on_it = self.of_line.get(&line)?.iter().copied();
            on_it
                .filter(|i| self.is_restorable(*i))
                .find(|i| fit(self.backup(*i)) && leaves_at(self.backup(*i), up_to))
        })
    }

    /// The timelines that have WAL or backups.
    pub(crate) fn lines(&self) -> BTreeSet<Line> {
        self.wal.keys().chain(self.of_line.keys()).copied().collect()
    }

    /// When a timeline was last heard of, if that is known: its last WAL was not written later.
    pub(crate) fn written_by(&self, line: Line) -> Option<Timestamp> {
        let mut last = self.lineage.seen_at(line);
        for range in self.wal.get(&line).into_iter().flatten() {
            last = last.max(Some(range.written_by?));
        }
        last
    }

    /// The timeline that the cluster is on, as far as can be told: the highest of the system that
    /// was last heard of.
    pub(crate) fn current_line(&self) -> Option<Line> {
        let mut heard: BTreeMap<SystemId, Timestamp> = BTreeMap::new();
        let backups = self.inventory.backups.iter().map(|b| (b.system, b.consistent_at()));
        let wal = self.inventory.wal.iter().filter_map(|r| Some((r.system, r.written_by?)));
        let systems = self.inventory.systems.iter().map(|s| (s.system, s.registered_at));
        for (system, at) in backups.chain(wal).chain(systems) {
            heard.entry(system).and_modify(|last| *last = at.max(*last)).or_insert(at);
        }
        let (&system, _) = heard.iter().max_by_key(|(system, at)| (**at, **system))?;
        let of_system = |line: &Line| line.0 == system;
        let highest =
            self.lines().into_iter().chain(self.lineage.lines()).filter(of_system).max()?;
        // A timeline that somebody made in passing, and that was quiet when the newest backup was
        // taken on another, is not it.
        let newest = self.restorable().next();
        if let (Some(newest), Some(written)) = (newest, self.written_by(highest)) {
            let quiet = later(written, CLOCKS_DIFFER) < self.backup(newest).started_at;
            if quiet && self.backup(newest).system == system {
                return Some(self.line(newest));
            }
        }
        Some(highest)
    }
}

/// Whether a backup is consistent when the way leaves its timeline at a position.
pub(crate) fn leaves_at(backup: &Backup, up_to: Option<Lsn>) -> bool {
    up_to.is_none_or(|up_to| backup.stop_lsn <= up_to)
}

pub(crate) fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn restorable(
    backup: &Backup,
    wal: &BTreeMap<(SystemId, TimelineId), Vec<&WalRange>>,
) -> Restorable {
    if backup.damaged {
        return Restorable::Damaged;
    }
    let covered = || {
        let ranges = wal.get(&(backup.system, backup.timeline))?;
        let mut at = backup.start_lsn;
        let first = ranges.partition_point(|range| range.end <= at);
        for range in &ranges[first..] {
            if range.start > at || at >= backup.stop_lsn {
                break;
            }
            at = range.end;
        }
        Some(at >= backup.stop_lsn)
    };
    match backup.self_contained || covered().unwrap_or(false) {
        true => Restorable::Yes,
        false => Restorable::WalMissing,
    }
}
