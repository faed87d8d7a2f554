use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use walbrook_repo::{Repository, StoredWal};
use walbrook_store::ErrorKind as StoreErrorKind;
use walbrook_types::WalFileName;

use crate::archive::system::choose_system;
use crate::archive::{FetchOptions, prefetch};
use crate::{Error, ErrorKind, Result};

/// What became of a request for a WAL file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchOutcome {
    /// It was written to the destination.
    Fetched,
    /// It certainly is not in the repository. PostgreSQL takes this for the end of the archive, so
    /// nothing else is ever reported like this.
    Absent,
}

/// Brings one WAL file back: the work of a `restore_command`.
///
/// The destination appears whole or not at all. Trouble that may pass is retried, as long as
/// [`FetchOptions::retry_for`] says.
pub async fn fetch(options: &FetchOptions) -> Result<FetchOutcome> {
    let name: WalFileName = options.name.parse().map_err(|e| {
        let message = format!("{:?} is not the name of a WAL file: give %f", options.name);
        Error::new(ErrorKind::Invalid, message).with_source(e)
    })?;
    if prefetch::take(options, name) {
        return Ok(FetchOutcome::Fetched);
    }
    let deadline = Instant::now() + options.retry_for;
    let mut pause = Duration::from_millis(200);
    let stored = loop {
        match find(options, name).await {
            Ok(found) => break found,
            Err(trouble) if trouble.may_pass && Instant::now() + pause < deadline => {
                tracing::warn!(error = %trouble.error, "trying again");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(10));
            }
            Err(trouble) => return Err(trouble.error),
        }
    };
    let Some(stored) = stored else {
        if options.prefetch > 0 && matches!(name, WalFileName::Segment { .. }) {
            prefetch::discard(options);
        }
        return Ok(FetchOutcome::Absent);
    };
    let destination = options.destination.clone();
    tokio::task::spawn_blocking(move || write_whole(&stored, &destination)).await??;
    Ok(FetchOutcome::Fetched)
}

struct Trouble {
    error: Error,
    may_pass: bool,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self { error, may_pass: false }
    }
}

impl From<walbrook_repo::Error> for Trouble {
    fn from(error: walbrook_repo::Error) -> Self {
        let may_pass = error.store_error().is_some_and(|store| {
            // A disk that is being mounted is not there for a moment.
            store.is_transient() || store.kind() == StoreErrorKind::StoreMissing
        });
        Self { error: error.into(), may_pass }
    }
}

async fn find(options: &FetchOptions, name: WalFileName) -> Result<Option<StoredWal>, Trouble> {
    let store = walbrook_store::open(&options.repository).map_err(Error::from)?;
    let cluster = Repository::open(store).await?.cluster(&options.cluster)?;
    let system = match options.system {
        Some(system) => cluster.system(system).await?,
        None => choose_system(&cluster, None, Path::new(".")).await?,
    };
    Ok(cluster.wal(&system).get(&name).await?)
}

/// Writes beside the destination and renames. The name is the same each time, so that what a
/// crash leaves is overwritten by the next call; PostgreSQL makes one call at a time.
pub(crate) fn write_whole(stored: &StoredWal, destination: &Path) -> Result<()> {
    let mut temporary = destination.as_os_str().to_owned();
    temporary.push(".walbrook-tmp");
    let temporary = PathBuf::from(temporary);
    let failed = |e| Error::io(format!("{} can't be written", destination.display()), e);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    // Decoded and checked before the first byte is written.
    let parts = stored.decode(workers)?;
    let written = File::create(&temporary).and_then(|mut file| {
        parts.iter().try_for_each(|part| std::io::Write::write_all(&mut file, part))
    });
    written.and_then(|()| fs::rename(&temporary, destination)).map_err(|error| {
        // What was written is of no use; if it can't be removed, the next call overwrites it.
        let _ = fs::remove_file(&temporary);
        failed(error)
    })
}
