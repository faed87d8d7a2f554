//! How plans of expiry are shown.

use serde_json::{Value, json};
use walbrook::BackupId;
use walbrook::retention::{Action, BackupDecision, Plan, Step, WalDecision};
use walbrook::types::WalFileName;

use super::expire::Done;
use crate::format::{size, time};
use crate::listing::columns;

/// A plan as two tables and a line that sums up.
pub(super) fn plan(plan: &Plan) -> String {
    let head = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
    let mut backups = vec![head(&["", "Backup", "Began", "Size", "Why"])];
    backups.extend(plan.backups.iter().map(backup));
    let mut out = columns(&backups, &[3], "  ");
    if !plan.wal.is_empty() {
        let mut wal = vec![head(&["", "WAL from", "to", "Segments", "Size", "Why"])];
        wal.extend(plan.wal.iter().map(stretch));
        out.push('\n');
        out += &columns(&wal, &[3, 4], "  ");
    }
    let going = plan.backups.iter().filter(|d| d.action == Action::Remove).count();
    let segments = plan.wal.iter().filter(|d| d.action == Action::Remove);
    let segments: u64 = segments.map(|d| d.range.segment_count()).sum();
    let (backup_bytes, wal_bytes) = plan.removed_bytes();
    out += &format!(
        "\nTo be removed: {going} of {} backups (up to {}), {segments} WAL segments ({})\n",
        plan.backups.len(),
        size(backup_bytes),
        size(wal_bytes)
    );
    out
}

/// What an expiry did, a line for each kind of thing.
pub(super) fn report(done: &Done) -> String {
    let report = &done.report;
    let ids = |ids: &[BackupId]| ids.iter().map(BackupId::as_str).collect::<Vec<_>>().join(", ");
    let mut out = match &report.removed[..] {
        [] => "Removed: no backups\n".to_owned(),
        [one] => format!("Removed: backup {one}\n"),
        some => format!("Removed: {} backups: {}\n", some.len(), ids(some)),
    };
    if !report.swept.is_empty() || report.wal_segments > 0 {
        out += &format!(
            "Freed: {} in {} packs and what belongs to them, {} WAL segments ({})\n",
            size(report.bytes),
            report.packs,
            report.wal_segments,
            size(report.wal_bytes)
        );
    }
    if report.packs_in_use > 0 {
        out += &format!("Packs that other backups use: {}\n", report.packs_in_use);
    }
    if let Some(until) = report.waiting_until {
        let until = time(until);
        out += &format!("What they consist of is deleted by the first expiry after {until}\n");
    }
    out
}

fn action(action: Action) -> String {
    match action {
        Action::Keep => "keep",
        Action::Remove => "REMOVE",
    }
    .to_owned()
}

fn backup(decision: &BackupDecision) -> Vec<String> {
    let mut why: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
    match decision.restorable {
        walbrook::retention::Restorable::WalMissing => {
            why.push("it can't be restored: WAL is missing".to_owned());
        }
        walbrook::retention::Restorable::Damaged => {
            why.push("it can't be restored: it is damaged".to_owned());
        }
        _ => {}
    }
    let backup = &decision.backup;
    let began = time(backup.started_at);
    vec![action(decision.action), backup.id.clone(), began, size(backup.bytes), why.join("\n")]
}

fn stretch(decision: &WalDecision) -> Vec<String> {
    let range = &decision.range;
    let segment = range.segment_size;
    let name = |number| WalFileName::segment(range.timeline, number, segment).to_string();
    let why: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
    vec![
        action(decision.action),
        name(segment.segment_of(range.start)),
        name(segment.segment_before(range.end)),
        range.segment_count().to_string(),
        size(range.bytes),
        why.join("\n"),
    ]
}

/// A step of a simulation on one line.
pub(super) fn step(step: &Step) -> String {
    let going = step.plan.backups.iter().filter(|d| d.action == Action::Remove);
    let going: Vec<&str> = going.map(|d| d.backup.id.as_str()).collect();
    let mut out = format!(
        "{}  {} kept, the oldest of {}",
        step.now.strftime("%Y-%m-%d %H:%M:%S%:z"),
        step.kept(),
        oldest(step).unwrap_or_default(),
    );
    if !going.is_empty() {
        out += &format!("; removed: {}", going.join(", "));
    }
    out
}

/// The same for programs.
pub(super) fn step_json(step: &Step) -> Value {
    let ids = |action| {
        let of = step.plan.backups.iter().filter(|d| d.action == action);
        of.map(|d| d.backup.id.clone()).collect::<Vec<_>>()
    };
    json!({
        "now": step.now.timestamp(),
        "kept": ids(Action::Keep),
        "removed": ids(Action::Remove),
        "holds": step.plan.holds.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn oldest(step: &Step) -> Option<String> {
    let kept = step.plan.backups.iter().filter(|d| d.action == Action::Keep);
    kept.map(|d| d.backup.started_at).min().map(time)
}
