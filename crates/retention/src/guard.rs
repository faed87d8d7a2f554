//! When to touch nothing: times that can't be, and inventories that look wrong.

use jiff::{SignedDuration, Span, Timestamp, Zoned};

use crate::facts::{Facts, later};
use crate::{Hold, Length, Policy, Result};

/// By how much a clock may be behind another without anything being wrong.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

pub(crate) fn holds(facts: &Facts<'_>, policy: &Policy, now: &Zoned) -> Result<Vec<Hold>> {
    let mut holds = clock_put_back(facts, now.timestamp());
    let by_age = policy.window.is_some()
        || facts.inventory.backups.iter().flat_map(|b| &b.pins).any(|pin| pin.until.is_some());
    if by_age {
        holds.extend(silence(facts, policy, now)?);
    }
    if !facts.order.is_empty() && facts.restorable().next().is_none() {
        holds.push(Hold::NothingRestorable);
    }
    if policy.is_empty() {
        holds.push(Hold::EmptyPolicy);
    }
    Ok(holds)
}

/// A clock that is behind what is known to have happened.
pub(crate) fn clock_put_back(facts: &Facts<'_>, now: Timestamp) -> Vec<Hold> {
    let mut holds = Vec::new();
    let newest = facts.inventory.backups.iter().max_by_key(|backup| backup.consistent_at());
    if let Some(backup) = newest.filter(|backup| backup.consistent_at() > later(now, AHEAD)) {
        holds.push(Hold::BackupInFuture { id: backup.id.clone(), at: backup.consistent_at() });
    }
    if let Some(seen) = facts.inventory.last_seen.filter(|seen| *seen > later(now, AHEAD)) {
        holds.push(Hold::ClockPutBack { seen });
    }
    holds
}

/// A clock that may have been put forward: nothing happened for too long by it. Counting rules need
/// no clock; what depends on age does.
fn silence(facts: &Facts<'_>, policy: &Policy, now: &Zoned) -> Result<Option<Hold>> {
    let allowed = match policy.max_silence {
        Some(length) => length,
        None => Length::new(Span::new().days(Policy::MAX_SILENCE_DAYS))?,
    };
    let backups = facts.inventory.backups.iter().map(|backup| backup.consistent_at());
    let wal = facts.inventory.wal.iter().filter_map(|range| range.written_by);
    let last = backups.chain(wal).max();
    let earliest = allowed.before(now)?.timestamp();
    Ok(last.filter(|last| *last < earliest).map(|since| Hold::Silence { since }))
}
