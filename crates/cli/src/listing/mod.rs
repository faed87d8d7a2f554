//! What `walbrook-list` shows: for each cluster and each of its systems a table of backups, the
//! windows that can be recovered to, and the WAL that is missing.

mod backups;
mod columns;
mod wal;

use std::io::{self, IsTerminal};

use walbrook::ClusterListing;

pub(crate) use columns::columns;

/// The width that lines should keep to; none when nobody looks at them.
pub(crate) fn terminal_width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// The whole list.
pub(crate) fn text(clusters: &[ClusterListing], width: Option<usize>) -> String {
    let mut out = String::new();
    for cluster in clusters {
        for system in &cluster.systems {
            if !out.is_empty() {
                out.push('\n');
            }
            let record = &system.system;
            out += &format!(
                "Cluster {}, system {}, PostgreSQL {}\n",
                cluster.cluster,
                record.system_identifier,
                record.pg_version.major()
            );
            let backups: Vec<_> =
                system.backups.iter().map(|b| (&b.record, b.restorable, &b.pins[..])).collect();
            out += &backups::table(&backups, width);
            for backup in &system.backups {
                if let Some(frees) = backup.frees {
                    let frees = crate::format::size(frees);
                    out += &format!("Removing {} would free {frees}\n", backup.record.id);
                }
            }
            out += &wal::lines(system, width);
        }
    }
    out
}
