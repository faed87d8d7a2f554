use serde::Serialize;
use walbrook_repo::{
    BackupId, BackupRecord, Cluster, Repository, SegmentSet, SystemRecord, WalRange,
};
use walbrook_store::StoreUrl;
use walbrook_types::{SegmentNumber, SystemId, TimelineId, WalFileName};

use crate::known_wal::{KnownWal, WalCheck};
use crate::segment_path::SegmentPath;
use crate::{Error, ErrorKind, Result};

/// Which WAL the archive of one cluster lacks.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct GapReport {
    /// The cluster's name.
    pub cluster: String,
    /// Its systems, oldest first.
    pub systems: Vec<SystemGaps>,
}

/// Which WAL of one system is missing.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SystemGaps {
    /// The system.
    pub system_identifier: SystemId,
    /// The timelines that were looked at, with their ancestors.
    pub timelines: Vec<TimelineId>,
    /// How many segments there are.
    pub segments: u64,
    /// Segments that are missing: between others, at a backup, or although they were in the repository.
    pub gaps: Vec<MissingWal>,
    /// Segments between others that an expiry removed, and that no backup needs to be consistent.
    pub expired: Vec<MissingWal>,
    /// Timelines whose history file is missing: nothing can be recovered along them.
    pub missing_histories: Vec<MissingHistory>,
}

/// Segments that are missing, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MissingWal {
    /// The timeline that leads over them.
    pub timeline: TimelineId,
    /// The first one, by the name that PostgreSQL would ask for.
    pub first: WalFileName,
    /// The last one.
    pub last: WalFileName,
    /// How many.
    pub segments: u64,
    /// Whether it is at a switch that the new timeline's first segments are missing.
    pub at_timeline_switch: bool,
    /// The newest backup from before: from it and older ones recovery ends at the gap.
    pub after_backup: Option<BackupId>,
    /// The oldest backup from behind: from it on recovery goes on.
    pub before_backup: Option<BackupId>,
    /// Backups that need what is missing to be consistent, and can't be restored.
    pub unusable_backups: Vec<BackupId>,
}

/// A timeline whose history file is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MissingHistory {
    /// The timeline.
    pub timeline: TimelineId,
    /// The file.
    pub file: WalFileName,
}

impl GapReport {
    /// Whether anything is missing.
    pub fn is_complete(&self) -> bool {
        self.systems.iter().all(|s| s.gaps.is_empty() && s.missing_histories.is_empty())
    }
}

/// Tells which WAL the archive of one cluster, or of all, lacks: along every timeline from the
/// oldest segment or backup that there is to the newest, and beyond that what was there once. What was
/// never archived yet at the end of a timeline is no gap, nor is what an expiry removed.
///
/// Lists all segments, whatever the repository has written down of them. Reads names, history files and the records of backups, and no WAL.
pub async fn find_gaps(repository: &StoreUrl, cluster: Option<&str>) -> Result<Vec<GapReport>> {
    let repository = Repository::open(walbrook_store::open(repository)?).await?;
    let names = match cluster {
        Some(name) => vec![name.to_owned()],
        None => repository.clusters().await?,
    };
    let mut reports = Vec::with_capacity(names.len());
    for name in names {
        let cluster = repository.cluster(&name)?;
        let mut report = GapReport { cluster: name, systems: Vec::new() };
        let systems = cluster.systems().await?;
        if systems.is_empty() {
            let message = format!(
                "there is no cluster {:?} in the repository at {}: walbrook-list shows those that \
                 there are",
                cluster.name(),
                cluster.repository().store().location()
            );
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let backups = cluster.backups().await?;
        for system in systems {
            let own = |b: &&BackupRecord| b.server.system_identifier == system.system_identifier;
            let own: Vec<&BackupRecord> = backups.iter().filter(own).collect();
            report.systems.push(of_system(&cluster, &system, &own).await?);
        }
        reports.push(report);
    }
    Ok(reports)
}

async fn of_system(
    cluster: &Cluster,
    system: &SystemRecord,
    backups: &[&BackupRecord],
) -> Result<SystemGaps> {
    let archive = cluster.wal(system);
    let mut report = SystemGaps {
        system_identifier: system.system_identifier,
        timelines: Vec::new(),
        segments: 0,
        gaps: Vec::new(),
        expired: Vec::new(),
        missing_histories: Vec::new(),
    };
    let wal = KnownWal::read(&archive, WalCheck::Listed).await?;
    let mut timelines: Vec<TimelineId> = wal.timelines().collect();
    // A backup whose WAL is gone as a whole has a timeline all the same.
    timelines.extend(backups.iter().map(|backup| backup.span.timeline));
    timelines.sort_unstable();
    timelines.dedup();
    for timeline in timelines {
        report.segments += wal.ranges(timeline).iter().map(WalRange::segments).sum::<u64>();
        let path = match wal.path(timeline).await {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = WalFileName::TimelineHistory { timeline };
                report.missing_histories.push(MissingHistory { timeline, file });
                continue;
            }
            Err(error) => return Err(error),
        };
        report.timelines.push(timeline);
        let on_path = |b: &&&BackupRecord| path.contains(b.span.timeline, b.span.stop_lsn);
        let backups: Vec<&BackupRecord> = backups.iter().filter(on_path).copied().collect();
        for (gap, expired) in of_path(path.segments(), &backups, &wal) {
            // What a backup needs is missing, whoever removed it.
            let expired = expired && gap.unusable_backups.is_empty();
            let gaps = if expired { &mut report.expired } else { &mut report.gaps };
            // Timelines share the gaps of their common ancestors.
            if gaps.iter().all(|g| (g.first, g.last) != (gap.first, gap.last)) {
                gaps.push(gap);
            }
        }
    }
    Ok(report)
}

