//! Walbrook's development tasks: `cargo xtask COMMAND`.
//!
//! One file for each command; [`shell`] runs programs and [`table`] prints tables.

// This is a program for developers, whose results are what it prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod ci;
mod demo;
mod dependencies;
mod fuzz;
mod hosts;
mod licences;
mod manifests;
mod pg;
mod shell;
mod soak;
mod table;
mod test;

use std::process::ExitCode;

use anyhow::Result;

/// Name, arguments, what it does, and the function that does it.
type Command = (&'static str, &'static str, &'static str, fn(&[String]) -> Result<()>);

const COMMANDS: &[Command] = &[
    (
        "ci",
        "[STEP…]",
        "everything that a change must pass: style, rules, documentation, tests",
        ci::run,
    ),
    ("test", "[FILTER…]", "all tests, on every PostgreSQL major that can be had", test::run),
    ("demo", "[MAJOR]", "a server loses a table and gets it back, in under a minute", demo::run),
    (
        "bench",
        "[NAME…]",
        "release binaries measured against zstd, pg_basebackup and tar",
        bench::run,
    ),
    ("fuzz", "[SECONDS] [TARGET…]", "the fuzz targets, each for a bounded time", fuzz::run),
    ("soak", "[ROUNDS]", "the commands killed at random moments, 200 times over", soak::run),
    ("pg", "", "obtain the PostgreSQL majors that are missing, and list all", pg::run),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        usage();
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        usage();
        return ExitCode::SUCCESS;
    }
    let Some((.., run)) = COMMANDS.iter().find(|command| command.0 == name) else {
        eprintln!("error: no command {name:?}");
        usage();
        return ExitCode::from(2);
    };
    match run(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() {
    eprintln!("usage: cargo xtask COMMAND\n");
    for (name, args, about, _) in COMMANDS {
        eprintln!("  {:<17} {about}", format!("{name} {args}"));
    }
}
