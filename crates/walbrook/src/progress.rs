/// What an operation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Waits for the server's checkpoint.
    Checkpoint,
    /// Copies the cluster's files into the repository.
    Copy,
    /// Writes what remains to be stored and the manifest.
    Finish,
    /// Waits for the WAL that the backup needs.
    WaitForWal,
    /// Writes files from the repository.
    Restore,
    /// Makes what was written durable.
    Sync,
}

/// Watches an operation. All methods do nothing unless they are implemented; they are called from
/// the operation's own task, so they should return soon.
pub trait Progress: Send + Sync {
    /// A phase begins. `total` is how many bytes it will [`advance`](Self::advance) by, as far as
    /// that is known; it may turn out a little more or less.
    fn begin(&self, phase: Phase, total: Option<u64>) {
        let _ = (phase, total);
    }

    /// So many bytes more are done.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Something that the user should know, though the operation goes on.
    fn warn(&self, message: &str) {
        let _ = message;
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}
