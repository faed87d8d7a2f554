//! `cargo xtask bench`: Walbrook's release binaries against the tools that its users have.

use anyhow::Result;

use crate::shell;

/// Runs the measurements of these names, or all; `benches/README.md` has what came out.
pub(crate) fn run(names: &[String]) -> Result<()> {
    crate::pg::obtain()?;
    shell::run(&mut shell::cargo(&["build", "--release", "-p", "walbrook-cli", "--bins"]))?;
    let run = &["run", "--release", "--quiet", "-p", "walbrook-benches", "--"];
    shell::run(shell::cargo(run).args(names))
}
