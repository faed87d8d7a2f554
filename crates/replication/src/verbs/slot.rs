//! Replication slots.

use walbrook_types::{Lsn, TimelineId};

use super::ResultSet;
use crate::wire::quote_identifier;
use crate::{Error, Session};

/// Where a physical slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhysicalSlot {
    /// From where on the slot keeps WAL; `None` while it was never used and reserves nothing.
    pub restart_lsn: Option<Lsn>,
    /// The timeline of that position.
    pub restart_timeline: Option<TimelineId>,
}

impl Session {
    /// CREATE_REPLICATION_SLOT … PHYSICAL.
    ///
    /// A temporary slot lives as long as this session. With `reserve_wal`, the server keeps its WAL
    /// from this moment on, not only from the first time that the slot is streamed from; the slot says from where.
    pub async fn create_physical_slot(
        &mut self,
        name: &str,
        temporary: bool,
        reserve_wal: bool,
    ) -> Result<PhysicalSlot, Error> {
        const COMMAND: &str = "CREATE_REPLICATION_SLOT";
        let command = format!(
            "{COMMAND} {}{} PHYSICAL{}",
            quote_identifier(name),
            if temporary { " TEMPORARY" } else { "" },
            if reserve_wal { " (RESERVE_WAL true)" } else { "" },
        );
        ResultSet::of(self.wire_mut(), &command, COMMAND).await?;
        // The answer's "consistent point" is of logical slots; for this kind it is always 0/0.
        let slot = self.read_slot(name).await?;
        slot.ok_or_else(|| Error::protocol(format!("slot {name:?} was created and is not there")))
    }

    /// DROP_REPLICATION_SLOT. With `wait`, waits until nobody uses the slot; otherwise a slot in use
    /// is an error.
    pub async fn drop_slot(&mut self, name: &str, wait: bool) -> Result<(), Error> {
        const COMMAND: &str = "DROP_REPLICATION_SLOT";
        let wait = if wait { " WAIT" } else { "" };
        let command = format!("{COMMAND} {}{wait}", quote_identifier(name));
        ResultSet::of(self.wire_mut(), &command, COMMAND).await.map(|_| ())
    }

    /// READ_REPLICATION_SLOT: where a physical slot stands; `None` when there is no such slot.
    pub async fn read_slot(&mut self, name: &str) -> Result<Option<PhysicalSlot>, Error> {
        const COMMAND: &str = "READ_REPLICATION_SLOT";
        let command = format!("{COMMAND} {}", quote_identifier(name));
        let rows = ResultSet::of(self.wire_mut(), &command, COMMAND).await?;
        let row = rows.only_row(COMMAND)?;
        // No slot is a row of NULLs.
        if row.bytes(0).is_none() {
            return Ok(None);
        }
        Ok(Some(PhysicalSlot {
            restart_lsn: row.parse(1, "slot's position")?,
            restart_timeline: row.parse(2, "slot's timeline")?,
        }))
    }
}
