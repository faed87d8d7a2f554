use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use walbrook_store::Store;
use walbrook_types::{PgVersion, SystemId, WalSegmentSize};

use crate::document::{self, Document};
use crate::repository::is_absent;
use crate::{BackupId, BackupRecord, Error, ErrorKind, Repository, Result, WalArchive, layout};

/// A database cluster's part of a repository: its backups and its WAL, under one name.
///
/// A cluster keeps its name when `pg_upgrade` or a new `initdb` gives it a new system identifier:
/// each one is a [`SystemRecord`], and WAL is kept apart by them. Only a backup adds one, so that
/// WAL pushed under the wrong name is refused.
#[derive(Debug, Clone)]
pub struct Cluster {
    repository: Repository,
    name: String,
}

/// One system identifier that a cluster has, or had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemRecord {
    /// The system identifier.
    pub system_identifier: SystemId,
    /// The server's version when the record was made; its major version never changes.
    pub pg_version: PgVersion,
    /// The size of its WAL segments.
    pub wal_segment_size: WalSegmentSize,
    /// When the record was made.
    pub registered_at: Timestamp,
}

impl Document for SystemRecord {
    const FORMAT: &'static str = "walbrook-system";
    const VERSION: u32 = 1;
}

/// A backup whose record can't be read, so that nobody knows what it consists of.
#[derive(Debug)]
pub struct DamagedBackup {
    /// The backup.
    pub id: BackupId,
    /// What is wrong with its record.
    pub error: Error,
}

/// Records that are read at once.
const REQUESTS: usize = 16;

