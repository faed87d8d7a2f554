use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use futures::future::join_all;
use walbrook_repo::{PutOutcome, Repository, WalArchive};
use walbrook_types::WalFileName;

use crate::archive::PushOptions;
use crate::archive::system::choose_system;
use crate::{Error, ErrorKind, Result};

/// Stores one file of `pg_wal` in the repository: the work of an `archive_command`.
///
/// When this returns the file is durable there, and locked if [`PushOptions::lock`] says so. Storing it again is no error; other content under
/// its name is, and changes nothing. Files that wait for the archiver as well are stored along
/// with it, as many as [`PushOptions::look_ahead`] says: the archiver's next calls find them done.
pub async fn push(options: &PushOptions) -> Result<PutOutcome> {
    let path = &options.path;
    let name = wal_name(path.file_name()).ok_or_else(|| {
        let message = format!(
            "{} is no file that PostgreSQL archives: give its path as archive_command's %p",
            path.display()
        );
        Error::new(ErrorKind::Invalid, message)
    })?;
    // A file that can't be read is the caller's mistake, whatever the repository says.
    File::open(path).map_err(|e| Error::io(format!("{} can't be read", path.display()), e))?;
    let store = crate::lock::open(&options.repository, options.lock)?;
    let cluster = Repository::open(store).await?.cluster(&options.cluster)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let data_directory = folder.parent().unwrap_or(Path::new(".."));
    let system = choose_system(&cluster, options.system, data_directory).await?;
    let archive = cluster.wal(&system);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    let archive = archive.with_compression(options.codec, workers);

    // Large segments are many frames each: one keeps the machine busy.
    let ahead = if system.wal_segment_size.bytes() > 64 << 20 { 0 } else { options.look_ahead };
    let others = waiting(folder, name, ahead).into_iter().map(|path| put_ahead(&archive, path));
    let asked = async {
        let outcome = put(&archive, name, path.clone()).await?;
        // What is there already may have come without a lock.
        if let (PutOutcome::AlreadyThere, Some(lock)) = (outcome, options.lock) {
            archive.lock(&name, lock.until).await?;
        }
        Ok(outcome)
    };
    let (outcome, _) = tokio::join!(asked, join_all(others));
    outcome
}

async fn put(archive: &WalArchive, name: WalFileName, path: PathBuf) -> Result<PutOutcome> {
    Ok(archive.put(name, move || File::open(&path)).await?.outcome)
}

/// A file that was not asked for: trouble with it is told when it is.
async fn put_ahead(archive: &WalArchive, path: PathBuf) {
    let Some(name) = wal_name(path.file_name()) else { return };
    if let Err(error) = put(archive, name, path).await {
        tracing::debug!(%name, %error, "looking ahead failed");
    }
}

/// The files that the archiver will ask for next: those with a `.ready` file in
/// `archive_status`, oldest first.
fn waiting(folder: &Path, current: WalFileName, at_most: usize) -> Vec<PathBuf> {
    if at_most == 0 {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(folder.join("archive_status")) else { return Vec::new() };
    let ready = |entry: fs::DirEntry| {
        let file = entry.file_name();
        wal_name(Some(OsStr::new(file.to_str()?.strip_suffix(".ready")?)))
    };
    let mut names: Vec<_> = entries.flatten().filter_map(ready).filter(|n| *n != current).collect();
    names.sort_unstable_by_key(ToString::to_string);
    names.truncate(at_most);
    names.iter().map(|name| folder.join(name.to_string())).collect()
}

fn wal_name(file: Option<&OsStr>) -> Option<WalFileName> {
    file?.to_str()?.parse().ok()
}