/// What is missing on one path: between its runs of segments, where a backup begins or ends
/// outside of them, and what was there; and whether an expiry removed it.
fn of_path(
    path: &SegmentPath,
    backups: &[&BackupRecord],
    wal: &KnownWal,
) -> Vec<(MissingWal, bool)> {
    let size = path.size();
    let runs = path.runs();
    let span = |b: &BackupRecord| {
        (size.segment_of(b.span.start_lsn), size.segment_before(b.span.stop_lsn))
    };
    let mut gaps = Vec::new();
    let mut add = |(first, last): (SegmentNumber, SegmentNumber), at_switch, expired| {
        let lacks = |b: &&&BackupRecord| {
            let (begin, end) = span(b);
            begin <= last && end >= first
        };
        let gap = MissingWal {
            timeline: path.timeline(),
            first: path.wanted_name(first),
            last: path.wanted_name(last),
            segments: last.0 - first.0 + 1,
            at_timeline_switch: at_switch,
            after_backup: newest(backups.iter().filter(|b| span(b).1 < first)),
            before_backup: oldest(backups.iter().filter(|b| span(b).0 > last)),
            unusable_backups: backups.iter().filter(lacks).map(|b| b.id.clone()).collect(),
        };
        gaps.push((gap, expired));
    };
    // What is missing of this timeline itself.
    let mut own = SegmentSet::default();
    let mut missing = |first: SegmentNumber, last: SegmentNumber, at_switch: bool| {
        for (timeline, range) in path.wanted(first, last) {
            let all = SegmentSet::new([range]);
            if timeline == path.timeline() {
                own = own.or(&all);
            }
            let expired = wal.expired(timeline).and(&all);
            let lost = all.without(&expired);
            for range in expired.ranges() {
                add(range, at_switch && range.0 == first, true);
            }
            for range in lost.ranges() {
                add(range, at_switch && range.0 == first, false);
            }
        }
    };
    let begins = backups.iter().map(|b| span(b).0).min();
    let ends = backups.iter().map(|b| span(b).1).max();
    let (Some((first, _)), Some((_, last))) = (runs.first(), runs.last()) else {
        if let (Some(begin), Some(end)) = (begins, ends) {
            missing(begin, end, false);
        }
        let (_, lost) = wal.absent(path.timeline());
        lost.without(&own).ranges().for_each(|range| add(range, false, false));
        return gaps;
    };
    if let Some(begin) = begins.filter(|begin| begin < first) {
        missing(begin, SegmentNumber(first.0 - 1), false);
    }
    for pair in runs.windows(2) {
        let ((_, before), (behind, _)) = (pair[0], pair[1]);
        // The old timeline's copy of the segment in which it was left does not have what the new
        // one wrote into it.
        let switched = path.steps().iter().any(|step| {
            step.first == before && path.name(before).is_some_and(|n| n.timeline() < step.timeline)
        });
        let begin = if switched { before } else { before.next() };
        let at_switch =
            switched || path.steps().iter().any(|step| step.first == begin && step.first.0 > 0);
        missing(begin, SegmentNumber(behind.0 - 1), at_switch);
    }
    if let Some(end) = ends.filter(|end| end > last) {
        missing(last.next(), end, false);
    }
    let (_, lost) = wal.absent(path.timeline());
    lost.without(&own).ranges().for_each(|range| add(range, false, false));
    gaps
}

fn newest<'a>(backups: impl Iterator<Item = &'a &'a BackupRecord>) -> Option<BackupId> {
    backups.max_by_key(|b| b.span.stop_lsn).map(|b| b.id.clone())
}

fn oldest<'a>(backups: impl Iterator<Item = &'a &'a BackupRecord>) -> Option<BackupId> {
    backups.min_by_key(|b| b.span.start_lsn).map(|b| b.id.clone())
}
