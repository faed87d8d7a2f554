//! What no policy removes: pins, legal hold, and the backups without which nothing could be restored.

use jiff::Timestamp;

use crate::facts::Facts;
use crate::rules::Verdicts;
use crate::{BackupReason, Policy};

pub(super) fn protect(facts: &Facts<'_>, policy: &Policy, now: Timestamp, verdicts: &mut Verdicts) {
    for (i, backup) in facts.inventory.backups.iter().enumerate() {
        for pin in backup.pins.iter().filter(|pin| pin.holds_at(now)) {
            let (until, note) = (pin.until, pin.note.clone());
            verdicts.add(i, BackupReason::Pinned { until, note });
        }
        for annotation in &policy.hold_annotations {
            if let Some(value) = backup.annotations.get(annotation).filter(|v| holds(v)) {
                let (annotation, value) = (annotation.clone(), value.clone());
                verdicts.add(i, BackupReason::LegalHold { annotation, value });
            }
        }
        for running in &facts.inventory.running {
            if running.base.as_ref() == Some(&backup.id) {
                verdicts.add(i, BackupReason::BaseOfRunning { id: running.id.clone() });
            }
        }
    }
    if let Some(newest) = facts.restorable().next() {
        verdicts.add(newest, BackupReason::NewestRestorable);
        verdicts.replayed[newest] = true;
    }
    if let Some(line) = facts.current_line()
        && let Some(i) = facts.newest_leading_to(line, |_| true)
    {
        verdicts.add(i, BackupReason::LeadsToCurrent { timeline: line.1 });
        verdicts.replayed[i] = true;
    }
}

fn holds(value: &str) -> bool {
    !["false", "no", "off", "0"].iter().any(|no| value.trim().eq_ignore_ascii_case(no))
}
