//! What expiry has to know of a repository beside its backups: those that are not finished.
//!
//! An [`UnfinishedBackup`] is one with an intent and no commit: somebody is taking it, or it died.
//! Which of the two, nobody can tell but by its age.

#[cfg(test)]
mod model;

use std::time::SystemTime;

use crate::document;
use crate::repository::is_absent;
use crate::{BackupId, BackupIntent, Cluster, Result, layout};

/// A backup that was begun and has no commit object.
#[derive(Debug, Clone, PartialEq)]
pub struct UnfinishedBackup {
    /// What it began with.
    pub intent: BackupIntent,
    /// When its intent was created, by the store's clock.
    pub begun_at: SystemTime,
}

impl Cluster {
    /// The backups that were begun and not finished, in the order of their identifiers. Takes
    /// requests in proportion to the number of backups, finished or not.
    ///
    /// Who wants both these and the finished ones asks for these first: one that is finished
    /// meanwhile is then seen twice rather than never.
    pub async fn unfinished_backups(&self) -> Result<Vec<UnfinishedBackup>> {
        let children = self.store().list_children(&layout::backups(self.name())).await?;
        let ids = children.folders.iter().filter_map(|f| f.rsplit('/').next()?.parse().ok());
        let mut unfinished = Vec::new();
        for id in ids {
            unfinished.extend(self.unfinished_backup(&id).await?);
        }
        Ok(unfinished)
    }

    async fn unfinished_backup(&self, id: &BackupId) -> Result<Option<UnfinishedBackup>> {
        match self.store().head(&layout::record(self.name(), id)).await {
            Ok(_) => return Ok(None),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let path = layout::intent(self.name(), id);
        let found = async {
            let begun_at = self.store().head(&path).await?.modified;
            Ok::<_, walbrook_store::Error>((self.store().get(&path).await?, begun_at))
        };
        match found.await {
            Ok((bytes, begun_at)) => {
                Ok(Some(UnfinishedBackup { intent: document::open(&path, &bytes)?, begun_at }))
            }
            // Packs whose intent is gone are nobody's.
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
