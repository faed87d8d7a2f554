//! I7: marks and pins as version 1 wrote them, kept in `tests/golden/v1-expiry`, are read the same for
//! ever, and what is written has the same members.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use walbrook_repo::{ExpiryMark, ExpiryState};
use walbrook_store::{ErrorKind as StoreErrorKind, MemoryStore, Store};
use walbrook_testkit::{Call, Fault, FaultStore, Rule};

use super::world::{self, BACKUPS, DEAD, build, id};
use crate::{by_hand, sample};

const MARK: &str = "20261122T040000Z-0000aaaa";
const PIN: &str = "20261122T040000Z-0000bbbb";

fn golden(name: &str) -> Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1-expiry");
    std::fs::read(folder.join(name)).unwrap().into()
}

#[tokio::test]
async fn i7_marks_and_pins_of_version_1_are_read() {
    let store = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(store.clone()).await.unwrap();
    let put = async |path: String, name: &str| {
        store.create(&format!("main/{path}.json"), golden(name).into()).await.unwrap();
    };
    put(format!("expiry/{MARK}"), "mark.json").await;
    let expected = ExpiryMark {
        id: id(MARK),
        cluster: "main".to_owned(),
        state: ExpiryState::Waiting,
        remove: vec![id(BACKUPS[0])],
        sweep: vec![id(DEAD)],
        wal: vec![world::wal(1, 5)],
        sweep_after: "2026-11-23T04:00:00Z".parse().unwrap(),
        host: "golden.example".to_owned(),
        pid: 4711,
        created_at: "2026-11-22T04:00:00Z".parse().unwrap(),
        walbrook_version: "0.1.0".to_owned(),
    };
    assert_eq!(cluster.expiry_marks().await.unwrap(), [expected]);

    let folder = format!("pins/{}", BACKUPS[0]);
    put(format!("{folder}/{PIN}"), "pin.json").await;
    let pins = cluster.pins().await.unwrap().remove(&id(BACKUPS[0])).unwrap();
    assert_eq!((pins.len(), pins[0].id.as_str(), pins[0].note.as_str()), (1, PIN, "audit"));
    assert_eq!(pins[0].until, Some("2027-01-01T00:00:00Z".parse().unwrap()));
    put(format!("{folder}/{PIN}.released"), "release.json").await;
    assert!(cluster.pins().await.unwrap().is_empty());
}

/// The names of a document's members, and its format.
fn shape(bytes: &[u8]) -> (Vec<String>, Value) {
    let document = by_hand::document(bytes);
    let mut names: Vec<String> = document.as_object().unwrap().keys().cloned().collect();
    names.sort_unstable();
    (names, document["format"].clone())
}

#[tokio::test]
async fn i7_marks_and_pins_are_written_as_version_1_did() {
    let store = build().await;
    let faulty = FaultStore::new(store.clone());
    let cluster = world::open(Arc::new(faulty.clone())).await.unwrap();
    cluster.pin(&id(BACKUPS[3]), None, "x").await.unwrap();
    let denied = Fault::Error(StoreErrorKind::PermissionDenied);
    faulty.add(Rule::new(denied.clone()).on(Call::Delete).path("pins/"));
    faulty.add(Rule::new(denied).on(Call::Delete).path("expiry/"));
    cluster.unpin(&id(BACKUPS[3])).await.unwrap();
    let mut request = world::request(&cluster, &[0]).await.unwrap();
    request.grace = std::time::Duration::from_secs(3600);
    cluster.expire(&request).await.unwrap();

    let objects = sample::objects(store.as_ref() as &dyn Store).await;
    let mut seen = [0; 3];
    for (path, bytes) in &objects {
        let (kind, golden_name) = if path.starts_with("main/expiry/") {
            (0, "mark.json")
        } else if path.ends_with(".released.json") {
            (1, "release.json")
        } else if path.starts_with("main/pins/") {
            (2, "pin.json")
        } else {
            continue;
        };
        seen[kind] += 1;
        assert_eq!(shape(bytes), shape(&golden(golden_name)), "{path}");
    }
    assert_eq!(seen, [2, 1, 1], "a mark under way, one that waits, a pin and its release");
}
