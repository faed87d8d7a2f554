//! A repository as a retention policy sees it.

use jiff::Timestamp;
use walbrook_repo::{
    BackupId, BackupPin, BackupRecord, Cluster, SystemRecord, UnfinishedBackup, WalArchive,
};
use walbrook_retention::{
    Backup, Inventory, Pin, RunningBackup, SystemInfo, TimelineOrigin, WalRange,
};
use walbrook_types::{TimelineId, WalFileName};

use crate::known_wal::{KnownWal, WalCheck};
use crate::wal_path::read_history;
use crate::{Error, ErrorKind, Result};

/// Reads all that a plan needs: requests in proportion to backups and timelines, and pages of names.
///
/// Backups whose record is damaged are in no inventory: they must be among those that are `to_go`.
/// Tells which they are.
pub(crate) async fn read(
    cluster: &Cluster,
    now: Timestamp,
    to_go: &[BackupId],
) -> Result<(Inventory, Vec<BackupId>)> {
    let systems = cluster.systems().await?;
    if systems.is_empty() {
        let message = format!(
            "there is no cluster {:?} in the repository at {}",
            cluster.name(),
            cluster.repository().store().location()
        );
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    let (records, damaged, unfinished) = cluster.all_backups().await?;
    let running = unfinished.into_iter().filter(|b| b.is_alive(now)).map(running).collect();
    if let Some(unknown) = damaged.iter().find(|damaged| !to_go.contains(&damaged.id)) {
        let message = format!(
            "{}; nobody knows what that backup uses, so nothing is removed: mend the object, or remove \
             the backup with walbrook-expire --backup {}",
            unknown.error, unknown.id
        );
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    let damaged = damaged.into_iter().map(|damaged| damaged.id).collect();
    let mut backups: Vec<Backup> = records.iter().map(backup).collect();
    for (id, pins) in cluster.pins().await? {
        if let Some(backup) = backups.iter_mut().find(|backup| backup.id == id.as_str()) {
            backup.pins = pins.into_iter().map(pin).collect();
        }
    }
    let mut inventory = Inventory { backups, running, ..Inventory::default() };
    for system in &systems {
        inventory.systems.push(SystemInfo {
            system: system.system_identifier,
            registered_at: system.registered_at,
        });
        let own = |b: &&BackupRecord| b.server.system_identifier == system.system_identifier;
        let archive = cluster.wal(system);
        let mut wal = KnownWal::read(&archive, WalCheck::Recorded).await?;
        // A backup counts for as much as can be restored of it.
        wal.confirm(records.iter().filter(own)).await?;
        read_wal(&archive, &wal, system, &mut inventory).await?;
    }
    Ok((inventory, damaged))
}

fn pin(pin: BackupPin) -> Pin {
    Pin { until: pin.until, note: pin.note }
}

fn running(backup: UnfinishedBackup) -> RunningBackup {
    let intent = backup.intent;
    RunningBackup {
        id: intent.id.to_string(),
        system: intent.system_identifier,
        wal_from: intent.wal_from,
        base: intent.base.map(|base| base.to_string()),
    }
}

fn backup(record: &BackupRecord) -> Backup {
    let span = &record.span;
    Backup {
        id: record.id.to_string(),
        system: record.server.system_identifier,
        timeline: span.timeline,
        start_lsn: span.start_lsn,
        stop_lsn: span.stop_lsn,
        started_at: span.started_at,
        stopped_at: span.stopped_at.max(span.earliest_target()),
        self_contained: false,
        // Pages that fail their check do not keep the rest from being restored.
        damaged: false,
        pins: Vec::new(),
        annotations: record.annotations.clone(),
        bytes: record.size.stored_bytes,
    }
}

async fn read_wal(
    archive: &WalArchive,
    wal: &KnownWal,
    system: &SystemRecord,
    inventory: &mut Inventory,
) -> Result<()> {
    let size = archive.segment_size();
    for timeline in wal.timelines() {
        let ranges = wal.ranges(timeline);
        let written_by = match ranges.last() {
            // The segments of a timeline are archived in order, or nearly.
            Some(range) => {
                let last = WalFileName::segment(timeline, range.last, size);
                archive.info(&last).await?.map(|info| info.archived_at)
            }
            None => None,
        };
        inventory.wal.extend(ranges.iter().map(|range| WalRange {
            bytes: range.stored_bytes,
            written_by,
            ..WalRange::segments(archive.system(), timeline, range.first, range.last, size)
        }));
        read_origins(archive, system, timeline, inventory).await?;
    }
    Ok(())
}

/// What the history of a timeline tells, if it is there.
async fn read_origins(
    archive: &WalArchive,
    system: &SystemRecord,
    timeline: TimelineId,
    inventory: &mut Inventory,
) -> Result<()> {
    if timeline == TimelineId::FIRST {
        return Ok(());
    }
    let history = match read_history(archive, timeline).await {
        Ok(history) => history,
        // The plan keeps the WAL of a timeline whose history it does not know.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let info = archive.info(&WalFileName::TimelineHistory { timeline }).await?;
    let seen_at = info.map(|info| info.archived_at);
    let children = history.ancestors().iter().skip(1).map(|entry| entry.timeline);
    let children = children.chain([timeline]);
    for (entry, child) in history.ancestors().iter().zip(children) {
        inventory.origins.push(TimelineOrigin {
            system: system.system_identifier,
            timeline: child,
            parent: entry.timeline,
            switch_lsn: entry.switch_lsn,
            seen_at: seen_at.filter(|_| child == timeline),
        });
    }
    Ok(())
}
