use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use walbrook_repo::{ErrorKind, KeptReason};
use walbrook_store::{ErrorKind as StoreErrorKind, Store};
use walbrook_testkit::{Call, Fault, FaultStore, Rule};

use super::world::{self, BACKUPS, assert_clean, assert_whole, build, id};

#[tokio::test]
async fn a_pinned_backup_stays_while_the_pin_holds() {
    let store = build().await;
    let cluster = world::open(store.clone()).await.unwrap();
    let until = world::later() + SignedDuration::from_hours(1);
    let pin = cluster.pin(&id(BACKUPS[0]), Some(until), "audit").await.unwrap();
    assert_eq!(cluster.pins().await.unwrap()[&id(BACKUPS[0])], std::slice::from_ref(&pin));
    let absent = cluster.pin(&id(world::NEW), None, "").await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);

    let report = world::expire(store.clone(), &[0, 1]).await.unwrap();
    assert_eq!(report.removed, [id(BACKUPS[1])]);
    assert_eq!(report.kept[0].reason, KeptReason::Pinned);
    assert_eq!(report.wal_segments, 0, "the plan did not know that it stays");
    assert_whole(&store, "pinned").await;

    let mut request = world::request(&cluster, &[0]).await.unwrap();
    request.decided_for = until;
    let report = cluster.expire(&request).await.unwrap();
    assert_eq!(report.removed, [id(BACKUPS[0])]);
    assert!(cluster.pins().await.unwrap().is_empty(), "a pin goes with its backup");
    assert_whole(&store, "after it").await;
    assert_clean(&store, "after it").await;
}

#[tokio::test]
async fn what_is_being_removed_is_not_pinned() {
    let store = build().await;
    let cluster = world::open(store.clone()).await.unwrap();
    let mark = crate::marks::mark(world::NEW, &[BACKUPS[0]], &[], serde_json::json!([]));
    let path = format!("main/expiry/{}.json", world::NEW);
    store.create(&path, mark.into()).await.unwrap();
    let error = cluster.pin(&id(BACKUPS[0]), None, "").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(cluster.pins().await.unwrap().is_empty());
}

/// Also where nothing can be deleted.
#[tokio::test]
async fn pins_are_taken_back() {
    let store = build().await;
    for refuse in [false, true] {
        let faulty = FaultStore::new(store.clone());
        if refuse {
            let fault = Fault::Error(StoreErrorKind::PermissionDenied);
            faulty.add(Rule::new(fault).on(Call::Delete));
        }
        let cluster = world::open(Arc::new(faulty)).await.unwrap();
        for until in [None, Some(Timestamp::now())] {
            cluster.pin(&id(BACKUPS[0]), until, "twice").await.unwrap();
        }
        assert_eq!(cluster.pins().await.unwrap()[&id(BACKUPS[0])].len(), 2);
        assert_eq!(cluster.unpin(&id(BACKUPS[0])).await.unwrap().len(), 2);
        assert!(cluster.pins().await.unwrap().is_empty(), "refusing {refuse}");
        assert!(cluster.unpin(&id(BACKUPS[0])).await.unwrap().is_empty());
    }
    world::expire(store.clone(), &[0]).await.unwrap();
    assert_clean(&store, "with what released them").await;
}

/// One that can't be read holds for ever: somebody wanted the backup kept.
#[tokio::test]
async fn a_damaged_pin_holds() {
    let store = build().await;
    let cluster = world::open(store.clone()).await.unwrap();
    let pin = cluster.pin(&id(BACKUPS[0]), Some(Timestamp::now()), "over").await.unwrap();
    let path = format!("main/pins/{}/{}.json", pin.backup, pin.id);
    store.overwrite(&path, "damaged").unwrap();
    let found = &cluster.pins().await.unwrap()[&id(BACKUPS[0])][0];
    assert_eq!((&found.id, found.until), (&pin.id, None));
    assert!(found.note.contains(&path), "{found:?}");
    let report = world::expire(store.clone(), &[0]).await.unwrap();
    assert_eq!(report.kept[0].reason, KeptReason::Pinned);
    assert_eq!(cluster.unpin(&id(BACKUPS[0])).await.unwrap().len(), 1);
    assert!(cluster.pins().await.unwrap().is_empty());
}

/// The messages say what to do.
#[tokio::test]
async fn damaged_marks_and_intents_are_named() {
    let store = build().await;
    for path in [
        format!("main/expiry/{}.json", world::NEW),
        format!("main/backups/{}/intent.json", world::DEAD),
    ] {
        let whole = store.get(&path).await.ok();
        match whole {
            Some(_) => store.overwrite(&path, "damaged").unwrap(),
            None => store.create(&path, "damaged".into()).await.unwrap(),
        }
        let error = world::expire(store.clone(), &[0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        assert!(text.contains(&path) && text.contains("delete that object"), "{text}");
        store.delete(&path).await.unwrap();
    }
    // And doing it helps.
    world::expire(store.clone(), &[0]).await.unwrap();
    assert_whole(&store, "after it").await;
    assert_clean(&store, "after it").await;
}
