//! `walbrook-list`: see `walbrook-list --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    walbrook_cli::list()
}
