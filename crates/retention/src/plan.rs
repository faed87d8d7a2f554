use jiff::{Timestamp, Zoned};

use crate::error::shown;
use crate::facts::{Facts, Restorable};
use crate::rules::Verdicts;
use crate::{
    Backup, BackupReason, Error, ErrorKind, Hold, Inventory, Policy, Result, WalRange, WalReason,
    WalRule, guard, wal,
};

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum Action {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
}

/// What becomes of each backup and all WAL, and why. Made by [`plan`] and [`plan_removal`].
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Plan {
    /// The moment that it was made for.
    pub now: Timestamp,
    /// Why it removes nothing, if it must not.
    pub holds: Vec<Hold>,
    /// Each backup of the inventory, newest first.
    pub backups: Vec<BackupDecision>,
    /// All WAL of the inventory, by system, timeline and position; a range of which only a part
    /// stays is in pieces.
    pub wal: Vec<WalDecision>,
}

/// What becomes of a backup.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BackupDecision {
    /// The backup.
    pub backup: Backup,
    /// What becomes of it.
    pub action: Action,
    /// Why; never empty.
    pub reasons: Vec<BackupReason>,
    /// Whether it can be restored at all.
    pub restorable: Restorable,
}

/// What becomes of a stretch of WAL: whole segments, but for the ends of a range that is not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct WalDecision {
    /// The stretch. Of a range in pieces, each has its share of the bytes by length.
    pub range: WalRange,
    /// What becomes of it.
    pub action: Action,
    /// Why; never empty.
    pub reasons: Vec<WalReason>,
}

/// One step of carrying out a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Removal<'a> {
    /// Remove this backup.
    Backup(&'a Backup),
    /// Remove this WAL.
    Wal(&'a WalRange),
}

/// Plans what a policy keeps and removes. `now` also tells the zone of days, weeks, months and years.
///
/// A pure function: the same arguments give the same plan, whatever the order of the inventory's
/// lists.
///
/// # Errors
///
/// [`ErrorKind::Inventory`] when the inventory contradicts itself, [`ErrorKind::Time`] when the
/// policy's lengths lead out of the calendar.
pub fn plan(inventory: &Inventory, policy: &Policy, now: &Zoned) -> Result<Plan> {
    let facts = Facts::new(inventory)?;
    let holds = guard::holds(&facts, policy, now)?;
    let verdicts = Verdicts::by_policy(&facts, policy, now)?;
    Ok(Plan::new(&facts, policy, &verdicts, holds, now.timestamp()))
}

/// Plans the removal of these backups, and of the WAL that no other backup could be rolled forward
/// with; all others stay. Of the policy only the annotations for legal hold count.
///
/// # Errors
///
/// [`ErrorKind::NotFound`] for a backup that is not in the inventory; [`ErrorKind::Protected`] for one
/// that is pinned, on hold, the base of one being taken, the only way to the current timeline, or the
/// newest that can be restored; and those of [`plan`].
pub fn plan_removal(
    inventory: &Inventory,
    ids: &[&str],
    policy: &Policy,
    now: &Zoned,
) -> Result<Plan> {
    removal(inventory, ids, policy, now, |_| true)
}

/// The same, and even of the newest that can be restored and of the only way to the current timeline:
/// afterwards there may be nothing to restore from.
///
/// # Errors
///
/// Those of [`plan_removal`] but these two.
pub fn plan_removal_even_last(
    inventory: &Inventory,
    ids: &[&str],
    policy: &Policy,
    now: &Zoned,
) -> Result<Plan> {
    let last = |reason: &BackupReason| {
        matches!(reason, BackupReason::NewestRestorable | BackupReason::LeadsToCurrent { .. })
    };
    removal(inventory, ids, policy, now, |reason| !last(reason))
}

fn removal(
    inventory: &Inventory,
    ids: &[&str],
    policy: &Policy,
    now: &Zoned,
    protects: impl Fn(&BackupReason) -> bool,
) -> Result<Plan> {
    let facts = Facts::new(inventory)?;
    let protection = Verdicts::protection(&facts, policy, now);
    for id in ids {
        let Some(i) = inventory.backups.iter().position(|backup| backup.id == **id) else {
            let message = format!("there is no backup {}", shown(id));
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        if let Some(reason) = protection.reasons(i).iter().find(|reason| protects(reason)) {
            let message = format!("backup {id} can't be removed: {reason}");
            return Err(Error::new(ErrorKind::Protected, message));
        }
    }
    let asked = |i: usize| ids.contains(&inventory.backups[i].id.as_str());
    let verdicts = Verdicts::by_request(&facts, asked);
    // Which WAL a window needs is not known here: what any backup can replay stays for the policy.
    let policy = Policy { wal: Some(WalRule::All), ..policy.clone() };
    Ok(Plan::new(&facts, &policy, &verdicts, Vec::new(), now.timestamp()))
}

impl Plan {
    fn new(
        facts: &Facts<'_>,
        policy: &Policy,
        verdicts: &Verdicts,
        holds: Vec<Hold>,
        now: Timestamp,
    ) -> Self {
        let decide = |&i: &usize| {
            let action = if verdicts.is_kept(i) { Action::Keep } else { Action::Remove };
            BackupDecision {
                backup: facts.backup(i).clone(),
                action,
                reasons: verdicts.reasons(i),
                restorable: facts.restorable[i],
            }
        };
        let backups = facts.order.iter().map(decide).collect();
        let wal = wal::decide(facts, policy, verdicts);
        let mut plan = Self { now, holds, backups, wal };
        if !plan.holds.is_empty() {
            plan.hold();
        }
        plan
    }

    /// Keeps everything.
    fn hold(&mut self) {
        for decision in self.backups.iter_mut().filter(|d| d.action == Action::Remove) {
            decision.action = Action::Keep;
            decision.reasons = vec![BackupReason::Held];
        }
        for decision in self.wal.iter_mut().filter(|d| d.action == Action::Remove) {
            decision.action = Action::Keep;
            decision.reasons = vec![WalReason::Held];
        }
    }

    /// Whether it removes anything.
    pub fn removes_nothing(&self) -> bool {
        self.removals().next().is_none()
    }

    /// What it removes, in the order in which that is to be done: backups first, the oldest before
    /// the others, and then WAL. Stopped anywhere, every backup that is still there has all WAL that it
    /// had before.
    pub fn removals(&self) -> impl Iterator<Item = Removal<'_>> {
        let backups = self.backups.iter().rev().filter(|d| d.action == Action::Remove);
        let wal = self.wal.iter().filter(|d| d.action == Action::Remove);
        backups.map(|d| Removal::Backup(&d.backup)).chain(wal.map(|d| Removal::Wal(&d.range)))
    }

    /// The inventory without what the plan removes.
    pub fn applied_to(&self, inventory: &Inventory) -> Inventory {
        let kept = |action| action == Action::Keep;
        let backups = self.backups.iter().filter(|d| kept(d.action)).map(|d| d.backup.clone());
        let wal = self.wal.iter().filter(|d| kept(d.action)).map(|d| d.range);
        Inventory { backups: backups.collect(), wal: wal.collect(), ..inventory.clone() }
    }

    /// The bytes that it removes: of backups, and of WAL.
    pub fn removed_bytes(&self) -> (u64, u64) {
        self.removals().fold((0, 0), |(backups, wal): (u64, u64), removal| match removal {
            Removal::Backup(backup) => (backups.saturating_add(backup.bytes), wal),
            Removal::Wal(range) => (backups, wal.saturating_add(range.bytes)),
        })
    }
}
