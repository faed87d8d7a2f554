use std::fmt;

use walbrook_types::PgVersion;

use crate::connect::{Mode, connect};
use crate::wire::Wire;
use crate::{ConnInfo, Error};

/// A connection that is ready for a command.
///
/// Its methods are the commands of the replication protocol. Those that answer at once borrow the
/// session; [`base_backup`](Self::base_backup) and [`start_replication`](Self::start_replication)
/// take it over and give it back at their end. A borrowed command whose future is dropped before its
/// end leaves the session unusable, which the next command reports. Dropping the session closes the
/// connection.
pub struct Session {
    wire: Wire,
}

impl Session {
    /// Connects for physical replication: a role with the `REPLICATION` attribute, and a
    /// `pg_hba.conf` line for the database `replication`, are needed.
    ///
    /// Only replication commands can be run in it.
    pub async fn replication(info: &ConnInfo) -> Result<Self, Error> {
        connect(info, Mode::Replication).await.map(Self::from_wire)
    }

    /// Connects for ordinary SQL by [`simple_query`](Self::simple_query) and [`show`](Self::show).
    pub async fn sql(info: &ConnInfo) -> Result<Self, Error> {
        connect(info, Mode::Sql).await.map(Self::from_wire)
    }

    /// A parameter that the server reports by itself, such as `server_version` or `in_hot_standby`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.wire.parameters.get(name).map(String::as_str)
    }

    /// The server's version.
    pub fn server_version(&self) -> PgVersion {
        let reported = self.parameter("server_version").and_then(|text| text.parse().ok());
        // Connecting checks it; a server that changes it later can't make it younger than that.
        let oldest = || PgVersion::from_num(PgVersion::OLDEST_MAJOR * 10_000);
        match reported.or_else(oldest) {
            Some(version) => version,
            None => unreachable!("the oldest supported version is a version"),
        }
    }

    /// The server's address, for messages.
    pub fn peer(&self) -> &str {
        &self.wire.peer
    }

    pub(crate) fn from_wire(wire: Wire) -> Self {
        Self { wire }
    }

    pub(crate) fn into_wire(self) -> Wire {
        self.wire
    }

    pub(crate) fn wire_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("peer", &self.wire.peer).finish_non_exhaustive()
    }
}
