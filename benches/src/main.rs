//! Walbrook's speed, as ratios to the tools that its users have: `cargo xtask bench [NAME…]`.
//!
//! Each measurement runs the two sides in turn, so that whatever else the machine does meets both
//! ([`measure`]). [`wal`] is about single segments, [`waldump`] about reading WAL, [`cluster`] about whole backups,
//! [`peers`] about all programs that take them, and [`bench`](bench::Bench) is the server and the binaries that both use.
#![forbid(unsafe_code)]
// This is a program for developers, whose results are what it prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod cluster;
mod contestants;
mod measure;
mod peers;
mod wal;
mod waldump;

use std::process::ExitCode;

use anyhow::{Result, bail};

/// Name, what is measured, and the function that does it.
type Measurement = (&'static str, &'static str, fn() -> Result<()>);

const MEASUREMENTS: &[Measurement] = &[
    ("start", "start-up of walbrook-push and walbrook-fetch", wal::start),
    ("push", "walbrook-push of one segment, against zstd -1 and an fsync", wal::push),
    ("fetch", "walbrook-fetch of one segment, against zstd -d", wal::fetch),
    ("waldump", "walbrook-wal stats of 1 GiB of WAL, against pg_waldump --stats", waldump::run),
    ("cluster", "a full backup and its restore, against pg_basebackup and tar", cluster::run),
    ("peers", "full and incremental backups of 5 GB, against everyone else's", peers::run),
];

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    match run(&names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(names: &[String]) -> Result<()> {
    if let Some(name) = names.iter().find(|name| MEASUREMENTS.iter().all(|m| m.0 != *name)) {
        let all: Vec<&str> = MEASUREMENTS.iter().map(|m| m.0).collect();
        bail!("no measurement {name:?}; there are: {}", all.join(", "));
    }
    bench::describe_machine()?;
    for (name, about, measure) in MEASUREMENTS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            println!("\n{name}: {about}");
            measure()?;
        }
    }
    Ok(())
}
