//! `walbrook-wal`: one module for each of its commands, and what they share.

mod changes;
mod find;
mod find_text;
mod gaps;
mod input;
mod record;
mod relation;
mod show;
mod stats;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use walbrook::{ConnInfo, Environment};

use crate::args::CommonArgs;
use crate::config::Settings;
use crate::console::Console;
use crate::failure::{Failure, Result};

/// Look into the WAL of a repository, a directory, or single files.
#[derive(Debug, Parser)]
#[command(
    name = "walbrook-wal",
    version,
    after_help = "\
Examples:
  walbrook-wal find --repo file:///backups --cluster prod -d 'host=db1 user=postgres' \\
      --from-time '2026-11-22 14:00:00+00'
  walbrook-wal gaps --repo file:///backups --cluster prod
  walbrook-wal show --dir pg_wal --from 000000010000000000000003 --rmgr Heap | less
  walbrook-wal stats 000000010000000000000003

Each command has its own --help. All take --repo, --repo-option, --cluster, --config, --output, -v
and -q. Environment: WALBROOK_REPO, WALBROOK_CLUSTER, WALBROOK_CONFIG; PG* as for psql; AWS_*,
GOOGLE_* and AZURE_* for the credentials of stores.

Exit codes: 0 done; 1 failed; 2 usage; gaps: 3 when WAL is missing."
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::Args),
    Stats(stats::Args),
    Changes(changes::Args),
    Gaps(gaps::Args),
    Find(find::Args),
}

impl Args {
    fn common(&self) -> &CommonArgs {
        match &self.command {
            Command::Show(args) => &args.common,
            Command::Stats(args) => &args.common,
            Command::Changes(args) => &args.common,
            Command::Gaps(args) => &args.common,
            Command::Find(args) => &args.common,
        }
    }
}

/// `walbrook-wal`.
pub fn wal() -> ExitCode {
    super::main("walbrook-wal", Args::common, run)
}

fn run(args: Args, console: Console) -> Result<ExitCode> {
    match args.command {
        Command::Show(args) => show::run(args, console),
        Command::Stats(args) => stats::run(args, console),
        Command::Changes(args) => changes::run(args, console),
        Command::Gaps(args) => gaps::run(args, console),
        Command::Find(args) => find::run(args, console),
    }
}

/// The server that `--dsn` names; `PG*`, the service file and `~/.pgpass` fill it up.
fn server(dsn: &str, settings: Option<&Settings>, console: &Console) -> Result<ConnInfo> {
    let server = match settings {
        Some(settings) => settings.server(Some(dsn.to_owned()), console)?,
        None => ConnInfo::parse(dsn, &Environment::from_process()).map_err(Failure::usage)?,
    };
    Ok(server.with_fallback_application_name("walbrook-wal"))
}
