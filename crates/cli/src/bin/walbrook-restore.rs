//! `walbrook-restore`: see `walbrook-restore --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    walbrook_cli::restore()
}
