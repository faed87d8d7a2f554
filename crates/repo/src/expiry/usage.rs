//! Which packs are in use.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};

use crate::expiry::survey::folders;
use crate::manifest::{PackRef, Shard};
use crate::{BackupId, BackupReader, Cluster, Error, ErrorKind, Result, layout};

/// Backups whose manifests are read at once.
const BACKUPS: usize = 8;

/// Shards of a manifest that are read at once.
const SHARDS: usize = 4;

/// The packs in some folders that manifests name: a bit for each.
#[derive(Debug)]
pub(crate) struct Usage {
    packs: BTreeMap<BackupId, Bits>,
    /// Backups whose manifests were read; none changes.
    read: BTreeSet<BackupId>,
}

/// A set of pack numbers.
#[derive(Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn set(&mut self, number: u32) {
        let word = number as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    fn get(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Those that are in it, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().zip(0_u32..).flat_map(|(word, at)| {
            let set = (0..64).filter(move |bit| word >> bit & 1 == 1);
            set.map(move |bit| at * 64 + bit)
        })
    }
}

impl Usage {
    /// Finds out which packs in the folders of `of` are in use: by the manifests of all backups that
    /// exist, read until two readings agree on which folders and backups there are; by those of
    /// `removed` ones that restores may still read; and by those that were `seen` before, even if
    /// somebody has removed them since, for the same reason.
    pub(crate) async fn read(
        cluster: &Cluster,
        of: &BTreeSet<BackupId>,
        removed: &BTreeSet<BackupId>,
        seen: impl Iterator<Item = &BackupId>,
    ) -> Result<Self> {
        let packs = of.iter().map(|id| (id.clone(), Bits::default())).collect();
        let mut usage = Self { packs, read: BTreeSet::new() };
        for id in removed {
            usage.mark(packs_of_removed(cluster, id).await?);
        }
        usage.add(cluster, seen.cloned().collect()).await?;
        let mut last = None;
        loop {
            let reading = folders(cluster).await?;
            usage.add(cluster, reading.1.difference(&usage.read).cloned().collect()).await?;
            if last.as_ref() == Some(&reading) {
                return Ok(usage);
            }
            last = Some(reading);
        }
    }

    /// Whether a backup uses this pack.
    pub(crate) fn has(&self, folder: &BackupId, number: u32) -> bool {
        self.packs.get(folder).is_none_or(|bits| bits.get(number))
    }

    fn mark(&mut self, packs: Vec<PackRef>) {
        for pack in packs {
            if let Some(bits) = self.packs.get_mut(&pack.backup) {
                bits.set(pack.number);
            }
        }
    }

    /// Reads the manifests of these.
    async fn add(&mut self, cluster: &Cluster, ids: Vec<BackupId>) -> Result<()> {
        let reads: Vec<_> = ids.iter().map(|id| packs_of(cluster, id)).collect();
        let mut reads = stream::iter(reads).buffer_unordered(BACKUPS);
        while let Some(packs) = reads.try_next().await? {
            self.mark(packs);
        }
        drop(reads);
        self.read.extend(ids);
        Ok(())
    }
}

/// The packs that a backup's manifest names, some more than once.
async fn packs_of(cluster: &Cluster, id: &BackupId) -> Result<Vec<PackRef>> {
    match try_packs_of(cluster, id).await {
        // Another expiry may have removed it meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => packs_of_removed(cluster, id).await,
        Err(error) if error.kind() == ErrorKind::Corrupt => match cluster.backup(id).await {
            Err(gone) if gone.kind() == ErrorKind::NotFound => packs_of_removed(cluster, id).await,
            _ => {
                let message = format!(
                    "{error}; so nobody knows which packs backup {id} uses, and none was deleted: \
                     remove that backup by its name first"
                );
                Err(Error::new(ErrorKind::Corrupt, message).with_source(error))
            }
        },
        read => read,
    }
}

async fn try_packs_of(cluster: &Cluster, id: &BackupId) -> Result<Vec<PackRef>> {
    let reader = BackupReader::new(cluster, cluster.backup(id).await?);
    let shards: Vec<_> =
        (0..reader.record().manifest.len()).map(|index| reader.packs(index)).collect();
    let shards: Vec<_> = stream::iter(shards).buffer_unordered(SHARDS).try_collect().await?;
    Ok(shards.concat())
}

/// Of a backup without a commit, which has no list of its shards but the folder's. What is damaged no
/// restore can read.
async fn packs_of_removed(cluster: &Cluster, id: &BackupId) -> Result<Vec<PackRef>> {
    let folder = layout::backup(cluster.name(), id);
    let objects = cluster.store().list_children(&folder).await?.objects;
    let mut all = Vec::new();
    for object in objects.iter().filter(|object| is_manifest(&object.path)) {
        let bytes = match cluster.store().get(&object.path).await {
            Ok(bytes) => bytes,
            Err(error) if crate::repository::is_absent(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        all.extend(Shard::decode_packs(&object.path, &bytes).unwrap_or_default());
    }
    Ok(all)
}

/// Whether an object in a backup's folder is a shard of its manifest.
pub(crate) fn is_manifest(path: &str) -> bool {
    let number = path.rsplit('/').next().and_then(|name| name.strip_prefix("manifest-"));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// The number of the pack that an object in a backup's folder is, if it is one.
pub(crate) fn pack_number(path: &str) -> Option<u32> {
    path.rsplit('/').next()?.strip_prefix("pack-")?.parse().ok()
}
