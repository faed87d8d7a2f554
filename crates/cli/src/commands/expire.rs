use std::process::ExitCode;

use clap::Parser;
use jiff::Zoned;
use jiff::tz::TimeZone;
use walbrook::retention::{Inventory, Length, Simulation};
use walbrook::{BackupId, ExpiryOptions, ExpiryPlan, plan_expiry};

use crate::args::{CommonArgs, PolicyArgs};
use crate::commands::expire_text;
use crate::config::Settings;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::output::{Lines, OutputFormat, print, print_json};
use crate::runtime;

/// Tell which backups and which WAL a retention policy keeps, and why.
///
/// Every rule only adds: a backup stays when any rule wants it. Rules come from the flags and from
/// [retention] in the configuration file. Removing is not built yet: only --dry-run and --simulate do
/// something.
#[derive(Debug, Parser)]
#[command(
    name = "walbrook-expire",
    version,
    after_help = "\
Examples:
  walbrook-expire --dry-run --cluster prod --window 7d --daily 14 --weekly 8 --monthly 12
  walbrook-expire --dry-run --cluster prod --backup 20261122T034512Z-1f3a9c04
  walbrook-expire --simulate 365d --every 1d --cluster prod --daily 14 --monthly 12

In a configuration file:
  [retention]
  window = \"7d\"
  daily = 14
  min-redundancy = 2

Environment: WALBROOK_REPO, WALBROOK_CLUSTER, WALBROOK_CONFIG; AWS_*, GOOGLE_* and AZURE_* for the
credentials of stores; TZ.

Exit codes: 0 done, also when nothing is to be removed; 1 failed; 2 usage."
)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    /// Print what would be removed and what not, with reasons, and change nothing
    #[arg(long, conflicts_with = "simulate")]
    dry_run: bool,
    /// Plan the removal of this backup, and of the WAL that only it needs; may be repeated
    #[arg(long, value_name = "ID", conflicts_with = "simulate")]
    backup: Vec<String>,
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
    if !args.dry_run && args.simulate.is_none() {
        return Err(Failure::usage_text(
            "removing is not built yet: use --dry-run to see what a policy would remove, or \
             --simulate",
        ));
    }
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
    options.now = Zoned::now().with_time_zone(zone);
    options.only = only;
    let plan = runtime::run(runtime::large(), async { Ok(plan_expiry(&options).await?) })?;
    match args.simulate {
        Some(length) => simulate(plan, &options, args.every, length, args.common.output)?,
        None => show(&plan, args.common.output, &console)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(plan: &ExpiryPlan, output: OutputFormat, console: &Console) -> Result<()> {
    match output {
        OutputFormat::Text => print(&expire_text::plan(&plan.plan))?,
        OutputFormat::Json => print_json(plan)?,
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
