use walbrook_types::SystemId;

use crate::backup::base::digests::is_damage;
use crate::{BackupId, BackupIntent, Cluster, Result, layout};

/// A backup that was begun and not finished, and has stored something: it died, or is still under
/// way, which nobody can tell. Its packs never change, so a later backup may refer to what is in
/// them whatever becomes of it ([`ResumedBackups`](crate::ResumedBackups)).
#[derive(Debug, Clone, PartialEq)]
pub struct InterruptedBackup {
    /// What it began with.
    pub intent: BackupIntent,
    /// Packs that are stored; there is one at least.
    pub packs: u32,
    /// Their bytes.
    pub bytes: u64,
}

impl Cluster {
    /// The backups of a system that were interrupted, or are under way, and have packs: of all of
    /// them, or of those that began in the second of the backup `since` or later. In the order of
    /// their identifiers.
    ///
    /// One whose intent can't be read is passed over. Takes one listing, and a few requests for each
    /// backup since then.
    pub async fn interrupted_backups(
        &self,
        system: SystemId,
        since: Option<&BackupId>,
    ) -> Result<Vec<InterruptedBackup>> {
        let children = self.store().list_children(&layout::backups(self.name())).await?;
        let ids = children.folders.iter().filter_map(|f| f.rsplit('/').next()?.parse().ok());
        let since = since.map_or("", BackupId::time);
        let mut interrupted = Vec::new();
        for id in ids.filter(|id: &BackupId| id.time() >= since) {
            let intent = match self.unfinished_backup(&id).await {
                Ok(Some(unfinished)) => unfinished.intent,
                Ok(None) => continue,
                Err(error) if is_damage(&error) => {
                    tracing::warn!(backup = %id, %error, "an unfinished backup is passed over");
                    continue;
                }
                Err(error) => return Err(error),
            };
            // What it says of itself is the name of a folder.
            if intent.system_identifier != system || intent.id != id {
                continue;
            }
            let packs = packs_of(self, &id).await?;
            if !packs.is_empty() {
                let bytes = packs.iter().map(|(_, bytes)| bytes).sum();
                interrupted.push(InterruptedBackup { intent, packs: packs.len() as u32, bytes });
            }
        }
        Ok(interrupted)
    }
}

/// The numbers of the packs that a backup has stored, in order, and their bytes.
pub(super) async fn packs_of(cluster: &Cluster, id: &BackupId) -> Result<Vec<(u32, u64)>> {
    let children = cluster.store().list_children(&layout::backup(cluster.name(), id)).await?;
    let number = |path: &str| path.rsplit('/').next()?.strip_prefix("pack-")?.parse().ok();
    let mut packs: Vec<(u32, u64)> = children
        .objects
        .iter()
        .filter_map(|object| Some((number(&object.path)?, object.size)))
        .collect();
    packs.sort_unstable();
    Ok(packs)
}
