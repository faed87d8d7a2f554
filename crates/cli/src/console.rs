//! What goes to standard error: messages that begin with the program's name.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use crate::args::CommonArgs;
use crate::failure::Failure;

/// How one program talks to its user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    program: &'static str,
    verbose: u8,
    quiet: bool,
}

impl Console {
    /// As the flags say; with `-v`, the libraries' log goes to standard error as well.
    pub(crate) fn new(program: &'static str, args: &CommonArgs) -> Self {
        if args.verbose > 0 {
            log(args.verbose);
        }
        Self { program, verbose: args.verbose, quiet: args.quiet }
    }

    /// Before there are flags.
    pub(crate) fn plain(program: &'static str) -> Self {
        Self { program, verbose: 0, quiet: false }
    }

    /// Whether `-v` was given.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Whether a progress bar has a place to be and is wanted. The lines of a log would tear it.
    pub(crate) fn wants_bar(&self) -> bool {
        !self.quiet && self.verbose == 0 && io::stderr().is_terminal()
    }

    /// Something that the user asked to be told by `-v`.
    pub(crate) fn info(&self, message: impl Display) {
        if self.is_verbose() {
            self.line(&message.to_string());
        }
    }

    /// Something that helps, and that `-q` leaves out.
    pub(crate) fn note(&self, message: impl Display) {
        if !self.quiet {
            self.line(&message.to_string());
        }
    }

    /// Something that the user should act on: also told with `-q`.
    pub(crate) fn warn(&self, message: impl Display) {
        self.line(&self.warning(message));
    }

    /// The text of a warning, for those who put it above a progress bar.
    pub(crate) fn warning(&self, message: impl Display) -> String {
        format!("warning: {message}")
    }

    /// Why nothing came of it.
    pub(crate) fn fail(&self, failure: &Failure) {
        let mut lines = failure.lines().into_iter();
        self.line(&format!("error: {}", lines.next().unwrap_or_default()));
        for cause in lines {
            self.raw(&format!("  caused by: {cause}"));
        }
        if matches!(failure, Failure::Usage(_)) {
            self.raw(&format!("  see {} --help", self.program));
        }
    }

    fn line(&self, text: &str) {
        self.raw(&format!("{}: {text}", self.program));
    }

    fn raw(&self, text: &str) {
        // There is nowhere to report a standard error that is closed.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// Shows the log of Walbrook's own crates. Those of the network stack are left out at any level:
/// they may show headers and URLs with credentials in them.
fn log(verbose: u8) {
    let level = match verbose {
        1 => "walbrook=info",
        2 => "walbrook=debug",
        _ => "walbrook=trace",
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // It fails only when there is a log already.
    let _ = subscriber.try_init();
}
