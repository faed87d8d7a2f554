use walbrook_types::{Lsn, SystemId, TimelineId};

use super::ResultSet;
use crate::{Error, Session};

/// What IDENTIFY_SYSTEM answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SystemIdentity {
    /// Tells this cluster from any other.
    pub system_id: SystemId,
    /// The timeline that the server is on.
    pub timeline: TimelineId,
    /// How far WAL is flushed; on a standby, how far it is received or replayed.
    pub flushed: Lsn,
}

impl Session {
    /// IDENTIFY_SYSTEM: which cluster this is, its timeline, and how far its WAL is flushed.
    pub async fn identify_system(&mut self) -> Result<SystemIdentity, Error> {
        const COMMAND: &str = "IDENTIFY_SYSTEM";
        let rows = ResultSet::of(self.wire_mut(), COMMAND, COMMAND).await?;
        let row = rows.only_row(COMMAND)?;
        Ok(SystemIdentity {
            system_id: row.require(0, "system identifier")?,
            timeline: row.require(1, "timeline")?,
            flushed: row.require(2, "WAL position")?,
        })
    }
}
