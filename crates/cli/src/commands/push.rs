use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use walbrook::types::SystemId;
use walbrook::{Codec, PushOptions};

use crate::args::{CommonArgs, LockArgs, codec};
use crate::config::Settings;
use crate::console::Console;
use crate::failure::Result;
use crate::runtime;

/// Store a WAL file in the repository: PostgreSQL's archive_command.
///
/// Succeeds only when the file is durable in the repository, and locked if --lock-until says so. A file that is there already is no
/// error; another content under its name is, and changes nothing.
#[derive(Debug, Parser)]
#[command(
    name = "walbrook-push",
    version,
    after_help = "\
Example, in postgresql.conf:
  archive_mode = on
  archive_command = 'walbrook-push --repo file:///backups --cluster prod %p'

The repository must exist, and the cluster in it: the first walbrook-backup makes both.

Environment: WALBROOK_REPO, WALBROOK_CLUSTER, WALBROOK_CONFIG; AWS_*, GOOGLE_* and AZURE_* for the
credentials of stores.

Exit codes: 0 stored, or there already; 1 failed, the server tries again; 2 usage."
)]
struct Args {
    /// The file: %p
    path: PathBuf,

    /// How many other files that wait to be archived are stored along with it [default: 4]
    #[arg(long, value_name = "N", value_parser = look_ahead)]
    look_ahead: Option<usize>,

    /// How to compress: zstd[:LEVEL] with a level from 1 to 19, lz4 or none [default: zstd:1]
    #[arg(long, value_name = "CODEC", value_parser = codec)]
    compression: Option<Codec>,

    /// The server's system identifier [default: that of the data directory above the file]
    #[arg(long, value_name = "ID")]
    system_id: Option<SystemId>,

    #[command(flatten)]
    lock: LockArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// `walbrook-push`.
pub fn push() -> ExitCode {
    super::main("walbrook-push", |args: &Args| &args.common, run)
}

fn run(args: Args, console: Console) -> Result<ExitCode> {
    let settings = Settings::load(&args.common, &console)?;
    let mut options = PushOptions::new(settings.repository.clone(), settings.cluster(), args.path);
    options.system = args.system_id;
    if let Some(count) = settings.value(args.look_ahead, "look-ahead", look_ahead)? {
        options.look_ahead = count;
    }
    if let Some(codec) = settings.value(args.compression, "compression", codec)? {
        options.codec = codec;
    }
    options.lock = args.lock.options(&settings)?;
    let outcome = runtime::run(runtime::small(), async { Ok(walbrook::push(&options).await?) })?;
    console.info(format_args!("{}: {outcome:?}", options.path.display()));
    Ok(ExitCode::SUCCESS)
}

fn look_ahead(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 0..=64) => Ok(count),
        _ => Err("it must be a number from 0 to 64".to_owned()),
    }
}
