use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use walbrook::retention::{Inventory, Length, Simulation};
use walbrook::{BackupId, ExpiryOptions, ExpiryPlan, ExpiryReport, plan_expiry};

use crate::args::{CommonArgs, PolicyArgs, duration, time};
use crate::commands::expire_text;
use crate::config::Settings;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::output::{Lines, OutputFormat, print, print_json};
use crate::runtime;

/// Remove the backups and the WAL that a retention policy does not keep.
///
/// Every rule only adds: a backup stays when any rule wants it. Rules come from the flags and from
/// [retention] in the configuration file. Backups that build on a removed one lose nothing. Removed
/// backups are gone at once; what they consist of, and WAL, is deleted by the first run after --grace,
/// so that restores under way can end. Each run also deletes what backups that died have left.
/// Backups, restores and other expiries may run at the same time, on any machines.
#[derive(Debug, Parser)]
#[command(
    name = "walbrook-expire",
    version,
    after_help = "\
Examples:
  walbrook-expire --dry-run --cluster prod --window 7d --daily 14 --weekly 8 --monthly 12
  walbrook-expire --cluster prod --window 7d --daily 14 --weekly 8 --monthly 12
  walbrook-expire --cluster prod --backup 20261122T034512Z-1f3a9c04
  walbrook-expire --simulate 365d --every 1d --cluster prod --daily 14 --monthly 12

In a configuration file:
  [retention]
  window = \"7d\"
  daily = 14
  min-redundancy = 2

Environment: WALBROOK_REPO, WALBROOK_CLUSTER, WALBROOK_CONFIG; AWS_*, GOOGLE_* and AZURE_* for the
credentials of stores; TZ.

Exit codes: 0 done, also when nothing is to be removed; 1 failed; 2 usage; 3 not all was done: the
store refused to delete something, or the plan is on hold, because the clock can't be right or nothing
that there is can be restored. Backups that exist are whole in any case."
)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    /// Print what would be removed and what not, with reasons, and change nothing
    #[arg(long, conflicts_with = "simulate")]
    dry_run: bool,
    /// Remove this backup, whatever builds on it, and the WAL that only it needs; may be repeated. The
    /// policy then does not count; one that is pinned or on legal hold is refused
    #[arg(long, value_name = "ID", conflicts_with = "simulate")]
    backup: Vec<String>,
    /// Remove a --backup even when it is the newest that can be restored, or the only one
    #[arg(long, requires = "backup")]
    even_last: bool,
    /// How long restores under way may go on reading what is removed, such as 12h; 0 deletes it at once
    /// [default: 1d]
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "simulate")]
    grace: Option<Duration>,
    /// Apply the policy as if it were this moment
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<Timestamp>,
    /// Print what would be kept over so long, if a backup was taken every --every from now on
    #[arg(long, value_name = "LENGTH")]
    simulate: Option<Length>,
    /// How often a backup is taken in a simulation
    #[arg(long, value_name = "LENGTH", default_value = "1d", requires = "simulate")]
    every: Length,
    /// The zone whose days, weeks, months and years count, such as Europe/Rome [default: the system's]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// `walbrook-expire`.
pub fn expire() -> ExitCode {
    super::main("walbrook-expire", |args: &Args| &args.common, run)
}

