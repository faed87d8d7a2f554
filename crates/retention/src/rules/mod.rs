//! The rules for backups: each says of some why it keeps them, and of others why it does not.

mod count;
mod protect;
mod window;

use crate::{BackupReason, Policy, Result, facts::Facts};
use jiff::Zoned;

/// What the rules say of each backup, by index.
#[derive(Debug)]
pub(crate) struct Verdicts {
    reasons: Vec<Vec<BackupReason>>,
    /// Whose WAL is to be replayed whatever the rule for WAL: the window's, and the way to the
    /// current timeline.
    pub(crate) replayed: Vec<bool>,
}

impl Verdicts {
    /// Asks all rules.
    pub(crate) fn by_policy(facts: &Facts<'_>, policy: &Policy, now: &Zoned) -> Result<Self> {
        let count = facts.order.len();
        let mut verdicts = Self { reasons: vec![Vec::new(); count], replayed: vec![false; count] };
        if !policy.has_backup_rule() {
            facts.order.iter().for_each(|i| verdicts.add(*i, BackupReason::NoRule));
        }
        count::last(facts, policy, &mut verdicts);
        window::window(facts, policy, now, &mut verdicts)?;
        count::periodic(facts, policy, now, &mut verdicts);
        protect::protect(facts, policy, now.timestamp(), &mut verdicts);
        count::min_redundancy(facts, policy, &mut verdicts);
        Ok(verdicts)
    }

    /// Keeps all but those that were asked to be removed.
    pub(crate) fn by_request(facts: &Facts<'_>, remove: impl Fn(usize) -> bool) -> Self {
        let count = facts.order.len();
        let mut verdicts = Self { reasons: vec![Vec::new(); count], replayed: vec![false; count] };
        for &i in &facts.order {
            let reason =
                if remove(i) { BackupReason::Requested } else { BackupReason::NotRequested };
            verdicts.add(i, reason);
        }
        verdicts
    }

    /// Protection alone, for a removal by name.
    pub(crate) fn protection(facts: &Facts<'_>, policy: &Policy, now: &Zoned) -> Self {
        let count = facts.order.len();
        let mut verdicts = Self { reasons: vec![Vec::new(); count], replayed: vec![false; count] };
        protect::protect(facts, policy, now.timestamp(), &mut verdicts);
        verdicts
    }

    /// Adds a reason, unless a rule of the same kind has given its own.
    fn add(&mut self, i: usize, reason: BackupReason) {
        let same = |other: &BackupReason| match (other, &reason) {
            (
                BackupReason::Periodic { period: a, .. },
                BackupReason::Periodic { period: b, .. },
            ) => a == b,
            (
                BackupReason::OldestPeriodic { period: a, .. },
                BackupReason::OldestPeriodic { period: b, .. },
            ) => a == b,
            (BackupReason::Last { .. }, BackupReason::Last { .. }) => true,
            (a, b) => a == b,
        };
        if !self.reasons[i].iter().any(same) {
            self.reasons[i].push(reason);
        }
    }

    pub(crate) fn is_kept(&self, i: usize) -> bool {
        self.reasons[i].iter().any(BackupReason::keeps)
    }

    /// The reasons for what was decided: to keep, or to remove.
    pub(crate) fn reasons(&self, i: usize) -> Vec<BackupReason> {
        let kept = self.is_kept(i);
        self.reasons[i].iter().filter(|reason| reason.keeps() == kept).cloned().collect()
    }
}
