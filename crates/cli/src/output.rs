//! What goes to standard output: results, exactly.

use std::io::{self, Write};

use anyhow::Context as _;

/// In which form results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one line with one JSON value.
    Json,
}

/// Prints a text, which ends with a line feed. A reader that went away (`| head`) wants no more
/// and is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("could not write the result to standard output")
        }
        _ => Ok(()),
    }
}

/// Prints a JSON value on a line of its own.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string(value)? + "\n"))
}

/// Many lines, one by one, for results that are not held in memory.
pub(crate) struct Lines {
    out: io::BufWriter<io::StdoutLock<'static>>,
    open: bool,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self { out: io::BufWriter::with_capacity(64 << 10, io::stdout().lock()), open: true }
    }

    /// Prints a line, without its line feed. Tells whether more are wanted: a reader that went
    /// away (`| head`) wants no more and is no error.
    pub(crate) fn line(&mut self, text: &str) -> anyhow::Result<bool> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.write_all(b"\n"));
        self.check(written)
    }

    /// Prints a JSON value on a line of its own.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) -> anyhow::Result<bool> {
        let written = serde_json::to_writer(&mut self.out, value).map_err(io::Error::from);
        let written = written.and_then(|()| self.out.write_all(b"\n"));
        self.check(written)
    }

    /// Prints what is still held back.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        if self.open {
            let flushed = self.out.flush();
            self.check(flushed)?;
        }
        Ok(())
    }

    fn check(&mut self, written: io::Result<()>) -> anyhow::Result<bool> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.open = false,
            other => other.context("could not write the result to standard output")?,
        }
        Ok(self.open)
    }
}
