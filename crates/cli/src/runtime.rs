//! Runs one operation to its end, or until a signal asks to stop.

use std::future::Future;
use std::io;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Result};

/// A runtime on this thread alone: it starts in no time, for commands that PostgreSQL calls often.
pub(crate) fn small() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// A runtime on all cores.
pub(crate) fn large() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

/// Runs `operation`. SIGINT and SIGTERM end it by dropping it, which is how the library's
/// operations are cancelled: what they began to write is removed.
pub(crate) fn run<T>(
    runtime: io::Result<Runtime>,
    operation: impl Future<Output = Result<T>>,
) -> Result<T> {
    let runtime = runtime.context("could not start the asynchronous runtime")?;
    let result = runtime.block_on(async {
        let watch = |kind| signal(kind).context("could not watch for signals");
        let mut interrupt = watch(SignalKind::interrupt())?;
        let mut terminate = watch(SignalKind::terminate())?;
        tokio::select! {
            result = operation => result,
            _ = interrupt.recv() => Err(Failure::Interrupted),
            _ = terminate.recv() => Err(Failure::Interrupted),
        }
    });
    // A thread that is stuck in a system call on a dead NFS mount must not keep the process.
    runtime.shutdown_background();
    result
}
