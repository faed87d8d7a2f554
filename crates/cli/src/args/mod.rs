//! What users write: the flags that commands share, and the syntax of their values.

mod common;
mod duration;
mod lock;
mod pair;
mod policy;
mod rate;
mod recovery;
mod size;
mod time;

pub(crate) use common::CommonArgs;
pub(crate) use duration::duration;
pub(crate) use lock::LockArgs;
pub(crate) use pair::{Pair, TablespaceMapping, pair, tablespace_mapping};
pub(crate) use policy::PolicyArgs;
pub(crate) use rate::rate;
pub(crate) use recovery::RecoveryArgs;
pub(crate) use size::size;
pub(crate) use time::time;

use clap::Parser;
use walbrook::Codec;

/// Parses the command line. `Err` is the exit code of clap's own kind: 0 after `--help` and
/// `--version`, 2 after a usage error; the text is printed.
pub(crate) fn parse<A: Parser>() -> Result<A, u8> {
    A::try_parse().map_err(|error| {
        // A reader that closed the pipe has seen enough of the help.
        let _ = error.print();
        u8::try_from(error.exit_code()).unwrap_or(2)
    })
}

/// `zstd`, `zstd:LEVEL`, `lz4` or `none`.
pub(crate) fn codec(text: &str) -> Result<Codec, String> {
    text.parse().map_err(|error: walbrook::repo::Error| error.to_string())
}

/// How many things are done at once.
pub(crate) fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs @ 1..=1024) => Ok(jobs),
        _ => Err("it must be a number from 1 to 1024".to_owned()),
    }
}
