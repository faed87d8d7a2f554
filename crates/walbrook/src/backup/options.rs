use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use walbrook_replication::{Checkpoint, ConnInfo};
use walbrook_repo::{BackupId, Codec};
use walbrook_store::StoreUrl;

use crate::LockOptions;

/// How the WAL that a backup needs comes into the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WalMode {
    /// By the server's own archiver when it is seen to archive to this repository, otherwise by
    /// streaming.
    #[default]
    Auto,
    /// By streaming it over a second connection while the backup runs.
    Stream,
    /// By the server's archiver: the backup waits for it.
    Archive,
}

/// Where a backup has the server's pages from. All give the same repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// From the data directory when one is given; otherwise by SQL, when the role may; otherwise
    /// over the replication protocol, after a warning.
    #[default]
    Auto,
    /// By SQL over several ordinary connections. Needs a superuser, or a role with the
    /// [`grants`](crate::source::grants).
    Sql,
    /// By `BASE_BACKUP`, in one stream. Needs the `REPLICATION` attribute.
    Replication,
    /// From the data directory, on the server's own host.
    Local,
}

/// The backup that a new one is compared with: what that one has stored is not stored again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Base {
    /// The newest that is part of this server's past, if there is one.
    #[default]
    Newest,
    /// This one.
    Backup(BackupId),
    /// None: everything is copied and stored.
    None,
}

/// How it is found out what has changed since the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ChangeDetection {
    /// By the first of [`WalSummaries`](Self::WalSummaries), [`Sum`](Self::Sum) and
    /// [`Hash`](Self::Hash) that is proven to know every change since the base. Over the replication
    /// protocol, of the first and the last.
    #[default]
    Auto,
    /// By the WAL summaries of PostgreSQL 17 and later, with `summarize_wal` on. Unchanged pages are
    /// not read; over the replication protocol the server makes an incremental backup of its own.
    WalSummaries,
    /// By the summaries that lie beside the archived WAL, of any version; segments that are not
    /// archived are read from the server. Unchanged pages are not read.
    Sum,
    /// By the LSN in each page's header. Every page is read, and pages that differ from the base's in
    /// hint bits only are not stored. See [`PageLsnFilter`](walbrook_delta::PageLsnFilter) for what it
    /// can't see.
    PageLsn,
    /// By their content: every page is read and compared.
    Hash,
}

impl ChangeDetection {
    /// As `--changes` and the backup's record name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::WalSummaries => "wal-summaries",
            Self::Sum => "sum",
            Self::PageLsn => "page-lsn",
            Self::Hash => "hash",
        }
    }
}

/// What to back up, to where, and how.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use walbrook::{BackupOptions, ConnInfo, Environment, NoProgress};
///
/// let server = ConnInfo::parse("host=db1 user=backup", &Environment::from_process())?;
/// let options = BackupOptions::new("file:///backups".parse()?, "prod", server);
/// let record = walbrook::backup(&options, &NoProgress).await?;
/// println!("{}", record.id);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BackupOptions {
    /// The repository.
    pub repository: StoreUrl,
    /// The cluster's name in it.
    pub cluster: String,
    /// The server.
    pub server: ConnInfo,
    /// Whether the repository is created when there is none.
    pub create: bool,
    /// Whether a server with another system identifier is accepted under the cluster's name: after
    /// `pg_upgrade`, or a new `initdb`.
    pub new_system: bool,
    /// Free text for the record and for `backup_label`.
    pub label: String,
    /// Free keys and values for the record.
    pub annotations: BTreeMap<String, String>,
    /// How content is compressed.
    pub codec: Codec,
    /// The backup that this one is compared with.
    pub base: Base,
    /// How it is found out what has changed since then.
    pub changes: ChangeDetection,
    /// Whether backups that were interrupted are continued: what they have stored, and the server
    /// still has, is not stored again.
    pub resume: bool,
    /// Where the pages come from.
    pub source: Source,
    /// Whether a standby among the server's hosts is backed up rather than the primary. The primary
    /// is, when no standby can be reached or none keeps up, unless `target_session_attrs` of the
    /// server's settings asks for standbys only.
    pub from_standby: bool,
    /// The server's data directory, when it is on this machine: for [`Source::Local`].
    pub data_directory: Option<PathBuf>,
    /// Connections, or threads, that read at once, and frames that are compressed at once.
    pub jobs: usize,
    /// How soon the server's checkpoint is to be done.
    pub checkpoint: Checkpoint,
    /// Bytes of packs, as they are stored, that are compacted at most: what the base still has in
    /// packs of removed backups, of which most is in use by nobody, is stored anew. 0 for none.
    pub compaction: u64,
    /// The most that is read of the server, in KiB per second.
    pub max_rate: Option<u32>,
    /// How the WAL comes into the repository.
    pub wal: WalMode,
    /// How long to wait for WAL after the copy is complete.
    pub wal_timeout: Duration,
    /// How all that the backup stores, and all that it needs of earlier ones, is locked.
    pub lock: Option<LockOptions>,
}

impl BackupOptions {
    /// The usual ones: a repository is created when there is none, the checkpoint is fast, content
    /// is compressed with zstd on every core.
    pub fn new(repository: StoreUrl, cluster: impl Into<String>, server: ConnInfo) -> Self {
        Self {
            repository,
            cluster: cluster.into(),
            server,
            create: true,
            new_system: false,
            label: "walbrook".to_owned(),
            annotations: BTreeMap::new(),
            codec: Codec::default(),
            base: Base::Newest,
            changes: ChangeDetection::Auto,
            resume: true,
            source: Source::Auto,
            from_standby: false,
            data_directory: None,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            checkpoint: Checkpoint::Fast,
            compaction: 64 << 20,
            max_rate: None,
            wal: WalMode::Auto,
            wal_timeout: Duration::from_secs(300),
            lock: None,
        }
    }
}
