//! Which WAL the kept backups need.

use std::collections::BTreeMap;

use walbrook_types::{Lsn, SystemId, TimelineId};

use crate::facts::Facts;
use crate::lineage::{Line, Origin};
use crate::rules::Verdicts;
use crate::{Action, Policy, RunningBackup, WalDecision, WalRange, WalReason, WalRule};

/// A stretch of a timeline that must stay, and why. Up to the end of the timeline without `end`.
#[derive(Debug, Clone)]
struct Need {
    start: Lsn,
    end: Option<Lsn>,
    reasons: Vec<WalReason>,
}

/// Decides about all WAL, given which backups stay.
pub(crate) fn decide(facts: &Facts<'_>, policy: &Policy, verdicts: &Verdicts) -> Vec<WalDecision> {
    let kept: Vec<usize> = facts.order.iter().copied().filter(|i| verdicts.is_kept(*i)).collect();
    let replayed = replayed(facts, policy, verdicts, &kept);
    let mut on_line: BTreeMap<Line, Vec<usize>> = BTreeMap::new();
    for &i in &kept {
        on_line.entry(facts.line(i)).or_default().push(i);
    }
    let reached = reach(facts, &on_line, &replayed);
    let mut decisions = Vec::new();
    for (&line, ranges) in &facts.wal {
        let on_it = on_line.get(&line).map_or(&[][..], Vec::as_slice);
        let needs = needs(facts, line, on_it, &replayed, &reached);
        let spare = spare(facts, line, on_it, &kept);
        for range in ranges {
            cut(range, &needs, &spare, &mut decisions);
        }
    }
    decisions
}

/// Which backups can be rolled forward, by index.
fn replayed(facts: &Facts<'_>, policy: &Policy, verdicts: &Verdicts, kept: &[usize]) -> Vec<bool> {
    let mut replayed = verdicts.replayed.clone();
    let newest = match policy.wal_rule() {
        WalRule::All => kept.len(),
        WalRule::Newest(count) => count as usize,
        WalRule::Standalone => 0,
    };
    let restorable = kept.iter().filter(|i| facts.is_restorable(**i));
    for &i in kept.iter().take(newest).chain(restorable.take(newest)) {
        replayed[i] = true;
    }
    (0..replayed.len()).for_each(|i| replayed[i] &= verdicts.is_kept(i));
    replayed
}

/// The timelines that a backup of an ancestor is rolled forward to, whole, and by which.
fn reach(
    facts: &Facts<'_>,
    on_line: &BTreeMap<Line, Vec<usize>>,
    replayed: &[bool],
) -> BTreeMap<Line, WalReason> {
    // The one that is consistent first reaches whatever any other of its timeline reaches.
    let first_stop = |line: &Line| {
        let replayed = on_line.get(line)?.iter().copied().filter(|i| replayed[*i]);
        replayed.min_by_key(|i| facts.backup(*i).stop_lsn)
    };
    let mut reached: BTreeMap<Line, WalReason> = BTreeMap::new();
    let mut lines = facts.lines();
    lines.extend(facts.lineage.lines());
    // Ascending: a parent comes before its children.
    for line in lines {
        let reason = match facts.lineage.origin(line) {
            Origin::Root => None,
            Origin::Unknown => {
                // Its ancestors have lower numbers: where no backup is left on one, none leads here.
                let lower = (line.0, TimelineId::FIRST)..line;
                on_line.range(lower).next().map(|_| WalReason::UnknownAncestry)
            }
            Origin::Left(parent, switch) => {
                let parent = (line.0, parent);
                let by = first_stop(&parent).filter(|i| facts.backup(*i).stop_lsn <= switch);
                let by = by.map(|i| WalReason::Replay { backup: facts.backup(i).id.clone() });
                by.or_else(|| reached.get(&parent).cloned())
            }
        };
        if let Some(reason) = reason {
            reached.insert(line, reason);
        }
    }
    reached
}

/// What must stay of a timeline: disjoint stretches, ascending.
fn needs(
    facts: &Facts<'_>,
    line: Line,
    on_it: &[usize],
    replayed: &[bool],
    reached: &BTreeMap<Line, WalReason>,
) -> Vec<Need> {
    let whole = |reason: WalReason| vec![Need { start: Lsn(0), end: None, reasons: vec![reason] }];
    let system = line.0;
    // The one that needs the most: one that does not say where it starts, or else the lowest.
    let running = facts.inventory.running.iter().filter(|r| r.system == system);
    let running = running.min_by_key(|r| r.wal_from);
    let of_running = |id: &String| WalReason::RunningBackup { id: id.clone() };
    if let Some(RunningBackup { wal_from: None, id, .. }) = running {
        return whole(of_running(id));
    }
    if let Some(reason) = reached.get(&line) {
        return whole(reason.clone());
    }
    let mut needs: Vec<Need> = Vec::new();
    for &i in on_it {
        let backup = facts.backup(i);
        let id = || backup.id.clone();
        let (start, end) = (backup.start_lsn, backup.stop_lsn);
        if replayed[i] {
            let reasons = vec![WalReason::Replay { backup: id() }];
            needs.push(Need { start, end: None, reasons });
        } else if !backup.self_contained {
            let reasons = vec![WalReason::Consistency { backup: id() }];
            needs.push(Need { start, end: Some(end), reasons });
        }
    }
    if needs.is_empty() && facts.current_line() == Some(line) && no_way(facts, line) {
        return whole(WalReason::CurrentTimeline);
    }
    if let Some(RunningBackup { wal_from: Some(start), id, .. }) = running {
        needs.push(Need { start: *start, end: None, reasons: vec![of_running(id)] });
    }
    needs.sort_by_key(|need| (need.start, need.end.is_some(), need.end));
    join(needs)
}

