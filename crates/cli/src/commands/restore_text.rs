//! A restore's plan and its result, for people and for programs.

use serde_json::{Value, json};
use walbrook::{RestoreOptions, RestorePlan, RestoreReport};

use crate::format::{size, time};

/// What `--dry-run` prints.
pub(super) fn plan(options: &RestoreOptions, plan: &RestorePlan) -> String {
    let mut out = format!("Data directory: {}\n", options.data_directory.display());
    out += &facts(plan);
    for tablespace in plan.tablespaces() {
        let (old, new) = (&tablespace.original, tablespace.location.display());
        out += &format!("Tablespace {}: {old} -> {new}\n", tablespace.oid);
    }
    out += &format!("Signal file: {}\n", signal_file(options));
    out += "Settings:\n";
    for (name, value) in plan.settings().iter().filter(|(_, value)| !value.is_empty()) {
        out += &format!("  {name} = {value}\n");
    }
    out + "Nothing was written.\n"
}

/// What is printed when it is done.
pub(super) fn summary(
    options: &RestoreOptions,
    plan: &RestorePlan,
    report: &RestoreReport,
) -> String {
    let directory = options.data_directory.display().to_string();
    let mut out =
        format!("Restored {} files, {}, into {directory}\n", report.files, size(report.bytes));
    out += &facts(plan);
    // For the shell alone, where % is a character like others.
    let quoted = crate::quoting::word(&directory).map_or(directory, |word| word.replace("%%", "%"));
    out + &format!("Start it with: pg_ctl -D {quoted} start\n")
}

fn facts(plan: &RestorePlan) -> String {
    let record = plan.backup();
    let (first, last) = plan.wal();
    format!(
        "Backup: {} of {}, PostgreSQL {}, {}\nTarget: {}, on timeline {}\nWAL: {first} to {last}\n",
        record.id,
        time(record.span.started_at),
        record.server.pg_version,
        size(record.size.database_bytes),
        plan.target(),
        plan.timeline(),
    )
}

fn signal_file(options: &RestoreOptions) -> &'static str {
    if options.standby { "standby.signal" } else { "recovery.signal" }
}

/// Both as one object; `files` and `bytes` are null when nothing was written.
pub(super) fn json(
    options: &RestoreOptions,
    plan: &RestorePlan,
    report: Option<&RestoreReport>,
) -> Value {
    let (first, last) = plan.wal();
    let tablespaces: Vec<_> = plan
        .tablespaces()
        .iter()
        .map(|t| json!({ "oid": t.oid, "original": t.original, "location": t.location.to_string_lossy() }))
        .collect();
    // Unset settings are empty in the plan, as they are in the file.
    let settings: serde_json::Map<String, Value> =
        plan.settings().iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    json!({
        "dry_run": report.is_none(),
        "data_directory": options.data_directory.to_string_lossy(),
        "cluster": options.cluster,
        "backup": plan.backup().id,
        "target": plan.target().to_string(),
        "timeline": plan.timeline(),
        "wal": { "first": first, "last": last },
        "tablespaces": tablespaces,
        "signal_file": signal_file(options),
        "settings": settings,
        "warnings": plan.warnings(),
        "files": report.map(|report| report.files),
        "bytes": report.map(|report| report.bytes),
    })
}
