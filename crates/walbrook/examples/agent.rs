//! An agent for a timer: backs up when the newest backup is too old, says what can be recovered to,
//! and checks that a restore could be done now. Its arguments: REPOSITORY CLUSTER CONNINFO HOURS.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to its user")]

use std::time::{Duration, SystemTime};

use walbrook::{BackupOptions, ConnInfo, Environment, ErrorKind, Phase, Progress, RestoreOptions};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

struct Log;

impl Progress for Log {
    fn begin(&self, phase: Phase, total: Option<u64>) {
        eprintln!("{phase:?}: {} MiB", total.unwrap_or(0) >> 20);
    }

    fn warn(&self, message: &str) {
        eprintln!("warning: {message}");
    }
}

/// Returns whether a backup was taken.
pub async fn tick(repo: &str, cluster: &str, server: &str, max_age: Duration) -> Result<bool> {
    let repo = repo.parse()?;
    let listed = match walbrook::list(&repo, Some(cluster)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let backups = listed.iter().flat_map(|c| &c.systems).flat_map(|system| &system.backups);
    let newest = backups.filter(|b| b.restorable).map(|b| b.record.span.stopped_at).max();
    let age = newest.map(|time| SystemTime::from(time).elapsed().unwrap_or_default());
    let due = age.is_none_or(|age| age >= max_age);
    if due {
        let server = ConnInfo::parse(server, &Environment::from_process())?;
        let options = BackupOptions::new(repo.clone(), cluster, server);
        println!("backed up: {}", walbrook::backup(&options, &Log).await?.id);
    }
    let listed = walbrook::list(&repo, Some(cluster)).await?;
    for window in listed.iter().flat_map(|c| &c.systems).flat_map(|system| &system.windows) {
        let end = window.to_time.unwrap_or(window.from_time);
        println!("timeline {}: {} to {end}", window.timeline, window.from_time);
    }
    // Planning reads the repository and checks the WAL; "/nonexistent" is never written to.
    let plan = walbrook::plan_restore(&RestoreOptions::new(repo, cluster, "/nonexistent")).await?;
    println!("a restore would use {}, and WAL up to {}", plan.backup().id, plan.wal().1);
    Ok(due)
}

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [repo, cluster, server, hours] = &args[..] else { return Err("four arguments".into()) };
    tick(repo, cluster, server, Duration::from_secs(3600 * hours.parse::<u64>()?)).await?;
    Ok(())
}
