use std::path::Path;

use walbrook_page::ControlFile;
use walbrook_replication::{
    BaseBackup, BaseBackupEvent, EntryKind as TarKind, TarEntry, TarEvent, TarReader,
};
use walbrook_repo::{BackupWriter, Entry, EntryKind};
use walbrook_types::{BackupLabel, Oid};

use crate::backup::manifest_check::{BACKUP_MANIFEST, ManifestCheck, ManifestReader, SmallFile};
use crate::{Error, ErrorKind, Progress, Result};

/// What was learnt while the files passed by.
pub(crate) struct Copied {
    pub(crate) label: BackupLabel,
    pub(crate) control: ControlFile,
    pub(crate) manifest: ManifestCheck,
}

/// Moves a base backup into a writer: takes the archives apart and stores their files.
pub(crate) struct Copier<'a> {
    writer: &'a mut BackupWriter,
    progress: &'a dyn Progress,
    /// The folder that the current archive's paths are relative to, with its slash.
    prefix: String,
    tar: TarReader,
    in_archive: bool,
    in_file: bool,
    /// The file whose content is kept, if the current one is.
    keep: Option<Kept>,
    label: SmallFile,
    control: SmallFile,
    manifest: Option<ManifestReader>,
}

#[derive(Clone, Copy)]
enum Kept {
    Label,
    Control,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(writer: &'a mut BackupWriter, progress: &'a dyn Progress) -> Self {
        Self {
            writer,
            progress,
            prefix: String::new(),
            tar: TarReader::new(),
            in_archive: false,
            in_file: false,
            keep: None,
            label: SmallFile::default(),
            control: SmallFile::default(),
            manifest: None,
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
                BaseBackupEvent::Data(bytes) => match &mut self.manifest {
                    Some(manifest) => {
                        manifest.feed(&bytes)?;
                        self.writer.write(&bytes).await?;
                    }
                    None => {
                        self.progress.advance(bytes.len() as u64);
                        self.tar.feed(bytes);
                        self.take_archive().await?;
                    }
                },
                BaseBackupEvent::Manifest => {
                    self.end_archive()?;
                    self.manifest = Some(ManifestReader::default());
                    self.writer.begin_file(BACKUP_MANIFEST, 0o600, 0)?;
                }
                _ => {}
            }
        }
        let sent = |what: &str| {
            Error::new(ErrorKind::ServerChanged, format!("the server sent no valid {what}"))
        };
        let manifest = self.manifest.ok_or_else(|| sent("backup manifest"))?.finish()?;
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
                TarEvent::Data(bytes) => {
                    match self.keep {
                        Some(Kept::Label) => self.label.push(&bytes),
                        Some(Kept::Control) => self.control.push(&bytes),
                        None => {}
                    }
                    self.writer.write(&bytes).await?;
                }
                // A directory or a link ends as well, but was never begun.
                TarEvent::EndOfFile if self.in_file => {
                    self.in_file = false;
                    self.writer.end_file()?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn begin_entry(&mut self, entry: TarEntry) -> Result<()> {
        let path = format!("{}{}", self.prefix, utf8(&entry.path)?);
        let mtime = i64::try_from(entry.mtime).unwrap_or(i64::MAX);
        let kind = match entry.kind {
            TarKind::File => {
                self.keep = match path.as_str() {
                    "backup_label" => Some(Kept::Label),
                    "global/pg_control" => Some(Kept::Control),
                    _ => None,
                };
                self.in_file = true;
                self.writer.begin_file(&path, entry.mode, mtime)?;
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
