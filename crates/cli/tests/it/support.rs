//! Running one binary in an environment of its own; [`Scene`] for those that work with servers.

mod random;
mod scene;

pub(crate) use random::Random;
pub(crate) use scene::{Scene, log_tail, output};

use std::process::{Command, Output};

/// The built binary of this name.
pub(crate) fn binary(name: &str) -> &'static str {
    match name {
        "walbrook" => env!("CARGO_BIN_EXE_walbrook"),
        "walbrook-backup" => env!("CARGO_BIN_EXE_walbrook-backup"),
        "walbrook-expire" => env!("CARGO_BIN_EXE_walbrook-expire"),
        "walbrook-push" => env!("CARGO_BIN_EXE_walbrook-push"),
        "walbrook-fetch" => env!("CARGO_BIN_EXE_walbrook-fetch"),
        "walbrook-list" => env!("CARGO_BIN_EXE_walbrook-list"),
        "walbrook-restore" => env!("CARGO_BIN_EXE_walbrook-restore"),
        "walbrook-wal" => env!("CARGO_BIN_EXE_walbrook-wal"),
        other => panic!("there is no binary {other}"),
    }
}

/// A command that sees no configuration of the machine's user.
pub(crate) fn command(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(binary(name));
    command.args(args).env("XDG_CONFIG_HOME", "/nonexistent").env("HOME", "/nonexistent");
    for name in ["WALBROOK_REPO", "WALBROOK_CLUSTER", "WALBROOK_CONFIG"] {
        command.env_remove(name);
    }
    command
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Fails, with all that it printed, unless it ended with this exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ran {
        assert_eq!(
            self.code,
            Some(code),
            "exit code\n--- standard error ---\n{}--- standard output ---\n{}",
            self.stderr,
            self.stdout
        );
        self
    }
}

pub(crate) fn run(name: &str, args: &[&str]) -> Ran {
    ran(command(name, args).output().expect("it starts"))
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}
