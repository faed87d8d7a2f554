//! `cargo xtask test`: all tests, against every PostgreSQL major that can be had.

use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::process::Stdio;
use std::thread;

use anyhow::{Context as _, Result, bail};

use crate::shell;

pub(crate) fn run(filter: &[String]) -> Result<()> {
    crate::pg::obtain()?;
    // Integration tests of the library crates run the binaries as PostgreSQL's commands.
    shell::run(&mut shell::cargo(&["build", "-p", "walbrook-cli", "--bins"]))?;

    // Servers and compression compete for the same cores as the tests.
    let threads = thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
    let mut cargo = shell::cargo(&["test", "--workspace", "--no-fail-fast", "--"]);
    cargo.arg(format!("--test-threads={threads}")).args(filter);
    // Its output passes through us, so it cannot see the terminal itself.
    if std::io::stdout().is_terminal() {
        cargo.arg("--color=always").env("CARGO_TERM_COLOR", "always");
    }
    let line = shell::line(&cargo);
    let mut child = cargo.stdout(Stdio::piped()).spawn().with_context(|| line.clone())?;
    let mut total = Summary::default();
    for text in BufReader::new(child.stdout.take().context("no pipe")?).split(b'\n') {
        let text = text?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        total.add(&text);
    }
    let status = child.wait()?;
    println!("\n{} passed, {} failed, {} skipped", total.passed, total.failed, total.ignored);
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    if total.passed == 0 {
        bail!("no test ran: does the filter {filter:?} match any name?");
    }
    Ok(())
}

/// The sum of what each test binary reports in its last line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Summary {
    /// Counts a line such as `test result: ok. 4 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        if !line.starts_with("test result: ") {
            return;
        }
        let count = |what: &str| {
            line.split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(what)?.trim().parse::<u64>().ok())
                .sum::<u64>()
        };
        self.passed += count("passed");
        self.failed += count("failed");
        self.ignored += count("ignored");
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn summaries_add_up_with_and_without_colour() {
        let mut sum = Summary::default();
        sum.add("test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s");
        sum.add("test result: \u{1b}[31mFAILED\u{1b}[m. 6 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        sum.add("test it::says_9 passed; ... ok");
        assert_eq!(sum, Summary { passed: 10, failed: 2, ignored: 1 });
    }
}
