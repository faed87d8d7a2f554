//! What a repository holds, and what can be recovered from it.

mod listing;
#[cfg(test)]
mod requests;

pub use listing::{
    BackupListing, ClusterListing, DamagedListing, RecoveryWindow, SystemListing, WalGap,
};

use std::collections::BTreeMap;

use jiff::Timestamp;
use walbrook_repo::{
    BackupId, BackupPin, BackupRecord, Cluster, Repository, SystemRecord, WalRange,
};
use walbrook_store::StoreUrl;
use walbrook_types::{SegmentNumber, TimelineId, WalFileName, WalSegmentSize};

use crate::known_wal::{KnownWal, WalCheck};
use crate::wal_path::WalPath;
use crate::{Error, ErrorKind, Result};

/// Lists one cluster of a repository, or all of them: backups, the moments that can be recovered
/// to, and where WAL is missing. Takes requests in proportion to backups, not to WAL segments.
pub async fn list(repository: &StoreUrl, cluster: Option<&str>) -> Result<Vec<ClusterListing>> {
    list_by(repository, cluster, WalCheck::Recorded).await
}

/// As [`list`], by the WAL that is found as `check` says.
pub async fn list_by(
    repository: &StoreUrl,
    cluster: Option<&str>,
    check: WalCheck,
) -> Result<Vec<ClusterListing>> {
    let repository = Repository::open(walbrook_store::open(repository)?).await?;
    let names = match cluster {
        Some(name) => vec![name.to_owned()],
        None => repository.clusters().await?,
    };
    let mut listings = Vec::with_capacity(names.len());
    for name in names {
        listings.push(list_cluster(&repository.cluster(&name)?, cluster.is_some(), check).await?);
    }
    Ok(listings)
}

/// Finds out what removing each listed backup, and no other, would free: its
/// [`frees`](BackupListing::frees). Reads the manifests of all backups of the clusters, and lists
/// their objects.
pub async fn measure(repository: &StoreUrl, clusters: &mut [ClusterListing]) -> Result<()> {
    let repository = Repository::open(walbrook_store::open(repository)?).await?;
    for listing in clusters {
        let freed = repository.cluster(&listing.cluster)?.freed_by_each().await?;
        let backups = listing.systems.iter_mut().flat_map(|system| &mut system.backups);
        backups.for_each(|backup| backup.frees = freed.get(&backup.record.id).copied());
    }
    Ok(())
}

