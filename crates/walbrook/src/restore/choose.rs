//! Choosing the backup and the timeline for a target.

use walbrook_repo::{BackupRecord, Cluster, DamagedBackup};
use walbrook_types::{Lsn, SegmentNumber, TimelineId};

use crate::catalog::is_restorable;
use crate::known_wal::{KnownWal, WalCheck};
use crate::restore::locate;
use crate::restore::plan::missing_wal;
use crate::restore::scan::Scan;
use crate::restore::{RestoreOptions, Target, TargetTimeline};
use crate::wal_path::WalPath;
use crate::{Error, ErrorKind, Result};

/// What was chosen.
pub(crate) struct Choice {
    pub(crate) backup: BackupRecord,
    /// The way to the timeline that is followed.
    pub(crate) path: WalPath,
    /// The last segment of it that can be reached from the backup without a gap.
    pub(crate) last: SegmentNumber,
    /// Backups that could not be considered.
    pub(crate) damaged: Vec<DamagedBackup>,
}

/// Chooses by what the repository has written down of its WAL; lists what the restore then needs of it,
/// and chooses again by listing all if that is not so.
pub(crate) async fn choose(cluster: &Cluster, options: &RestoreOptions) -> Result<Choice> {
    match choose_by(cluster, options, WalCheck::Recorded).await {
        Ok((choice, true)) => return Ok(choice),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok((_, false)) | Err(_) => {}
    }
    Ok(choose_by(cluster, options, WalCheck::Listed).await?.0)
}

/// The choice, and whether the WAL that it needs is there.
async fn choose_by(
    cluster: &Cluster,
    options: &RestoreOptions,
    check: WalCheck,
) -> Result<(Choice, bool)> {
    let (backups, mut damaged) = match &options.backup {
        Some(id) => (vec![cluster.backup(id).await?], Vec::new()),
        None => cluster.readable_backups().await?,
    };
    // Another backup and the WAL since lead to the same point, but for this target, which is the
    // backup's own end.
    if matches!(options.target, Target::Immediate)
        && let Some(first) = damaged.pop()
    {
        let message = "choose the backup whose end is meant with --backup; one can't be read";
        return Err(Error::new(ErrorKind::Corrupt, message).with_source(first.error));
    }
    let Some(newest) = backups.last() else {
        return Err(match damaged.pop() {
            Some(damaged) => damaged.error.into(),
            None => no_backup(cluster).await?,
        });
    };
    // A cluster that went through pg_upgrade: the system of the newest backup is the one in use.
    let system = cluster.system(newest.server.system_identifier).await?;
    let of_system = |b: &BackupRecord| b.server.system_identifier == system.system_identifier;
    let backups: Vec<_> = backups.iter().filter(|b| of_system(b)).cloned().collect();
    let wal = KnownWal::read(&cluster.wal(&system), check).await?;
    let path = choose_path(&wal, &backups, options).await?;

    let on_path: Vec<BackupRecord> =
        backups.into_iter().filter(|b| path.contains(b.span.timeline, b.span.stop_lsn)).collect();
    if on_path.is_empty() {
        let message = format!(
            "no backup of cluster {:?} leads to timeline {}: choose another with \
             --target-timeline",
            cluster.name(),
            path.timeline()
        );
        return Err(Error::new(ErrorKind::Unreachable, message));
    }
    let (usable, broken): (Vec<_>, Vec<_>) =
        on_path.into_iter().partition(|backup| is_restorable(&path, backup));
    if usable.is_empty() {
        let Some(newest) = broken.last() else { return Err(no_backup(cluster).await?) };
        return Err(missing_wal(&path, newest));
    }
    let (backup, until) = choose_backup(&usable, &path, options).await?;
    let backup = backup.clone();
    let size = path.size();
    let first = size.segment_of(backup.span.start_lsn);
    let last = path.reach(first).ok_or_else(|| missing_wal(&path, &backup))?;
    let until = until.map_or(last, |until| size.segment_of(until).min(last));
    let is_there =
        !wal.rests_on_records() || check == WalCheck::Listed || path.is_there(first, until).await?;
    Ok((Choice { backup, path, last, damaged }, is_there))
}

async fn no_backup(cluster: &Cluster) -> Result<Error> {
    let message = if cluster.systems().await?.is_empty() {
        format!(
            "there is no cluster {:?} in the repository at {}: check --cluster; walbrook-list \
             shows those that there are",
            cluster.name(),
            cluster.repository().store().location()
        )
    } else {
        format!(
            "cluster {:?} has no backup in the repository at {}",
            cluster.name(),
            cluster.repository().store().location()
        )
    };
    Ok(Error::new(ErrorKind::NotFound, message))
}

