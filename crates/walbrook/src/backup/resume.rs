//! Continuing backups that were interrupted: what they have stored is referred to, where it is
//! still what the server has.

use walbrook_repo::{BackupId, BackupIntent, BackupRecord, Cluster, InterruptedBackup};

use crate::backup::options::Base;
use crate::backup::server::Server;
use crate::{BackupOptions, Result};

/// How many are continued at most. One that was interrupted while it continued others has stored
/// only what these have not, so one is not enough; each costs a look at all of its packs.
const MOST: usize = 8;

/// The interrupted backups that a new one of this server continues, the oldest first.
///
/// Pages are compared by content, so any of the same system will do, of whatever base, timeline and
/// source, and also one that somebody is still taking: what it has stored stays as it is, and an
/// expiry that comes later knows by the new backup's intent that it is in use. Only those count that
/// began after `base` did, for what others have left the base has too. Without a base, those count
/// that began after the newest backup that has none; and one that is to store everything anew
/// continues only what was to do so too.
pub(crate) async fn choose_resumed(
    cluster: &Cluster,
    options: &BackupOptions,
    server: &Server,
    base: Option<&BackupRecord>,
) -> Result<Vec<BackupId>> {
    if !options.resume {
        return Ok(Vec::new());
    }
    let system = server.facts.system_identifier;
    let since = match base {
        Some(base) => Some(base.id.clone()),
        None => {
            // What is damaged is nobody's base.
            let (mut backups, _) = cluster.readable_backups().await?;
            backups.retain(|b| b.base.is_none() && b.server.system_identifier == system);
            backups.pop().map(|full| full.id)
        }
    };
    let mut found = cluster.interrupted_backups(system, since.as_ref()).await?;
    found.retain(|backup| fits(&backup.intent, options));
    Ok(largest(found))
}

/// An independent copy is not to depend on what was stored beside the old ones.
fn fits(intent: &BackupIntent, options: &BackupOptions) -> bool {
    options.base != Base::None || intent.base.is_none()
}

/// Those that have stored the most.
fn largest(mut found: Vec<InterruptedBackup>) -> Vec<BackupId> {
    found.sort_by_key(|backup| std::cmp::Reverse(backup.bytes));
    let mut ids: Vec<BackupId> =
        found.into_iter().take(MOST).map(|backup| backup.intent.id).collect();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{ConnInfo, Environment};

    fn intent(number: u32, base: Option<&str>) -> BackupIntent {
        let intent = json!({
            "id": format!("20261122T034512Z-{number:08}"), "cluster": "main",
            "system_identifier": "7", "base": base, "host": "here", "pid": 1,
            "started_at": "2026-11-22T03:45:12Z", "walbrook_version": "0.1.0",
        });
        serde_json::from_value(intent).expect("an intent")
    }

    #[test]
    fn those_that_stored_most_are_continued_in_their_order() {
        let backup = |number| {
            let bytes = 1000 * u64::from(number ^ 3);
            InterruptedBackup { intent: intent(number, None), packs: 1, bytes }
        };
        let chosen = largest((0..12).map(backup).collect());
        let numbers: Vec<u32> =
            chosen.iter().filter_map(|id| id.as_str().rsplit('-').next()?.parse().ok()).collect();
        assert_eq!(numbers, [4, 5, 6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn a_full_backup_continues_full_ones_only() {
        let server = ConnInfo::parse("host=x user=y", &Environment::from_process());
        let url = "file:///backups".parse().expect("a URL");
        let mut options = BackupOptions::new(url, "main", server.expect("settings"));
        let (full, other) = (intent(1, None), intent(2, Some("20261122T034512Z-00000000")));
        assert!(fits(&full, &options) && fits(&other, &options));
        options.base = Base::None;
        assert!(fits(&full, &options) && !fits(&other, &options));
    }
}
