//! `walbrook-expire`: see `walbrook-expire --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    walbrook_cli::expire()
}
