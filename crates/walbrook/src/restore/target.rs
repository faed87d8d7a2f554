use std::fmt;

use jiff::Timestamp;
use walbrook_types::{Lsn, TimelineId};

/// Where a restore is to end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Target {
    /// At the end of the WAL that there is.
    #[default]
    Latest,
    /// As soon as the cluster is consistent.
    Immediate,
    /// At the last transaction that ended before or at this time, by the server's clock.
    Time(Timestamp),
    /// At this position.
    Lsn(Lsn),
    /// At the end of this transaction.
    Xid(u32),
    /// At the restore point of this name (`pg_create_restore_point`).
    Name(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("the end of the WAL"),
            Self::Immediate => f.write_str("the backup's end"),
            Self::Time(time) => write!(f, "time {time}"),
            Self::Lsn(lsn) => write!(f, "LSN {lsn}"),
            Self::Xid(xid) => write!(f, "transaction {xid}"),
            Self::Name(name) => write!(f, "restore point {name:?}"),
        }
    }
}

/// Which timeline a restore follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetTimeline {
    /// The newest in the repository.
    #[default]
    Latest,
    /// That of the backup.
    Current,
    /// This one.
    Id(TimelineId),
}

/// What the server does when it has reached the target (`recovery_target_action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetAction {
    /// Stays read-only, for somebody to look around; `pg_wal_replay_resume()` promotes it.
    Pause,
    /// Begins a new timeline and takes writes.
    Promote,
    /// Stops.
    Shutdown,
}

impl TargetAction {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Promote => "promote",
            Self::Shutdown => "shutdown",
        }
    }
}
