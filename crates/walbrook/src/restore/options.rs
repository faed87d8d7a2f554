use std::collections::BTreeMap;
use std::path::PathBuf;

use walbrook_repo::BackupId;
use walbrook_store::StoreUrl;

use crate::restore::{Target, TargetAction, TargetTimeline};

/// What to restore, to where, and up to which moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// The repository.
    pub repository: StoreUrl,
    /// The cluster's name in it.
    pub cluster: String,
    /// The directory to restore into: missing, or empty.
    pub data_directory: PathBuf,
    /// Which backup; the newest that can reach the target when not given.
    pub backup: Option<BackupId>,
    /// Where to end.
    pub target: Target,
    /// Which timeline to follow.
    pub timeline: TargetTimeline,
    /// Whether to end just before the target (`recovery_target_inclusive = off`).
    pub exclusive: bool,
    /// What the server does at the target; PostgreSQL's own default when not given: pause.
    pub action: Option<TargetAction>,
    /// New places for tablespaces, by their old directory or OID.
    pub tablespace_map: BTreeMap<String, PathBuf>,
    /// Whether the restored server follows as a standby instead of ending recovery.
    pub standby: bool,
    /// The `restore_command`; a call of `walbrook-fetch` with the same repository when not given.
    pub restore_command: Option<String>,
    /// Frames that are read and decompressed at once.
    pub jobs: usize,
}

impl RestoreOptions {
    /// The usual ones: the newest backup, to the end of the WAL.
    pub fn new(
        repository: StoreUrl,
        cluster: impl Into<String>,
        data_directory: impl Into<PathBuf>,
    ) -> Self {
        Self {
            repository,
            cluster: cluster.into(),
            data_directory: data_directory.into(),
            backup: None,
            target: Target::Latest,
            timeline: TargetTimeline::Latest,
            exclusive: false,
            action: None,
            tablespace_map: BTreeMap::new(),
            standby: false,
            restore_command: None,
            jobs: std::thread::available_parallelism().map_or(2, |n| n.get() * 2),
        }
    }
}
