use bytes::Bytes;
use walbrook_repo::{Cluster, Repository, SystemRecord, WalArchive};
use walbrook_store::StoreUrl;
use walbrook_types::{TimelineId, WalFileName};

use super::time::EndTimes;
use crate::segment_path::SegmentPath;
use crate::wal_path::WalPath;
use crate::{Error, ErrorKind, Result};

/// The WAL of one cluster of a repository, along the history of a timeline.
#[derive(Debug)]
pub(super) struct ArchiveSource {
    path: WalPath,
    partial: Option<WalFileName>,
}

impl ArchiveSource {
    pub(super) async fn open(
        repository: &StoreUrl,
        cluster: &str,
        timeline: Option<TimelineId>,
    ) -> Result<Self> {
        let repository = Repository::open(walbrook_store::open(repository)?).await?;
        let cluster = repository.cluster(cluster)?;
        let archive = cluster.wal(&current_system(&cluster).await?);
        let timeline = match timeline {
            Some(timeline) => timeline,
            None => newest_timeline(&archive).await?,
        };
        let path = WalPath::load(&archive, timeline).await?;
        let partial = match path.segments().runs().last() {
            Some((_, last)) => partial_behind(&archive, timeline, *last).await?,
            None => None,
        };
        Ok(Self { path, partial })
    }

    pub(super) fn path(&self) -> &SegmentPath {
        self.path.segments()
    }

    pub(super) fn partial(&self) -> Option<WalFileName> {
        self.partial
    }

    pub(super) async fn read(&self, name: &WalFileName) -> Result<Vec<Bytes>> {
        let stored = self.path.archive().get(name).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("{name} was removed from the repository"))
        })?;
        Ok(tokio::task::spawn_blocking(move || stored.decode(1)).await??)
    }

    pub(super) async fn end_times(&self, name: &WalFileName) -> Result<Option<EndTimes>> {
        let info = self.path.archive().info(name).await?;
        let transactions = info.and_then(|info| info.content?.transactions);
        Ok(transactions.map(|ends| EndTimes { last: ends.last_time }))
    }
}

/// The system in use: that of the newest backup, or the last registered where there is none.
pub(super) async fn current_system(cluster: &Cluster) -> Result<SystemRecord> {
    if let Some(newest) = cluster.readable_backups().await?.0.last() {
        return Ok(cluster.system(newest.server.system_identifier).await?);
    }
    cluster.systems().await?.pop().ok_or_else(|| {
        let message = format!(
            "there is no cluster {:?} in the repository at {}: check --cluster; walbrook-list \
             shows those that there are",
            cluster.name(),
            cluster.repository().store().location()
        );
        Error::new(ErrorKind::NotFound, message)
    })
}

/// The newest timeline whose history is known.
async fn newest_timeline(archive: &WalArchive) -> Result<TimelineId> {
    let timelines = archive.timelines().await?;
    for timeline in timelines.iter().rev() {
        let history = WalFileName::TimelineHistory { timeline: *timeline };
        if *timeline == TimelineId::FIRST || archive.info(&history).await?.is_some() {
            return Ok(*timeline);
        }
        tracing::warn!(%timeline, "passed over: its history file is missing");
    }
    match timelines.first() {
        // Its own WAL can be read, though not what came before it.
        Some(timeline) => Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "the repository has no history file of timeline {timeline}: push \
                 {timeline:08X}.history with walbrook-push from a server that has it in pg_wal",
                timeline = timeline.get()
            ),
        )),
        None => Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "cluster {:?} has no WAL in the repository: nothing was archived yet",
                archive.cluster().name()
            ),
        )),
    }
}

/// A partial segment right behind the last whole one.
async fn partial_behind(
    archive: &WalArchive,
    timeline: TimelineId,
    last: walbrook_types::SegmentNumber,
) -> Result<Option<WalFileName>> {
    let size = archive.segment_size();
    let WalFileName::Segment { timeline, log, segment } =
        WalFileName::segment(timeline, last.next(), size)
    else {
        return Ok(None);
    };
    let name = WalFileName::Partial { timeline, log, segment };
    Ok(archive.info(&name).await?.map(|info| info.name))
}
