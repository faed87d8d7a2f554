//! The one error type of this crate.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::process::{Command, Output};

/// What went wrong while handling a throw-away cluster.
///
/// The message is complete by itself: it has the server's or tool's own text.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<io::Error>,
}

/// The coarse reason of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No usable PostgreSQL installation was found or could be obtained.
    NoPostgres,
    /// A file or directory could not be used.
    Io,
    /// A PostgreSQL program ended with a failure.
    Tool,
    /// The server did not start, or ended when it should run.
    Server,
    /// The server refused an SQL statement; the message is the server's.
    Sql,
    /// Something that was waited for did not happen in time.
    Timeout,
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The coarse reason.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    pub(crate) fn io(what: impl fmt::Display, source: io::Error) -> Self {
        Error { kind: ErrorKind::Io, message: format!("{what}: {source}"), source: Some(source) }
    }

    /// The failure of a finished program, with all that it printed.
    pub(crate) fn tool(command: &Command, output: &Output) -> Self {
        let name = command.get_program().to_string_lossy();
        let text = [&output.stdout, &output.stderr]
            .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned())
            .join("\n");
        Self::new(ErrorKind::Tool, format!("{name} ended with {}: {}", output.status, text.trim()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// Tests show errors with `unwrap`, which prints Debug: keep server logs readable there.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}

/// Runs a program to its end, and returns its standard output as text.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output =
        command.output().map_err(|e| Error::io(command.get_program().to_string_lossy(), e))?;
    if !output.status.success() {
        return Err(Error::tool(command, &output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
