use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use walbrook::{BackupId, RestoreOptions, Target, TargetAction};

use super::restore_text as text;
use crate::args::{CommonArgs, RecoveryArgs, TablespaceMapping, jobs, tablespace_mapping};
use crate::config::Settings;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::output::{OutputFormat, print, print_json};
use crate::progress::ConsoleProgress;
use crate::restore_command::restore_command;
use crate::runtime;

/// Restore a cluster, to its last moment or to an earlier one.
///
/// Checks first that the backup and the WAL that leads to the target are there, and that the
/// directory is empty; then writes the data directory, so that `pg_ctl start` on it reaches the
/// target by itself.
#[derive(Debug, Parser)]
#[command(
    name = "walbrook-restore",
    version,
    after_help = "\
Examples:
  walbrook-restore --repo file:///backups --cluster prod --pgdata /srv/restored
  walbrook-restore --repo file:///backups --cluster prod -D /srv/restored --dry-run \\
      --target-time '2026-11-22 04:00:00+00' --target-action promote

Run it as the user who will run the server. Environment: WALBROOK_REPO, WALBROOK_CLUSTER,
WALBROOK_CONFIG; AWS_*, GOOGLE_* and AZURE_* for the credentials of stores.

Exit codes: 0 done; 1 failed; 2 usage."
)]
struct Args {
    /// The directory to restore into: missing, or empty
    #[arg(short = 'D', long, value_name = "DIR")]
    pgdata: PathBuf,

    /// The backup to begin with: its id, or latest for the newest from which the target can be
    /// reached
    #[arg(long, value_name = "ID", value_parser = backup, default_value = "latest")]
    backup: BackupArg,

    #[command(flatten)]
    recovery: RecoveryArgs,

    /// A new directory for a tablespace, by its old directory or its OID; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = tablespace_mapping)]
    tablespace_map: Vec<TablespaceMapping>,

    /// Leave a standby, which goes on following the archive, and its primary once you set
    /// primary_conninfo
    #[arg(long)]
    standby: bool,

    /// Print what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// How much is read and decompressed at once [default: twice the number of cores]
    #[arg(short, long, value_name = "N", value_parser = jobs)]
    jobs: Option<usize>,

    /// The restore_command for the restored server [default: walbrook-fetch with this repository]
    #[arg(long, value_name = "COMMAND", value_parser = command)]
    restore_command: Option<String>,

    #[command(flatten)]
    common: CommonArgs,
}

/// `latest` is none in particular.
#[derive(Debug, Clone)]
struct BackupArg(Option<BackupId>);

/// `walbrook-restore`.
pub fn restore() -> ExitCode {
    super::main("walbrook-restore", |args: &Args| &args.common, run)
}

fn run(args: Args, console: Console) -> Result<ExitCode> {
    let (output, dry_run) = (args.common.output, args.dry_run);
    let options = options(args, &console)?;
    let progress = ConsoleProgress::new(console);
    let (plan, report) = runtime::run(runtime::large(), async {
        let plan = walbrook::plan_restore(&options).await?;
        for warning in plan.warnings() {
            console.warn(warning);
        }
        let report = if dry_run { None } else { Some(plan.execute(&progress).await?) };
        Ok((plan, report))
    })?;
    drop(progress);
    match (output, report) {
        (OutputFormat::Text, None) => print(&text::plan(&options, &plan))?,
        (OutputFormat::Text, Some(report)) => print(&text::summary(&options, &plan, &report))?,
        (OutputFormat::Json, report) => print_json(&text::json(&options, &plan, report.as_ref()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn options(args: Args, console: &Console) -> Result<RestoreOptions> {
    check(&args)?;
    let settings = Settings::load(&args.common, console)?;
    let pgdata = std::path::absolute(&args.pgdata)
        .with_context(|| format!("--pgdata {}", args.pgdata.display()))
        .map_err(Failure::Usage)?;
    let repository = settings.repository.clone();
    let mut options = RestoreOptions::new(repository, settings.cluster(), pgdata);
    options.backup = args.backup.0;
    options.target = args.recovery.target();
    options.timeline = args.recovery.target_timeline;
    options.exclusive = args.recovery.target_exclusive;
    options.action = args.recovery.action();
    options.standby = args.standby;
    for TablespaceMapping { old, new } in args.tablespace_map {
        if options.tablespace_map.contains_key(&old) {
            return Err(Failure::usage_text(format!("--tablespace-map {old}=… is given twice")));
        }
        options.tablespace_map.insert(old, new);
    }
    if let Some(jobs) = settings.value(args.jobs, "jobs", jobs)? {
        options.jobs = jobs;
    }
    options.restore_command = Some(match args.restore_command {
        Some(command) => command,
        None => restore_command(&settings, options.standby, console)?,
    });
    Ok(options)
}

/// Refuses combinations in which the server would ignore what was asked for.
fn check(args: &Args) -> Result<()> {
    let refuse = |why: &str| Err(Failure::usage_text(why));
    let target = args.recovery.target();
    if args.standby && target != Target::Latest {
        return refuse("a standby follows without end: --standby goes with no --target-… option");
    }
    let positional = matches!(target, Target::Time(_) | Target::Lsn(_) | Target::Xid(_));
    if args.recovery.target_exclusive && !positional {
        return refuse("--target-exclusive needs --target-time, --target-lsn or --target-xid");
    }
    let action = args.recovery.action();
    if target == Target::Latest && !matches!(action, None | Some(TargetAction::Promote)) {
        return refuse(
            "without a target the server does not stop at the end of the WAL, it is promoted: \
             --target-action pause and shutdown need a target",
        );
    }
    if args.standby && action.is_some() {
        return refuse("a standby is promoted by pg_promote(): it has no --target-action");
    }
    Ok(())
}

fn backup(text: &str) -> Result<BackupArg, String> {
    match text {
        "latest" => Ok(BackupArg(None)),
        id => id
            .parse()
            .map(|id| BackupArg(Some(id)))
            .map_err(|e: walbrook::repo::Error| e.to_string()),
    }
}

fn command(text: &str) -> Result<String, String> {
    match text {
        text if text.trim().is_empty() => Err("it is empty".to_owned()),
        text if text.contains(['\n', '\r']) => Err("a setting can't have several lines".to_owned()),
        text if !text.contains("%f") || !text.contains("%p") => {
            Err("it must have %f, the file's name, and %p, where to put it".to_owned())
        }
        text => Ok(text.to_owned()),
    }
}
