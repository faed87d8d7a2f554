use std::process::ExitCode;

use clap::Parser;

use crate::args::CommonArgs;
use crate::config::Settings;
use crate::console::Console;
use crate::failure::Result;
use crate::listing;
use crate::output::{OutputFormat, print, print_json};
use crate::runtime;

/// List backups, and the moments that can be recovered to.
///
/// Shows the cluster that --cluster, WALBROOK_CLUSTER or the configuration file names, or all of
/// the repository when none does. Times are in UTC, sizes in powers of 1024.
#[derive(Debug, Parser)]
#[command(
    name = "walbrook-list",
    version,
    after_help = "\
Examples:
  walbrook-list --repo file:///backups --cluster prod
  walbrook-list --repo file:///backups --output json

Environment: WALBROOK_REPO, WALBROOK_CLUSTER, WALBROOK_CONFIG; AWS_*, GOOGLE_* and AZURE_* for the
credentials of stores.

Exit codes: 0 listed, also when there is nothing or WAL is missing; 1 failed; 2 usage."
)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
}

/// `walbrook-list`.
pub fn list() -> ExitCode {
    super::main("walbrook-list", |args: &Args| &args.common, run)
}

fn run(args: Args, console: Console) -> Result<ExitCode> {
    let settings = Settings::load(&args.common, &console)?;
    let clusters = runtime::run(runtime::large(), async {
        Ok(walbrook::list(&settings.repository, settings.cluster.as_deref()).await?)
    })?;
    if clusters.iter().all(|cluster| cluster.systems.iter().all(|s| s.backups.is_empty())) {
        console.note(format_args!("there are no backups in {}", settings.repository));
    }
    match args.common.output {
        OutputFormat::Text => print(&listing::text(&clusters, listing::terminal_width()))?,
        OutputFormat::Json => print_json(&clusters)?,
    }
    Ok(ExitCode::SUCCESS)
}
