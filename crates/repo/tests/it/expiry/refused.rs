//! Stores that refuse to delete, and repositories that are not any more what was decided upon.

use std::sync::Arc;

use walbrook_repo::{ErrorKind, KeptReason};
use walbrook_store::{ErrorKind as StoreErrorKind, Store};
use walbrook_testkit::{Call, Fault, FaultStore, Rule};

use super::world::{self, BACKUPS, assert_clean, assert_whole, build, expire, id};
use crate::sample;

#[tokio::test]
async fn a_store_that_refuses_deletes_keeps_its_backups_whole() {
    let original = build().await;
    let denied = || Rule::new(Fault::Error(StoreErrorKind::PermissionDenied)).on(Call::Delete);

    // All of them.
    let store = world::copy(&original).await;
    let faulty = FaultStore::new(store.clone());
    faulty.add(denied());
    let report = expire(Arc::new(faulty), &[0, 1]).await.unwrap();
    assert!(report.removed.is_empty() && report.swept.is_empty() && report.packs == 0);
    assert!(report.kept.iter().all(|kept| matches!(kept.reason, KeptReason::Refused { .. })));
    assert_eq!(report.kept.len(), 2);
    assert!(report.refused.objects > 2 && !report.refused.messages.is_empty(), "{report:?}");
    assert_eq!(assert_whole(&store, "all refused").await.len(), 4);

    // One commit: that backup stays whole, and the WAL with it.
    let store = world::copy(&original).await;
    let faulty = FaultStore::new(store.clone());
    faulty.add(denied().path(format!("{}/backup.json", BACKUPS[1])));
    let report = expire(Arc::new(faulty.clone()), &[0, 1, 2]).await.unwrap();
    assert_eq!(report.removed, [id(BACKUPS[0]), id(BACKUPS[2])]);
    assert_eq!((report.refused.objects, report.wal_segments), (1, 0));
    assert_eq!(assert_whole(&store, "one refused").await, [id(BACKUPS[1]), id(BACKUPS[3])]);

    // Packs: what can go goes, the rest with the next expiry.
    faulty.heal();
    faulty.add(denied().path("pack-"));
    let report = expire(Arc::new(faulty.clone()), &[1]).await.unwrap();
    assert_eq!(report.removed, [id(BACKUPS[1])]);
    assert_whole(&store, "packs refused").await;
    faulty.heal();
    expire(Arc::new(faulty), &[]).await.unwrap();
    assert_whole(&store, "allowed again").await;
    // A mark that could not be known to be of somebody dead stays for a day.
    for mark in world::open(store.clone()).await.unwrap().expiry_marks().await.unwrap() {
        store.delete(&format!("main/expiry/{}.json", mark.id)).await.unwrap();
    }
    assert_clean(&store, "allowed again").await;
}

#[tokio::test]
async fn what_was_decided_upon_must_still_be_so() {
    let original = build().await;
    // One that stays was removed since.
    let store = world::copy(&original).await;
    let cluster = world::open(store.clone()).await.unwrap();
    let request = world::request(&cluster, &[0]).await.unwrap();
    expire(store.clone(), &[3]).await.unwrap();
    let error = cluster.expire(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(BACKUPS[3]), "{error}");
    assert_eq!(assert_whole(&store, "one gone").await.len(), 3, "nothing was removed");
    assert!(cluster.expiry_marks().await.unwrap().is_empty());

    // A new one has come, whose WAL nobody knew to be needed.
    let store = world::copy(&original).await;
    let cluster = world::open(store.clone()).await.unwrap();
    let mut request = world::request(&cluster, &[0]).await.unwrap();
    request.wal = vec![world::wal(1, 6)];
    sample::back_up_shared(&cluster, world::NEW, BACKUPS[3]).await.unwrap();
    let report = cluster.expire(&request).await.unwrap();
    assert_eq!((report.removed.len(), report.wal_segments), (1, 0));
    assert!(report.wal_kept.unwrap().contains(world::NEW));
    assert_eq!(assert_whole(&store, "a new one").await.len(), 4);
}

/// Who can't tell what a backup uses deletes no pack; that backup can be removed by name.
#[tokio::test]
async fn a_damaged_manifest_stops_the_sweep() {
    let store = build().await;
    let manifest = format!("main/backups/{}/manifest-00000", BACKUPS[2]);
    store.overwrite(&manifest, "damaged").unwrap();
    let error = expire(store.clone(), &[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(BACKUPS[2]), "{error}");
    let packs = |objects: std::collections::BTreeMap<String, bytes::Bytes>| {
        objects.into_keys().filter(|path| path.contains("/pack-")).count()
    };
    let before = packs(sample::objects(build().await.as_ref() as &dyn Store).await);
    assert_eq!(packs(sample::objects(store.as_ref() as &dyn Store).await), before);
    let report = expire(store.clone(), &[2]).await.unwrap();
    assert_eq!(report.removed, [id(BACKUPS[2])]);
    assert_whole(&store, "without the damaged one").await;
}
