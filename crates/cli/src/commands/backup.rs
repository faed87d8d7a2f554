use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use jiff::Zoned;
use walbrook::{
    BackupId, BackupOptions, BackupRecord, Base, ChangeDetection, Checkpoint, Codec, ConnInfo,
    Environment, ExpiryOptions, Source, WalMode,
};

use crate::args::{
    CommonArgs, LockArgs, Pair, PolicyArgs, codec, duration, jobs, pair, rate, size,
};
use crate::commands::expire::Done;
use crate::commands::expire_text;
use crate::config::Settings;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::format;
use crate::output::{OutputFormat, print, print_json};
use crate::progress::ConsoleProgress;
use crate::runtime;

/// The exit code for a backup that exists, of a database that has damaged pages.
const DAMAGED: u8 = 3;

/// The exit code for a good backup, after which the expiry failed, or of which not all is locked.
const NOT_ALL: u8 = 4;

/// How many damaged pages are named; the backup's record has more.
const NAMED: usize = 10;

/// Back up a running PostgreSQL server.
///
/// Stores the whole cluster, with the WAL that it needs, and prints the backup's id. What an earlier
/// backup has stored is referred to rather than stored again, down to single pages, and what is
/// proven to be unchanged since then need not be read (--changes); every backup is complete all the same. Nothing is
/// installed on the server: several connections read its files by SQL, as a superuser or as a role
/// with the grants that --print-grants prints; without them, one connection does over the
/// replication protocol, for which the REPLICATION attribute is enough.
#[derive(Debug, Parser)]
#[command(
    name = "walbrook-backup",
    version,
    after_help = "\
Examples:
  walbrook-backup --repo file:///backups --cluster prod -d 'host=db1 user=backup' --jobs 4
  walbrook-backup --print-grants -d 'host=db1 user=backup' | psql 'host=db1 user=postgres'

Environment: WALBROOK_REPO, WALBROOK_CLUSTER, WALBROOK_CONFIG; PG* as for psql; AWS_*, GOOGLE_* and
AZURE_* for the credentials of stores.

Exit codes: 0 done; 1 failed; 2 usage; 3 done, but the database has damaged pages, and nothing was
expired; 4 the backup is done and good, but --expire failed or could not remove all, or what it needs
of earlier backups could not all be locked (--lock-until)."
)]
struct Args {
    /// The server, as keywords or a URL of libpq; PG* variables, service file and ~/.pgpass fill it
    /// up
    #[arg(short, long, value_name = "CONNINFO")]
    dsn: Option<String>,

    /// Where the pages come from. sql: several ordinary connections. replication: BASE_BACKUP, one
    /// stream. local: the data directory on this machine, see --pgdata. auto: local when --pgdata is
    /// given, else sql when the role may, else replication [default: auto]
    #[arg(long, value_name = "SOURCE")]
    source: Option<SourceArg>,

    /// Back up a standby, of the hosts that --dsn lists; the primary, with a warning, when no standby
    /// can be reached or none keeps up: its replay is paused, or it is 1 GiB of WAL behind. With
    /// target_session_attrs=standby in --dsn never the primary
    #[arg(long)]
    from_standby: bool,

    /// The server's data directory on this machine: read it, rather than have the server send it
    #[arg(short = 'D', long, value_name = "DIR")]
    pgdata: Option<PathBuf>,

    /// Store only what this backup has not, rather than what the newest fitting one has not. Every
    /// backup is complete by itself, and none is lost with another
    #[arg(long, value_name = "ID", conflicts_with = "full")]
    base: Option<BackupId>,

    /// Copy and store everything anew
    #[arg(long)]
    full: bool,

    /// How to find out what has changed since the base. wal-summaries: those of PostgreSQL 17 and
    /// later with summarize_wal on. sum: those beside the archived WAL, any version. page-lsn: by the
    /// header of each page. hash: by comparing all content. auto: the first of wal-summaries, sum and
    /// hash that is proven to know every change. With --source replication: wal-summaries, and the
    /// server sends what changed, or hash [default: auto]
    #[arg(long, value_name = "HOW")]
    changes: Option<ChangesArg>,

