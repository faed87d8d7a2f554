use std::process::ExitCode;

use anyhow::Context as _;
use walbrook::types::Fork;
use walbrook::wal::RmgrId;
use walbrook::wal_reader::{RecordFilter, RelationNames, WalReader};

use super::input::{InputArgs, tell};
use super::record::{JsonRecord, text};
use super::relation::{RelationArg, fork, relation};
use crate::args::CommonArgs;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::output::{Lines, OutputFormat, print};
use crate::runtime;

/// Show WAL records, a line each
///
/// In the layout of pg_waldump, though with shorter descriptions, or as one JSON object a line: lsn,
/// end_lsn, timeline, prev, rmgr, op, total_len, xid, blocks (spc, db, rel, fork, blk, fpi, apply),
/// and for the ends of transactions time, prepared_xid and subxids.
///
/// Without a range it begins where the last run of segments without a gap does.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  walbrook-wal show --repo file:///backups --cluster prod --xid 731 --from-time '2026-11-22 14:00+00'
  walbrook-wal show --dir pg_wal --from 000000010000000000000003 --rmgr Heap --relation 1663/5/16384
  walbrook-wal show --output json 000000010000000000000003 | jq .op

Exit codes: 0 done, also when nothing is shown; 1 failed; 2 usage.")]
pub(super) struct Args {
    #[command(flatten)]
    input: InputArgs,

    /// Only records of this resource manager, by the name that pg_waldump has for it; may be
    /// repeated. list: show the names
    #[arg(long, value_name = "RMGR", value_parser = rmgr, help_heading = "Filters")]
    rmgr: Vec<RmgrArg>,

    /// Only records about a block of this relation: TABLESPACE/DATABASE/FILE in numbers, or, with
    /// --dsn, its name; may be repeated
    #[arg(long, value_name = "RELATION", value_parser = relation, help_heading = "Filters")]
    relation: Vec<RelationArg>,

    /// Only records about this block
    #[arg(long, value_name = "N", help_heading = "Filters")]
    block: Option<u32>,

    /// Only records about a block of this fork: main, fsm, vm or init
    #[arg(long, value_name = "FORK", value_parser = fork, help_heading = "Filters")]
    fork: Option<Fork>,

    /// Only records with a full-page image
    #[arg(long, help_heading = "Filters")]
    fullpage: bool,

    /// Only records of this transaction
    #[arg(long, value_name = "XID", help_heading = "Filters")]
    xid: Option<u32>,

    /// Stop after this many records
    #[arg(long, value_name = "N", help_heading = "Filters")]
    limit: Option<u64>,

    /// A server that knows the relation by its name
    #[arg(short, long, value_name = "CONNINFO")]
    dsn: Option<String>,

    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Clone)]
enum RmgrArg {
    List,
    One(RmgrId),
}

pub(super) fn run(args: Args, console: Console) -> Result<ExitCode> {
    if args.rmgr.iter().any(|rmgr| matches!(rmgr, RmgrArg::List)) {
        let names: String = known().map(|rmgr| format!("{rmgr}\n")).collect();
        print(&names)?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = args.input.settings(&args.common, &console)?;
    let options = args.input.options(settings.as_ref())?;
    let mut filter = RecordFilter::default();
    filter.rmgrs = args
        .rmgr
        .iter()
        .filter_map(|rmgr| match rmgr {
            RmgrArg::One(rmgr) => Some(*rmgr),
            RmgrArg::List => None,
        })
        .collect();
    filter.block = args.block;
    filter.fork = args.fork;
    filter.full_page = args.fullpage;
    filter.xid = args.xid;
    let named: Vec<&String> = args
        .relation
        .iter()
        .filter_map(|relation| match relation {
            RelationArg::Files(files) => {
                filter.relations.push(*files);
                None
            }
            RelationArg::Name(name) => Some(name),
        })
        .collect();
    let server = match (named.as_slice(), &args.dsn) {
        ([], _) => None,
        ([name, ..], None) => {
            return Err(Failure::usage_text(format!(
                "WAL has no names: --relation {name} needs --dsn, a server that knows it; else \
                 write TABLESPACE/DATABASE/FILE in numbers"
            )));
        }
        (_, Some(dsn)) => Some(super::server(dsn, settings.as_ref(), &console)?),
    };
    runtime::run(runtime::large(), async {
        if let Some(server) = server {
            let mut names = RelationNames::connect(&server).await?;
            for name in named {
                filter.relations.push(names.find(name).await?.0);
            }
        }
        let mut reader = WalReader::open(&options).await?;
        let mut lines = Lines::new();
        let outcome = show(&mut reader, &filter, &args, &mut lines, &console).await;
        // What was read before the trouble is shown.
        lines.finish()?;
        outcome
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn show(
    reader: &mut WalReader,
    filter: &RecordFilter,
    args: &Args,
    lines: &mut Lines,
    console: &Console,
) -> Result<()> {
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let record = reader.next().await;
        tell(reader, console);
        let Some(record) = record? else { break };
        if !filter.matches(&record)? {
            continue;
        }
        let unreadable = || format!("the record at {} can't be shown", record.lsn);
        let wanted = match args.common.output {
            OutputFormat::Text => lines.line(&text(&record).with_context(unreadable)?)?,
            OutputFormat::Json => {
                let timeline = reader.timeline_of(record.lsn);
                lines.json(&JsonRecord::new(&record, timeline).with_context(unreadable)?)?
            }
        };
        if !wanted {
            break;
        }
        left -= 1;
    }
    Ok(())
}

/// PostgreSQL's own resource managers.
fn known() -> impl Iterator<Item = RmgrId> {
    (0..=u8::MAX).map(RmgrId).take_while(|rmgr| *rmgr <= RmgrId::LOGICAL_MESSAGE)
}

fn rmgr(text: &str) -> Result<RmgrArg, String> {
    if text == "list" {
        return Ok(RmgrArg::List);
    }
    let is_it = |rmgr: &RmgrId| rmgr.to_string().eq_ignore_ascii_case(text);
    let custom = || text.strip_prefix("custom")?.parse().ok().filter(|n| *n >= 128).map(RmgrId);
    known().find(is_it).or_else(custom).map(RmgrArg::One).ok_or_else(|| {
        "there is no such resource manager: --rmgr list shows their names".to_owned()
    })
}
