use std::collections::BTreeMap;

use walbrook_store::Payload;

use crate::backup::record::{BackupRecord, DamageReport, LockFacts, ShardRecord};
use crate::backup::writer::Frames;
use crate::backup::{BackupIntent, BackupSize};
use crate::expiry::{Bits, Usable};
use crate::manifest::{Entry, Shard, ShardBuilder, SortedPaths};
use crate::put::create_or_same;
use crate::wire::Reader;
use crate::{BackupId, Cluster, Digest, Error, ErrorKind, Result, document, layout};

/// A backup whose content is in packs.
pub(crate) struct StoredBackup {
    pub(crate) cluster: Cluster,
    pub(crate) intent: BackupIntent,
    pub(crate) usable: Usable,
    pub(crate) size: BackupSize,
    pub(crate) damage: DamageReport,
}

impl StoredBackup {
    pub(crate) async fn write_manifest(
        mut self,
        mut entries: SortedPaths,
        frames: Frames,
        inspect: &mut (impl FnMut(&Entry) -> Result<(), String> + Send),
    ) -> Result<UncommittedBackup> {
        let mut shards = Vec::new();
        let mut builder = ShardBuilder::default();
        let mut shared: BTreeMap<BackupId, Bits> = BTreeMap::new();
        let mut last_path: Option<String> = None;
        while let Some((path, body)) = entries.next_record()? {
            if last_path.as_deref() == Some(&path) {
                let message = format!("the server sent {path:?} twice");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            let entry = Entry::decode(path, &mut 0, &mut Reader(&body))
                .ok_or_else(|| Error::corrupt("the backup's list of files", "unreadable entry"))?;
            inspect(&entry).map_err(|problem| Error::new(ErrorKind::Corrupt, problem))?;
            last_path = Some(entry.path.clone());
            builder.push(entry, |number| {
                let (pack, frame) = frames.get(number)?;
                if pack.backup != self.intent.id {
                    shared.entry(pack.backup.clone()).or_default().set(pack.number);
                }
                Ok((pack, frame))
            })?;
            if builder.is_full() {
                let shard = std::mem::take(&mut builder).finish();
                shards.push(self.write_shard(shards.len() as u32, shard).await?);
            }
        }
        if !builder.is_empty() {
            shards.push(self.write_shard(shards.len() as u32, builder.finish()).await?);
        }
        self.size.stored_bytes += shards.iter().map(|shard| shard.size).sum::<u64>();
        Ok(UncommittedBackup { stored: self, shards, shared, lock: None })
    }

    async fn write_shard(&self, number: u32, shard: Shard) -> Result<ShardRecord> {
        let path = layout::manifest(self.cluster.name(), &self.intent.id, number);
        let bytes = shard.encode();
        let end_path = |entry: Option<&Entry>| entry.map(|e| e.path.clone()).unwrap_or_default();
        let record = ShardRecord {
            number,
            size: bytes.len() as u64,
            blake3: Digest::of(&bytes),
            entries: shard.entries.len() as u64,
            first_path: end_path(shard.entries.first()),
            last_path: end_path(shard.entries.last()),
        };
        create_or_same(self.cluster.store(), &path, Payload::from(bytes)).await?;
        Ok(record)
    }
}

/// A backup that is complete in the repository, but for the object that makes it exist.
pub struct UncommittedBackup {
    pub(super) stored: StoredBackup,
    shards: Vec<ShardRecord>,
    /// The packs of other backups that it uses.
    pub(super) shared: BTreeMap<BackupId, Bits>,
    pub(super) lock: Option<LockFacts>,
}

impl std::fmt::Debug for UncommittedBackup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UncommittedBackup")
            .field("id", &self.stored.intent.id)
            .finish_non_exhaustive()
    }
}

impl UncommittedBackup {
    /// How much it is.
    pub fn size(&self) -> BackupSize {
        self.stored.size
    }

    /// The pages that failed their check.
    pub fn damage(&self) -> &DamageReport {
        &self.stored.damage
    }

    /// Makes the backup exist: creates `backup.json`. `describe` gets a record in which all that
    /// the writer knows is filled in, and completes it.
    ///
    /// The WAL that the backup needs must be in the repository before.
    ///
    /// [`ErrorKind::Conflict`] when it began so long ago that an expiry may take it for dead, six days,
    /// or when one has been removing the WAL that it needs since before it began.
    pub async fn commit(
        self,
        describe: impl FnOnce(Written) -> BackupRecord,
    ) -> Result<BackupRecord> {
        let StoredBackup { cluster, intent, usable, size, damage } = self.stored;
        let path = layout::record(cluster.name(), &intent.id);
        let record =
            describe(Written { intent, size, damage, manifest: self.shards, lock: self.lock });
        usable.check_commit(&record)?;
        create_or_same(cluster.store(), &path, document::seal(&record)?).await?;
        Ok(record)
    }
}

/// What the writer knows of a backup: its part of the [`BackupRecord`].
#[derive(Debug, Clone)]
pub struct Written {
    /// The intent that the backup began with.
    pub intent: BackupIntent,
    /// How much was written.
    pub size: BackupSize,
    /// The pages that failed their check.
    pub damage: DamageReport,
    /// The manifest's shards.
    pub manifest: Vec<ShardRecord>,
    /// How it was locked, if it was.
    pub lock: Option<LockFacts>,
}
