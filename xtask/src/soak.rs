//! `cargo xtask soak`: kills the commands at random moments, many times.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Rounds over all commands when nobody says.
const ROUNDS: u32 = 200;

/// The commands that are killed.
const COMMANDS: u32 = 5;

/// What a line of progress of the tests begins with (`crates/cli/tests/it/kill/rounds.rs`).
const PROGRESS: &str = "kill: ";

/// Runs the tests that kill, with many rounds, one command after the other.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let rounds = match args {
        [] => ROUNDS,
        [rounds] => rounds.parse().with_context(|| format!("{rounds:?} is no number of rounds"))?,
        _ => bail!("usage: cargo xtask soak [ROUNDS]"),
    };
    crate::pg::obtain()?;
    let each = rounds.div_ceil(COMMANDS);
    println!(
        "soak: {each} rounds of each of {COMMANDS} commands, on the newest PostgreSQL there is"
    );
    let mut cargo = shell::cargo(&["test", "-p", "walbrook-cli", "--test", "it"]);
    cargo.args(["kill::", "--", "--nocapture", "--test-threads=1"]);
    cargo.env("WALBROOK_KILL_ROUNDS", each.to_string());
    let line = shell::line(&cargo);
    let start = Instant::now();
    let mut child = cargo.stdout(Stdio::piped()).spawn().with_context(|| line.clone())?;
    let (mut finished, mut log) = (Vec::new(), Vec::new());
    for text in BufReader::new(child.stdout.take().context("no pipe")?).split(b'\n') {
        let text = String::from_utf8_lossy(&text?).into_owned();
        // The name of the test may stand before it, for its line is not ended.
        if let Some(at) = text.find(PROGRESS) {
            println!("{:>4} s  {}", start.elapsed().as_secs(), &text[at + PROGRESS.len()..]);
            if text.contains(&format!(": {each} of {each} rounds")) {
                finished.push(text[at + PROGRESS.len()..].to_owned());
            }
        }
        log.push(text);
    }
    let status = child.wait()?;
    if !status.success() {
        // Which round it was, and all that the test has to say.
        log.iter().for_each(|line| println!("{line}"));
        bail!("`{line}` failed ({status})");
    }
    if finished.len() != COMMANDS as usize {
        bail!("only {} of {COMMANDS} commands were killed: {finished:?}", finished.len());
    }
    println!("\nsoak: passed in {} s", start.elapsed().as_secs());
    finished.iter().for_each(|line| println!("  {line}"));
    Ok(())
}
