//! Taking a backup.
//!
//! The server's files come from one of the [sources](source), or as `BASE_BACKUP` sends them:
//! [`choose`] connects to the one or the other, [`pages`] and [`copy`] store what comes. Meanwhile
//! [`wal_stream`] brings the WAL that they need into the archive, or the server's own archiver
//! does. The backup exists when both are complete.

mod base;
mod changes;
mod choose;
mod copy;
mod host;
mod manifest_check;
mod native;
mod options;
mod pages;
mod reading;
mod replication;
mod resume;
mod segment_buffer;
mod server;
pub mod source;
mod wal_stream;

pub use options::{BackupOptions, Base, ChangeDetection, Source, WalMode};

use std::ops::Range;

use jiff::Timestamp;
use walbrook_page::ControlFile;
use walbrook_repo::{
    BackupId, BackupIntent, BackupReader, BackupRecord, BackupSpan, BackupWriter, BaseIndex,
    ChangeFacts, Cluster, CompactionOptions, FileCopy, Repository, ResumedBackups, SourceFacts,
    TablespaceRecord, UncommittedBackup, WalArchive, WornPacks, WriterOptions, Written,
};
use walbrook_types::{BackupLabel, Lsn, TimelineId, WalFileName};
use walbrook_wal::TimelineHistory;

use crate::backup::base::choose_base;
use crate::backup::changes::{Changes, Detector};
use crate::backup::choose::{Chosen, Connected, choose};
use crate::backup::host::pick;
use crate::backup::pages::PageCopier;
use crate::backup::resume::choose_resumed;
use crate::backup::server::Server;
use crate::backup::source::PageSource;
use crate::backup::wal_stream::{
    WalFacts, WalReservation, WalStreaming, archiver_is_seen, wait_for_archive,
};
use crate::host::host_name;
use crate::{Error, ErrorKind, Phase, Progress, Result, VERSION};

/// The file that is read last.
const CONTROL_FILE: &str = "global/pg_control";

/// Takes a backup and returns its record.
///
/// Every backup is complete by itself. What an older one has stored already, its base, it refers to,
/// whole files and single pages; what is proven to be unchanged since then need not even be read.
///
/// When this returns the backup is durable and can be restored with nothing but the repository.
/// Dropping the future abandons it: what was stored so far stays, invisible, until it is expired.
pub async fn backup(options: &BackupOptions, progress: &dyn Progress) -> Result<BackupRecord> {
    let started_at = Timestamp::now();
    let picked = pick(options, progress).await?;
    let options = &BackupOptions { server: picked.server, ..options.clone() };
    let Chosen { mut source, server, mut reason } = choose(options, progress).await?;
    if let Some(why) = picked.reason {
        reason = format!("{reason}; the server: {why}");
    }
    let cluster = open_cluster(options).await?;
    let system = server.system_record();
    cluster.register_system(&system, options.new_system).await?;
    let archive =
        cluster.wal(&system).with_compression(options.codec, options.jobs).for_streaming();

    source.can_detect(options.changes)?;
    let history = source.history(server.timeline).await?;
    let base = choose_base(&cluster, options, progress, &server, &history).await?;
    let intent = BackupIntent {
        id: BackupId::generate(started_at),
        cluster: options.cluster.clone(),
        system_identifier: system.system_identifier,
        base: base.as_ref().map(|base| base.id.clone()),
        resumes: choose_resumed(&cluster, options, &server, base.as_ref()).await?,
        wal_from: server.wal_from,
        host: host_name(),
        pid: std::process::id(),
        started_at,
        walbrook_version: VERSION.to_owned(),
    };
    let run = Run { options, progress, server, cluster, archive, intent };
    run.take(source, reason, base).await.map_err(|error| match error.is_lost_connection() {
        true => error.with_remedy("take the backup again: it goes on from what this one stored"),
        false => error,
    })
}

async fn open_cluster(options: &BackupOptions) -> Result<Cluster> {
    let store = crate::lock::open(&options.repository, options.lock)?;
    let repository = if options.create {
        Repository::open_or_create(store).await?
    } else {
        Repository::open(store).await?
    };
    Ok(repository.cluster(&options.cluster)?)
}

/// A backup under way.
struct Run<'a> {
    options: &'a BackupOptions,
    progress: &'a dyn Progress,
    server: Server,
    cluster: Cluster,
    archive: WalArchive,
    intent: BackupIntent,
}

