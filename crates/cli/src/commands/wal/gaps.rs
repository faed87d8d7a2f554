use std::process::ExitCode;

use walbrook::BackupId;
use walbrook::wal_reader::{GapReport, MissingWal, SystemGaps, find_gaps};

use crate::args::CommonArgs;
use crate::config::Settings;
use crate::console::Console;
use crate::failure::Result;
use crate::output::{OutputFormat, print, print_json};
use crate::runtime;

/// The exit code for an archive that lacks WAL.
const INCOMPLETE: u8 = 3;

/// Tell which WAL the archive lacks, and between which backups
///
/// Looks along every timeline from the oldest segment or backup to the newest, at the switches
/// between timelines, and for their history files; and for segments that were there once. What was not
/// archived yet at the end is no gap, nor is what an expiry removed. Lists the names of all segments.
/// Takes the cluster that is named anywhere, or all of the repository when none is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, for monitoring:
  walbrook-wal gaps --repo file:///backups --cluster prod || alert \"exit code $?\"

Exit codes: 0 nothing is missing; 1 failed, it could not be told; 2 usage; 3 WAL is missing.")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

pub(super) fn run(args: Args, console: Console) -> Result<ExitCode> {
    let settings = Settings::load(&args.common, &console)?;
    let reports = runtime::run(runtime::large(), async {
        Ok(find_gaps(&settings.repository, settings.cluster.as_deref()).await?)
    })?;
    match args.common.output {
        OutputFormat::Text => print(&text(&reports))?,
        OutputFormat::Json => print_json(&reports)?,
    }
    let complete = reports.iter().all(GapReport::is_complete);
    Ok(if complete { ExitCode::SUCCESS } else { INCOMPLETE.into() })
}

fn text(reports: &[GapReport]) -> String {
    let mut out = String::new();
    for report in reports {
        for system in &report.systems {
            out += &format!("Cluster {}, system {}: ", report.cluster, system.system_identifier);
            out += &system_text(system);
        }
    }
    out
}

fn system_text(system: &SystemGaps) -> String {
    let timelines: Vec<String> = system.timelines.iter().map(ToString::to_string).collect();
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let mut out = format!(
        "{} segment{} of timeline{} {}\n",
        system.segments,
        plural(system.segments as usize),
        plural(timelines.len()),
        timelines.join(", ")
    );
    for gap in &system.gaps {
        out += &gap_text(gap);
    }
    for gap in &system.expired {
        out += &format!("WAL removed by an expiry: {}\n", range_text(gap));
    }
    for missing in &system.missing_histories {
        out += &format!(
            "History missing: {}: nothing can be recovered along timeline {}; push the file with \
             walbrook-push from a server that has it in pg_wal\n",
            missing.file, missing.timeline
        );
    }
    if system.gaps.is_empty() && system.missing_histories.is_empty() {
        out += "No WAL is missing.\n";
    }
    out
}

fn range_text(gap: &MissingWal) -> String {
    match gap.segments {
        1 => gap.first.to_string(),
        n => format!("{} to {} ({n} segments)", gap.first, gap.last),
    }
}

fn gap_text(gap: &MissingWal) -> String {
    let mut out = format!("WAL missing: {}", range_text(gap));
    if gap.at_timeline_switch {
        out += &format!(", at the switch to timeline {}", gap.first.timeline());
    }
    out += &match (&gap.after_backup, &gap.before_backup) {
        (Some(after), Some(before)) => format!(", after backup {after} and before {before}"),
        (Some(after), None) => format!(", after backup {after}: nothing later can be recovered"),
        (None, Some(before)) => format!(", before backup {before}"),
        (None, None) => String::new(),
    };
    out.push('\n');
    if !gap.unusable_backups.is_empty() {
        let ids: Vec<String> = gap.unusable_backups.iter().map(BackupId::to_string).collect();
        out += &format!("  can't be restored without it: {}\n", ids.join(", "));
    }
    out
}
