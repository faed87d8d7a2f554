//! A backup by `BASE_BACKUP`, whole or [incremental](super::native).

use jiff::Timestamp;
use walbrook_replication::{BaseBackup, BaseBackupOptions, ManifestChecksums, Session};
use walbrook_repo::{BackupWriter, PageCheck, TablespaceRecord, WalArchive};
use walbrook_types::{Lsn, TimelineId, WalFileName};
use walbrook_wal::TimelineHistory;

use crate::backup::copy::{Copied, Copier};
use crate::backup::native::Begun;
use crate::backup::wal_stream::WalReservation;
use crate::backup::{Run, Taken, check_positions, parse_history, watched};
use crate::{Phase, Progress, Result};

impl Run<'_> {
    pub(super) async fn take_over_replication(
        &self,
        mut session: Session,
        mut writer: BackupWriter,
        reservation: Option<WalReservation>,
    ) -> Result<Taken> {
        let history = store_history(&mut session, &self.archive, self.server.timeline).await?;
        self.progress.begin(Phase::Checkpoint, None);
        let begun = self.begin_base_backup(session, writer.base(), &history).await?;
        let Begun { backup: mut base, prior, changes } = begun;
        let start = base.start();
        let checksums = self.server.facts.data_checksums;
        writer.set_check(Some(PageCheck { checksums, start_lsn: start.0 }));
        let mut wal = self.begin_wal(reservation, start).await?;

        self.progress.begin(Phase::Copy, total_bytes(&base));
        let copied =
            watched(&mut wal, Copier::new(&mut writer, self.progress, prior).run(&mut base))
                .await?;
        let stop = watched(&mut wal, stop(&mut base)).await?;
        let stopped_at = Timestamp::now();
        let tablespaces = tablespaces(&base);
        finish_base_backup(base, self.progress).await?;
        let Copied { label, control, mut manifest } = copied;
        check_positions(&label, &control, &self.server, start, stop)?;

        self.progress.begin(Phase::Finish, None);
        let stored =
            watched(&mut wal, async { Ok(writer.finish(|entry| manifest.inspect(entry)).await?) })
                .await?;
        manifest.finish()?;
        Ok(Taken { stored, start, stop, stopped_at, label, control, tablespaces, changes, wal })
    }

    pub(super) fn protocol_options(&self) -> BaseBackupOptions {
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

fn total_bytes(base: &BaseBackup) -> Option<u64> {
    base.tablespaces().iter().map(|t| t.size_kib.map(|kib| kib * 1024)).sum()
}

fn tablespaces(base: &BaseBackup) -> Vec<TablespaceRecord> {
    let named = base.tablespaces().iter().filter_map(|t| Some((t.oid?, t.location.clone()?)));
    named.map(|(oid, location)| TablespaceRecord { oid, location }).collect()
}

/// A timeline other than the first is of no use without the file that says where it comes from.
async fn store_history(
    session: &mut Session,
    archive: &WalArchive,
    timeline: TimelineId,
) -> Result<TimelineHistory> {
    if timeline == TimelineId::FIRST {
        return Ok(TimelineHistory::root(timeline));
    }
    let file = session.timeline_history(timeline).await?;
    let history = parse_history(timeline, Some(&file.content))?;
    archive.put_bytes(WalFileName::TimelineHistory { timeline }, file.content).await?;
    Ok(history)
}