    /// Do not continue backups that were interrupted. Otherwise what they have stored, and the
    /// server still has, is not stored again; --full continues only those with --full
    #[arg(long)]
    no_resume: bool,

    /// Print the SQL that lets the user of --dsn take backups with --source sql, and end
    #[arg(long)]
    print_grants: bool,

    /// Fail when there is no repository yet, instead of creating it
    #[arg(long)]
    no_create: bool,

    /// Accept another system identifier under this cluster's name: after pg_upgrade or a new initdb
    #[arg(long)]
    new_system: bool,

    /// Free text for the backup's record and backup_label
    #[arg(long, value_name = "TEXT", value_parser = label)]
    label: Option<String>,

    /// A key and a value for the backup's record; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    annotate: Vec<Pair>,

    /// How to compress: zstd[:LEVEL] with a level from 1 to 19, lz4 or none [default: zstd:1]
    #[arg(long, value_name = "CODEC", value_parser = codec)]
    compression: Option<Codec>,

    /// Connections (or threads, for local) that read at once, and what is compressed at once
    /// [default: the number of cores]
    #[arg(short, long, value_name = "N", value_parser = jobs)]
    jobs: Option<usize>,

    /// fast: the server writes its checkpoint at once; spread: over some minutes [default: fast]
    #[arg(long, value_name = "HOW")]
    checkpoint: Option<CheckpointArg>,

    /// The most that is read of the server per second: kilobytes, or with k or M, such as 100M
    #[arg(long, value_name = "RATE", value_parser = rate)]
    max_rate: Option<u32>,

    /// Bytes that are stored anew at most so that packs of removed backups, of which little is in use,
    /// can go: a number with k, M or G, or 0 for none [default: 64M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    compact: Option<u64>,

    /// How the WAL gets into the repository: stream it during the backup, wait for the server's
    /// archive_command, or see whether that works and stream otherwise [default: auto]
    #[arg(long, value_name = "HOW")]
    wal: Option<WalArg>,

    /// How long to wait for the last WAL, such as 30s or 5min [default: 5min]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wal_timeout: Option<Duration>,

    /// After a good backup, remove what the retention policy does not keep, as walbrook-expire does. The
    /// policy is that of [retention] in the configuration file and of these flags
    #[arg(long)]
    expire: bool,

    #[command(flatten)]
    lock: LockArgs,

