//! Taking a backup over the replication protocol.
//!
//! The server sends its files with `BASE_BACKUP`; [`copy`] stores them. Meanwhile [`wal_stream`]
//! brings the WAL that they need into the archive, or the server's own archiver does. The backup
//! exists when both are complete.

mod copy;
mod manifest_check;
mod options;
mod segment_buffer;
mod server;
mod wal_stream;

pub use options::{BackupOptions, WalMode};

use jiff::Timestamp;
use walbrook_replication::{BaseBackup, BaseBackupOptions, ManifestChecksums, Session};
use walbrook_repo::{
    BackupId, BackupIntent, BackupRecord, BackupSpan, BackupWriter, Cluster, PageCheck, Repository,
    SourceFacts, TablespaceRecord, WalArchive, WriterOptions, Written,
};
use walbrook_types::{Lsn, TimelineId, WalFileName};

use crate::backup::copy::{Copied, Copier};
use crate::backup::server::Server;
use crate::backup::wal_stream::{
    WalFacts, WalReservation, WalStreaming, archiver_is_seen, wait_for_archive,
};
use crate::{Error, ErrorKind, Phase, Progress, Result, VERSION};

/// Takes a full backup and returns its record.
///
/// When this returns the backup is durable and can be restored with nothing but the repository.
/// Dropping the future abandons it: what was stored so far stays, invisible, until it is expired.
pub async fn backup(options: &BackupOptions, progress: &dyn Progress) -> Result<BackupRecord> {
    let started_at = Timestamp::now();
    let (session, server) = Server::connect(&options.server).await?;
    let cluster = open_cluster(options).await?;
    let system = server.system_record();
    cluster.register_system(&system, options.new_system).await?;
    let archive = cluster.wal(&system).with_compression(options.codec, options.jobs);

    let intent = BackupIntent {
        id: BackupId::generate(started_at),
        cluster: options.cluster.clone(),
        system_identifier: system.system_identifier,
        base: None,
        resumes: Vec::new(),
        host: host_name(),
        pid: std::process::id(),
        started_at,
        walbrook_version: VERSION.to_owned(),
    };
    let run = Run { options, progress, server, cluster, archive, intent };
    run.take(session).await
}

