use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use super::fetch::TROUBLE;
use super::find::{directories, find_program, is_program};
use crate::console::Console;
use crate::failure::Failure;
use crate::output::print;

/// Walbrook's own commands.
const COMMANDS: &[(&str, &str)] = &[
    ("backup", "back up a running server"),
    ("list", "list backups, and the moments that can be recovered to"),
    ("expire", "tell what a retention policy keeps and removes, and why"),
    ("restore", "restore a cluster, to its last moment or to an earlier one"),
    ("push", "store a WAL file: archive_command"),
    ("fetch", "bring a WAL file back: restore_command"),
    ("wal", "look into the WAL: records, statistics, gaps, and who deleted my rows"),
];

/// As shells do for a command that is not there. It is above 125: a server whose restore_command
/// ends with it aborts recovery instead of promoting.
const NOT_FOUND: u8 = 127;

/// `walbrook`: runs `walbrook-NAME` for `walbrook NAME`.
pub fn front() -> ExitCode {
    let console = Console::plain("walbrook");
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let code = match args.first().and_then(|first| first.to_str()) {
        Some("--help" | "-h") => return show(&help(), console),
        Some("help") => match args.get(1) {
            None => return show(&help(), console),
            Some(name) => run(name, &["--help".into()], console),
        },
        Some("--version" | "-V") => {
            return show(&format!("walbrook {}\n", env!("CARGO_PKG_VERSION")), console);
        }
        Some(flag) if flag.starts_with('-') => {
            let fault = format!("unknown option {flag}: options follow the command's name");
            console.fail(&Failure::usage_text(fault));
            2
        }
        None if args.is_empty() => {
            console.fail(&Failure::usage_text("which command?"));
            2
        }
        _ => run(&args[0], &args[1..], console),
    };
    // A restore_command that is written wrong must not look like the end of the archive.
    if args.iter().any(|arg| arg == "fetch") && code <= 125 { TROUBLE.into() } else { code.into() }
}

fn show(text: &str, console: Console) -> ExitCode {
    match print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.fail(&Failure::Failed(error));
            1.into()
        }
    }
}

/// Becomes the command; returns only when that fails.
fn run(name: &OsStr, args: &[OsString], console: Console) -> u8 {
    let plain = name.to_str().filter(|name| is_name(name));
    let Some(program) = plain.and_then(|name| find_program(&format!("walbrook-{name}"))) else {
        let known = COMMANDS.iter().any(|(command, _)| name == *command);
        let name = name.to_string_lossy();
        console.fail(&Failure::usage_text(match known {
            true => format!("walbrook-{name} is neither beside walbrook nor in PATH: install it"),
            false => format!("there is no command {name:?}"),
        }));
        return NOT_FOUND;
    };
    let error = Command::new(&program).args(args).exec();
    let error = Err::<(), _>(error).with_context(|| format!("could not run {}", program.display()));
    if let Err(error) = error {
        console.fail(&Failure::Failed(error));
    }
    NOT_FOUND - 1
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

fn help() -> String {
    let mut out = "PostgreSQL backup: one small program per task.\n\n\
                   Usage: walbrook COMMAND [OPTION]…\n\nCommands:\n"
        .to_owned();
    for (name, about) in COMMANDS {
        let missing = find_program(&format!("walbrook-{name}")).is_none();
        let missing = if missing { " (not installed)" } else { "" };
        out += &format!("  {name:<9} {about}{missing}\n");
    }
    let others = others();
    if !others.is_empty() {
        out += "\nAlso found, beside walbrook or in PATH:\n";
        for name in others {
            out += &format!("  {name}\n");
        }
    }
    out + "\n`walbrook COMMAND` is `walbrook-COMMAND`; see `walbrook COMMAND --help`.\n\n\
           Options:\n  -h, --help     print this\n  -V, --version  print the version\n\n\
           Example:\n  walbrook backup --repo file:///backups --cluster prod -d 'host=db1 user=backup'\n"
}

/// Programs that other people named like Walbrook's.
fn others() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in directories().iter().flat_map(std::fs::read_dir).flatten().flatten() {
        let file = entry.file_name();
        let name = file.to_str().and_then(|file| file.strip_prefix("walbrook-"));
        let Some(name) = name.filter(|name| is_name(name)) else { continue };
        if COMMANDS.iter().all(|(known, _)| *known != name) && is_program(&entry.path()) {
            names.insert(name.to_owned());
        }
    }
    names
}