    #[command(flatten)]
    policy: PolicyArgs,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SourceArg {
    Auto,
    Sql,
    Replication,
    Local,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ChangesArg {
    Auto,
    WalSummaries,
    Sum,
    PageLsn,
    Hash,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CheckpointArg {
    Fast,
    Spread,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WalArg {
    Auto,
    Stream,
    Archive,
}

/// `walbrook-backup`.
pub fn backup() -> ExitCode {
    super::main("walbrook-backup", |args: &Args| &args.common, run)
}

fn run(args: Args, console: Console) -> Result<ExitCode> {
    if args.print_grants {
        return print_grants(args.dsn.as_deref());
    }
    let output = args.common.output;
    let settings = Settings::load(&args.common, &console)?;
    let expiry = expiry(&args, &settings)?;
    let options = options(args, &settings, &console)?;
    let progress = ConsoleProgress::new(console);
    let record =
        runtime::run(runtime::large(), async { Ok(walbrook::backup(&options, &progress).await?) })?;
    drop(progress);
    tell_source(&record, &console);
    let locked = tell_lock(&record, &console);

    let expired = match &expiry {
        Some(expiry) if record.damage.pages == 0 => expire(expiry, &console)?,
        _ => true,
    };
    // The damage first: standard output may be a pipe that nobody reads any more.
    let damaged = record.damage.pages > 0;
    if damaged {
        tell_damage(&record, &console);
    }
    match output {
        OutputFormat::Text => print(&format!("{}\n", record.id))?,
        OutputFormat::Json => print_json(&record)?,
    }
    Ok(match (damaged, expired && locked) {
        (true, _) => DAMAGED.into(),
        (false, false) => NOT_ALL.into(),
        (false, true) => ExitCode::SUCCESS,
    })
}

/// What is to be removed afterwards, if anything. That there is a policy is found out before the
/// backup is taken.
fn expiry(args: &Args, settings: &Settings) -> Result<Option<ExpiryOptions>> {
    if !args.expire {
        if args.policy.is_given() {
            let message = "what to keep is of use with --expire only";
            return Err(Failure::usage_text(message));
        }
        return Ok(None);
    }
    let policy = args.policy.over(&settings.retention()).map_err(Failure::usage_text)?;
    if policy.is_empty() {
        return Err(Failure::usage_text(
            "--expire needs a policy: use --window, --keep-last, --daily and the like, or \
             [retention] in a configuration file",
        ));
    }
    let mut options = ExpiryOptions::new(settings.repository.clone(), settings.cluster(), policy);
    if let Some(grace) = settings.value(None, "grace", duration)? {
        options.grace = grace;
    }
    Ok(Some(options))
}

/// Removes what is not to be kept. The backup is good whatever comes of this: false when it failed,
/// or was not all done.
fn expire(options: &ExpiryOptions, console: &Console) -> Result<bool> {
    let options = ExpiryOptions { now: Zoned::now(), ..options.clone() };
    let outcome = runtime::run(runtime::large(), async { Ok(Done::expire(&options).await) })?;
    match outcome {
        Ok(done) => {
            console.note(expire_text::report(&done).trim_end().replace('\n', "; "));
            done.warn(console);
            Ok(done.is_all())
        }
        Err(error) => {
            console.warn(format_args!("the backup is done, but the expiry failed: {error}"));
            Ok(false)
        }
    }
}

/// Needs no repository and no connection: the statements are the same on every version.
fn print_grants(dsn: Option<&str>) -> Result<ExitCode> {
    let server = ConnInfo::parse(dsn.unwrap_or_default(), &Environment::from_process())
        .map_err(Failure::usage)?
        .with_fallback_dbname("postgres");
    print(&walbrook::source::grants(server.user(), server.dbname(), true))?;
    Ok(ExitCode::SUCCESS)
}

fn tell_source(record: &BackupRecord, console: &Console) {
    let reason = record.source.reason.as_deref().unwrap_or("no reason was noted");
    console.info(format!("the pages came by {}: {reason}", record.source.kind));
    if let (Some(base), Some(changes)) = (&record.base, &record.source.changes) {
        let (by, reason) = (&changes.by, &changes.reason);
        console.info(format!("what changed since backup {base} was found by {by}: {reason}"));
    }
    if !record.resumes.is_empty() {
        let ids: Vec<&str> = record.resumes.iter().map(BackupId::as_str).collect();
        let size = format::size(record.size.resumed_bytes);
        console.note(format!(
            "continued what was interrupted: {size} of this backup is in packs of {}",
            ids.join(", ")
        ));
    }
}

/// Whether all is locked that was to be.
fn tell_lock(record: &BackupRecord, console: &Console) -> bool {
    let Some(lock) = &record.lock else { return true };
    match &lock.trouble {
        None => console.info(format_args!("all that it needs is locked until {}", lock.until)),
        Some(trouble) => console.warn(format_args!(
            "the backup is done, but not all that it needs is locked: {trouble}"
        )),
    }
    lock.trouble.is_none()
}

fn options(args: Args, settings: &Settings, console: &Console) -> Result<BackupOptions> {
    let server = settings.server(args.dsn, console)?;
    let mut options = BackupOptions::new(settings.repository.clone(), settings.cluster(), server);
    options.create = !args.no_create;
    options.lock = args.lock.options(settings)?;
    options.new_system = args.new_system;
    options.resume = !args.no_resume;
    options.annotations = annotations(args.annotate)?;
    if let Some(label) = args.label {
        options.label = label;
    }
    if let Some(codec) = settings.value(args.compression, "compression", codec)? {
        options.codec = codec;
    }
    if let Some(jobs) = settings.value(args.jobs, "jobs", jobs)? {
        options.jobs = jobs;
    }
    let source = |text: &str| SourceArg::from_str(text, false);
    if let Some(source) = settings.value(args.source, "source", source)? {
        options.source = match source {
            SourceArg::Auto => Source::Auto,
            SourceArg::Sql => Source::Sql,
            SourceArg::Replication => Source::Replication,
            SourceArg::Local => Source::Local,
        };
    }
    let flag = |text: &str| text.parse::<bool>().map_err(|error| error.to_string());
    let from_standby = settings.value(args.from_standby.then_some(true), "from-standby", flag)?;
    options.from_standby = from_standby.unwrap_or(false);
    options.base = match (args.full, args.base) {
        (true, _) => Base::None,
        (false, Some(id)) => Base::Backup(id),
        (false, None) => Base::Newest,
    };
    let changes = |text: &str| ChangesArg::from_str(text, false);
    if let Some(changes) = settings.value(args.changes, "changes", changes)? {
        options.changes = match changes {
            ChangesArg::Auto => ChangeDetection::Auto,
            ChangesArg::WalSummaries => ChangeDetection::WalSummaries,
            ChangesArg::Sum => ChangeDetection::Sum,
            ChangesArg::PageLsn => ChangeDetection::PageLsn,
            ChangesArg::Hash => ChangeDetection::Hash,
        };
    }
    options.data_directory =
        settings.value(args.pgdata, "pgdata", |text| Ok(PathBuf::from(text)))?;
    let checkpoint = |text: &str| CheckpointArg::from_str(text, false);
    if let Some(checkpoint) = settings.value(args.checkpoint, "checkpoint", checkpoint)? {
        options.checkpoint = match checkpoint {
            CheckpointArg::Fast => Checkpoint::Fast,
            CheckpointArg::Spread => Checkpoint::Spread,
        };
    }
    let wal = |text: &str| WalArg::from_str(text, false);
    if let Some(wal) = settings.value(args.wal, "wal", wal)? {
        options.wal = match wal {
            WalArg::Auto => WalMode::Auto,
            WalArg::Stream => WalMode::Stream,
            WalArg::Archive => WalMode::Archive,
        };
    }
    options.max_rate = settings.value(args.max_rate, "max-rate", rate)?;
    if let Some(compact) = settings.value(args.compact, "compact", size)? {
        options.compaction = compact;
    }
    if let Some(timeout) = settings.value(args.wal_timeout, "wal-timeout", duration)? {
        options.wal_timeout = timeout;
    }
    Ok(options)
}

fn annotations(pairs: Vec<Pair>) -> Result<BTreeMap<String, String>> {
    let mut annotations = BTreeMap::new();
    for Pair { key, value } in pairs {
        if annotations.contains_key(&key) {
            return Err(Failure::usage_text(format!("--annotate {key}=… is given twice")));
        }
        annotations.insert(key, value);
    }
    Ok(annotations)
}

/// A line of `backup_label`, which the server writes into a buffer of `MAXPGPATH`.
fn label(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it is empty".to_owned()),
        text if text.contains(char::is_control) => Err("it must be one line".to_owned()),
        text if text.len() > 1024 => Err("it is longer than 1024 bytes".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn tell_damage(record: &BackupRecord, console: &Console) {
    let damage = &record.damage;
    console.warn(format_args!(
        "the backup exists, but {} of the database's pages are damaged; they are stored as they \
         are. Keep older backups, and see pg_amcheck and the server's disks",
        damage.pages
    ));
    for page in damage.listed.iter().take(NAMED) {
        console.warn(format_args!("{}, block {}: {}", page.path, page.block, page.problem));
    }
    let named = damage.listed.len().min(NAMED) as u64;
    if damage.pages > named {
        console.warn(format_args!(
            "and {} more: see the record (--output json)",
            damage.pages - named
        ));
    }
}
