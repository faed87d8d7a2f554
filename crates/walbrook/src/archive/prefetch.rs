//! Segments that recovery will ask for next, brought near before it does.
//!
//! They wait in a folder beside the destination, in `pg_wal`. A file there was decoded and checked
//! before it got its name, but it was never made durable: the folder's name has the boot of this
//! machine in it, so that what a loss of power left is never used. Replay would take a segment of
//! zeros for the end of the WAL.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use futures::stream::{self, StreamExt};
use walbrook_repo::{Digest, Repository};
use walbrook_types::{SegmentNumber, WalFileName};

use crate::archive::FetchOptions;
use crate::archive::fetch::write_whole;
use crate::archive::system::choose_system;
use crate::{Error, Result};

/// The folders' names begin like this.
const FOLDER: &str = "walbrook-prefetch-";

/// Segments that are read at once.
const AT_ONCE: usize = 3;

/// Where segments wait for this server, this boot and this repository; none where that can't be
/// told.
fn folder(options: &FetchOptions) -> Option<PathBuf> {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let place = format!("{}\n{}", options.repository, options.cluster);
    let digest = Digest::of(&[&boot, place.as_bytes()].concat()).to_string();
    Some(beside(options).join(format!("{FOLDER}{}", &digest[..16])))
}

/// The folder that the destination is in.
fn beside(options: &FetchOptions) -> PathBuf {
    match options.destination.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Moves a segment that waits to the destination; false when it does not wait.
pub(crate) fn take(options: &FetchOptions, name: WalFileName) -> bool {
    if options.prefetch == 0 || !matches!(name, WalFileName::Segment { .. }) {
        return false;
    }
    folder(options).is_some_and(|folder| {
        fs::rename(folder.join(name.to_string()), &options.destination).is_ok()
    })
}

/// Removes what waits: recovery came to the end of the archive, or went another way.
pub(crate) fn discard(options: &FetchOptions) {
    let Ok(entries) = fs::read_dir(beside(options)) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(FOLDER)) {
            // Another process may be filling it; it finds its folder gone and stops.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether [`prefetch`] would be of use now: fewer than half of the segments that may wait do.
///
/// Costs a look at a directory. A caller that runs `prefetch` in a process of its own asks first.
pub fn wants_prefetch(options: &FetchOptions) -> bool {
    let is_segment = matches!(options.name.parse(), Ok(WalFileName::Segment { .. }));
    let waiting = |folder: PathBuf| fs::read_dir(folder).map_or(0, |entries| entries.count());
    is_segment
        && options.prefetch > 0
        && folder(options).is_some_and(|folder| waiting(folder) <= options.prefetch / 2)
}

/// Brings the segments that follow [`FetchOptions::name`] near, up to [`FetchOptions::prefetch`]
/// of them, so that the next [`fetch`](crate::fetch)es find them. Returns how many were brought.
///
/// Meant for a process that runs while PostgreSQL replays the segment that was fetched. Only one
/// at a time does anything, and trouble ends it: the next `fetch` will meet it and report it.
pub async fn prefetch(options: &FetchOptions) -> Result<usize> {
    let Some(folder) = folder(options) else { return Ok(0) };
    let Ok(name) = options.name.parse::<WalFileName>() else { return Ok(0) };
    let failed = |e| Error::io(format!("{} can't be used", folder.display()), e);
    if !folder.exists() {
        // Those of another boot or another repository are of no use any more.
        discard(options);
    }
    match fs::create_dir(&folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    let lock = File::open(&folder).map_err(failed)?;
    if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(0);
    }

    let store = walbrook_store::open(&options.repository)?;
    let cluster = Repository::open(store).await?.cluster(&options.cluster)?;
    let system = choose_system(&cluster, options.system, Path::new(".")).await?;
    let archive = cluster.wal(&system);
    let size = archive.segment_size();
    let Some(number) = name.segment_number(size) else { return Ok(0) };
    remove_before(&folder, name);
    let names = (1..=options.prefetch as u64)
        .map(|ahead| WalFileName::segment(name.timeline(), SegmentNumber(number.0 + ahead), size))
        .filter(|name| !folder.join(name.to_string()).exists());
    let (archive, folder) = (&archive, &folder);
    let mut found = stream::iter(names)
        .map(|name| async move { archive.get(&name).await.map(|stored| (name, stored)) })
        .buffered(AT_ONCE);
    let mut brought = 0;
    while let Some((name, Some(stored))) = found.next().await.transpose()? {
        let path = folder.join(name.to_string());
        tokio::task::spawn_blocking(move || write_whole(&stored, &path)).await??;
        brought += 1;
    }
    Ok(brought)
}

/// What recovery has passed will not be asked for again.
fn remove_before(folder: &Path, current: WalFileName) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let waits = name.to_str().and_then(|name| name.parse::<WalFileName>().ok());
        if waits.is_none_or(|name| name.timeline() != current.timeline() || name <= current) {
            // A file that can't be removed is in the way of nothing.
            let _ = fs::remove_file(entry.path());
        }
    }
}
