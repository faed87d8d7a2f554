use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use walbrook_repo::{BackupReader, ShardRecord};

use crate::restore::directory::Directories;
use crate::restore::files::{FileWriter, write_control_file};
use crate::restore::manifest::{BACKUP_MANIFEST, ManifestWriter};
use crate::restore::{RestorePlan, settings};
use crate::{Error, ErrorKind, Phase, Progress, Result};

/// What a restore has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Files that were written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl RestorePlan {
    /// Restores: writes and checks every file, and leaves a data directory on which a server that
    /// is started recovers to the target by itself.
    ///
    /// The file without which no server starts, `global/pg_control`, is written last, when all
    /// the rest is durable. When this fails, or its future is dropped, the directories are
    /// cleared again; after a crash the next restore into them clears them.
    pub async fn execute(&self, progress: &dyn Progress) -> Result<RestoreReport> {
        let record = &self.backup;
        progress.begin(Phase::Restore, Some(record.size.database_bytes));
        let root = self.options.data_directory.clone();
        let mut paths: Vec<PathBuf> = vec![root.clone()];
        paths.extend(self.tablespaces.iter().map(|tablespace| tablespace.location.clone()));
        let directories = tokio::task::spawn_blocking(move || Directories::begin(paths)).await??;

        let mut known_damage: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for page in &record.damage.listed {
            known_damage.entry(page.path.clone()).or_default().push(page.block);
        }
        let located = self.tablespaces.iter().map(|t| (t.oid, t.location.clone()));
        let writer = Arc::new(FileWriter {
            directories: Mutex::new(Some(directories)),
            reader: BackupReader::new(&self.cluster, record.clone()),
            root: root.clone(),
            tablespaces: located.collect(),
            jobs: self.options.jobs,
            checksums: record.server.data_checksums,
            start_lsn: record.span.start_lsn,
            known_damage,
            all_damage_listed: record.damage.pages == record.damage.listed.len() as u64,
        });
        let control = match self.write_content(&writer, progress).await {
            Ok(control) => control,
            Err(error) => {
                // The directories are cleared when the last worker lets go of them: a program that
                // ends upon this error should not leave them behind.
                let deadline = Instant::now() + SETTLE;
                while Arc::strong_count(&writer) > 1 && Instant::now() < deadline {
                    sleep(Duration::from_millis(5)).await;
                }
                return Err(error);
            }
        };

        progress.begin(Phase::Sync, None);
        let heading = format!("Restored by Walbrook {} from backup {}.", crate::VERSION, record.id);
        let recovery = self.settings.clone();
        let standby = self.options.standby;
        let abandoned = Abandoned::default();
        let is_abandoned = abandoned.0.clone();
        tokio::task::spawn_blocking(move || {
            let directories =
                writer.directories.lock().unwrap_or_else(PoisonError::into_inner).take();
            let directories = directories.ok_or_else(interrupted)?;
            let mode = directories.take_mode()?;
            settings::write(&root, &recovery, standby, &heading, mode)?;
            directories.sync()?;
            if is_abandoned.load(Ordering::SeqCst) {
                return Err(interrupted());
            }
            write_control_file(&root, mode, &control)?;
            directories.finish()
        })
        .await??;
        Ok(RestoreReport { files: record.size.files, bytes: record.size.database_bytes })
    }

    /// Writes all files but the control file, and returns the content of that.
    async fn write_content(
        &self,
        writer: &Arc<FileWriter>,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>> {
        let mut control = None;
        let mut manifest = match self.has_manifest(writer).await? {
            true => None,
            false => Some(ManifestWriter::create(&writer.root, &self.backup)?),
        };
        for index in 0..self.backup.manifest.len() {
            let shard = writer.reader.shard(index).await?;
            if let Some(manifest) = &mut manifest {
                shard.entries.iter().try_for_each(|entry| manifest.add(entry))?;
            }
            let found = writer.write_shard(shard, progress).await?;
            control = control.or(found);
        }
        if let Some(manifest) = manifest {
            manifest.finish(&self.backup)?;
        }
        control.ok_or_else(|| {
            let message = format!("backup {} has no global/pg_control", self.backup.id);
            Error::new(ErrorKind::Corrupt, message)
        })
    }
}

impl RestorePlan {
    /// Whether the server's own manifest was stored with the backup.
    async fn has_manifest(&self, writer: &FileWriter) -> Result<bool> {
        let within = |shard: &ShardRecord| {
            (shard.first_path.as_str()..=shard.last_path.as_str()).contains(&BACKUP_MANIFEST)
        };
        let Some(index) = self.backup.manifest.iter().position(within) else { return Ok(false) };
        let shard = writer.reader.shard(index).await?;
        Ok(shard.entries.iter().any(|entry| entry.path == BACKUP_MANIFEST))
    }
}

/// How long workers are waited for after one of them failed: each ends with its piece.
const SETTLE: Duration = Duration::from_secs(30);

/// Tells a thread, which can't be stopped, that nobody waits for it any more.
#[derive(Default)]
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn interrupted() -> Error {
    let cause = std::io::Error::from(std::io::ErrorKind::Interrupted);
    Error::io("the restore was abandoned", cause)
}
