//! An expiry that dies at each single call to the store.

use std::sync::Arc;

use walbrook_store::{ErrorKind as StoreErrorKind, Store};
use walbrook_testkit::{Fault, FaultStore, Rule};

use super::world::{self, BACKUPS, DEAD, assert_clean, assert_whole, build, expire, id};

#[tokio::test]
async fn i5_what_is_in_use_stays_and_the_rest_goes() {
    let store = build().await;
    let before = world::open(store.clone()).await.unwrap();
    let report = expire(store.clone(), &[0, 2]).await.unwrap();
    assert_eq!(report.removed, [id(BACKUPS[0]), id(BACKUPS[2])]);
    assert!(report.kept.is_empty() && report.refused.objects == 0, "{report:?}");
    assert!(report.packs_in_use >= 1, "the first one's pages are the others' too: {report:?}");
    assert!(report.packs >= 1, "those of the dead one: {report:?}");
    assert!(report.swept.contains(&id(DEAD)), "{report:?}");
    assert_eq!((report.wal_segments, &report.wal_kept), (4, &None));
    let left = assert_whole(&store, "after").await;
    assert_eq!(left, [id(BACKUPS[1]), id(BACKUPS[3])]);
    assert_clean(&store, "after").await;
    assert!(before.expiry_marks().await.unwrap().is_empty());

    // What others used goes when these go.
    expire(store.clone(), &[1]).await.unwrap();
    assert_whole(&store, "then").await;
    assert_clean(&store, "then").await;
    let all = expire(store.clone(), &[3]).await.unwrap();
    assert_eq!(all.packs_in_use, 0);
    assert_clean(&store, "at last").await;

    // Nothing to do: nothing is asked of the store but to be read.
    let calls = FaultStore::new(world::copy(&store).await);
    let request = walbrook_repo::ExpiryRequest {
        wal: Vec::new(),
        ..world::request(&world::open(store).await.unwrap(), &[]).await.unwrap()
    };
    let cluster = world::open(Arc::new(calls.clone())).await.unwrap();
    assert_eq!(cluster.expire(&request).await.unwrap(), walbrook_repo::ExpiryReport::default());
    assert_eq!(calls.calls().of(walbrook_testkit::Call::Create), 0);
}

/// What removing a backup is said to free is what it frees.
#[tokio::test]
async fn what_a_removal_frees_is_known_before() {
    let store = build().await;
    // What the dead one has left is freed by any.
    world::leave_nothing_dead(&store).await;
    let size = async |store: &Arc<walbrook_store::MemoryStore>| {
        let objects = crate::sample::objects(store.as_ref() as &dyn Store).await;
        let of_backups = objects.iter().filter(|(path, _)| path.contains("/backups/"));
        of_backups.map(|(_, content)| content.len() as u64).sum::<u64>()
    };
    let said = world::open(store.clone()).await.unwrap().freed_by_each().await.unwrap();
    assert_eq!(said.len(), BACKUPS.len());
    for (n, name) in BACKUPS.iter().enumerate() {
        let copy = world::copy(&store).await;
        let before = size(&copy).await;
        expire(copy.clone(), &[n]).await.unwrap();
        assert_eq!(before - size(&copy).await, said[&id(name)], "{name}");
    }
    assert!(said.values().collect::<std::collections::BTreeSet<_>>().len() > 1, "{said:?}");
}

/// Whatever is removed, and wherever the expiry dies: what is left is whole, and the next expiry
/// leaves nothing that nobody uses.
#[tokio::test]
async fn i5_a_crash_at_any_call_of_an_expiry() {
    let original = build().await;
    for remove in [&[0, 2][..], &[1, 2, 3], &[3]] {
        let undisturbed = FaultStore::new(world::copy(&original).await);
        expire(Arc::new(undisturbed.clone()), remove).await.unwrap();
        let calls = undisturbed.calls().total();
        assert!(calls > 40, "too few calls to be an expiry: {}", undisturbed.calls());
        for fault in
            [Fault::Crash, Fault::CrashAfter, Fault::ErrorAfter(StoreErrorKind::Unavailable)]
        {
            for n in 1..=calls {
                let when = format!("{remove:?}, {fault:?} at call {n}");
                let store = world::copy(&original).await;
                let faulty = FaultStore::new(store.clone());
                faulty.add(Rule::new(fault.clone()).nth(n));
                let outcome = expire(Arc::new(faulty) as Arc<dyn Store>, remove).await;
                let ids = assert_whole(&store, &when).await;
                let asked = |n: &usize| ids.contains(&id(BACKUPS[*n]));
                if outcome.is_ok() {
                    assert!(!remove.iter().any(asked), "{when}: told, but not done");
                }
                let again = expire(store.clone(), remove).await;
                again.unwrap_or_else(|e| panic!("{when}: {e}"));
                assert_whole(&store, &when).await;
                // A day later nobody takes the mark for one of somebody who is at work.
                let last = expire(store.clone(), &[]).await;
                last.unwrap_or_else(|e| panic!("{when}: {e}"));
                let ids = assert_whole(&store, &when).await;
                assert_eq!(ids.len(), BACKUPS.len() - remove.len(), "{when}");
                assert_clean_but_for_marks(&store, &when).await;
            }
        }
    }
}

/// The mark of an expiry that died stays for a day.
async fn assert_clean_but_for_marks(store: &Arc<walbrook_store::MemoryStore>, when: &str) {
    use futures::TryStreamExt;
    let marks: Vec<_> = store.list("main/expiry", None).try_collect().await.unwrap();
    for mark in marks {
        store.delete(&mark.path).await.unwrap();
    }
    assert_clean(store, when).await;
}
