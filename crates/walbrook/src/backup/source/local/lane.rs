use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{Advice, OFlags, fadvise};
use tokio::runtime::Handle;
use walbrook_types::BLOCK_SIZE;

use crate::backup::source::check::Checker;
use crate::backup::source::lanes::{Chunk, Lane, UnitRead};
use crate::{Error, Result};

/// The file that was read last: most chunks are of the same.
type Open = Option<(Arc<str>, Option<File>)>;

/// Reads what its lane is given, in a thread of its own.
pub(crate) fn run(root: &Path, mut lane: Lane, checker: &Checker, runtime: &Handle) {
    let mut open: Open = None;
    while let Some(units) = lane.batches.blocking_recv() {
        for unit in units {
            let read: Result<UnitRead> =
                unit.iter().map(|chunk| read(root, &mut open, chunk, checker, runtime)).collect();
            let failed = read.is_err();
            if lane.done.blocking_send(read).is_err() || failed {
                return;
            }
        }
    }
}

fn read(
    root: &Path,
    open: &mut Open,
    chunk: &Chunk,
    checker: &Checker,
    runtime: &Handle,
) -> Result<Option<Bytes>> {
    let failed =
        |e| Error::io(format!("{:?} in {} can't be read", &*chunk.path, root.display()), e);
    let file = match open.take().filter(|(path, _)| *path == chunk.path) {
        Some((_, file)) => file,
        None => open_file(&root.join(&*chunk.path)).map_err(failed)?,
    };
    let file = &open.insert((chunk.path.clone(), file)).1;
    let Some(file) = file else { return Ok(None) };
    let content = read_at(file, chunk.offset, chunk.len as usize).map_err(failed)?;
    // Advice, and no more: a file system that does not take it is no reason to fail.
    let len = std::num::NonZeroU64::new(u64::from(chunk.len));
    let _ = fadvise(file, chunk.offset, len, Advice::DontNeed);
    let Some(relation) = &chunk.relation else { return Ok(Some(content)) };
    let reread =
        |offset| async move { Ok(Some(read_at(file, offset, BLOCK_SIZE).map_err(failed)?)) };
    let settled = checker.settle(&chunk.path, relation, chunk.offset, content, reread);
    runtime.block_on(settled).map(Some)
}

/// A file that does not exist is none. One that blocks, as a pipe does, is not waited for.
fn open_file(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    match std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads as much as there is.
fn read_at(file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    buffer.truncate(filled);
    Ok(Bytes::from(buffer))
}