async fn choose_path(
    wal: &KnownWal,
    backups: &[BackupRecord],
    options: &RestoreOptions,
) -> Result<WalPath> {
    let newest = backups.last().map_or(TimelineId::FIRST, |backup| backup.span.timeline);
    let wanted = match options.timeline {
        TargetTimeline::Id(timeline) => timeline,
        TargetTimeline::Current => newest,
        TargetTimeline::Latest => {
            // The newest that a backup leads to: one that was abandoned leads nowhere.
            let leads_to = |path: &WalPath| {
                backups.iter().any(|b| path.contains(b.span.timeline, b.span.stop_lsn))
            };
            let path = wal.paths().await?.into_iter().rev().find(leads_to);
            match path {
                Some(path) => return Ok(path),
                None => newest,
            }
        }
    };
    wal.path(wanted).await
}

/// The newest of the usable backups that is complete before the target, when the target can be
/// reached from it; and a position from which on recovery needs nothing, if one is known. `usable` is not
/// empty.
async fn choose_backup<'a>(
    usable: &'a [BackupRecord],
    path: &WalPath,
    options: &RestoreOptions,
) -> Result<(&'a BackupRecord, Option<Lsn>)> {
    let size = path.size();
    let first_of = |backup: &BackupRecord| size.segment_of(backup.span.start_lsn);
    let oldest = &usable[0];
    let newest = &usable[usable.len() - 1];
    let before_target = |position: Option<_>| match &options.target {
        Target::Time(time) => usable.iter().rev().find(|backup| {
            let earliest = backup.span.earliest_target();
            earliest < *time || (earliest == *time && !options.exclusive)
        }),
        _ => usable.iter().rev().find(|b| position.is_some_and(|p| b.span.stop_lsn <= p)),
    };
    let too_early = |what: String| {
        let message = format!(
            "{} is before the end of {} ({}): {what}",
            options.target,
            match usable {
                [_] => format!("backup {}", oldest.id),
                _ => format!("the oldest backup, {}", oldest.id),
            },
            oldest.span.stop_lsn
        );
        Error::new(ErrorKind::Unreachable, message)
    };
    let too_late = |end: String| {
        let message = format!(
            "{} is after the end of the WAL in the repository ({end}): archive what is missing, or \
             restore to --target latest",
            options.target
        );
        Error::new(ErrorKind::Unreachable, message)
    };
    let reach = |backup: &BackupRecord| {
        path.reach(first_of(backup)).ok_or_else(|| missing_wal(path, backup))
    };
    match &options.target {
        Target::Latest => Ok((newest, None)),
        Target::Immediate => Ok((newest, Some(newest.span.stop_lsn))),
        Target::Time(time) => {
            let Some(backup) = before_target(None) else {
                let earliest = oldest.span.earliest_target();
                return Err(too_early(format!("the earliest time that can be had is {earliest}")));
            };
            if options.standby {
                return Ok((backup, None));
            }
            let last = reach(backup)?;
            // A later backup that has seen a transaction from behind the target.
            let later = usable.iter().find(|later| {
                let ended = later.span.last_transaction_time;
                later.span.stop_lsn > backup.span.stop_lsn && ended.is_some_and(|end| end > *time)
            });
            let until = later.map(|later| later.span.stop_lsn);
            let from = backup.span.stop_lsn;
            match locate::transaction_after(path, *time, options.exclusive, from, last).await? {
                Ok(()) => Ok((backup, until)),
                Err(Some(end)) => Err(too_late(format!("its last transaction is of {end}"))),
                Err(None) => {
                    Err(too_late(format!("it has no transaction after backup {}", backup.id)))
                }
            }
        }
        Target::Lsn(lsn) => {
            let Some(backup) = before_target(Some(*lsn)) else {
                return Err(too_early(format!(
                    "the earliest position that can be had is {}",
                    oldest.span.stop_lsn
                )));
            };
            let last = reach(backup)?;
            // Recovery stops at the first record that begins there or later: one must exist.
            match Scan::new(path, *lsn, last).find(|record| record.lsn >= *lsn).await? {
                Some(stop) => Ok((backup, Some(stop))),
                None => Err(too_late(format!("at {}", path.end_lsn(last).await?))),
            }
        }
        Target::Xid(_) | Target::Name(_) => {
            // Backups between which WAL is missing reach different ends: the newest run first.
            let mut found = None;
            let mut run = usable.iter().rev().peekable();
            while let (None, Some(backup)) = (found, run.next()) {
                let last = reach(backup)?;
                let is_oldest = match run.peek() {
                    Some(older) => reach(older)? != last,
                    None => true,
                };
                let from = backup.span.start_lsn;
                found = match &options.target {
                    Target::Xid(xid) if is_oldest => {
                        locate::transaction(path, *xid, from, last).await?
                    }
                    Target::Name(name) if is_oldest => {
                        locate::restore_point(path, name, from, last).await?
                    }
                    _ => None,
                };
            }
            let Some(lsn) = found else {
                let message = format!(
                    "{} is not in the WAL of timeline {} that the repository has from backup {} on",
                    options.target,
                    path.timeline(),
                    oldest.id
                );
                return Err(Error::new(ErrorKind::Unreachable, message));
            };
            let backup = before_target(Some(lsn)).ok_or_else(|| {
                too_early(format!("it is at {lsn}; restore another backup, or to another target"))
            })?;
            Ok((backup, Some(lsn)))
        }
    }
}
