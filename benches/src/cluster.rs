//! A whole cluster out and back.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::bench::Bench;
use crate::measure::{compare, time};

/// Measured runs of each side.
const RUNS: usize = 5;

/// About 1.5 GiB.
const SCALE: u32 = 100;

/// Both sides are durable when they return: `pg_basebackup` syncs what it wrote, and so does a restore
/// with Walbrook; `tar` is followed by `sync -f`.
pub(crate) fn run() -> Result<()> {
    let bench = Bench::new(SCALE)?;
    // The server's own writing is over before the first run.
    bench.server.psql_ok("postgres", "VACUUM; CHECKPOINT")?;
    let backup = |number: usize| {
        fresh(&bench.work.join("repo"), number)?;
        time(&mut bench.backup("repo")?, 0)
    };
    compare(
        RUNS,
        ("walbrook-backup", &mut |number| backup(number)),
        ("pg_basebackup -Ft -Z client-zstd:1", &mut |number| base_backup(&bench, 1, number)),
    )?;
    let size = |dir: &str| tree_size(&bench.work.join(dir));
    let sizes = (tree_size(bench.server.data_dir())?, size("repo")?, size("base")?);
    println!(
        "  sizes: the data directory {} MiB (with pg_wal), the repository {} MiB, pg_basebackup's files {} MiB",
        sizes.0, sizes.1, sizes.2
    );
    compare(
        RUNS,
        ("walbrook-restore", &mut |number| {
            fresh(&bench.work.join("restored"), number)?;
            let mut command = bench.walbrook("walbrook-restore", "repo")?;
            command.args(["-q", "--pgdata", "restored", "--target", "immediate"]);
            time(&mut command, 0)
        }),
        ("tar -x of base.tar.zst, sync -f", &mut |number| {
            let out = bench.work.join("untarred");
            fresh(&out, number)?;
            let mut command = bench.command("sh");
            let script = "mkdir untarred && zstd -dcq base/base.tar.zst | tar -x -C untarred -f - && sync -f untarred";
            time(command.args(["-c", script]), 0)
        }),
    )?;
    // zstd on as many threads as Walbrook uses by itself.
    compare(
        RUNS,
        ("walbrook-backup", &mut |number| backup(number)),
        ("pg_basebackup, zstd with workers=2", &mut |number| base_backup(&bench, 2, number)),
    )
}

fn base_backup(bench: &Bench, workers: u32, number: usize) -> Result<Duration> {
    fresh(&bench.work.join("base"), number)?;
    let mut command = bench.command(bench.server.installation().tool("pg_basebackup"));
    command.args([
        "-d",
        &bench.server.conninfo(),
        "-D",
        "base",
        "-Ft",
        "-c",
        "fast",
        "-X",
        "stream",
    ]);
    let detail = if workers > 1 { format!(",workers={workers}") } else { String::new() };
    time(command.arg(format!("--compress=client-zstd:level=1{detail}")), 0)
}

/// Removes what the run before left, and lets the disk come to rest.
fn fresh(dir: &Path, number: usize) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    let status = std::process::Command::new("sync").status()?;
    if !status.success() {
        bail!("sync failed in run {number}");
    }
    Ok(())
}

/// Of all files below a directory, in MiB.
fn tree_size(dir: &Path) -> Result<u64> {
    Ok(tree_bytes(dir)? >> 20)
}

/// Bytes of all files below a directory; none when there is no such directory. What vanishes meanwhile
/// does not count.
pub(crate) fn tree_bytes(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    let Ok(entries) = fs::read_dir(dir) else { return Ok(0) };
    for entry in entries {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        sum += if metadata.is_dir() { tree_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}
