//! Rules that count: the newest, the newest of each period, and no fewer than.
//!
//! Each counts twice: among all backups, and among those that can be restored. What either count
//! keeps is kept, so that a backup that turned out to be of no use never costs one that is.

use std::collections::HashMap;

use jiff::Zoned;

use crate::facts::Facts;
use crate::rules::Verdicts;
use crate::{BackupReason, Count, Period, Policy};

/// All backups, and if that is not the same, those that can be restored; newest first.
fn lists(facts: &Facts<'_>) -> Vec<Vec<usize>> {
    let mut lists = vec![facts.order.clone(), facts.restorable().collect()];
    lists.dedup();
    lists
}

pub(super) fn last(facts: &Facts<'_>, policy: &Policy, verdicts: &mut Verdicts) {
    let of = policy.keep_last;
    if of.is_none() {
        return;
    }
    for list in lists(facts) {
        for (rank, i) in (1..).zip(list) {
            verdicts.add(
                i,
                match of.covers(rank) {
                    true => BackupReason::Last { rank, of },
                    false => BackupReason::BeyondLast { rank, of },
                },
            );
        }
    }
}

pub(super) fn periodic(facts: &Facts<'_>, policy: &Policy, now: &Zoned, verdicts: &mut Verdicts) {
    let zone = now.time_zone();
    let local =
        facts.order.iter().map(|i| (*i, facts.backup(*i).started_at.to_zoned(zone.clone())));
    let local: HashMap<usize, Zoned> = local.collect();
    for period in Period::ALL {
        let of = policy.periodic(period);
        if !of.is_none() {
            for list in lists(facts) {
                one_each(facts, &list, period, of, &local, verdicts);
            }
        }
    }
}

/// Keeps the newest of each of the newest `of` periods that have any. Periods without backups do not
/// count. While there are fewer periods than that, the oldest backup is kept as well: it is what the
/// first period of the next longer kind will be made of.
///
/// These are the semantics of `restic forget --keep-daily` and its like.
fn one_each(
    facts: &Facts<'_>,
    list: &[usize],
    period: Period,
    of: Count,
    local: &HashMap<usize, Zoned>,
    verdicts: &mut Verdicts,
) {
    let mut last = None;
    let mut rank = 0;
    for &i in list {
        let key = period.of(&local[&i]);
        let name = key.to_string();
        match last {
            Some((last, newest)) if last == key => {
                let kept = of.covers(rank).then(|| facts.backup(newest).id.clone());
                verdicts.add(i, BackupReason::NotNewestOfPeriod { period, name, kept });
            }
            _ => {
                last = Some((key, i));
                rank += 1;
                verdicts.add(
                    i,
                    match of.covers(rank) {
                        true => BackupReason::Periodic { period, name, rank, of },
                        false => BackupReason::BeyondPeriods { period, name, of },
                    },
                );
            }
        }
    }
    // With `all`, nothing is ever reached: the oldest stays as with restic's `unlimited`.
    if let Some(&oldest) = list.last().filter(|_| of.covers(rank + 1)) {
        verdicts.add(oldest, BackupReason::OldestPeriodic { period, found: rank, of });
    }
}

/// Adds the newest of what can be restored and nothing else keeps, until there is enough.
pub(super) fn min_redundancy(facts: &Facts<'_>, policy: &Policy, verdicts: &mut Verdicts) {
    let of = policy.min_redundancy;
    if of.is_none() {
        return;
    }
    let mut kept = facts.restorable().filter(|i| verdicts.is_kept(*i)).count();
    for i in facts.restorable() {
        if !of.covers(kept + 1) {
            break;
        }
        if !verdicts.is_kept(i) {
            verdicts.add(i, BackupReason::MinRedundancy { of });
            kept += 1;
        }
    }
}
