use std::process::ExitCode;

use serde::Serialize;
use walbrook::types::{BlockNumber, Fork};
use walbrook::wal::{BlockSummary, ForkSummary, RelLocator};
use walbrook::wal_reader::{WalReader, changed_blocks, relation_text};

use super::input::{InputArgs, tell};
use super::relation::fork_name;
use crate::args::CommonArgs;
use crate::console::Console;
use crate::failure::Result;
use crate::output::{Lines, OutputFormat};
use crate::runtime;

/// Tell which blocks changed in a range, by relation and fork
///
/// As PostgreSQL's WAL summaries have it: changed blocks, and the limit block, from which on the fork
/// was truncated or is new. A limit without a relation's number is that of a whole database that
/// was created or dropped. Free space maps are not WAL-logged, and not told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  walbrook-wal changes --repo file:///backups --cluster prod --from-time '2026-11-22 14:00+00' --summary
  walbrook-wal changes --dir pg_wal --from-lsn 0/3000028 --to-lsn 0/5000000 --output json

With --output json, one object a line: spc, db, rel, fork, limit_block, changed (how many blocks) and
blocks, as pairs of the first and last of each run.

Exit codes: 0 done; 1 failed; 2 usage.")]
pub(super) struct Args {
    #[command(flatten)]
    input: InputArgs,

    /// Only how many blocks, not which
    #[arg(long)]
    summary: bool,

    #[command(flatten)]
    pub(super) common: CommonArgs,
}

/// One fork, for programs.
#[derive(Serialize)]
struct JsonFork {
    spc: u32,
    db: u32,
    rel: u32,
    fork: &'static str,
    limit_block: Option<BlockNumber>,
    changed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<Vec<(BlockNumber, BlockNumber)>>,
}

pub(super) fn run(args: Args, console: Console) -> Result<ExitCode> {
    let settings = args.input.settings(&args.common, &console)?;
    let options = args.input.options(settings.as_ref())?;
    let changed = runtime::run(runtime::large(), async {
        let mut reader = WalReader::open(&options).await?;
        let changed = changed_blocks(&mut reader).await;
        tell(&mut reader, &console);
        Ok(changed?)
    })?;
    let mut lines = Lines::new();
    let wanted = show(&changed, &args, &mut lines)?;
    if wanted && args.common.output == OutputFormat::Text {
        let blocks: u64 =
            changed.iter().map(|(_, _, fork)| fork.blocks.iter().count() as u64).sum();
        lines.line(&format!("{blocks} blocks of {} relation forks", changed.len()))?;
    }
    lines.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn show(changed: &BlockSummary, args: &Args, lines: &mut Lines) -> Result<bool> {
    for (relation, fork, summary) in changed.iter() {
        let runs = runs(summary);
        let count = runs.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
        let wanted = match args.common.output {
            OutputFormat::Text => {
                lines.line(&text(relation, fork, summary, count, &runs, args.summary))?
            }
            OutputFormat::Json => lines.json(&JsonFork {
                spc: relation.tablespace_oid,
                db: relation.database,
                rel: relation.number,
                fork: fork_name(fork),
                limit_block: summary.limit_block,
                changed: count,
                blocks: (!args.summary).then_some(runs),
            })?,
        };
        if !wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

fn text(
    relation: RelLocator,
    fork: Fork,
    summary: &ForkSummary,
    count: u64,
    runs: &[(BlockNumber, BlockNumber)],
    counts_only: bool,
) -> String {
    let mut line = format!("{} {}:", relation_text(relation), fork_name(fork));
    if let Some(limit) = summary.limit_block {
        line += &format!(" limit {limit},");
    }
    let plural = if count == 1 { "" } else { "s" };
    line += &format!(" {count} block{plural}");
    for (first, last) in runs.iter().filter(|_| !counts_only) {
        line += &if first == last { format!(" {first}") } else { format!(" {first}-{last}") };
    }
    line
}

/// The changed blocks as runs of consecutive ones.
fn runs(summary: &ForkSummary) -> Vec<(BlockNumber, BlockNumber)> {
    let mut runs: Vec<(BlockNumber, BlockNumber)> = Vec::new();
    for block in summary.blocks.iter() {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(block) => *last = block,
            _ => runs.push((block, block)),
        }
    }
    runs
}
