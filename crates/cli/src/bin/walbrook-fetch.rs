//! `walbrook-fetch`: see `walbrook-fetch --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    walbrook_cli::fetch()
}
