use std::process::ExitCode;

use clap::Parser;
use jiff::Timestamp;
use walbrook::{BackupId, BackupPin, WalCheck};

use crate::args::{CommonArgs, time};
use crate::config::Settings;
use crate::console::Console;
use crate::failure::Result;
use crate::listing;
use crate::output::{OutputFormat, print, print_json};
use crate::runtime;

/// List backups, and the moments that can be recovered to. Pin backups.
///
/// Shows the cluster that --cluster, WALBROOK_CLUSTER or the configuration file names, or all of
/// the repository when none does. Times are in UTC, sizes in powers of 1024. No policy removes a
/// backup that is pinned, nor does walbrook-expire --backup.
#[derive(Debug, Parser)]
#[command(
    name = "walbrook-list",
    version,
    after_help = "\
Examples:
  walbrook-list --repo file:///backups --cluster prod
  walbrook-list --repo file:///backups --output json
  walbrook-list --cluster prod --pin 20261122T034512Z-1f3a9c04 --until '2027-01-01 00:00:00+00'

Environment: WALBROOK_REPO, WALBROOK_CLUSTER, WALBROOK_CONFIG; AWS_*, GOOGLE_* and AZURE_* for the
credentials of stores.

Exit codes: 0 listed, also when there is nothing or WAL is missing; 0 pinned or unpinned; 1 failed;
2 usage; 3 listed but for backups whose record is damaged."
)]
struct Args {
    /// Also tell what removing each backup alone would free, WAL apart: reads all manifests
    #[arg(long, conflicts_with_all = ["pin", "unpin"])]
    frees: bool,

    /// List all WAL segments, rather than trust what the repository has noted of them
    #[arg(long, conflicts_with_all = ["pin", "unpin"])]
    check_wal: bool,

    /// Keep this backup, instead of listing
    #[arg(long, value_name = "ID", conflicts_with = "unpin")]
    pin: Option<BackupId>,

    /// Up to when --pin keeps it [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = time, requires = "pin")]
    until: Option<Timestamp>,

    /// Who wants --pin, or what for
    #[arg(long, value_name = "TEXT", default_value = "", requires = "pin", value_parser = note)]
    note: String,

    /// Take all pins of this backup back, instead of listing
    #[arg(long, value_name = "ID")]
    unpin: Option<BackupId>,

    #[command(flatten)]
    common: CommonArgs,
}

/// `walbrook-list`.
pub fn list() -> ExitCode {
    super::main("walbrook-list", |args: &Args| &args.common, run)
}

fn run(args: Args, console: Console) -> Result<ExitCode> {
    let settings = Settings::load(&args.common, &console)?;
    if args.pin.is_some() || args.unpin.is_some() {
        return pins(&args, &settings, &console);
    }
    let clusters = runtime::run(runtime::large(), async {
        let (repository, cluster) = (&settings.repository, settings.cluster.as_deref());
        let check = if args.check_wal { WalCheck::Listed } else { WalCheck::Recorded };
        let mut clusters = walbrook::list_by(repository, cluster, check).await?;
        if args.frees {
            walbrook::measure(repository, &mut clusters).await?;
        }
        Ok(clusters)
    })?;
    if clusters.iter().all(|cluster| cluster.systems.iter().all(|s| s.backups.is_empty())) {
        console.note(format_args!("there are no backups in {}", settings.repository));
    }
    match args.common.output {
        OutputFormat::Text => print(&listing::text(&clusters, listing::terminal_width()))?,
        OutputFormat::Json => print_json(&clusters)?,
    }
    let damaged: Vec<_> = clusters.iter().flat_map(|cluster| &cluster.damaged).collect();
    for backup in &damaged {
        console.warn(format_args!(
            "backup {} can't be restored: {}; walbrook-expire --backup {0} removes it",
            backup.id, backup.error
        ));
    }
    Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { DAMAGED.into() })
}

/// The exit code when the record of a backup can't be read; the others are listed.
const DAMAGED: u8 = 3;

/// Makes a pin, or takes those of a backup back, and prints them.
fn pins(args: &Args, settings: &Settings, console: &Console) -> Result<ExitCode> {
    let (repository, cluster) = (&settings.repository, settings.cluster());
    let pins: Vec<BackupPin> = runtime::run(runtime::large(), async {
        if let Some(id) = &args.pin {
            let pin = walbrook::pin(repository, cluster, id, args.until, &args.note).await?;
            return Ok(vec![pin]);
        }
        match &args.unpin {
            Some(id) => Ok(walbrook::unpin(repository, cluster, id).await?),
            None => Ok(Vec::new()),
        }
    })?;
    if pins.is_empty() {
        console.note("it had no pins");
    }
    match args.common.output {
        OutputFormat::Json => print_json(&pins)?,
        OutputFormat::Text => {
            let what = if args.pin.is_some() { "Pinned" } else { "Unpinned" };
            let until = |pin: &BackupPin| match pin.until {
                Some(until) => format!(" until {}", crate::format::time(until)),
                None => String::new(),
            };
            let line = |pin: &BackupPin| format!("{what}: {}{}\n", pin.backup, until(pin));
            print(&pins.iter().map(line).collect::<String>())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn note(text: &str) -> Result<String, String> {
    match text.contains(char::is_control) {
        true => Err("it must be one line".to_owned()),
        false => Ok(text.to_owned()),
    }
}
