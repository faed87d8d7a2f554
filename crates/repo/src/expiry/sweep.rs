//! Deleting the parts of backups that do not exist any more.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use walbrook_store::ObjectMeta;

use crate::expiry::ExpiryReport;
use crate::expiry::deletion::Deletion;
use crate::expiry::usage::{Usage, is_manifest, pack_number};
use crate::{BackupId, Result, layout};

/// Deletes of a backup without a commit the packs that nobody uses, and then its manifest, pins and
/// intent: the intent last, for it tells that there is something. False when the store refused some
/// of it.
pub(crate) async fn sweep(
    deletion: &mut Deletion<'_>,
    id: &BackupId,
    usage: &Usage,
    report: &mut ExpiryReport,
) -> Result<bool> {
    let cluster = deletion.cluster;
    let folder = layout::backup(cluster.name(), id);
    let objects: Vec<ObjectMeta> = cluster.store().list(&folder, None).try_collect().await?;
    let intent = layout::intent(cluster.name(), id);
    let (mut packs, mut manifests, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for object in objects {
        match pack_number(&object.path) {
            Some(number) if usage.has(id, number) => report.packs_in_use += 1,
            Some(_) => packs.push(object),
            None if is_manifest(&object.path) => manifests.push(object),
            None if object.path == intent => last.push(object),
            // Whatever it is, it was not put there by this version.
            None => {}
        }
    }
    let pins = layout::backup_pins(cluster.name(), id);
    let pins: Vec<ObjectMeta> = match last.is_empty() {
        true => Vec::new(),
        false => cluster.store().list(&pins, None).try_collect().await?,
    };
    let mut whole = true;
    let mut swept = false;
    for (group, are_packs) in [(packs, true), (manifests, false), (pins, false), (last, false)] {
        if !whole {
            // What is left is found by the intent.
            break;
        }
        let paths: Vec<String> = group.iter().map(|object| object.path.clone()).collect();
        let refused: BTreeSet<String> = deletion.delete(&paths).await?;
        whole = refused.is_empty();
        for object in group.iter().filter(|object| !refused.contains(&object.path)) {
            report.bytes += object.size;
            report.packs += u64::from(are_packs);
            swept = true;
        }
    }
    if swept {
        report.swept.push(id.clone());
    }
    Ok(whole)
}
