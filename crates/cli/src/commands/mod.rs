//! One module per binary: its flags, and from flags to a call of the library to what is printed.

mod backup;
mod expire;
mod expire_text;
mod fetch;
mod find;
mod front;
mod list;
mod push;
mod restore;
mod restore_text;
mod wal;

pub use backup::backup;
pub use expire::expire;
pub use fetch::fetch;
pub use front::front;
pub use list::list;
pub use push::push;
pub use restore::restore;
pub use wal::wal;

pub(crate) use find::find_program;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{self, CommonArgs};
use crate::console::Console;
use crate::failure::Result;

/// Parses, runs, tells what went wrong: what all commands but `walbrook-fetch` do.
fn main<A: Parser>(
    program: &'static str,
    common: impl FnOnce(&A) -> &CommonArgs,
    run: impl FnOnce(A, Console) -> Result<ExitCode>,
) -> ExitCode {
    let args = match args::parse::<A>() {
        Ok(args) => args,
        Err(code) => return code.into(),
    };
    let console = Console::new(program, common(&args));
    run(args, console).unwrap_or_else(|failure| {
        console.fail(&failure);
        failure.code().into()
    })
}