/// Whether no backup leads to a timeline.
fn no_way(facts: &Facts<'_>, line: Line) -> bool {
    facts.newest_leading_to(line, |_| true).is_none()
}

/// Joins stretches that overlap. What follows the first that has no end needs no other reason.
fn join(sorted: Vec<Need>) -> Vec<Need> {
    let mut joined: Vec<Need> = Vec::new();
    for need in sorted {
        match joined.last_mut() {
            Some(last) if last.end.is_none() => break,
            // An open stretch begins a piece of its own, so that its reason is told apart.
            Some(last) if last.end.is_some_and(|end| need.start < end) => {
                if need.end.is_none() {
                    last.end = Some(need.start);
                    joined.push(need);
                } else {
                    last.end = last.end.max(need.end);
                    last.reasons.extend(need.reasons);
                }
            }
            _ => joined.push(need),
        }
    }
    joined
}

/// Why what no kept backup needs goes, or else why it stays.
struct Spare {
    /// Before the first kept backup of the timeline starts: that position, and the reason.
    before: Option<(Lsn, WalReason)>,
    /// Elsewhere.
    elsewhere: WalReason,
}

fn spare(facts: &Facts<'_>, line: Line, on_it: &[usize], kept: &[usize]) -> Spare {
    let first = on_it.iter().copied().min_by_key(|i| facts.backup(*i).start_lsn);
    let before = first.map(|i| {
        let oldest = facts.backup(i).id.clone();
        (facts.backup(i).start_lsn, WalReason::BeforeBackups { oldest })
    });
    let elsewhere = if before.is_some() {
        WalReason::BetweenBackups
    } else if kept.iter().any(|i| facts.backup(*i).system == line.0) {
        WalReason::Unreachable
    } else if was_left(facts, line.0, kept) {
        WalReason::SystemLeft
    } else {
        WalReason::NoBackupYet
    };
    Spare { before, elsewhere }
}

/// Whether the cluster has left a system without kept backups: another one came after it and can be
/// restored. That its own backups are all removed says so too.
fn was_left(facts: &Facts<'_>, system: SystemId, kept: &[usize]) -> bool {
    let had_backups = facts.inventory.backups.iter().any(|backup| backup.system == system);
    let registered = facts.inventory.systems.iter().filter(|s| s.system == system);
    let registered = registered.map(|s| s.registered_at).max();
    let mut others = kept.iter().copied().filter(|i| facts.is_restorable(*i));
    others.any(|i| had_backups || registered.is_some_and(|at| facts.backup(i).started_at > at))
}

/// Cuts a range into what stays and what goes, at borders of segments.
fn cut(range: &WalRange, needs: &[Need], spare: &Spare, decisions: &mut Vec<WalDecision>) {
    let size = range.segment_size;
    let down = |lsn: Lsn| size.segment_of(lsn).start(size).clamp(range.start, range.end);
    let up = |lsn: Lsn| match lsn.is_valid() {
        true => size.segment_before(lsn).end(size).clamp(range.start, range.end),
        false => range.start,
    };
    let mut pieces: Vec<(Lsn, Lsn, Vec<WalReason>)> = Vec::new();
    let leave = |pieces: &mut Vec<_>, from: Lsn, to: Lsn| {
        if from >= to {
            return;
        }
        if let Some((first, reason)) = &spare.before {
            let first = down(*first).clamp(from, to);
            if from < first {
                pieces.push((from, first, vec![reason.clone()]));
            }
            if first < to {
                pieces.push((first, to, vec![spare.elsewhere.clone()]));
            }
            return;
        }
        pieces.push((from, to, vec![spare.elsewhere.clone()]));
    };
    let mut at = range.start;
    let skip = needs.partition_point(|need| need.end.is_some_and(|end| up(end) <= range.start));
    for need in &needs[skip..] {
        let start = down(need.start).max(at);
        let end = need.end.map_or(range.end, up);
        if need.start >= range.end {
            break;
        }
        if start >= end {
            continue;
        }
        leave(&mut pieces, at, start);
        match pieces.last_mut() {
            // Two stretches that share a segment, or touch.
            Some((_, last_end, reasons)) if *last_end == start && reasons == &need.reasons => {
                *last_end = end;
            }
            _ => pieces.push((start, end, need.reasons.clone())),
        }
        at = end;
    }
    leave(&mut pieces, at, range.end);
    for (start, end, reasons) in pieces {
        let action = match reasons.iter().any(WalReason::keeps) {
            true => Action::Keep,
            false => Action::Remove,
        };
        let share = u128::from(range.bytes) * u128::from(end.bytes_since(start));
        let bytes = share / u128::from(range.end.bytes_since(range.start).max(1));
        let range = WalRange { start, end, bytes: bytes as u64, ..*range };
        decisions.push(WalDecision { range, action, reasons });
    }
}