/// How the WAL comes, once the backup has begun.
enum Wal {
    Streaming(WalStreaming),
    Archiver,
}

/// What a source has brought into a writer, and what it said of it.
struct Taken {
    stored: UncommittedBackup,
    start: (Lsn, TimelineId),
    stop: (Lsn, TimelineId),
    stopped_at: Timestamp,
    label: BackupLabel,
    control: ControlFile,
    tablespaces: Vec<TablespaceRecord>,
    changes: Option<ChangeFacts>,
    wal: Wal,
}

impl Run<'_> {
    async fn take(
        self,
        connected: Connected,
        reason: String,
        base: Option<BackupRecord>,
    ) -> Result<BackupRecord> {
        let before = base.as_ref().map(|base| base.span.started_at);
        let reservation = self.reserve_wal().await?;
        let wal_kind = if reservation.is_some() { "stream" } else { "archive" };
        let kind = connected.kind();
        let mut writer = BackupWriter::begin(
            &self.cluster,
            self.intent.clone(),
            WriterOptions { codec: self.options.codec, workers: self.options.jobs, check: None },
        )
        .await?;
        // Behind the intent, which keeps expiry from it.
        if let Some(index) = self.open_base(base, &writer).await? {
            let compaction = CompactionOptions::new(self.options.compaction);
            let worn = WornPacks::find(&self.cluster, &index, compaction).await?;
            writer.set_base(index)?;
            writer.set_compaction(worn);
        }
        let resumes = self.intent.resumes.iter().filter(|id| writer.forbids(id).is_none());
        let resumes: Vec<BackupId> = resumes.cloned().collect();
        if !resumes.is_empty() {
            let resumed = ResumedBackups::open(&self.cluster, &resumes).await?;
            let (ids, packs) = (resumed.ids(), resumed.packs());
            tracing::info!(?ids, packs, "continuing backups that were interrupted");
            writer.set_resumed(resumed)?;
        }
        let taken = match connected {
            Connected::Replication(session) => {
                self.take_over_replication(session, writer, reservation).await?
            }
            Connected::Sql(source) => self.take_from(*source, writer, reservation).await?,
            Connected::Local(source) => self.take_from(*source, writer, reservation).await?,
        };
        let Taken {
            mut stored,
            start,
            stop,
            stopped_at,
            label,
            control,
            tablespaces,
            changes,
            wal,
        } = taken;
        self.check_start(start.0)?;

        self.progress.begin(Phase::WaitForWal, None);
        let facts = self.finish_wal(wal, start.1, (start.0, stop.0)).await?;
        self.warn_of_moves(&facts, start.0..stop.0);
        let size = self.archive.segment_size();
        let span = BackupSpan {
            timeline: start.1,
            start_lsn: start.0,
            stop_lsn: stop.0,
            first_segment: WalFileName::containing(start.1, start.0, size),
            last_segment: WalFileName::segment(start.1, size.segment_before(stop.0), size),
            started_at: self.intent.started_at,
            stopped_at,
            checkpoint_time: server_time(control.checkpoint.time.unix_micros()),
            last_transaction_time: facts.last_transaction,
        };
        let source = SourceFacts {
            kind: kind.to_owned(),
            reason: Some(reason),
            from_standby: label.from_standby,
            server: self.server.peer.clone(),
            wal: wal_kind.to_owned(),
            changes,
        };
        if let Some(lock) = self.options.lock {
            stored.lock(&self.archive, (span.first_segment, span.last_segment), lock.until).await;
            if let Some(warning) = before.and_then(|began| lock.warn_of_gap(began.into())) {
                self.progress.warn(&warning);
            }
        }
        let record = stored
            .commit(|Written { intent, size, damage, manifest, lock }| BackupRecord {
                id: intent.id,
                cluster: intent.cluster,
                base: intent.base,
                resumes: intent.resumes,
                server: self.server.facts.clone(),
                span,
                source,
                tablespaces,
                size,
                manifest,
                damage,
                label: self.options.label.clone(),
                annotations: self.options.annotations.clone(),
                lock,
                walbrook_version: VERSION.to_owned(),
            })
            .await?;
        // The backup exists whatever comes of this.
        if let Err(error) = self.archive.record_runs(WalArchive::RUN_AT_LEAST).await {
            self.progress.warn(&format!(
                "the backup is complete, but which WAL there is was not written down, so that \
                 listing it takes longer: {error}"
            ));
        }
        Ok(record)
    }

    /// An expiry may have removed what lies before the position that the intent tells.
    fn check_start(&self, start: Lsn) -> Result<()> {
        match self.intent.wal_from {
            Some(from) if start < from => {
                let message = format!(
                    "the backup starts at {start}, before {from}, which the server had left behind \
                     when it was asked: was it replaced meanwhile? Take the backup again"
                );
                Err(Error::new(ErrorKind::ServerChanged, message))
            }
            _ => Ok(()),
        }
    }

    /// From a source that is read at random.
    async fn take_from(
        &self,
        mut source: impl PageSource,
        mut writer: BackupWriter,
        reservation: Option<WalReservation>,
    ) -> Result<Taken> {
        self.progress.begin(Phase::Checkpoint, None);
        let begun = source.begin(&self.options.label, self.options.checkpoint).await?;
        let start = (begun.lsn, begun.timeline);
        let history_file = source.timeline_history(begun.timeline).await?;
        let history = parse_history(begun.timeline, history_file.as_deref())?;
        if let Some(content) = history_file {
            let name = WalFileName::TimelineHistory { timeline: begun.timeline };
            self.archive.put_bytes(name, content.into()).await?;
        }
        let mut wal = self.begin_wal(reservation, start).await?;
        let (changes, facts) = match writer.base() {
            Some(base) => {
                let detector = Detector {
                    options: self.options,
                    server: &self.server,
                    archive: &self.archive,
                    base,
                    start: begun.lsn,
                    history: &history,
                };
                let (changes, facts) = watched(&mut wal, detector.detect()).await?;
                (changes, Some(facts))
            }
            None => (Changes::Compare, None),
        };
        let list = watched(&mut wal, source.files()).await?;
        self.progress.begin(Phase::Copy, Some(list.bytes()));
        // The source checks pages itself, for it can read a torn one again.
        let (progress, max_rate) = (self.progress, self.options.max_rate);
        let mut copier = PageCopier::new(&mut writer, progress, max_rate, &changes);
        watched(&mut wal, copier.run(&mut source, list)).await?;
        let control_file = source.control_file().await?;
        let control = ControlFile::parse(&control_file.bytes).map_err(|e| {
            Error::new(ErrorKind::ServerChanged, "global/pg_control is not valid").with_source(e)
        })?;
        copier.small_file(CONTROL_FILE, control_file).await?;
        let end = watched(&mut wal, source.end()).await?;
        let stopped_at = Timestamp::now();
        let label = std::str::from_utf8(&end.backup_label.bytes)
            .ok()
            .and_then(|text| BackupLabel::parse(text).ok())
            .ok_or_else(|| {
                Error::new(ErrorKind::ServerChanged, "the server gave no valid backup_label")
            })?;
        copier.report_damage(end.damage);
        copier.small_file("backup_label", end.backup_label).await?;
        let stop = (end.lsn, end.timeline);
        check_positions(&label, &control, &self.server, start, stop)?;

        self.progress.begin(Phase::Finish, None);
        let stored = watched(&mut wal, async { Ok(writer.finish(|_| Ok(())).await?) }).await?;
        let tablespaces = begun.tablespaces;
        let changes = facts;
        Ok(Taken { stored, start, stop, stopped_at, label, control, tablespaces, changes, wal })
    }

    /// The files of the base. One that is gone, going or damaged by now is none, unless it was asked
    /// for.
    async fn open_base(
        &self,
        base: Option<BackupRecord>,
        writer: &BackupWriter,
    ) -> Result<Option<BaseIndex>> {
        let Some(base) = base else { return Ok(None) };
        let id = base.id.clone();
        if let Some(why) = writer.forbids(&id) {
            if self.options.base != Base::Newest {
                let message = format!("backup {id} can't be the base of this one: {why}");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            self.progress.warn(&format!("copying everything, for backup {id} is no base: {why}"));
            return Ok(None);
        }
        match BaseIndex::open(&BackupReader::new(&self.cluster, base)).await {
            Ok(index) => Ok(Some(index)),
            Err(error) => {
                let gone = matches!(
                    error.kind(),
                    walbrook_repo::ErrorKind::NotFound | walbrook_repo::ErrorKind::Corrupt
                );
                if !gone || self.options.base != Base::Newest {
                    return Err(error.into());
                }
                self.progress
                    .warn(&format!("copying everything, for backup {id} can't be read: {error}"));
                Ok(None)
            }
        }
    }

    /// The server keeps its WAL; from here on it comes.
    async fn begin_wal(
        &self,
        reservation: Option<WalReservation>,
        start: (Lsn, TimelineId),
    ) -> Result<Wal> {
        let Some(reservation) = reservation else { return Ok(Wal::Archiver) };
        let archive = self.archive.clone();
        Ok(Wal::Streaming(reservation.stream(archive, start.0, start.1).await?))
    }

    /// Decides how the WAL comes. When it is to be streamed, the server keeps it from here on.
    async fn reserve_wal(&self) -> Result<Option<WalReservation>> {
        let by_archiver = match self.options.wal {
            WalMode::Stream => false,
            WalMode::Archive => true,
            WalMode::Auto if !self.server.archives => false,
            WalMode::Auto => {
                let Server { timeline, flushed, .. } = self.server;
                archiver_is_seen(&self.archive, timeline, flushed).await?
            }
        };
        if by_archiver {
            return Ok(None);
        }
        WalReservation::new(&self.options.server, self.intent.id.as_str()).await.map(Some)
    }

    /// Replay of a move copies the old directory, which may have gone before its files were read: no
    /// backup of PostgreSQL is safe from that.
    fn warn_of_moves(&self, facts: &WalFacts, range: Range<Lsn>) {
        for FileCopy { lsn, database, source_database } in &facts.file_copies {
            if database == source_database && range.contains(lsn) {
                self.progress.warn(&format!(
                    "database {database} was moved to another tablespace while it was backed up, and \
                     may be empty when this backup is restored, as with any tool: take another one"
                ));
            }
        }
    }

    async fn finish_wal(
        &self,
        wal: Wal,
        timeline: TimelineId,
        range: (Lsn, Lsn),
    ) -> Result<WalFacts> {
        let timeout = self.options.wal_timeout;
        match wal {
            Wal::Streaming(streaming) => streaming.finish(range.1, timeout).await,
            Wal::Archiver => wait_for_archive(&self.archive, timeline, range, timeout).await,
        }
    }
}

