use std::process::ExitCode;

use walbrook::types::TimelineId;
use walbrook::wal_reader::{
    FindOptions, FindSort, Found, RelationFilter, RelationNames, Restorable, WalReader,
    find_transactions,
};

use super::find_text::{Commands, json, text};
use super::input::{InputArgs, tell};
use super::relation::{RelationArg, relation};
use crate::args::CommonArgs;
use crate::config::Settings;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::output::{OutputFormat, print, print_json};
use crate::runtime;

/// Who deleted my rows, and where do I restore to?
///
/// Lists the transactions that ended in a range of the WAL, with the rows that they inserted,
/// updated and deleted in each relation and the relations that they truncated or dropped, and prints
/// the command that restores the cluster to just before one of them. Subtransactions are counted
/// with their transaction, prepared transactions under their own ID.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  walbrook-wal find --repo file:///backups --cluster prod -d 'host=db1 user=postgres' \\
      --from-time '2026-11-22 14:00:00+00' --relation app.orders --sort deletes
  walbrook-wal find --repo file:///backups --cluster prod --xid 731

The restore ends just before the transaction's commit: what committed earlier is kept, what
committed later is not there.

A table that got new, empty files was truncated; rewritten are those of VACUUM FULL, CLUSTER,
REINDEX, REFRESH MATERIALIZED VIEW and ALTER TABLE. Without --dsn, relations are told by
TABLESPACE/DATABASE/FILE, and TOAST tables and indexes can't be told from tables. Counts are marked
with * when the transaction may have begun before the WAL that was read.

Exit codes: 0 done, also when nothing is found; 1 failed; 2 usage.")]
pub(super) struct Args {
    #[command(flatten)]
    input: InputArgs,

    /// A server of this cluster that knows the relations' names, as for psql; all databases that it
    /// lets in are asked
    #[arg(short, long, value_name = "CONNINFO")]
    dsn: Option<String>,

    /// Only this transaction
    #[arg(long, value_name = "XID", help_heading = "Filters")]
    xid: Option<u32>,

    /// Only what happened to this relation: TABLESPACE/DATABASE/FILE in numbers, or, with --dsn, its
    /// name in that database; may be repeated
    #[arg(long, value_name = "RELATION", value_parser = relation, help_heading = "Filters")]
    relation: Vec<RelationArg>,

    /// Only transactions that deleted at least so many rows
    #[arg(long, value_name = "N", default_value_t, help_heading = "Filters")]
    min_deletes: u64,

    /// Aborted transactions as well
    #[arg(long, help_heading = "Filters")]
    aborted: bool,

    /// Catalogs, TOAST tables and indexes as well
    #[arg(long, help_heading = "Filters")]
    all: bool,

    /// Which come first: damage is truncated or dropped relations, then deleted rows
    #[arg(long, value_enum, default_value_t, value_name = "BY")]
    sort: Sort,

    /// How many are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    /// How much WAL before the range is read as well, in MiB, for transactions that had begun
    /// before it
    #[arg(long, value_name = "MIB", default_value_t = 64, help_heading = "Range")]
    lead_in: u64,

    /// The directory that the printed command restores into
    #[arg(short = 'D', long, value_name = "DIR", default_value = "DIR")]
    pgdata: String,

    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Sort {
    #[default]
    Damage,
    Deletes,
    Updates,
    Truncates,
    Time,
}

pub(super) fn run(args: Args, console: Console) -> Result<ExitCode> {
    let settings = args.input.settings(&args.common, &console)?;
    let mut options = args.input.options(settings.as_ref())?;
    options.lead_in = args.lead_in.saturating_mul(1 << 20);
    let server = match &args.dsn {
        Some(dsn) => Some(super::server(dsn, settings.as_ref(), &console)?),
        None => None,
    };
    let mut wanted = find_options(&args);
    let (found, timeline, restorable) = runtime::run(runtime::large(), async {
        let mut names = match &server {
            Some(server) => Some(RelationNames::connect(server).await?),
            None => None,
        };
        for relation in &args.relation {
            wanted.relations.push(match (relation, &mut names) {
                (RelationArg::Files(files), _) => RelationFilter::Files(*files),
                (RelationArg::Name(name), Some(names)) => {
                    let (relation, oid) = names.find(name).await?;
                    RelationFilter::Object { database: relation.database, oid }
                }
                (RelationArg::Name(name), None) => {
                    return Err(Failure::usage_text(format!(
                        "WAL has no names: --relation {name} needs --dsn, a server that knows it; \
                         else write TABLESPACE/DATABASE/FILE in numbers"
                    )));
                }
            });
        }
        let mut reader = WalReader::open(&options).await?;
        let found = find_transactions(&mut reader, &wanted, names.as_mut()).await;
        tell(&mut reader, &console);
        for warning in names.iter_mut().flat_map(RelationNames::take_warnings) {
            console.warn(warning);
        }
        let timeline = reader.history().timeline();
        let restorable = restorable(&args, settings.as_ref(), timeline).await?;
        Ok((found?, timeline, restorable))
    })?;
    if found.given_up > 0 {
        console.warn(format_args!(
            "{} transactions were in flight for long with too many others, and are not counted",
            found.given_up
        ));
    }
    let commands = Commands::new(settings.as_ref(), &args.pgdata, timeline, restorable.as_ref())?;
    tell_what_can_not_be(&args, &found, &commands, &console);
    match args.common.output {
        OutputFormat::Text => print(&text(&found, args.aborted, &commands))?,
        OutputFormat::Json => print_json(&json(&found, &commands))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn find_options(args: &Args) -> FindOptions {
    let mut options = FindOptions::default();
    options.xid = args.xid;
    options.min_deletes = args.min_deletes;
    options.aborted = args.aborted;
    options.all = args.all;
    options.limit = args.limit;
    options.sort = match args.sort {
        Sort::Damage => FindSort::Damage,
        Sort::Deletes => FindSort::Deletes,
        Sort::Updates => FindSort::Updates,
        Sort::Truncates => FindSort::Truncates,
        Sort::Time => FindSort::Time,
    };
    options
}

async fn restorable(
    args: &Args,
    settings: Option<&Settings>,
    timeline: TimelineId,
) -> Result<Option<Restorable>> {
    let Some(settings) = settings.filter(|_| args.input.is_repository()) else { return Ok(None) };
    let opened = Restorable::open(&settings.repository, settings.cluster(), timeline).await?;
    Ok(Some(opened))
}

/// The command is printed all the same: a backup may be elsewhere, and WAL still come.
fn tell_what_can_not_be(args: &Args, found: &Found, commands: &Commands<'_>, console: &Console) {
    let Some(first) = found.transactions.first() else { return };
    if args.common.output == OutputFormat::Text && commands.is_out_of_reach(first) {
        console.warn(format_args!(
            "no backup of the cluster leads to {}: the oldest is newer, or WAL is missing; see \
             walbrook-list and walbrook-wal gaps",
            first.lsn
        ));
    }
}
