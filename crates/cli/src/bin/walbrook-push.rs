//! `walbrook-push`: see `walbrook-push --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    walbrook_cli::push()
}