pub(crate) async fn list_cluster(
    cluster: &Cluster,
    must_exist: bool,
    check: WalCheck,
) -> Result<ClusterListing> {
    let systems = cluster.systems().await?;
    if systems.is_empty() && must_exist {
        let known = cluster.repository().clusters().await?.join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        let message = format!(
            "there is no cluster {:?} in the repository at {}: it has {known}",
            cluster.name(),
            cluster.repository().store().location()
        );
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    let (backups, damaged) = cluster.readable_backups().await?;
    let mut pins = cluster.pins().await?;
    let now = Timestamp::now();
    pins.values_mut().for_each(|pins| pins.retain(|pin| pin.holds_at(now)));
    let mut listing = ClusterListing {
        cluster: cluster.name().to_owned(),
        systems: Vec::new(),
        damaged: damaged.into_iter().map(DamagedListing::from).collect(),
    };
    for system in systems {
        let own = |b: &&BackupRecord| b.server.system_identifier == system.system_identifier;
        let own: Vec<BackupRecord> = backups.iter().filter(own).cloned().collect();
        let listed = match list_system(cluster, &system, &own, &pins, check).await {
            // A segment that was to be looked into is not where it was written down to be.
            Err(error) if error.kind() == ErrorKind::NotFound && check == WalCheck::Recorded => {
                tracing::warn!(%error, "listing all WAL");
                list_system(cluster, &system, &own, &pins, WalCheck::Listed).await?
            }
            listed => listed?,
        };
        listing.systems.push(listed);
    }
    Ok(listing)
}

async fn list_system(
    cluster: &Cluster,
    system: &SystemRecord,
    records: &[BackupRecord],
    pins: &BTreeMap<BackupId, Vec<BackupPin>>,
    check: WalCheck,
) -> Result<SystemListing> {
    let size = system.wal_segment_size;
    let mut wal = KnownWal::read(&cluster.wal(system), check).await?;
    if check == WalCheck::Recorded {
        wal.confirm(records).await?;
    }
    let paths = wal.paths().await?;
    let mut windows = Vec::new();
    for path in &paths {
        windows.extend(windows_of(path, records).await?);
    }
    let (mut gaps, mut expired) = (Vec::new(), Vec::new());
    let (mut wal_bytes, mut wal_segments) = (0, 0);
    for timeline in wal.timelines() {
        let ranges = wal.ranges(timeline);
        wal_bytes += ranges.iter().map(|range| range.stored_bytes).sum::<u64>();
        wal_segments += ranges.iter().map(WalRange::segments).sum::<u64>();
        let (removed, lost) = wal.absent(timeline);
        expired.extend(removed.ranges().map(|range| gap(timeline, range, size)));
        gaps.extend(lost.ranges().map(|range| gap(timeline, range, size)));
    }
    let backups = records
        .iter()
        .map(|record| BackupListing {
            restorable: paths.iter().any(|path| is_restorable(path, record)),
            frees: None,
            pins: pins.get(&record.id).cloned().unwrap_or_default(),
            record: record.clone(),
        })
        .collect();
    Ok(SystemListing {
        system: system.clone(),
        backups,
        windows,
        gaps,
        expired,
        wal_bytes,
        wal_segments,
    })
}

/// Whether the WAL that makes a backup consistent is there, along this path.
pub(crate) fn is_restorable(path: &WalPath, record: &BackupRecord) -> bool {
    path.contains(record.span.timeline, record.span.stop_lsn) && missing_for(path, record).is_none()
}

/// The first segment that a backup needs to be consistent and that is missing.
pub(crate) fn missing_for(path: &WalPath, record: &BackupRecord) -> Option<WalFileName> {
    let size = path.size();
    let first = size.segment_of(record.span.start_lsn);
    path.first_missing(first, size.segment_before(record.span.stop_lsn))
}

/// The windows of one timeline: backups from which the same end is reached share one.
async fn windows_of(path: &WalPath, records: &[BackupRecord]) -> Result<Vec<RecoveryWindow>> {
    let mut windows: Vec<(SegmentNumber, RecoveryWindow)> = Vec::new();
    for record in records.iter().filter(|record| is_restorable(path, record)) {
        let first = path.size().segment_of(record.span.start_lsn);
        let Some(last) = path.reach(first) else { continue };
        match windows.iter_mut().find(|(end, _)| *end == last) {
            Some((_, window)) => window.last_backup = record.id.clone(),
            None => {
                let transaction = path.last_transaction(first, last).await?;
                let transactions = transaction.and_then(|info| info.content?.transactions);
                let window = RecoveryWindow {
                    timeline: path.timeline(),
                    first_backup: record.id.clone(),
                    last_backup: record.id.clone(),
                    from_lsn: record.span.stop_lsn,
                    from_time: record.span.earliest_target(),
                    to_lsn: path.end_lsn(last).await?,
                    to_time: transactions.map(|transactions| transactions.last_time),
                };
                windows.push((last, window));
            }
        }
    }
    Ok(windows.into_iter().map(|(_, window)| window).collect())
}

fn gap(
    timeline: TimelineId,
    (first, last): (SegmentNumber, SegmentNumber),
    size: WalSegmentSize,
) -> WalGap {
    let name = |number| WalFileName::segment(timeline, number, size);
    WalGap { timeline, first: name(first), last: name(last), segments: last.0 - first.0 + 1 }
}
