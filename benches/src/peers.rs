//! Full and incremental backups of a cluster of some GB, by Walbrook and by everyone else.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::bench::Bench;
use crate::cluster::tree_bytes;
use crate::contestants::{ALL, Contestant};
use crate::measure::spread;

/// Rounds of full backups, and of incremental ones; each contestant has its turn in each.
const ROUNDS: usize = 3;

/// About 15 MiB per unit; `WALBROOK_BENCH_SCALE` has another one.
const SCALE: u32 = 200;

/// pgbench transactions between two incremental backups, by four clients.
const TRANSACTIONS: usize = 20_000;

/// Rows that compress like what applications store: identifiers, times, and documents.
const DOCUMENTS: &str = "CREATE TABLE docs (id uuid PRIMARY KEY, at timestamptz, body jsonb);
    INSERT INTO docs SELECT gen_random_uuid(), now() - i * interval '1 second',
        jsonb_build_object('user', 'user' || i % 50000, 'email', md5(i::text) || '@example.com',
            'tags', jsonb_build_array(md5((i % 777)::text), 'tag' || i % 99), 'n', i, 'active', i % 3 = 0)
        FROM generate_series(1, 30000 * SCALE) i";

/// What one contestant's runs came to.
#[derive(Default)]
struct Results {
    seconds: Vec<f64>,
    peak_kib: u64,
    bytes: Vec<u64>,
}

/// `WALBROOK_BENCH_MAJOR` chooses the server: not every peer knows the newest.
pub(crate) fn run() -> Result<()> {
    let scale = std::env::var("WALBROOK_BENCH_SCALE").ok().and_then(|s| s.parse().ok());
    let scale = scale.unwrap_or(SCALE);
    let bench = Bench::new(scale)?;
    bench.server.psql_ok("postgres", &DOCUMENTS.replace("SCALE", &scale.to_string()))?;
    bench.server.psql_ok("postgres", "VACUUM ANALYZE")?;
    bench.server.psql_ok("postgres", "CHECKPOINT")?;
    println!("  {} MiB of databases", tree_bytes(&bench.server.data_dir().join("base"))? >> 20);

    let mut able: Vec<&Contestant> = ALL.iter().collect();
    let mut full: Vec<Results> = ALL.iter().map(|_| Results::default()).collect();
    for round in 0..=ROUNDS {
        able.retain(|contestant| {
            let results = &mut full[index(contestant)];
            match take_full(&bench, contestant, (round > 0).then_some(results)) {
                Ok(()) => true,
                Err(error) => {
                    println!("  {} is left out: {error:#}", contestant.name);
                    false
                }
            }
        });
    }
    println!("  full backups, {ROUNDS} each:");
    report(&able, &full);

    let mut incremental: Vec<Results> = ALL.iter().map(|_| Results::default()).collect();
    able.retain(|contestant| contestant.incremental.is_some());
    for round in 1..=ROUNDS {
        let mut pgbench = bench.server.command("pgbench");
        pgbench.args(["-n", "-c", "4", "-t", &(TRANSACTIONS / 4).to_string(), "postgres"]);
        run_once(&mut pgbench)?;
        bench.server.psql_ok("postgres", "CHECKPOINT")?;
        able.retain(|contestant| {
            let Some(make) = contestant.incremental else { return false };
            let results = &mut incremental[index(contestant)];
            match make(&bench, round).and_then(|c| measure(&bench, contestant, c, results)) {
                Ok(()) => true,
                Err(error) => {
                    println!("  {} is left out: {error:#}", contestant.name);
                    false
                }
            }
        });
    }
    println!("  incremental backups after {TRANSACTIONS} transactions, {ROUNDS} each:");
    report(&able, &incremental);
    Ok(())
}

fn index(contestant: &Contestant) -> usize {
    ALL.iter().position(|other| other.dir == contestant.dir).unwrap_or_default()
}

/// Into a new directory. Without results it is a warm-up.
fn take_full(bench: &Bench, contestant: &Contestant, results: Option<&mut Results>) -> Result<()> {
    let dir = bench.work.join(contestant.dir);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let command = (contestant.full)(bench)?;
    measure(bench, contestant, command, results.unwrap_or(&mut Results::default()))
}

fn measure(
    bench: &Bench,
    contestant: &Contestant,
    command: Command,
    results: &mut Results,
) -> Result<()> {
    // What was written before is on disk before.
    run_once(&mut Command::new("sync"))?;
    let dir = bench.work.join(contestant.dir);
    let before = stored(&dir)?;
    let (took, peak) = timed(bench, command)?;
    results.seconds.push(took.as_secs_f64());
    results.peak_kib = results.peak_kib.max(peak);
    results.bytes.push(stored(&dir)?.saturating_sub(before));
    Ok(())
}

/// What a backup's directory has but for the WAL that Walbrook brings, and the others leave to
/// `archive_command`.
fn stored(dir: &Path) -> Result<u64> {
    Ok(tree_bytes(dir)? - tree_bytes(&dir.join("bench/wal"))?)
}

/// Runs a command below `time`, which knows the most memory that a process had.
fn timed(bench: &Bench, command: Command) -> Result<(Duration, u64)> {
    let peak_file = bench.work.join("peak");
    let mut wrapped = bench.command("time");
    wrapped.args(["-f", "%M", "-o"]).arg(&peak_file).arg(command.get_program());
    wrapped.args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    let start = Instant::now();
    run_once(&mut wrapped)?;
    let took = start.elapsed();
    let peak = fs::read_to_string(&peak_file)?;
    Ok((took, peak.trim().parse().context("what time says of the memory")?))
}

fn run_once(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", output.status, text.lines().last().unwrap_or_default());
    }
    Ok(())
}

/// Ratios are to the first one, round by round.
fn report(able: &[&Contestant], all: &[Results]) {
    let Some(first) = able.first().map(|c| &all[index(c)]) else { return };
    println!("  {:<28}{:>20}{:>8}{:>12}{:>12}", "", "seconds", "ratio", "peak MiB", "stored MiB");
    for contestant in able {
        let Results { seconds, peak_kib, bytes } = &all[index(contestant)];
        let ratios = seconds.iter().zip(&first.seconds).map(|(theirs, ours)| theirs / ours);
        let (ratio, ..) = spread(ratios.collect());
        let (median, least, most) = spread(seconds.clone());
        let stored = bytes.iter().sum::<u64>() as f64 / bytes.len() as f64 / (1 << 20) as f64;
        println!(
            "  {:<28}{median:>8.2} ({least:.2} to {most:.2}){ratio:>7.2}{:>12}{stored:>12.1}",
            contestant.name,
            peak_kib >> 10
        );
    }
}
