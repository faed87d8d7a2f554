//! `walbrook-backup`: see `walbrook-backup --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    walbrook_cli::backup()
}
