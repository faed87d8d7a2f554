//! The clouds, on emulators. What no emulator shows (regions, real permissions, throttling) is not proven here.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use walbrook_store::{ErrorKind, StoreUrl, conformance, open};

use crate::emulators::{AZURITE_SAS, Emulator};

async fn conforms(emulator: Option<Emulator>) {
    let Some(emulator) = emulator else { return };
    let store = open(&emulator.url).unwrap();
    conformance::run(store).await.unwrap();
}

#[tokio::test]
async fn s3_conforms() {
    conforms(Emulator::s3()).await;
}

#[tokio::test]
async fn gcs_conforms() {
    conforms(Emulator::gcs()).await;
}

#[tokio::test]
async fn azure_conforms() {
    conforms(Emulator::azure()).await;
}

#[tokio::test]
async fn azure_takes_a_shared_access_signature() {
    let Some(emulator) = Emulator::azure().filter(|emulator| emulator.port > 0) else { return };
    let url: StoreUrl = format!(
        "az://box?account=devstoreaccount1&endpoint=http://127.0.0.1:{}/devstoreaccount1",
        emulator.port
    )
    .parse()
    .unwrap();
    let store = open(&url.clone().with_option("sas_token", AZURITE_SAS).unwrap()).unwrap();
    store.create("a", "x".into()).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), "x");
    let forged = AZURITE_SAS.replace("sig=", "sig=AAAA");
    let e =
        open(&url.with_option("sas_token", &forged).unwrap()).unwrap().get("a").await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::PermissionDenied, "{e:?}");
    let signature = forged.rsplit_once("sig=").unwrap().1;
    assert!(!format!("{e} {e:?}").contains(signature), "{e:?}");
}

/// Every call on a bucket that isn't there says so: none takes it for an absent object.
async fn missing_bucket(emulator: Option<Emulator>) {
    let Some(emulator) = emulator.filter(|emulator| emulator.port > 0) else { return };
    let text = emulator.url.to_string();
    let (_, options) = text.split_once('?').unwrap();
    let mut url: StoreUrl = format!("{}://nowhere/prefix", emulator.url.scheme()).parse().unwrap();
    for pair in options.split('&') {
        let key = pair.split_once('=').unwrap().0;
        url = url.with_option(key, emulator.url.option(key).unwrap()).unwrap();
    }
    let store = open(&url).unwrap();
    for (call, e) in [
        ("get", store.get("a").await.unwrap_err()),
        ("get_range", store.get_range("a", 0..1).await.unwrap_err()),
        ("get_tail", store.get_tail("a", 1).await.unwrap_err()),
        ("head", store.head("a").await.unwrap_err()),
        ("create", store.create("a", "x".into()).await.unwrap_err()),
        ("list", store.list("", None).try_collect::<Vec<_>>().await.unwrap_err()),
        ("list_children", store.list_children("").await.unwrap_err()),
    ] {
        assert_eq!(e.kind(), ErrorKind::StoreMissing, "{call}: {e:?}");
    }
}

#[tokio::test]
async fn s3_missing_bucket() {
    missing_bucket(Emulator::s3()).await;
}

#[tokio::test]
async fn azure_missing_container() {
    missing_bucket(Emulator::azure()).await;
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    // Nothing listens on the port of a listener that is gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!(
        "s3://bucket?endpoint=http://127.0.0.1:{port}&access_key_id=a&secret_access_key=hunter2hunter2&max_retries=1"
    );
    let store = open(&url.parse().unwrap()).unwrap();
    let start = Instant::now();
    for e in [store.get("a").await.unwrap_err(), store.create("a", "x".into()).await.unwrap_err()] {
        assert!(e.is_transient(), "{e:?}");
        assert!(e.to_string().contains("a in s3://bucket at http://127.0.0.1"), "{e}");
        assert!(!format!("{e} {e:?}").contains("hunter2"));
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_file_of_authorities_must_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let url: StoreUrl = format!("s3://bucket?ca_file={}", file.display()).parse().unwrap();
    for content in [None, Some("no certificate")] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let e = open(&url).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidOption, "{e}");
        assert!(e.to_string().contains("ca.pem"), "{e}");
    }
}

/// In batches of 1000, where an object each would take 100,000 requests.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes, all but seconds of them to create what is deleted: cargo test -p walbrook-store --test it s3_deletes -- --ignored --nocapture"]
async fn s3_deletes_a_hundred_thousand_objects() {
    const OBJECTS: usize = 100_000;
    let Some(emulator) = Emulator::s3() else { return };
    let store = open(&emulator.url).unwrap();
    let paths: Vec<String> = (0..OBJECTS).map(|n| format!("wal/{}/{n:024}", n % 7)).collect();
    let start = Instant::now();
    let creations = paths.iter().map(|path| store.create(path, "x".into()));
    let creations: Vec<_> = creations.collect();
    futures::stream::iter(creations).buffer_unordered(16).try_collect::<()>().await.unwrap();
    eprintln!("created {OBJECTS} objects in {:?}", start.elapsed());
    let (start, before) = (Instant::now(), emulator.requests());
    let outcomes = store.delete_many(&paths).await;
    let (time, after) = (start.elapsed(), emulator.requests());
    assert_eq!(outcomes.len(), OBJECTS);
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(failed, 0, "{:?}", outcomes.iter().find_map(|outcome| outcome.as_ref().err()));
    let left: Vec<_> = store.list("wal", None).try_collect().await.unwrap();
    assert!(left.is_empty(), "{} are left", left.len());
    // A server that is not ours does not say what it was asked.
    if let (Some(before), Some(after)) = (before, after) {
        assert_eq!(before.len(), OBJECTS + 1, "a bucket, and an object each");
        let requests = &after[before.len()..];
        eprintln!("deleted them in {time:?} by {} requests", requests.len());
        let (bulk, others): (Vec<_>, Vec<_>) = requests
            .iter()
            .partition(|line| line.contains("POST /bucket") && line.contains("delete"));
        assert_eq!((bulk.len(), others.len()), (OBJECTS / 1000, 0), "{others:?}");
    }
}
