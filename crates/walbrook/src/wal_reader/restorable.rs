use walbrook_repo::{BackupId, BackupRecord, Repository};
use walbrook_store::StoreUrl;
use walbrook_types::{Lsn, TimelineId};

use super::archive::current_system;
use crate::Result;
use crate::catalog::is_restorable;
use crate::wal_path::WalPath;

/// From which backups a cluster can be restored to positions of one timeline.
#[derive(Debug)]
pub struct Restorable {
    path: WalPath,
    backups: Vec<BackupRecord>,
    timelines: usize,
}

impl Restorable {
    /// Looks at the backups of a cluster, and at the WAL that leads to this timeline.
    pub async fn open(repository: &StoreUrl, cluster: &str, timeline: TimelineId) -> Result<Self> {
        let repository = Repository::open(walbrook_store::open(repository)?).await?;
        let cluster = repository.cluster(cluster)?;
        let system = current_system(&cluster).await?;
        let archive = cluster.wal(&system);
        let path = WalPath::load(&archive, timeline).await?;
        let (mut backups, _) = cluster.readable_backups().await?;
        backups.retain(|b| {
            b.server.system_identifier == system.system_identifier && is_restorable(&path, b)
        });
        Ok(Self { path, backups, timelines: archive.timelines().await?.len() })
    }

    /// The newest backup from which recovery reaches this position; none when no backup was
    /// complete before it, or WAL is missing in between.
    pub fn backup_for(&self, lsn: Lsn) -> Option<&BackupId> {
        let size = self.path.size();
        let reaches = |b: &&BackupRecord| {
            let last = self.path.reach(size.segment_of(b.span.start_lsn));
            b.span.stop_lsn <= lsn && last.is_some_and(|last| size.segment_of(lsn) <= last)
        };
        self.backups.iter().rev().find(reaches).map(|backup| &backup.id)
    }

    /// Whether the cluster has WAL of several timelines, so that a restore should be told which
    /// one to follow.
    pub fn has_several_timelines(&self) -> bool {
        self.timelines > 1
    }
}
