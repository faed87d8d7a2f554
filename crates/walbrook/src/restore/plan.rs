use std::path::{Path, PathBuf};

use walbrook_repo::{BackupRecord, Cluster, DamagedBackup, Repository};
use walbrook_types::{Oid, TimelineId, WalFileName};

use crate::catalog::missing_for;
use crate::restore::choose::{Choice, choose};
use crate::restore::directory::check_directory;
use crate::restore::settings;
use crate::restore::{RestoreOptions, Target};
use crate::wal_path::WalPath;
use crate::{Error, ErrorKind, Result};

/// What a restore is going to do; nothing has been written yet.
///
/// A plan exists only when the restore can succeed: the backup and the WAL that leads to the
/// target are in the repository, and the directories are fit to restore into.
#[derive(Debug)]
pub struct RestorePlan {
    pub(crate) options: RestoreOptions,
    pub(crate) cluster: Cluster,
    pub(crate) backup: BackupRecord,
    pub(crate) timeline: TimelineId,
    pub(crate) wal: (WalFileName, WalFileName),
    pub(crate) tablespaces: Vec<TablespacePlan>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) warnings: Vec<String>,
}

/// Where a tablespace goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablespacePlan {
    /// Its OID.
    pub oid: Oid,
    /// Its directory on the server that was backed up.
    pub original: String,
    /// Its directory now.
    pub location: PathBuf,
}

/// Plans a restore. Reads the repository and looks at the directories; writes nothing.
pub async fn plan_restore(options: &RestoreOptions) -> Result<RestorePlan> {
    let store = walbrook_store::open(&options.repository)?;
    let cluster = Repository::open(store).await?.cluster(&options.cluster)?;
    let Choice { backup, path, last, damaged } = choose(&cluster, options).await?;
    let tablespaces = place_tablespaces(&backup, options)?;
    check_directory(&options.data_directory, &options.data_directory)?;
    for tablespace in &tablespaces {
        check_directory(&tablespace.location, &options.data_directory)?;
    }
    let first = path.size().segment_of(backup.span.start_lsn);
    let names = path.name(first).zip(path.name(last));
    let wal = names.ok_or_else(|| missing_wal(&path, &backup))?;
    let settings = settings::recovery_settings(options, path.timeline())?;
    let mut warnings = warnings(&backup, options, &tablespaces);
    let passed_over = |damaged: &DamagedBackup| {
        format!("backup {} is passed over: {}", damaged.id, damaged.error)
    };
    warnings.extend(damaged.iter().map(passed_over));
    Ok(RestorePlan {
        options: options.clone(),
        cluster,
        timeline: path.timeline(),
        backup,
        wal,
        tablespaces,
        settings,
        warnings,
    })
}

/// Why a backup can't become consistent.
pub(crate) fn missing_wal(path: &WalPath, backup: &BackupRecord) -> Error {
    let missing = missing_for(path, backup).map_or("WAL".to_owned(), |name| name.to_string());
    let message = format!(
        "backup {} needs {missing}, which is not in the repository: choose another backup \
         (walbrook-list shows which can be restored)",
        backup.id
    );
    Error::new(ErrorKind::Unreachable, message)
}

fn place_tablespaces(
    backup: &BackupRecord,
    options: &RestoreOptions,
) -> Result<Vec<TablespacePlan>> {
    let mut unused: Vec<&String> = options.tablespace_map.keys().collect();
    let mut plans: Vec<TablespacePlan> = Vec::new();
    for tablespace in &backup.tablespaces {
        let oid = tablespace.oid.to_string();
        let keys = [&tablespace.location, &oid];
        unused.retain(|key| !keys.contains(key));
        let mapped = keys.iter().find_map(|key| options.tablespace_map.get(*key));
        let location = mapped.cloned().unwrap_or_else(|| PathBuf::from(&tablespace.location));
        if !location.is_absolute() {
            let message = format!(
                "tablespace {oid} can't be restored to {}: give an absolute path",
                location.display()
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let overlaps = |other: &Path| location.starts_with(other) || other.starts_with(&location);
        let clash = plans.iter().map(|plan| plan.location.as_path());
        if clash.chain([options.data_directory.as_path()]).any(overlaps) {
            let message = format!(
                "tablespace {oid} can't be restored to {}, inside or around another directory of \
                 the restore: give it another place with --tablespace-map {}=NEW",
                location.display(),
                tablespace.location
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        plans.push(TablespacePlan {
            oid: tablespace.oid,
            original: tablespace.location.clone(),
            location,
        });
    }
    match unused.first() {
        None => Ok(plans),
        Some(key) => {
            let known: Vec<&str> = backup.tablespaces.iter().map(|t| t.location.as_str()).collect();
            let message = format!(
                "backup {} has no tablespace {key:?} to map: it has {}",
                backup.id,
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            );
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}

fn warnings(
    backup: &BackupRecord,
    options: &RestoreOptions,
    tablespaces: &[TablespacePlan],
) -> Vec<String> {
    let mut warnings = Vec::new();
    if backup.damage.pages > 0 {
        warnings.push(format!(
            "{} pages were damaged on the server when the backup was taken; they are restored as \
             they were",
            backup.damage.pages
        ));
    }
    if options.standby && backup.source.from_standby {
        warnings.push(
            "the backup is of a standby, whose primary_conninfo and primary_slot_name are restored \
             with it: set them for the new standby before it is started"
                .to_owned(),
        );
    }
    let needed = backup.size.database_bytes;
    if tablespaces.is_empty()
        && crate::restore::directory::free_bytes(&options.data_directory)
            .is_some_and(|f| f < needed)
    {
        warnings.push(format!(
            "the backup has {needed} bytes, and the file system of {} has less than that free",
            options.data_directory.display()
        ));
    }
    warnings
}

impl RestorePlan {
    /// The backup that is restored.
    pub fn backup(&self) -> &BackupRecord {
        &self.backup
    }

    /// Where the restore ends.
    pub fn target(&self) -> &Target {
        &self.options.target
    }

    /// The timeline that it follows.
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// Where the tablespaces go.
    pub fn tablespaces(&self) -> &[TablespacePlan] {
        &self.tablespaces
    }

    /// The first WAL segment that is replayed, and the last that there is.
    pub fn wal(&self) -> (WalFileName, WalFileName) {
        self.wal
    }

    /// What is appended to `postgresql.auto.conf`, in order.
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// What the user should know before going on.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
