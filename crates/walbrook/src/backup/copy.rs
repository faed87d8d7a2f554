use std::path::Path;

use bytes::Bytes;
use walbrook_page::ControlFile;
use walbrook_replication::{
    BaseBackup, BaseBackupEvent, EntryKind as TarKind, TarEntry, TarEvent, TarReader,
};
use walbrook_repo::{BackupWriter, Entry, EntryKind};
use walbrook_types::{BackupLabel, Oid};

use crate::backup::CONTROL_FILE;
use crate::backup::manifest_check::{BACKUP_MANIFEST, ManifestCheck, ManifestReader, SmallFile};
use crate::backup::native::{Fold, Folded, Prior, folded_path, without_incremental_lines};
use crate::{Error, ErrorKind, Progress, Result};

/// What says that a directory is a backup, and where its WAL begins.
const LABEL: &str = "backup_label";

/// What was learnt while the files passed by.
pub(crate) struct Copied {
    pub(crate) label: BackupLabel,
    pub(crate) control: ControlFile,
    pub(crate) manifest: ManifestCheck,
}

/// Moves a base backup into a writer: takes the archives apart and stores their files. Of an
/// incremental one, which is laid over a prior backup, complete files become.
pub(crate) struct Copier<'a> {
    writer: &'a mut BackupWriter,
    progress: &'a dyn Progress,
    /// The folder that the current archive's paths are relative to, with its slash.
    prefix: String,
    tar: TarReader,
    in_archive: bool,
    file: Current,
    prior: Option<Prior>,
    label: SmallFile,
    control: SmallFile,
    manifest: ManifestReader,
    manifest_begun: bool,
}

/// What becomes of the content of the file at hand.
enum Current {
    /// There is none.
    None,
    /// It is stored.
    Stored,
    /// It is stored, and kept.
    Control,
    /// It is kept, to be stored when all of it is there.
    Label { mode: u32, mtime: i64 },
    /// It is laid over the prior's.
    Folded(Box<Fold>),
}

impl<'a> Copier<'a> {
    pub(crate) fn new(
        writer: &'a mut BackupWriter,
        progress: &'a dyn Progress,
        prior: Option<Prior>,
    ) -> Self {
        Self {
            writer,
            progress,
            prefix: String::new(),
            tar: TarReader::new(),
            in_archive: false,
            file: Current::None,
            manifest: ManifestReader::new(prior.is_some()),
            manifest_begun: false,
            prior,
            label: SmallFile::default(),
            control: SmallFile::default(),
        }
    }

    /// Takes everything up to the end of the manifest.
    pub(crate) async fn run(mut self, backup: &mut BaseBackup) -> Result<Copied> {
        while let Some(event) = backup.next().await? {
            match event {
                BaseBackupEvent::Archive { name, location } => {
                    self.end_archive()?;
                    self.in_archive = true;
                    self.prefix = match location {
                        None => String::new(),
                        Some(_) => format!("pg_tblspc/{}/", archive_oid(&name)?),
                    };
                }
                BaseBackupEvent::Data(bytes) if self.manifest_begun => {
                    self.manifest.feed(&bytes)?;
                    if self.prior.is_none() {
                        self.writer.write(&bytes).await?;
                    }
                }
                BaseBackupEvent::Data(bytes) => {
                    self.progress.advance(bytes.len() as u64);
                    self.tar.feed(bytes);
                    self.take_archive().await?;
                }
                BaseBackupEvent::Manifest => {
                    self.end_archive()?;
                    self.manifest_begun = true;
                    // That of an incremental backup is of files that are not stored.
                    if self.prior.is_none() {
                        self.writer.begin_file(BACKUP_MANIFEST, 0o600, 0)?;
                    }
                }
                _ => {}
            }
        }
        let sent = |what: &str| {
            Error::new(ErrorKind::ServerChanged, format!("the server sent no valid {what}"))
        };
        let manifest = self.manifest.finish()?;
        self.writer.end_file()?;
        let label = std::str::from_utf8(self.label.bytes())
            .map_err(|e| sent("backup_label").with_source(e))?;
        let label = BackupLabel::parse(label).map_err(|e| sent("backup_label").with_source(e))?;
        let control = ControlFile::parse(self.control.bytes())
            .map_err(|e| sent("global/pg_control").with_source(e))?;
        Ok(Copied { label, control, manifest })
    }

    /// The archive before this event, if there was one, must have been complete.
    fn end_archive(&mut self) -> Result<()> {
        if self.in_archive {
            std::mem::take(&mut self.tar).finish()?;
        }
        self.in_archive = false;
        Ok(())
    }

