//! Reading a gibibyte of WAL: `walbrook-wal stats` against `pg_waldump --stats`, on one core each.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::bench::Bench;
use crate::measure::{compare, time};

/// Segments of 16 MiB that are read.
const SEGMENTS: u64 = 64;

/// Measured runs of each side.
const RUNS: usize = 5;

pub(crate) fn run() -> Result<()> {
    let bench = Bench::new(50)?;
    let server = &bench.server;
    let first = number(&server.psql("postgres", "SELECT pg_walfile_name(pg_switch_wal())")?)? + 1;
    let load = server.pgbench_background("postgres", 4)?;
    let end = Instant::now() + Duration::from_secs(600);
    while number(&server.psql("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn())")?)?
        < first + SEGMENTS + 1
    {
        if Instant::now() > end {
            bail!("pgbench writes too little WAL: {}", load.output());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    load.stop()?;
    server.psql("postgres", "SELECT pg_switch_wal()")?;

    let pg_wal = server.data_dir().join("pg_wal");
    let (from, to) = (name(first), name(first + SEGMENTS - 1));
    // Read once, so that both sides find it in memory.
    for number in first..first + SEGMENTS {
        fs::read(pg_wal.join(name(number)))?;
    }
    let walbrook = server.published_binary(&walbrook_testkit::built_binary("walbrook-wal")?)?;
    let pg_waldump = server.installation().tool("pg_waldump");
    let on_one_core = |program: PathBuf| {
        let mut command = bench.command("taskset");
        command.args(["-c", "0"]).arg(program);
        command
    };
    let ours = || {
        let mut command = on_one_core(walbrook.clone());
        command.arg("stats").arg("--dir").arg(&pg_wal);
        command.args(["--from", &from, "--to", &to]);
        command
    };
    let theirs = || {
        let mut command = on_one_core(pg_waldump.clone());
        command.arg("--stats=record").arg("-p").arg(&pg_wal).args([&from, &to]);
        command
    };
    println!("  {} MiB of WAL, {} records", SEGMENTS * 16, records(&mut theirs())?);
    compare(
        RUNS,
        ("walbrook-wal stats", &mut |_| time(&mut ours(), 0)),
        ("pg_waldump --stats=record", &mut |_| time(&mut theirs(), 0)),
    )
}

/// The number of a segment on the first timeline, with segments of 16 MiB.
fn number(name: &str) -> Result<u64> {
    let part = |from: usize| {
        let digits = name.get(from..from + 8).context("a segment's name has 24 digits")?;
        u64::from_str_radix(digits, 16).with_context(|| name.to_owned())
    };
    Ok(part(8)? << 8 | part(16)?)
}

fn name(number: u64) -> String {
    format!("{:08X}{:08X}{:08X}", 1, number >> 8, number & 0xFF)
}

/// The count in the line of totals.
fn records(pg_waldump: &mut Command) -> Result<String> {
    let output = pg_waldump.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let total = text.lines().rev().find(|line| line.starts_with("Total"));
    Ok(total.and_then(|line| line.split_whitespace().nth(1)).context("no totals")?.to_owned())
}
