//! [`Story`]: tells what happens and when, and runs the tools that it is about.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell;

/// Prints one line for each thing that happens, with the seconds since it began.
pub(super) struct Story {
    start: Instant,
}

impl Story {
    pub(super) fn begin() -> Self {
        Self { start: Instant::now() }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    pub(super) fn tell(&self, line: &str) {
        println!("{:5.1} s  {line}", self.seconds());
    }

    /// Tells the command that runs next, as a reader would type it.
    pub(super) fn command(&self, line: &str) {
        self.tell(&format!("$ {line}"));
    }

    /// Runs a program and returns its standard output; a failure has the program's own message.
    pub(super) fn output(&self, command: &mut Command) -> Result<String> {
        let line = shell::line(command);
        let output = command.output().with_context(|| line.clone())?;
        if !output.status.success() {
            let said = [output.stderr, output.stdout].concat();
            bail!(
                "`{line}` failed ({}):\n{}",
                output.status,
                String::from_utf8_lossy(&said).trim()
            );
        }
        String::from_utf8(output.stdout).context(line)
    }

    /// Runs a program that prints a JSON value.
    pub(super) fn json(&self, command: &mut Command) -> Result<Value> {
        let text = self.output(command)?;
        serde_json::from_str(&text).with_context(|| format!("{}: {text}", shell::line(command)))
    }
}

/// With a comma at the thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// As PostgreSQL's `pg_size_pretty` counts them: 1 MB is 1024 kB.
pub(super) fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567].map(count).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn a_failure_says_what_the_tool_said() {
        let story = Story::begin();
        let mut tool = Command::new("sh");
        tool.args(["-c", "echo it broke >&2; exit 3"]);
        let message = story.output(&mut tool).unwrap_err().to_string();
        assert!(message.contains("exit status: 3") && message.ends_with("it broke"), "{message}");
        assert!(story.json(Command::new("sh").args(["-c", "echo no json"])).is_err());
    }
}
