//! The [`Contestant`]s of [`peers`](crate::peers): programs that back up the same server.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::bench::Bench;

/// A program that takes backups of the bench's server into a directory of its own.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// Below the bench's directory.
    pub(crate) dir: &'static str,
    /// A full backup into the directory, which is new.
    pub(crate) full: fn(&Bench) -> Result<Command>,
    /// What has changed since the one before, if it can do that: `n` counts from 1.
    pub(crate) incremental: Option<fn(&Bench, usize) -> Result<Command>>,
}

/// Ours first: ratios are to it.
pub(crate) const ALL: &[Contestant] = &[
    Contestant { name: "walbrook, sql", dir: "sql", full: sql, incremental: Some(|b, _| sql(b)) },
    Contestant {
        name: "walbrook, local",
        dir: "local",
        full: local,
        incremental: Some(|b, _| local(b)),
    },
    Contestant {
        name: "walbrook, replication",
        dir: "replication",
        full: replication,
        incremental: Some(|b, _| replication(b)),
    },
    Contestant { name: "zstd -1 -T2 of the files", dir: "zstd", full: zstd, incremental: None },
    Contestant {
        name: "pg_basebackup, as it is",
        dir: "base",
        full: |b| base_backup(b, 0),
        incremental: Some(base_backup),
    },
    Contestant {
        name: "pg_basebackup | zstd -1 -T2",
        dir: "piped",
        full: |b| piped_base_backup(b, 0),
        incremental: Some(piped_base_backup),
    },
    Contestant {
        name: "WAL-RUS",
        dir: "walrus",
        full: |b| walrus(b, true),
        incremental: Some(|b, _| walrus(b, false)),
    },
    Contestant {
        name: "pgBackRest",
        dir: "backrest",
        full: |b| backrest(b, "full"),
        incremental: Some(|b, _| backrest(b, "incr")),
    },
];

fn walbrook(bench: &Bench, dir: &str, source: &[&str]) -> Result<Command> {
    let mut command = bench.backup(dir)?;
    command.args(source);
    Ok(command)
}

fn sql(bench: &Bench) -> Result<Command> {
    walbrook(bench, "sql", &["--source", "sql"])
}

fn local(bench: &Bench) -> Result<Command> {
    let mut command = walbrook(bench, "local", &["--source", "local", "--pgdata"])?;
    command.arg(bench.server.data_dir());
    Ok(command)
}

fn replication(bench: &Bench) -> Result<Command> {
    walbrook(bench, "replication", &["--source", "replication"])
}

/// What has to be compressed at least, and by the same cores.
fn zstd(bench: &Bench) -> Result<Command> {
    let mut command = bench.command("sh");
    let script = "mkdir zstd && find \"$1/base\" \"$1/global\" -type f -print0 | sort -z | \
                  xargs -0 cat | zstd -q -1 -T2 -o zstd/all && sync -f zstd";
    command.args(["-c", script, "sh"]).arg(bench.server.data_dir());
    Ok(command)
}

fn base_backup(bench: &Bench, number: usize) -> Result<Command> {
    if number > 0 && bench.server.installation().major() < 17 {
        bail!("PostgreSQL 17 was the first with incremental backups");
    }
    fs::create_dir_all(bench.work.join("base"))?;
    let mut command = bench.command(bench.server.installation().tool("pg_basebackup"));
    command
        .args(["-d", &bench.server.conninfo(), "-D", &format!("base/{number}")])
        // Not every build can compress; what is copied is not held up by it.
        .args(["-Ft", "-c", "fast", "-X", "none", "--compress=none"]);
    if number > 0 {
        command.arg(format!("--incremental=base/{}/backup_manifest", number - 1));
    }
    run_in(&bench.work.join("base"))?;
    Ok(command)
}

/// The same work as the others do: not every build of `pg_basebackup` can compress by itself.
fn piped_base_backup(bench: &Bench, number: usize) -> Result<Command> {
    let dir = bench.work.join("piped");
    fs::create_dir_all(&dir)?;
    run_in(&dir)?;
    let mut script = "set -o pipefail; \"$1\" -d \"$2\" -D - -Ft -c fast -X none".to_owned();
    if number > 0 {
        if bench.server.installation().major() < 17 {
            bail!("PostgreSQL 17 was the first with incremental backups");
        }
        // Its list of files is in the archive.
        let before = number - 1;
        let extract = format!("zstd -dc piped/{before} | tar -xO backup_manifest > piped/manifest");
        if !bench.command("sh").args(["-c", &extract]).status()?.success() {
            bail!("piped/{before} has no backup_manifest");
        }
        script += " --incremental=piped/manifest";
    }
    script += &format!(" | zstd -q -1 -T2 -o piped/{number} && sync -f piped");
    let mut command = bench.command("bash");
    let program = bench.server.installation().tool("pg_basebackup");
    command.args(["-c", &script, "bash"]).arg(program).arg(bench.server.conninfo());
    Ok(command)
}

/// What root made belongs to the servers' user.
fn run_in(dir: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    if let Some(parent) = dir.parent() {
        let owner = fs::metadata(parent)?;
        // Not root: everything belongs to one user as it is.
        let _ = chown(dir, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(())
}

/// `WALRUS` names the program of the crate wal-rus, if it is not on the path.
fn walrus(bench: &Bench, full: bool) -> Result<Command> {
    let program = std::env::var_os("WALRUS").map_or_else(|| PathBuf::from("walrus"), PathBuf::from);
    let dir = bench.work.join("walrus");
    fs::create_dir_all(&dir)?;
    run_in(&dir)?;
    let mut command = bench.command(program);
    command
        .arg("backup-push")
        .arg(bench.server.data_dir())
        .args(full.then_some("--full"))
        .env("WALG_FILE_PREFIX", &dir)
        .env("WALG_COMPRESSION_METHOD", "zstd")
        .env("WALG_COMPRESSION_LEVEL", "1")
        .env("WALG_UPLOAD_CONCURRENCY", "2")
        .env("WALG_DELTA_MAX_STEPS", "1000")
        .env("PGHOST", bench.server.socket_dir())
        .env("PGPORT", bench.server.port().to_string())
        .env("PGUSER", bench.server.user())
        .env("PGDATABASE", "postgres");
    Ok(command)
}

/// `PGBACKREST` names the program, if it is not on the path: it must be newer than the server.
fn backrest(bench: &Bench, kind: &str) -> Result<Command> {
    let program = std::env::var_os("PGBACKREST").unwrap_or_else(|| "pgbackrest".into());
    let repo = bench.work.join("backrest");
    fs::create_dir_all(&repo)?;
    run_in(&repo)?;
    let base = || {
        let mut command = bench.command(&program);
        command.arg("--stanza=bench").arg("--no-online").arg("--config=/dev/null");
        command.args(["--log-level-file=off", "--log-level-console=error"]);
        command.arg(format!("--repo1-path={}", repo.display()));
        command.arg(format!("--lock-path={}", bench.work.display()));
        command.arg(format!("--pg1-path={}", bench.server.data_dir().display()));
        command
    };
    if !repo.join("backup/bench").exists() {
        let output = base().arg("stanza-create").output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    let mut command = base();
    // The server runs on, but writes nothing: an online backup would want its archiver set up.
    command.args(["--force", &format!("--type={kind}"), "--compress-type=zst"]);
    command.args(["--compress-level=3", "--process-max=2", "--repo1-bundle", "--repo1-block"]);
    command.arg("backup");
    Ok(command)
}
