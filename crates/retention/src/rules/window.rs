//! The recovery window.

use jiff::{Timestamp, Zoned};

use crate::facts::{CLOCKS_DIFFER, Facts, later};
use crate::lineage::Line;
use crate::rules::Verdicts;
use crate::{BackupReason, Policy, Result};

/// Keeps all backups of the window, and for each timeline that may have moments in it the newest
/// older backup that leads there.
pub(super) fn window(
    facts: &Facts<'_>,
    policy: &Policy,
    now: &Zoned,
    verdicts: &mut Verdicts,
) -> Result<()> {
    let Some(length) = policy.window else { return Ok(()) };
    let since = length.before(now)?.timestamp();
    for &i in &facts.order {
        if facts.backup(i).consistent_at() > since {
            verdicts.add(i, BackupReason::InWindow { since });
            verdicts.replayed[i] = true;
        } else {
            verdicts.add(i, BackupReason::BeforeWindow { since });
        }
    }
    let evidence = facts.restorable().find(|i| facts.backup(*i).consistent_at() <= since);
    for line in facts.lines().into_iter().filter(|line| may_reach(facts, *line, since, evidence)) {
        let old = |backup: &crate::Backup| backup.consistent_at() <= since;
        if let Some(base) = facts.newest_leading_to(line, old) {
            let timeline = Some(line.1).filter(|_| facts.line(base) != line);
            verdicts.add(base, BackupReason::WindowBase { since, timeline });
            verdicts.replayed[base] = true;
        }
    }
    Ok(())
}

/// Whether a timeline may have moments since then: nothing shows that it was left before.
///
/// `evidence` is the newest backup from before that moment: what the cluster was on then. When it
/// is of another timeline, this one was left, unless something of it is more recent.
fn may_reach(facts: &Facts<'_>, line: Line, since: Timestamp, evidence: Option<usize>) -> bool {
    let Some(evidence) = evidence else { return true };
    let on_it = facts.of_line.get(&line).into_iter().flatten();
    if on_it.copied().any(|i| facts.backup(i).consistent_at() > since) {
        return true;
    }
    if facts.line(evidence) == line {
        return true;
    }
    let written = facts.written_by(line);
    if written.is_some_and(|written| later(written, CLOCKS_DIFFER) >= since) {
        return true;
    }
    let (system, timeline) = facts.line(evidence);
    if written.is_none() && system == line.0 && goes_on(facts, line, evidence) {
        return true;
    }
    // Timelines are numbered in the order in which they came to be; so a lower one does not tell
    // that a higher one was left, but that nothing was written there since does.
    let came_later = system == line.0 && timeline < line.1;
    let was_quiet =
        written.is_some_and(|at| later(at, CLOCKS_DIFFER) < facts.backup(evidence).started_at);
    came_later && !was_quiet
}

/// Whether a timeline has WAL behind the point at which the way to a backup left it: it may have been
/// written at any time, as by an old primary that does not know of its successor.
fn goes_on(facts: &Facts<'_>, line: Line, backup: usize) -> bool {
    let mut way = facts.lineage.way_back(facts.line(backup));
    let left = way.find(|(of_way, _)| *of_way == line).and_then(|(_, up_to)| up_to);
    let ranges = facts.wal.get(&line).into_iter().flatten();
    ranges.into_iter().any(|range| left.is_none_or(|left| range.end > left))
}
