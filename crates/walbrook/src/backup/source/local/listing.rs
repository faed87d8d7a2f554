use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use walbrook_repo::TablespaceRecord;
use walbrook_types::Oid;

use crate::backup::source::FileContents;
use crate::backup::source::exclude::unlogged_init_fork;
use crate::backup::source::walk::{Found, Walk};
use crate::{Error, ErrorKind, Result};

/// The tablespaces that `pg_tblspc` has links to.
pub(crate) fn tablespaces(root: &Path) -> Result<Vec<TablespaceRecord>> {
    let mut found = Vec::new();
    for (oid, metadata) in numbered(root)? {
        if !metadata.is_symlink() {
            continue;
        }
        let path = root.join("pg_tblspc").join(oid.to_string());
        let target = match std::fs::read_link(&path) {
            Ok(target) => target,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io(format!("{} can't be read", path.display()), e)),
        };
        let location = target.into_os_string().into_string().map_err(|_| {
            let message = format!("the location of tablespace {oid} is not UTF-8");
            Error::new(ErrorKind::Server, message)
        })?;
        found.push(TablespaceRecord { oid, location });
    }
    found.sort_by_key(|tablespace| tablespace.oid);
    Ok(found)
}

/// The tablespaces that are directories in `pg_tblspc`.
pub(crate) fn in_place(root: &Path) -> Result<BTreeSet<Oid>> {
    let numbered = numbered(root)?;
    Ok(numbered.into_iter().filter(|(_, m)| m.is_dir()).map(|(oid, _)| oid).collect())
}

fn numbered(root: &Path) -> Result<Vec<(Oid, Metadata)>> {
    let mut found = Vec::new();
    each_entry(&root.join("pg_tblspc"), |name, metadata| {
        if let Some(oid) = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()) {
            found.push((oid, metadata.clone()));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Walks the whole directory.
pub(crate) fn walk(root: &Path, walk: &mut Walk) -> Result<()> {
    loop {
        let level = walk.next_level();
        if level.is_empty() {
            return Ok(());
        }
        for directory in level {
            let path = root.join(&directory);
            each_entry(&path, |name, metadata| {
                let mut is_directory = metadata.is_dir();
                if metadata.is_symlink() {
                    // Tablespaces are followed; pg_wal and the directories that are emptied may
                    // be links, and are stored as directories. Other links, as in a base backup,
                    // are not.
                    let known = directory == "pg_tblspc" || walk.is_emptied(&directory, name);
                    if !known {
                        return Ok(());
                    }
                    is_directory = true;
                } else if !is_directory && !metadata.is_file() {
                    return Ok(());
                }
                let init = std::str::from_utf8(name)
                    .ok()
                    .and_then(|name| unlogged_init_fork(&directory, name));
                let unlogged = init.is_some_and(|init| path.join(init).symlink_metadata().is_ok());
                let mode = match metadata.is_symlink() {
                    true => 0o700,
                    false => metadata.mode() & 0o7777,
                };
                let found = Found {
                    name,
                    is_directory,
                    size: metadata.size(),
                    mtime: metadata.mtime(),
                    mode,
                    unlogged,
                };
                walk.take(&directory, &found)
            })?;
        }
    }
}

/// Looks at what is in a directory. Neither that nor the directory itself need still be there.
fn each_entry(path: &Path, mut look: impl FnMut(&[u8], &Metadata) -> Result<()>) -> Result<()> {
    let failed = |path: &Path, e| Error::io(format!("{} can't be read", path.display()), e);
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(path, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| failed(path, e))?;
        match entry.path().symlink_metadata() {
            Ok(metadata) => look(entry.file_name().as_bytes(), &metadata)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(&entry.path(), e)),
        }
    }
    Ok(())
}

/// Reads a small file as a whole.
pub(crate) fn small_file(path: &Path) -> Result<FileContents> {
    let failed = |e| Error::io(format!("{} can't be read", path.display()), e);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(FileContents { bytes, mode: metadata.mode() & 0o7777, mtime: metadata.mtime() })
}
