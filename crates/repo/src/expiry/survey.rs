//! What there is of a cluster's backups at a moment, for an expiry.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::expiry::mark::{ExpiryMark, StoredMark};
use crate::expiry::{ExpiryState, REQUESTS, UnfinishedBackup, is_young_mark};
use crate::repository::is_absent;
use crate::{BackupId, Cluster, Result, layout};

/// Folders of backups, by what is in them, and the marks.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Those with a commit.
    pub(crate) committed: BTreeSet<BackupId>,
    /// Those with an intent and no commit.
    pub(crate) unfinished: BTreeMap<BackupId, UnfinishedBackup>,
    /// Those with neither.
    pub(crate) remains: BTreeSet<BackupId>,
    pub(crate) marks: Vec<StoredMark>,
}

impl Survey {
    /// Reads folders and then marks. An unfinished backup that is not among them was begun later, and
    /// sees whichever mark was there before.
    pub(crate) async fn read(cluster: &Cluster) -> Result<Self> {
        let mut survey = Self {
            committed: BTreeSet::new(),
            unfinished: BTreeMap::new(),
            remains: BTreeSet::new(),
            marks: Vec::new(),
        };
        let (all, committed) = folders(cluster).await?;
        let without: Vec<_> =
            all.difference(&committed).map(|id| cluster.unfinished_backup(id)).collect();
        let unfinished: Vec<_> = stream::iter(without).buffered(REQUESTS).try_collect().await?;
        for backup in unfinished.into_iter().flatten() {
            survey.unfinished.insert(backup.intent.id.clone(), backup);
        }
        let neither =
            |id: &&BackupId| !committed.contains(*id) && !survey.unfinished.contains_key(*id);
        survey.remains = all.iter().filter(neither).cloned().collect();
        survey.committed = committed;
        survey.marks = cluster.stored_marks().await?;
        Ok(survey)
    }

    /// Whether an expiry has removed its commit, or may have.
    fn is_marked(&self, id: &BackupId) -> bool {
        self.marks.iter().any(|stored| stored.mark.remove.contains(id))
    }

    /// The unfinished backups that may be under way.
    pub(crate) fn live(&self, now: Timestamp) -> impl Iterator<Item = &UnfinishedBackup> {
        let live = move |(id, backup): &(&BackupId, &UnfinishedBackup)| {
            backup.is_alive(now) && !self.is_marked(id)
        };
        self.unfinished.iter().filter(live).map(|(_, backup)| backup)
    }

    /// Removed backups that restores may still read.
    pub(crate) fn in_grace(&self, now: Timestamp) -> BTreeSet<BackupId> {
        let waiting = self.marks.iter().filter(|stored| now < stored.mark.sweep_after);
        let removed = waiting.flat_map(|stored| stored.mark.remove.iter());
        removed.filter(|id| !self.committed.contains(id)).cloned().collect()
    }

    /// The folders of backups that do not exist, and that nobody waits for: what died, and what
    /// earlier expiries have left.
    pub(crate) fn leftovers(&self, now: Timestamp) -> BTreeSet<BackupId> {
        let live: BTreeSet<_> = self.live(now).map(|backup| &backup.intent.id).collect();
        let in_grace = self.in_grace(now);
        let folders = self.unfinished.keys().chain(&self.remains);
        folders.filter(|id| !live.contains(id) && !in_grace.contains(id)).cloned().collect()
    }

    /// Marks of others that nobody is at work on any more.
    pub(crate) fn ended<'a>(
        &'a self,
        own: &'a ExpiryMark,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a ExpiryMark> {
        let ended = move |stored: &&StoredMark| {
            let mark = &stored.mark;
            let idle = mark.state == ExpiryState::Waiting || !is_young_mark(stored, now);
            idle && mark.sweep_after <= now && mark.id != own.id
        };
        self.marks.iter().filter(ended).map(|stored| &stored.mark)
    }
}

/// The folders of backups, and those of them that have a commit.
pub(crate) async fn folders(cluster: &Cluster) -> Result<(BTreeSet<BackupId>, BTreeSet<BackupId>)> {
    let children = cluster.store().list_children(&layout::backups(cluster.name())).await?;
    let all: BTreeSet<BackupId> =
        children.folders.iter().filter_map(|f| f.rsplit('/').next()?.parse().ok()).collect();
    let looks: Vec<_> = all.iter().map(|id| has_commit(cluster, id)).collect();
    let found: Vec<Option<BackupId>> = stream::iter(looks).buffered(REQUESTS).try_collect().await?;
    Ok((all, found.into_iter().flatten().collect()))
}

async fn has_commit(cluster: &Cluster, id: &BackupId) -> Result<Option<BackupId>> {
    match cluster.store().head(&layout::record(cluster.name(), id)).await {
        Ok(_) => Ok(Some(id.clone())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