    async fn take_archive(&mut self) -> Result<()> {
        while let Some(event) = self.tar.next()? {
            match event {
                TarEvent::Entry(entry) => self.begin_entry(entry)?,
                TarEvent::Data(bytes) => match &mut self.file {
                    Current::Folded(fold) => fold.write(self.writer, &bytes).await?,
                    Current::Label { .. } => self.label.push(&bytes),
                    Current::Control => {
                        self.control.push(&bytes);
                        self.writer.write(&bytes).await?;
                    }
                    Current::Stored | Current::None => self.writer.write(&bytes).await?,
                },
                TarEvent::EndOfFile => match std::mem::replace(&mut self.file, Current::None) {
                    // A directory or a link ends as well, but was never begun.
                    Current::None => {}
                    Current::Stored | Current::Control => self.writer.end_file()?,
                    Current::Label { mode, mtime } => self.store_label(mode, mtime).await?,
                    Current::Folded(fold) => {
                        let Folded { path, received, crc32c, spared } = fold.close(self.writer)?;
                        self.manifest.received(path, received, crc32c)?;
                        self.progress.advance(spared);
                    }
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// Stores `backup_label`, as that of a complete backup.
    async fn store_label(&mut self, mode: u32, mtime: i64) -> Result<()> {
        let label = Bytes::copy_from_slice(self.label.bytes());
        let mut stored = label.clone();
        if let Some(prior) = &self.prior {
            let text = String::from_utf8_lossy(&label);
            let (complete, from) = without_incremental_lines(&text);
            if from != Some(prior.start()) {
                let message = format!(
                    "the server sent what changed since {}, not since {}",
                    from.map_or("no place".to_owned(), |lsn| lsn.to_string()),
                    prior.start()
                );
                return Err(Error::new(ErrorKind::ServerChanged, message));
            }
            stored = complete.into();
            let crc32c = crc32c::crc32c(&label);
            self.manifest.received(LABEL.to_owned(), label.len() as u64, crc32c)?;
        }
        self.writer.begin_file(LABEL, mode, mtime)?;
        self.writer.write(&stored).await?;
        Ok(self.writer.end_file()?)
    }

    fn begin_entry(&mut self, entry: TarEntry) -> Result<()> {
        let path = format!("{}{}", self.prefix, utf8(&entry.path)?);
        let mtime = i64::try_from(entry.mtime).unwrap_or(i64::MAX);
        let kind = match entry.kind {
            TarKind::File => {
                self.file = self.begin_file(path, entry.mode, mtime)?;
                return Ok(());
            }
            TarKind::Directory => EntryKind::Directory,
            TarKind::Symlink(target) => EntryKind::Symlink { target: utf8(&target)?.to_owned() },
            _ => {
                let message = format!("the server sent {path:?}, which is no file or directory");
                return Err(Error::new(ErrorKind::ServerChanged, message));
            }
        };
        self.writer.add(Entry { path, mode: entry.mode, mtime, kind })?;
        Ok(())
    }

    fn begin_file(&mut self, path: String, mode: u32, mtime: i64) -> Result<Current> {
        if path == LABEL {
            return Ok(Current::Label { mode, mtime });
        }
        if let (Some(prior), Some(folded)) = (&self.prior, folded_path(&path)) {
            let base = prior.lookup(&folded)?.ok_or_else(|| {
                let message =
                    format!("the server sent differences of {folded:?}, of which it was not told");
                Error::new(ErrorKind::ServerChanged, message)
            })?;
            let fold = Fold::open(self.writer, folded, (mode, mtime), base)?;
            return Ok(Current::Folded(Box::new(fold)));
        }
        self.writer.begin_file(&path, mode, mtime)?;
        Ok(if path == CONTROL_FILE { Current::Control } else { Current::Stored })
    }
}

/// Names in a manifest are UTF-8. PostgreSQL's own all are; somebody's file in the data directory
/// might not be.
fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        let message = format!(
            "the name of {path:?} in the data directory is not UTF-8: move the file out of it"
        );
        Error::new(ErrorKind::ServerChanged, message)
    })
}

/// The tablespace that an archive such as `16385.tar` is of.
fn archive_oid(name: &str) -> Result<Oid> {
    let oid = name.split('.').next().and_then(|oid| oid.parse().ok());
    oid.ok_or_else(|| {
        let message = format!("the server sent an archive {name:?} that names no tablespace");
        Error::new(ErrorKind::ServerChanged, message)
    })
}
