use jiff::Timestamp;
use walbrook_repo::{BackupPin, Cluster, Repository};
use walbrook_store::StoreUrl;

use crate::{BackupId, Result};

/// Keeps a backup up to a moment, or for ever: no policy removes it, nor does a removal by name. A
/// backup may have several pins; the longest counts.
///
/// # Errors
///
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) without such a backup;
/// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when an expiry is removing it.
pub async fn pin(
    repository: &StoreUrl,
    cluster: &str,
    backup: &BackupId,
    until: Option<Timestamp>,
    note: &str,
) -> Result<BackupPin> {
    Ok(open(repository, cluster).await?.pin(backup, until, note).await?)
}

/// Takes all pins of a backup back, and returns them.
pub async fn unpin(
    repository: &StoreUrl,
    cluster: &str,
    backup: &BackupId,
) -> Result<Vec<BackupPin>> {
    Ok(open(repository, cluster).await?.unpin(backup).await?)
}

async fn open(repository: &StoreUrl, cluster: &str) -> Result<Cluster> {
    let repository = Repository::open(walbrook_store::open(repository)?).await?;
    Ok(repository.cluster(cluster)?)
}
