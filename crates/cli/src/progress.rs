//! How far an operation is: a bar on a terminal, lines with `-v`, nothing otherwise.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use walbrook::{Phase, Progress};

use crate::console::Console;

const KNOWN_END: &str =
    "{msg} {bar:24} {bytes}/{total_bytes} {percent}%  {bytes_per_sec}  {eta} left";
const UNKNOWN_END: &str = "{spinner} {msg}  {elapsed}";

/// Shows an operation's progress on standard error. It is gone from the terminal when this is
/// dropped.
#[derive(Debug)]
pub(crate) struct ConsoleProgress {
    console: Console,
    bar: Mutex<Option<ProgressBar>>,
}

impl ConsoleProgress {
    pub(crate) fn new(console: Console) -> Self {
        Self { console, bar: Mutex::new(None) }
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        // A bar is whole whatever happened to who held it.
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for ConsoleProgress {
    fn begin(&self, phase: Phase, total: Option<u64>) {
        self.console.info(describe(phase));
        if !self.console.wants_bar() {
            return;
        }
        let new = match total {
            Some(total) => ProgressBar::new(total).with_style(style(KNOWN_END)),
            None => ProgressBar::new_spinner().with_style(style(UNKNOWN_END)),
        };
        new.set_message(describe(phase));
        new.enable_steady_tick(Duration::from_millis(200));
        if let Some(old) = self.bar().replace(new) {
            old.finish_and_clear();
        }
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.bar() {
            bar.inc(bytes);
            // A total that was estimated too low must not look like the end.
            if bar.length().is_some_and(|length| bar.position() > length) {
                bar.set_length(bar.position());
            }
        }
    }

    fn warn(&self, message: &str) {
        match &*self.bar() {
            Some(bar) => bar.suspend(|| self.console.warn(message)),
            None => self.console.warn(message),
        }
    }
}

impl Drop for ConsoleProgress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a fault in one shows as indicatif's own bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn describe(phase: Phase) -> &'static str {
    match phase {
        Phase::Checkpoint => "waiting for the server's checkpoint",
        Phase::Copy => "copying",
        Phase::Finish => "finishing",
        Phase::WaitForWal => "waiting for WAL",
        Phase::Restore => "restoring",
        Phase::Sync => "making it durable",
        _ => "working",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for template in [KNOWN_END, UNKNOWN_END] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
