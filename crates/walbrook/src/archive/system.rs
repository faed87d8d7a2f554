use std::fs::File;
use std::io::Read;
use std::path::Path;

use walbrook_repo::{Cluster, SystemRecord};
use walbrook_types::SystemId;

use crate::{Error, ErrorKind, Result};

/// Which of a cluster's systems a command is about: the one that was given, that of the data
/// directory, or the only one that there is.
pub(crate) async fn choose_system(
    cluster: &Cluster,
    given: Option<SystemId>,
    data_directory: &Path,
) -> Result<SystemRecord> {
    if let Some(system) = given.or_else(|| system_of(data_directory)) {
        return Ok(cluster.system(system).await?);
    }
    let mut systems = cluster.systems().await?;
    match (systems.pop(), systems.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => {
            let message = format!(
                "there is no cluster {:?} in the repository at {}: check --cluster; the first \
                 backup (walbrook-backup) adds it",
                cluster.name(),
                cluster.repository().store().location()
            );
            Err(Error::new(ErrorKind::NotFound, message))
        }
        (Some(_), false) => {
            let message = format!(
                "cluster {:?} has had several system identifiers, and there is no {} to tell \
                 which one is meant: run this in the data directory, or give --system-id",
                cluster.name(),
                data_directory.join("global/pg_control").display()
            );
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}

/// The system identifier of a data directory: the first eight bytes of `pg_control`, which never
/// change. The rest may be written at this moment, so it is not looked at.
fn system_of(data_directory: &Path) -> Option<SystemId> {
    let mut bytes = [0; 8];
    let mut file = File::open(data_directory.join("global/pg_control")).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(SystemId(u64::from_le_bytes(bytes)))
}
