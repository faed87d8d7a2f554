//! Choosing the backup that a new one is compared with.

use walbrook_repo::{BackupRecord, Cluster, DamagedBackup};
use walbrook_types::Lsn;
use walbrook_wal::TimelineHistory;

use crate::backup::options::Base;
use crate::backup::server::Server;
use crate::{BackupOptions, Error, ErrorKind, Progress, Result};

/// The base of a backup of this server, which is on the timeline of `history`; none when there is
/// none, or none is wanted.
///
/// It is the newest backup of the same system that is wholly part of this server's past: a page of
/// any other may hold what never happened here.
pub(crate) async fn choose_base(
    cluster: &Cluster,
    options: &BackupOptions,
    progress: &dyn Progress,
    server: &Server,
    history: &TimelineHistory,
) -> Result<Option<BackupRecord>> {
    let fits = |backup: &BackupRecord| unfit(backup, server, history).is_none();
    match &options.base {
        Base::None => Ok(None),
        Base::Newest => {
            let (mut backups, damaged) = cluster.readable_backups().await?;
            for DamagedBackup { error, .. } in damaged {
                // Nothing is needed more then than another backup.
                progress.warn(&format!("an earlier backup is passed over: {error}"));
            }
            backups.retain(fits);
            // Which of them may be used is known once the intent is there; what an expiry is removing,
            // or was when it died, would be refused then, and there would be no base at all.
            let marks = cluster.expiry_marks().await.unwrap_or_default();
            backups.retain(|backup| !marks.iter().any(|mark| mark.remove.contains(&backup.id)));
            Ok(backups.pop())
        }
        Base::Backup(id) => {
            let backup = cluster.backup(id).await?;
            match unfit(&backup, server, history) {
                None => Ok(Some(backup)),
                Some(why) => {
                    let message = format!("backup {id} can't be the base of this one: {why}");
                    Err(Error::new(ErrorKind::Invalid, message))
                }
            }
        }
    }
}

/// Why a backup can't be the base; none when it can.
fn unfit(backup: &BackupRecord, server: &Server, history: &TimelineHistory) -> Option<String> {
    let (facts, span) = (&backup.server, &backup.span);
    if facts.system_identifier != server.facts.system_identifier {
        return Some(format!("it is of another system, {}", facts.system_identifier));
    }
    if facts.block_size != server.facts.block_size {
        return Some(format!("its pages have {} bytes", facts.block_size));
    }
    let in_the_past = |lsn: Lsn| {
        history.contains(span.timeline, lsn) || history.switch_lsn(span.timeline) == Some(lsn)
    };
    if !in_the_past(span.start_lsn) || !in_the_past(span.stop_lsn) {
        return Some(format!(
            "it ends at {} on timeline {}, and the server on timeline {} never was there",
            span.stop_lsn,
            span.timeline,
            history.timeline()
        ));
    }
    if span.stop_lsn > server.flushed {
        return Some(format!(
            "it ends at {}, and the server has come to {} only",
            span.stop_lsn, server.flushed
        ));
    }
    None
}
