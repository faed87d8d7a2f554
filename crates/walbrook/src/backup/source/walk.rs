use std::collections::{BTreeMap, BTreeSet};

use walbrook_repo::TablespaceRecord;
use walbrook_types::{Oid, PgVersion};

use super::exclude::{Judgement, judge};
use super::list::{FileInfo, FileKind, FileList, FileListBuilder};
use crate::{Error, ErrorKind, Result};

/// Walks the data directory level by level: says which directories are to be listed next, takes
/// what is found in them, and keeps what belongs into a backup.
pub(crate) struct Walk {
    version: PgVersion,
    /// `PG_<major>_<catalog version>`: the only directory of a tablespace that is this server's.
    version_directory: String,
    /// Tablespaces outside of the data directory, by OID.
    tablespaces: BTreeMap<Oid, String>,
    /// Tablespaces that are directories in `pg_tblspc` (`allow_in_place_tablespaces`).
    in_place: BTreeSet<Oid>,
    list: FileListBuilder,
    next: Vec<String>,
}

/// What a directory has.
pub(crate) struct Found<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) is_directory: bool,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) mode: u32,
    /// Whether it is of an unlogged relation, and no init fork.
    pub(crate) unlogged: bool,
}

/// No server makes directories as deep as this. A link to a directory above it would.
const MAX_DEPTH: usize = 32;

impl Walk {
    pub(crate) fn new(
        version: PgVersion,
        catalog_version: u32,
        tablespaces: &[TablespaceRecord],
        in_place: BTreeSet<Oid>,
    ) -> Self {
        Self {
            version,
            version_directory: format!("PG_{}_{catalog_version}", version.major()),
            tablespaces: tablespaces.iter().map(|t| (t.oid, t.location.clone())).collect(),
            in_place,
            list: FileListBuilder::default(),
            // The data directory itself.
            next: vec![String::new()],
        }
    }

    /// The directories that are to be listed next; none when all are done.
    pub(crate) fn next_level(&mut self) -> Vec<String> {
        std::mem::take(&mut self.next)
    }

    pub(crate) fn take(&mut self, directory: &str, found: &Found<'_>) -> Result<()> {
        let Found { name, is_directory, size, mtime, mode, unlogged } = *found;
        let name = std::str::from_utf8(name).map_err(|_| {
            let message = format!(
                "the name of {:?} in the data directory is not UTF-8: move the file out of it",
                String::from_utf8_lossy(name)
            );
            Error::new(ErrorKind::ServerChanged, message)
        })?;
        let path = match directory {
            "" => name.to_owned(),
            directory => format!("{directory}/{name}"),
        };
        let outside = self.is_outside(directory);
        if unlogged || (outside && name != self.version_directory) {
            return Ok(());
        }
        if directory == "pg_tblspc"
            && let Some(oid) = name.parse::<Oid>().ok()
            && !self.in_place.contains(&oid)
        {
            // One that came after the backup began is made by its WAL record, which a directory
            // in its place would fail.
            let Some(target) = self.tablespaces.get(&oid) else { return Ok(()) };
            let kind = FileKind::TablespaceLink { target: target.clone() };
            self.next.push(path.clone());
            return self.list.push(FileInfo { path, kind, size: 0, mtime, mode: 0o777 });
        }
        let judgement = judge(directory, name, is_directory);
        if judgement == Judgement::Skip {
            return Ok(());
        }
        let kind = if is_directory { FileKind::Directory } else { FileKind::File };
        let size = if is_directory { 0 } else { size };
        self.list.push(FileInfo { path: path.clone(), kind, size, mtime, mode })?;
        if !is_directory {
            return Ok(());
        }
        match judgement {
            Judgement::Wal => {
                let summaries = (self.version.major() >= 17).then_some("summaries");
                for name in ["archive_status"].into_iter().chain(summaries) {
                    let path = format!("{path}/{name}");
                    let kind = FileKind::Directory;
                    self.list.push(FileInfo { path, kind, size: 0, mtime, mode })?;
                }
            }
            // A tablespace inside the data directory has been met, or will be, by its link.
            Judgement::Keep if !outside && self.is_misplaced(directory, name) => {}
            Judgement::Keep => self.descend(path)?,
            Judgement::KeepEmpty | Judgement::Skip => {}
        }
        Ok(())
    }

    /// Whether this entry's content is left out, so that what it is a link to does not matter.
    pub(crate) fn is_emptied(&self, directory: &str, name: &[u8]) -> bool {
        std::str::from_utf8(name).is_ok_and(|name| {
            matches!(judge(directory, name, true), Judgement::KeepEmpty | Judgement::Wal)
        })
    }

    fn descend(&mut self, path: String) -> Result<()> {
        if path.split('/').count() > MAX_DEPTH {
            let message = format!(
                "the data directory has more than {MAX_DEPTH} levels, such as {path:?}: is there a \
                 symbolic link to a directory above it?"
            );
            return Err(Error::new(ErrorKind::ServerChanged, message));
        }
        self.next.push(path);
        Ok(())
    }

    /// Whether this is `pg_tblspc/<oid>`, the link to a tablespace that is outside.
    fn is_outside(&self, directory: &str) -> bool {
        let oid = directory.strip_prefix("pg_tblspc/").and_then(|oid| oid.parse().ok());
        oid.is_some_and(|oid: Oid| self.tablespaces.contains_key(&oid))
    }

    fn is_misplaced(&self, directory: &str, name: &str) -> bool {
        name == self.version_directory && !directory.starts_with("pg_tblspc/")
    }

    pub(crate) fn finish(self) -> Result<FileList> {
        self.list.finish()
    }
}