async fn open_cluster(options: &BackupOptions) -> Result<Cluster> {
    let store = walbrook_store::open(&options.repository)?;
    let repository = if options.create {
        Repository::open_or_create(store).await?
    } else {
        Repository::open(store).await?
    };
    Ok(repository.cluster(&options.cluster)?)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
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

impl Run<'_> {
    async fn take(self, mut session: Session) -> Result<BackupRecord> {
        let reservation = self.reserve_wal().await?;
        let wal_kind = if reservation.is_some() { "stream" } else { "archive" };
        let mut writer = BackupWriter::begin(
            &self.cluster,
            self.intent.clone(),
            WriterOptions { codec: self.options.codec, workers: self.options.jobs, check: None },
        )
        .await?;

        store_history(&mut session, &self.archive, self.server.timeline).await?;
        self.progress.begin(Phase::Checkpoint, None);
        let mut base = session.base_backup(&self.protocol_options()).await?;
        let (start_lsn, timeline) = base.start();
        let check = PageCheck { checksums: self.server.facts.data_checksums, start_lsn };
        writer.set_check(Some(check));
        let mut wal = match reservation {
            Some(reservation) => {
                let archive = self.archive.clone();
                Wal::Streaming(reservation.stream(archive, start_lsn, timeline).await?)
            }
            None => Wal::Archiver,
        };

        self.progress.begin(Phase::Copy, total_bytes(&base));
        let copied =
            watched(&mut wal, Copier::new(&mut writer, self.progress).run(&mut base)).await?;
        let stop = watched(&mut wal, stop(&mut base)).await?;
        let stopped_at = Timestamp::now();
        let tablespaces = tablespaces(&base);
        finish_base_backup(base, self.progress).await?;
        check_positions(&copied, &self.server, (start_lsn, timeline), stop)?;

        self.progress.begin(Phase::Finish, None);
        let Copied { label, control, mut manifest } = copied;
        let stored =
            watched(&mut wal, async { Ok(writer.finish(|entry| manifest.inspect(entry)).await?) })
                .await?;
        manifest.finish()?;

        self.progress.begin(Phase::WaitForWal, None);
        let facts = self.finish_wal(wal, timeline, (start_lsn, stop.0)).await?;
        let size = self.archive.segment_size();
        let span = BackupSpan {
            timeline,
            start_lsn,
            stop_lsn: stop.0,
            first_segment: WalFileName::containing(timeline, start_lsn, size),
            last_segment: WalFileName::segment(timeline, size.segment_before(stop.0), size),
            started_at: self.intent.started_at,
            stopped_at,
            checkpoint_time: server_time(control.checkpoint.time.unix_micros()),
            last_transaction_time: facts.last_transaction,
        };
        let source = SourceFacts {
            kind: "replication".to_owned(),
            reason: None,
            from_standby: label.from_standby,
            server: self.server.peer.clone(),
            wal: wal_kind.to_owned(),
        };
        let record = stored
            .commit(|Written { intent, size, damage, manifest }| BackupRecord {
                id: intent.id,
                cluster: intent.cluster,
                base: intent.base,
                server: self.server.facts.clone(),
                span,
                source,
                tablespaces,
                size,
                manifest,
                damage,
                label: self.options.label.clone(),
                annotations: self.options.annotations.clone(),
                walbrook_version: VERSION.to_owned(),
            })
            .await?;
        Ok(record)
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

    fn protocol_options(&self) -> BaseBackupOptions {
        BaseBackupOptions::new()
            .label(self.options.label.clone())
            .checkpoint(self.options.checkpoint)
            .max_rate(self.options.max_rate)
            // The WAL is this program's business, and so is waiting for it.
            .wal(false)
            .wait(false)
            .progress(true)
            .tablespace_map(false)
            // The server reads a torn page again; we could not.
            .verify_checksums(true)
            .manifest(Some(ManifestChecksums::Crc32c))
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

async fn stop(base: &mut BaseBackup) -> Result<(Lsn, TimelineId)> {
    Ok(base.stop().await?)
}

/// Hears whether the server stands by its backup. Pages with a wrong checksum are reported with
/// the backup, not by losing it: the copy is all that there is of them.
async fn finish_base_backup(base: BaseBackup, progress: &dyn Progress) -> Result<()> {
    match base.finish().await {
        Ok(end) => {
            for warning in &end.warnings {
                progress.warn(&format!("the server warns: {warning}"));
            }
            Ok(())
        }
        Err(error) if error.is_checksum_failure() => {
            progress.warn(&format!("the server warns: {error}"));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// What the server said at different times must fit together.
fn check_positions(
    copied: &Copied,
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
    if copied.control.system_id != server.facts.system_identifier {
        return changed(format!(
            "the server sent the files of system {}, not those of {}",
            copied.control.system_id, server.facts.system_identifier
        ));
    }
    if (copied.label.start_lsn, copied.label.start_timeline) != start {
        return changed(format!(
            "backup_label says that the backup starts at {}, the server that it does at {}",
            copied.label.start_lsn, start.0
        ));
    }
    Ok(())
}

fn total_bytes(base: &BaseBackup) -> Option<u64> {
    base.tablespaces().iter().map(|t| t.size_kib.map(|kib| kib * 1024)).sum()
}

fn tablespaces(base: &BaseBackup) -> Vec<TablespaceRecord> {
    let named = base.tablespaces().iter().filter_map(|t| Some((t.oid?, t.location.clone()?)));
    named.map(|(oid, location)| TablespaceRecord { oid, location }).collect()
}

/// A time of the server's, in microseconds since 1970. One that no calendar has is the epoch: it
/// is a lower bound for restores, and a server's clock is not ours to judge.
fn server_time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

/// A timeline other than the first is of no use without the file that says where it comes from.
async fn store_history(
    session: &mut Session,
    archive: &WalArchive,
    timeline: TimelineId,
) -> Result<()> {
    if timeline == TimelineId::FIRST {
        return Ok(());
    }
    let file = session.timeline_history(timeline).await?;
    archive.put_bytes(WalFileName::TimelineHistory { timeline }, file.content).await?;
    Ok(())
}
