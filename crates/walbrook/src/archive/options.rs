use std::path::PathBuf;
use std::time::Duration;

use walbrook_repo::Codec;
use walbrook_store::StoreUrl;
use walbrook_types::SystemId;

use crate::LockOptions;

/// What `archive_command` asks for: store one file of `pg_wal`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PushOptions {
    /// The repository; it must exist.
    pub repository: StoreUrl,
    /// The cluster's name in it.
    pub cluster: String,
    /// The file: `%p`.
    pub path: PathBuf,
    /// How many other files that wait for the archiver are stored along with it.
    pub look_ahead: usize,
    /// How content is compressed.
    pub codec: Codec,
    /// The cluster's system identifier; read from the `pg_control` above `path` when not given.
    pub system: Option<SystemId>,
    /// How it is locked.
    pub lock: Option<LockOptions>,
}

impl PushOptions {
    /// The usual ones.
    pub fn new(repository: StoreUrl, cluster: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            repository,
            cluster: cluster.into(),
            path: path.into(),
            look_ahead: 4,
            codec: Codec::default(),
            system: None,
            lock: None,
        }
    }
}

/// What `restore_command` asks for: bring one WAL file back.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchOptions {
    /// The repository.
    pub repository: StoreUrl,
    /// The cluster's name in it.
    pub cluster: String,
    /// The file's name: `%f`.
    pub name: String,
    /// Where to write it: `%p`.
    pub destination: PathBuf,
    /// How many of the segments that follow may wait beside the destination, brought there by
    /// [`prefetch`](crate::prefetch); zero to neither look for them nor leave any.
    pub prefetch: usize,
    /// How long trouble is retried for before it is reported.
    pub retry_for: Duration,
    /// The cluster's system identifier; read from `global/pg_control` below the current directory
    /// when not given, as PostgreSQL runs a `restore_command` in the data directory.
    pub system: Option<SystemId>,
}

impl FetchOptions {
    /// The usual ones: nothing is prefetched.
    pub fn new(
        repository: StoreUrl,
        cluster: impl Into<String>,
        name: impl Into<String>,
        destination: impl Into<PathBuf>,
    ) -> Self {
        Self {
            repository,
            cluster: cluster.into(),
            name: name.into(),
            destination: destination.into(),
            prefetch: 0,
            retry_for: Duration::from_secs(30),
            system: None,
        }
    }
}