impl Cluster {
    pub(crate) fn new(repository: Repository, name: &str) -> Self {
        Self { repository, name: name.to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The repository that it is in.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.repository.store().as_ref()
    }

    /// The WAL of one of its systems.
    pub fn wal(&self, system: &SystemRecord) -> WalArchive {
        WalArchive::new(self.clone(), system)
    }

    /// The systems that are registered, oldest registration first; empty when nothing of this
    /// cluster was ever backed up.
    pub async fn systems(&self) -> Result<Vec<SystemRecord>> {
        let children = self.store().list_children(&layout::systems(&self.name)).await?;
        let mut systems = Vec::with_capacity(children.objects.len());
        for object in children.objects {
            let bytes = self.store().get(&object.path).await?;
            systems.push(open_system(&object.path, &bytes)?);
        }
        systems.sort_by_key(|system| (system.registered_at, system.system_identifier));
        Ok(systems)
    }

    /// The record of one system. [`ErrorKind::NotFound`] when it is not registered: the message
    /// tells an unknown cluster from one that belongs to another system.
    pub async fn system(&self, system: SystemId) -> Result<SystemRecord> {
        let path = layout::system(&self.name, system);
        match self.store().get(&path).await {
            Ok(bytes) => open_system(&path, &bytes),
            Err(error) if is_absent(&error) => Err(self.unknown_system(system).await?),
            Err(error) => Err(error.into()),
        }
    }

    async fn unknown_system(&self, system: SystemId) -> Result<Error> {
        let known = self.systems().await?;
        let name = &self.name;
        let place = self.store().location();
        let message = if known.is_empty() {
            format!(
                "there is no cluster {name:?} in the repository at {place}: check --cluster; the \
                 first backup (walbrook-backup) adds it"
            )
        } else {
            let known: Vec<_> = known.iter().map(|s| s.system_identifier.to_string()).collect();
            format!(
                "cluster {name:?} in the repository at {place} belongs to system identifier {}, \
                 not to {system}: check --cluster and --repo; after pg_upgrade or a new initdb, \
                 take a backup with walbrook-backup --new-system first",
                known.join(", ")
            )
        };
        Ok(Error::new(ErrorKind::NotFound, message))
    }

    /// Registers a system, if it is not there yet. A cluster's first comes by itself; another one
    /// is accepted only when `accept_new` says that it is meant ([`ErrorKind::Conflict`]
    /// otherwise), for it is more often a wrong name than an upgraded server.
    pub async fn register_system(&self, new: &SystemRecord, accept_new: bool) -> Result<()> {
        let known = self.systems().await?;
        if known.iter().any(|s| s.system_identifier == new.system_identifier) {
            return Ok(());
        }
        if !known.is_empty() && !accept_new {
            let text = self.unknown_system(new.system_identifier).await?.to_string();
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        let path = layout::system(&self.name, new.system_identifier);
        match self.store().create(&path, document::seal(new)?).await {
            Err(e) if e.kind() != walbrook_store::ErrorKind::AlreadyExists => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// The identifiers of the backups that exist, in their own order: those with a commit object.
    /// Takes requests in proportion to the number of backups.
    pub async fn backup_ids(&self) -> Result<Vec<BackupId>> {
        let children = self.store().list_children(&layout::backups(&self.name)).await?;
        let looks =
            children.folders.iter().filter_map(|folder| backup_id(folder)).map(|id| async {
                match self.store().head(&layout::record(&self.name, &id)).await {
                    Ok(_) => Ok(Some(id)),
                    Err(error) if is_absent(&error) => Ok(None),
                    Err(error) => Err(Error::from(error)),
                }
            });
        let looks: Vec<_> = looks.collect();
        let ids: Vec<_> = stream::iter(looks).buffered(REQUESTS).try_collect().await?;
        Ok(ids.into_iter().flatten().collect())
    }

    /// The records of the backups that exist, in the order in which they began. Identifiers tell
    /// that order only to the second.
    pub async fn backups(&self) -> Result<Vec<BackupRecord>> {
        let (records, damaged) = self.readable_backups().await?;
        match damaged.into_iter().next() {
            Some(damaged) => Err(damaged.error),
            None => Ok(records),
        }
    }

    /// The same, and apart from them those whose record is damaged: for what has to go on whatever
    /// happened to one backup.
    pub async fn readable_backups(&self) -> Result<(Vec<BackupRecord>, Vec<DamagedBackup>)> {
        let children = self.store().list_children(&layout::backups(&self.name)).await?;
        let ids: Vec<BackupId> =
            children.folders.iter().filter_map(|folder| backup_id(folder)).collect();
        self.read_records(ids).await
    }

    /// The records of those of these backups that have one, and the damaged ones apart.
    pub(crate) async fn read_records(
        &self,
        ids: Vec<BackupId>,
    ) -> Result<(Vec<BackupRecord>, Vec<DamagedBackup>)> {
        let reads: Vec<_> = ids
            .into_iter()
            .map(|id| async move {
                let record = self.backup(&id).await;
                (id, record)
            })
            .collect();
        let mut reads = stream::iter(reads).buffered(REQUESTS);
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        while let Some((id, record)) = reads.next().await {
            match record {
                Ok(record) => records.push(record),
                // An intent without a commit: a backup that is under way or that died.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    damaged.push(DamagedBackup { id, error });
                }
                Err(error) => return Err(error),
            }
        }
        records.sort_by(|a, b| (a.span.started_at, &a.id).cmp(&(b.span.started_at, &b.id)));
        Ok((records, damaged))
    }

    /// The record of one backup. [`ErrorKind::NotFound`] when it has no commit object.
    pub async fn backup(&self, id: &BackupId) -> Result<BackupRecord> {
        let path = layout::record(&self.name, id);
        let bytes = match self.store().get(&path).await {
            Ok(bytes) => bytes,
            Err(error) if is_absent(&error) => {
                let message = format!(
                    "cluster {:?} has no backup {id}: walbrook-list shows those that there are",
                    self.name
                );
                return Err(Error::new(ErrorKind::NotFound, message).with_source(error));
            }
            Err(error) => return Err(error.into()),
        };
        let record: BackupRecord = document::open(&path, &bytes)?;
        if record.id != *id || record.cluster != self.name {
            let what = format!("it is the record of {}/{}", record.cluster, record.id);
            return Err(Error::corrupt(&path, what));
        }
        Ok(record)
    }
}

/// A system's record must be about the system whose name the object has.
fn open_system(path: &str, bytes: &Bytes) -> Result<SystemRecord> {
    let record: SystemRecord = document::open(path, bytes)?;
    let name = format!("{}.json", record.system_identifier);
    if path.rsplit('/').next() == Some(&name) {
        return Ok(record);
    }
    let what = format!("it is the record of system {}", record.system_identifier);
    Err(Error::corrupt(path, what))
}

/// The backup whose folder this is; none for a folder that is something else.
fn backup_id(folder: &str) -> Option<BackupId> {
    folder.rsplit('/').next()?.parse().ok()
}