fn run(args: Args, console: Console) -> Result<ExitCode> {
    let settings = Settings::load(&args.common, &console)?;
    let policy = args.policy.over(&settings.retention()).map_err(Failure::usage_text)?;
    let ids = args.backup.iter().map(|id| id.parse::<BackupId>().map_err(Failure::usage));
    let only = ids.collect::<Result<Vec<_>>>()?;
    if policy.is_empty() && only.is_empty() {
        return Err(Failure::usage_text(
            "no policy is given: use --window, --keep-last, --daily and the like, or [retention] in \
             a configuration file",
        ));
    }
    let zone = match &args.time_zone {
        Some(name) => TimeZone::get(name).map_err(Failure::usage)?,
        None => TimeZone::system(),
    };
    let mut options = ExpiryOptions::new(settings.repository.clone(), settings.cluster(), policy);
    options.now = args.now.unwrap_or_else(Timestamp::now).to_zoned(zone);
    options.only = only;
    options.even_last = args.even_last;
    if let Some(grace) = settings.value(args.grace, "grace", duration)? {
        options.grace = grace;
    }
    let output = args.common.output;
    if args.dry_run || args.simulate.is_some() {
        let plan = runtime::run(runtime::large(), async { Ok(plan_expiry(&options).await?) })?;
        match args.simulate {
            Some(length) => simulate(plan, &options, args.every, length, output)?,
            None => show(&plan, output, &console)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let done = runtime::run(runtime::large(), async { Ok(Done::expire(&options).await?) })?;
    match output {
        OutputFormat::Text => print(&expire_text::report(&done))?,
        OutputFormat::Json => print_json(&done)?,
    }
    done.warn(&console);
    Ok(if done.is_all() { ExitCode::SUCCESS } else { PARTLY.into() })
}

/// The exit code when not all was done.
const PARTLY: u8 = 3;

/// An expiry that was carried out.
#[derive(Debug, serde::Serialize)]
pub(super) struct Done {
    pub(super) cluster: String,
    /// Why nothing was removed, in words.
    pub(super) holds: Vec<String>,
    #[serde(flatten)]
    pub(super) report: ExpiryReport,
}

impl Done {
    /// Plans and carries out.
    pub(super) async fn expire(options: &ExpiryOptions) -> walbrook::Result<Self> {
        let plan = plan_expiry(options).await?;
        let report = walbrook::expire(options, &plan).await?;
        let holds = plan.plan.holds.iter().map(ToString::to_string).collect();
        Ok(Self { cluster: plan.cluster, holds, report })
    }

    /// Whether nothing was left undone that should have been done.
    pub(super) fn is_all(&self) -> bool {
        self.holds.is_empty() && self.report.refused.objects == 0
    }

    /// Tells what was left undone.
    pub(super) fn warn(&self, console: &Console) {
        for hold in &self.holds {
            console.warn(format_args!("nothing was removed: {hold}"));
        }
        for kept in &self.report.kept {
            console.warn(format_args!("backup {} was not removed: {}", kept.id, kept.reason));
        }
        if let Some(why) = &self.report.wal_kept {
            console.note(format_args!("WAL was not removed: {why}"));
        }
        let refused = &self.report.refused;
        if refused.objects > 0 {
            console.warn(format_args!(
                "the store refused to delete {} objects; the next expiry tries again",
                refused.objects
            ));
            for message in &refused.messages {
                console.warn(message);
            }
        }
    }
}

fn show(plan: &ExpiryPlan, output: OutputFormat, console: &Console) -> Result<()> {
    match output {
        OutputFormat::Text => print(&expire_text::plan(&plan.plan))?,
        OutputFormat::Json => print_json(plan)?,
    }
    for id in &plan.damaged {
        console.note(format_args!("backup {id}, whose record is damaged, is removed as well"));
    }
    for hold in &plan.plan.holds {
        console.warn(format_args!("nothing is removed: {hold}"));
    }
    Ok(())
}

/// One line for each simulated backup.
fn simulate(
    plan: ExpiryPlan,
    options: &ExpiryOptions,
    every: Length,
    length: Length,
    output: OutputFormat,
) -> Result<()> {
    // What is being taken now will be done by then.
    let inventory = Inventory { running: Vec::new(), ..plan.inventory };
    let policy = options.policy.clone();
    let simulation = Simulation::new(inventory, policy, &options.now, every, length);
    let mut lines = Lines::new();
    for step in simulation.map_err(Failure::usage)? {
        let step = step.map_err(Failure::usage)?;
        let wanted = match output {
            OutputFormat::Text => lines.line(&expire_text::step(&step))?,
            OutputFormat::Json => lines.json(&expire_text::step_json(&step))?,
        };
        if !wanted {
            break;
        }
    }
    Ok(lines.finish()?)
}