/// Runs a part of the backup, but fails at once when the WAL stream does: without its WAL the
/// rest is of no use.
async fn watched<T>(wal: &mut Wal, part: impl Future<Output = Result<T>>) -> Result<T> {
    match wal {
        Wal::Archiver => part.await,
        Wal::Streaming(streaming) => tokio::select! {
            outcome = part => outcome,
            error = streaming.failure() => Err(error),
        },
    }
}

/// The history of a timeline, by its file; the first timeline has none.
fn parse_history(timeline: TimelineId, file: Option<&[u8]>) -> Result<TimelineHistory> {
    let Some(file) = file else { return Ok(TimelineHistory::root(timeline)) };
    TimelineHistory::parse(timeline, &String::from_utf8_lossy(file)).map_err(|e| {
        let message = format!("the server's history of timeline {timeline} can't be read: {e}");
        Error::new(ErrorKind::Server, message).with_source(e)
    })
}

/// What the server said at different times must fit together.
fn check_positions(
    label: &BackupLabel,
    control: &ControlFile,
    server: &Server,
    start: (Lsn, TimelineId),
    stop: (Lsn, TimelineId),
) -> Result<()> {
    let changed = |what: String| Err(Error::new(ErrorKind::ServerChanged, what));
    if start.1 != stop.1 {
        return changed(format!(
            "the server was promoted from timeline {} to {} during the backup: take it again",
            start.1, stop.1
        ));
    }
    if control.system_id != server.facts.system_identifier {
        return changed(format!(
            "the server sent the files of system {}, not those of {}",
            control.system_id, server.facts.system_identifier
        ));
    }
    if (label.start_lsn, label.start_timeline) != start {
        return changed(format!(
            "backup_label says that the backup starts at {}, the server that it does at {}",
            label.start_lsn, start.0
        ));
    }
    Ok(())
}

/// A time of the server's, in microseconds since 1970. One that no calendar has is the epoch: it
/// is a lower bound for restores, and a server's clock is not ours to judge.
fn server_time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}
