use std::process::ExitCode;

use serde_json::json;
use walbrook::wal_reader::{StatsRow, StatsTotals, WalReader, WalStats};

use super::input::{InputArgs, tell};
use crate::args::CommonArgs;
use crate::console::Console;
use crate::failure::Result;
use crate::output::{OutputFormat, print, print_json};
use crate::runtime;

/// Count WAL records and their sizes, as pg_waldump --stats does
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  walbrook-wal stats --repo file:///backups --cluster prod --from-time '2026-11-22 14:00+00'
  walbrook-wal stats --by record --dir pg_wal --from 000000010000000000000003

Sizes are in bytes; that of full-page images is as they are stored, compressed or not.

Exit codes: 0 done; 1 failed; 2 usage.")]
pub(super) struct Args {
    #[command(flatten)]
    input: InputArgs,

    /// A row for each resource manager, or for each of their operations
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    by: By,

    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum By {
    #[default]
    Rmgr,
    Record,
}

pub(super) fn run(args: Args, console: Console) -> Result<ExitCode> {
    let settings = args.input.settings(&args.common, &console)?;
    let options = args.input.options(settings.as_ref())?;
    let stats = runtime::run(runtime::large(), async {
        let mut reader = WalReader::open(&options).await?;
        let mut stats = WalStats::default();
        loop {
            let record = reader.next().await;
            tell(&mut reader, &console);
            let Some(record) = record? else { return Ok(stats) };
            stats.add(&record)?;
        }
    })?;
    let rows = match args.by {
        By::Rmgr => stats.by_rmgr(),
        By::Record => stats.by_operation(),
    };
    match args.common.output {
        OutputFormat::Text => print(&table(&stats, &rows))?,
        OutputFormat::Json => print_json(&value(&stats, &rows))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn value(stats: &WalStats, rows: &[StatsRow]) -> serde_json::Value {
    let totals = |t: &StatsTotals| {
        json!({ "count": t.count, "record_bytes": t.record_bytes, "fpi_bytes": t.fpi_bytes,
                "total_bytes": t.total_bytes() })
    };
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let mut value = totals(&row.totals);
            value["rmgr"] = row.rmgr.to_string().into();
            if let Some(operation) = &row.operation {
                value["op"] = operation.as_str().into();
            }
            value
        })
        .collect();
    let range = stats.range();
    json!({ "from_lsn": range.map(|(from, _)| from), "to_lsn": range.map(|(_, to)| to),
            "rows": rows, "total": totals(&stats.total()) })
}

/// The layout of `XLogDumpDisplayStats` in PostgreSQL's `pg_waldump.c`.
fn table(stats: &WalStats, rows: &[StatsRow]) -> String {
    let Some((from, to)) = stats.range() else { return "No WAL records.\n".to_owned() };
    let total = stats.total();
    let mut out = format!("WAL statistics between {from} and {to}:\n");
    let heads = [
        ["Type", "N", "(%)", "Record size", "(%)", "FPI size", "(%)", "Combined size", "(%)"],
        ["----", "-", "---", "-----------", "---", "--------", "---", "-------------", "---"],
    ];
    for [name, n, a, record, b, fpi, c, all, d] in heads {
        out += &format!(
            "{name:<27} {n:>20} {a:>8} {record:>20} {b:>8} {fpi:>20} {c:>8} {all:>20} {d:>8}\n"
        );
    }
    for row in rows {
        let name = match &row.operation {
            Some(operation) => format!("{}/{operation}", row.rmgr),
            None => row.rmgr.to_string(),
        };
        out += &format!("{name:<27}");
        for (part, whole) in [
            (row.totals.count, total.count),
            (row.totals.record_bytes, total.record_bytes),
            (row.totals.fpi_bytes, total.fpi_bytes),
            (row.totals.total_bytes(), total.total_bytes()),
        ] {
            out += &format!(" {part:>20} ({:>6.2})", percent(part, whole));
        }
        out.push('\n');
    }
    let line = "--------";
    out += &format!(
        "{:<27} {line:>20} {:>8} {line:>20} {:>8} {line:>20} {:>8} {line:>20}\n",
        "", "", "", ""
    );
    let share = |part| format!("[{:.2}%]", percent(part, total.total_bytes()));
    out + &format!(
        "{:<27} {:>20} {:<9}{:>20} {:<9}{:>20} {:<9}{:>20} {:<6}\n",
        "Total",
        total.count,
        "",
        total.record_bytes,
        share(total.record_bytes),
        total.fpi_bytes,
        share(total.fpi_bytes),
        total.total_bytes(),
        "[100%]"
    )
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}
