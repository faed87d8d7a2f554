//! `walbrook`: lists Walbrook's commands and runs them.

use std::process::ExitCode;

fn main() -> ExitCode {
    walbrook_cli::front()
}
