use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use walbrook::types::SystemId;
use walbrook::{FetchOptions, FetchOutcome};

use crate::args::{self, CommonArgs, duration};
use crate::config::Settings;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::runtime;

const NAME: &str = "walbrook-fetch";

/// The file is certainly not in the repository. PostgreSQL takes every code from 1 to 125 for the
/// end of the archive, ends recovery and promotes the server (`RestoreArchivedFile` in
/// `access/transam/xlogarchive.c`), so nothing else may end with one of them.
const ABSENT: u8 = 1;

/// Segments that are prefetched: enough that the next is near when replay asks for it, few enough
/// that they take no room that counts.
const PREFETCH: u16 = 8;

/// Anything else: above 125, PostgreSQL aborts recovery, which can be started again.
pub(super) const TROUBLE: u8 = 200;

/// Bring a WAL file back from the repository: PostgreSQL's restore_command.
///
/// Tells a file that is not there from a repository that can't be asked: only the first ends
/// recovery. The destination appears whole or not at all.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = "\
Example, in postgresql.conf (walbrook-restore writes it by itself):
  restore_command = 'walbrook-fetch --repo file:///backups --cluster prod %f %p'

Environment: WALBROOK_REPO, WALBROOK_CLUSTER, WALBROOK_CONFIG; AWS_*, GOOGLE_* and AZURE_* for the
credentials of stores.

Exit codes: 0 it is there; 1 it certainly is not in the repository; 200 anything else, usage errors
included: PostgreSQL then aborts recovery instead of promoting the server.")]
struct Args {
    /// The file's name: %f
    name: String,

    /// Where to write it: %p
    destination: PathBuf,

    /// The server is a standby: end with 1, not 200, when trouble outlasts the retries. It would
    /// shut down otherwise; as it is, it asks again or streams from its primary
    #[arg(long)]
    standby: bool,

    /// How long to retry trouble that may pass, such as 30s or 5min [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    retry_for: Option<Duration>,

    /// How many of the segments that follow are brought near in the background, while PostgreSQL
    /// replays this one; they wait in pg_wal. 0 brings none [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=64))]
    prefetch: Option<u16>,

    /// Bring the segments that follow near, and nothing else: what the background process does
    #[arg(long, hide = true)]
    only_prefetch: bool,

    /// The server's system identifier [default: that of the current directory, the data directory]
    #[arg(long, value_name = "ID")]
    system_id: Option<SystemId>,

    #[command(flatten)]
    common: CommonArgs,
}

/// `walbrook-fetch`.
pub fn fetch() -> ExitCode {
    panics_are_trouble();
    let args = match args::parse::<Args>() {
        Ok(args) => args,
        Err(0) => return ExitCode::SUCCESS,
        Err(_) => return TROUBLE.into(),
    };
    let console = Console::new(NAME, &args.common);
    let standby = args.standby;
    match run(args, console) {
        Ok(FetchOutcome::Fetched) => ExitCode::SUCCESS,
        Ok(FetchOutcome::Absent) => ABSENT.into(),
        Err(failure) => {
            console.fail(&failure);
            code(&failure, standby).into()
        }
    }
}

fn run(args: Args, console: Console) -> Result<FetchOutcome> {
    let settings = Settings::load(&args.common, &console)?;
    let repository = settings.repository.clone();
    let mut options =
        FetchOptions::new(repository, settings.cluster(), args.name, args.destination);
    options.system = args.system_id;
    if let Some(time) = settings.value(args.retry_for, "retry-for", duration)? {
        options.retry_for = time;
    }
    options.prefetch = args.prefetch.unwrap_or(PREFETCH).into();
    if args.only_prefetch {
        runtime::run(runtime::small(), async { Ok(walbrook::prefetch(&options).await?) })?;
        return Ok(FetchOutcome::Fetched);
    }
    let outcome = runtime::run(runtime::small(), async { Ok(walbrook::fetch(&options).await?) })?;
    console.info(format_args!("{}: {outcome:?}", options.name));
    if outcome == FetchOutcome::Fetched && walbrook::wants_prefetch(&options) {
        prefetch_in_background(&console);
    }
    Ok(outcome)
}

/// Runs this very command again, to bring the next segments near while PostgreSQL is busy with the
/// one that it got. Stays in the process group: what stops the server stops it too.
fn prefetch_in_background(console: &Console) {
    let spawned = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args(std::env::args_os().skip(1))
            .arg("--only-prefetch")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    });
    // Without it recovery is slower, no more.
    if let Err(error) = spawned {
        console.info(format_args!("no prefetch: {error}"));
    }
}

/// A standby goes on when its archive is in trouble. What was never right, and what was asked to
/// stop, is told in any case.
fn code(failure: &Failure, standby: bool) -> u8 {
    match failure {
        Failure::Failed(_) if standby => ABSENT,
        _ => TROUBLE,
    }
}

/// A panic would end with 101, which promotes.
fn panics_are_trouble() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        std::process::exit(TROUBLE.into());
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trouble_of_a_standby_counts_as_absence() {
        let trouble = || Failure::Failed(anyhow::Error::msg("x"));
        assert_eq!(code(&trouble(), false), TROUBLE);
        assert_eq!(code(&trouble(), true), ABSENT);
        for standby in [false, true] {
            assert_eq!(code(&Failure::usage_text("x"), standby), TROUBLE);
            assert_eq!(code(&Failure::Interrupted, standby), TROUBLE);
        }
    }
}
