//! What removing a backup would free.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use crate::expiry::usage::pack_number;
use crate::manifest::PackRef;
use crate::{BackupId, BackupReader, Cluster, Result, layout};

/// Manifest shards that are read at once.
const SHARDS: usize = 8;

/// Who uses a pack: a number for each, so that millions of packs take a few megabytes.
#[derive(Debug, Default)]
struct Users(BTreeMap<BackupId, Vec<u32>>);

const NOBODY: u32 = u32::MAX;
const SEVERAL: u32 = u32::MAX - 1;

impl Users {
    fn add(&mut self, pack: PackRef, user: u32) {
        let of_folder = self.0.entry(pack.backup).or_default();
        let number = pack.number as usize;
        if of_folder.len() <= number {
            of_folder.resize(number + 1, NOBODY);
        }
        of_folder[number] = match of_folder[number] {
            NOBODY => user,
            one if one == user => user,
            _ => SEVERAL,
        };
    }

    fn of(&self, folder: &BackupId, number: u32) -> u32 {
        let users = self.0.get(folder).and_then(|users| users.get(number as usize));
        users.copied().unwrap_or(NOBODY)
    }
}

impl Cluster {
    /// What removing each backup, and no other, would free, in bytes: the packs that it alone uses, of
    /// whichever backup, and what else it consists of. WAL apart.
    ///
    /// Reads the manifests of all backups, and lists all their objects.
    pub async fn freed_by_each(&self) -> Result<BTreeMap<BackupId, u64>> {
        let records = self.backups().await?;
        let mut users = Users::default();
        let mut freed = vec![0; records.len()];
        let mut reads = Vec::new();
        for (user, record) in records.iter().enumerate() {
            let reader = Arc::new(BackupReader::new(self, record.clone()));
            reads.extend((0..record.manifest.len()).map(|index| read(reader.clone(), user, index)));
        }
        let mut reads = stream::iter(reads).buffer_unordered(SHARDS);
        while let Some((user, packs)) = reads.try_next().await? {
            packs.into_iter().for_each(|pack| users.add(pack, user));
        }
        let own: BTreeMap<&BackupId, usize> =
            records.iter().enumerate().map(|(number, record)| (&record.id, number)).collect();
        let folder = layout::backups(self.name());
        let mut objects = self.store().list(&folder, None);
        while let Some(object) = objects.try_next().await? {
            let id = object.path[folder.len()..].split('/').nth(1).and_then(|id| id.parse().ok());
            let Some(id) = id else { continue };
            let user = match pack_number(&object.path) {
                Some(number) => usize::try_from(users.of(&id, number)).ok(),
                None => own.get(&id).copied(),
            };
            if let Some(freed) = user.and_then(|user| freed.get_mut(user)) {
                *freed += object.size;
            }
        }
        Ok(records.into_iter().map(|record| record.id).zip(freed).collect())
    }
}

/// The packs that a shard names, and which backup's it is.
async fn read(reader: Arc<BackupReader>, user: usize, shard: usize) -> Result<(u32, Vec<PackRef>)> {
    Ok((user as u32, reader.packs(shard).await?))
}
