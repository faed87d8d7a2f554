//! `walbrook-wal`: see `walbrook-wal --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    walbrook_cli::wal()
}
