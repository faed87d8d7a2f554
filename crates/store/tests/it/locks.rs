//! Locks of objects on an S3 server, what they withstand, and reading the past.

use std::time::{Duration, SystemTime};

use futures::TryStreamExt;
use walbrook_store::{ErrorKind, Lock, Store, StoreUrl, conformance, open};

use crate::emulators::{Emulator, request};

#[tokio::test]
async fn s3_locks_conform() {
    let Some(emulator) = Emulator::s3() else { return };
    let Some(url) = emulator.with_locks() else { return };
    conformance::run_locks(open(&url).unwrap()).await.unwrap();
    let governance = url.clone().with_option("lock_mode", "governance").unwrap();
    conformance::run_locks(open(&governance).unwrap()).await.unwrap();
    // What both have left is there also for who reads versions.
    let then = jiff::Timestamp::now().to_string();
    let past = open(&url.with_option("as_of", &then).unwrap()).unwrap();
    let found: Vec<_> = past.list("", None).try_collect().await.unwrap();
    assert!(found.iter().filter(|object| object.path.ends_with("/folder/later")).count() >= 2);
    for object in &found {
        assert_eq!(past.get(&object.path).await.unwrap().len() as u64, object.size);
    }
}

#[tokio::test]
async fn a_store_without_locks_says_so_at_once() {
    let later = SystemTime::now() + Duration::from_secs(3600);
    let dir = tempfile::tempdir().unwrap();
    let emulator = Emulator::s3().filter(|emulator| emulator.port > 0);
    let s3 = emulator.as_ref().map(|emulator| emulator.url.clone());
    let local: StoreUrl = dir.path().to_str().unwrap().parse().unwrap();
    for url in [Some(local), s3].into_iter().flatten() {
        let store = open(&url).unwrap();
        let e = store.create_locked("a", "x".into(), later).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
        assert!(e.to_string().contains("without --lock-until"), "{e}");
        assert_eq!(store.get("a").await.unwrap_err().kind(), ErrorKind::NotFound);
        store.create("a", "x".into()).await.unwrap();
        let lock = Lock { enough: later, until: later };
        let outcomes = store.lock(&["a".to_owned()], lock).await;
        let e = outcomes.into_iter().next().unwrap().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
    }
}

/// The oldest version of an object.
fn original(port: u16, path: &str) -> String {
    let line = format!("GET /locks?versions&prefix=some/prefix/{path}");
    let answer = request(port, &line, "x: y", "");
    let key = format!("<Key>some/prefix/{path}</Key>");
    let versions = answer.split("<Version>").map(|text| text.split("</Version>").next().unwrap());
    let oldest = versions.filter(|version| version.contains(&key)).last().unwrap();
    let (_, id) = oldest.split_once("<VersionId>").unwrap();
    id.split_once('<').unwrap().0.to_owned()
}

#[tokio::test]
async fn what_was_is_read_whatever_was_done_to_it_since() {
    let Some(emulator) = Emulator::s3().filter(|emulator| emulator.port > 0) else { return };
    let port = emulator.port;
    let Some(url) = emulator.with_locks().filter(|url| url.to_string().contains("127.0.0.1"))
    else {
        return;
    };
    let store = open(&url).unwrap();
    let until = SystemTime::now() + Duration::from_secs(3600);
    let lock = Lock { enough: until, until };
    let paths = ["a/pack-1", "a/pack-2", "a/pack-10/x", "b/c/d", "b/c.d", "e"];
    for path in paths {
        store.create_locked(path, path.into(), until).await.unwrap();
    }
    store.create("empty/object", "".into()).await.unwrap();
    let all: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    assert!(store.lock(&all, lock).await.iter().all(Result::is_ok));
    // Times of versions are whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let then = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    store.create("late", "x".into()).await.unwrap();

    // One is replaced, one deleted, one replaced and then deleted, one deleted and then replaced.
    store.delete("e").await.unwrap();
    let put =
        |path: &str| request(port, &format!("PUT /locks/some/prefix/{path}"), "x: y", "garbage");
    for path in ["a/pack-1", "b/c/d", "e"] {
        let answer = put(path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    for path in ["a/pack-2", "b/c/d", "empty/object"] {
        store.delete(path).await.unwrap();
    }
    assert_eq!(store.get("a/pack-1").await.unwrap(), "garbage");
    // No version that was there before goes, in one way or the other.
    for path in paths {
        let original = original(port, path);
        let line = format!("DELETE /locks/some/prefix/{path}?versionId={original}");
        for header in ["x: y", "x-amz-bypass-governance-retention: true"] {
            let answer = request(port, &line, header, "");
            assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer}");
        }
    }
    // It is the lock that keeps them.
    let line = format!("DELETE /locks/some/prefix/late?versionId={}", original(port, "late"));
    let answer = request(port, &line, "x: y", "");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    store.create("late", "x".into()).await.unwrap();
    // Whoever extends locks hears of it, and keeps what was.
    let longer = until + Duration::from_secs(3600);
    let outcomes = store.lock(&all, Lock { enough: longer, until: longer }).await;
    let kinds: Vec<_> = outcomes.into_iter().map(|o| o.map_err(|e| e.kind())).collect();
    let (tampered, gone) = (Err(ErrorKind::Tampered), Err(ErrorKind::NotFound));
    assert_eq!(kinds, [tampered, gone, Ok(()), gone, Ok(()), tampered]);
    for path in paths {
        let original = original(port, path);
        let line = format!("HEAD /locks/some/prefix/{path}?versionId={original}");
        let answer = request(port, &line, "x: y", "");
        let date = jiff::Timestamp::try_from(longer).unwrap().to_string();
        assert!(answer.contains(&date[..16]) && answer.contains("COMPLIANCE"), "{path}: {answer}");
    }

    let then = jiff::Timestamp::try_from(then).unwrap().to_string();
    let past = open(&url.clone().with_option("as_of", &then).unwrap()).unwrap();
    as_it_was(&*past, &paths).await;
    let listed: Vec<_> =
        past.list("", Some("b")).map_ok(|meta| meta.path).try_collect().await.unwrap();
    assert_eq!(listed, ["b/c.d", "b/c/d", "e", "empty/object"]);
    for e in [
        past.create("new", "x".into()).await.unwrap_err(),
        past.delete("e").await.unwrap_err(),
        past.create_locked("new", "x".into(), until).await.unwrap_err(),
        past.lock(&all, lock).await.into_iter().next().unwrap().unwrap_err(),
    ] {
        assert_eq!(e.kind(), ErrorKind::ReadOnly);
        assert!(e.to_string().contains("leave out the option as_of"), "{e}");
    }
    // Later on only what was not deleted by then is there, unless that is asked for too.
    let soon = jiff::Timestamp::now().to_string();
    let later = url.clone().with_option("as_of", &soon).unwrap();
    let past = open(&later).unwrap();
    assert_eq!(past.get("a/pack-1").await.unwrap(), "a/pack-1");
    assert_eq!(past.get("a/pack-2").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(past.list_children("b").await.unwrap().folders, Vec::<String>::new());
    let past = open(&later.with_option("undelete", "true").unwrap()).unwrap();
    assert_eq!(past.get("late").await.unwrap(), "x");
    assert_eq!(past.get("b/c/d").await.unwrap(), "b/c/d");
    assert_eq!(past.get("e").await.unwrap(), "e");
    let e = open(&url.with_option("as_of", "2100-01-01T00:00:00Z").unwrap()).unwrap_err();
    assert!(e.kind() == ErrorKind::InvalidOption && e.to_string().contains("future"), "{e}");
}

async fn as_it_was(past: &dyn Store, paths: &[&str]) {
    for path in paths {
        assert_eq!(past.get(path).await.unwrap(), *path);
        assert_eq!(past.get_range(path, 0..1).await.unwrap(), path[..1]);
        assert_eq!(past.head(path).await.unwrap().size, path.len() as u64);
        let (tail, size) = past.get_tail(path, 1).await.unwrap();
        assert_eq!((&tail[..], size), (&path.as_bytes()[path.len() - 1..], path.len() as u64));
        let e = past.get_range(path, 0..100).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::OutOfRange);
    }
    assert_eq!(past.get("empty/object").await.unwrap(), "");
    for absent in ["late", "a", "a/pack-", "nothing", "a/pack-1/below"] {
        assert_eq!(past.get(absent).await.unwrap_err().kind(), ErrorKind::NotFound, "{absent}");
    }
    let listed: Vec<_> = past.list("", None).map_ok(|meta| meta.path).try_collect().await.unwrap();
    let mut expected: Vec<_> =
        paths.iter().chain(&["empty/object"]).map(|p| p.to_string()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    let children = past.list_children("a").await.unwrap();
    assert_eq!(children.folders, ["a/pack-10"]);
    let objects: Vec<_> = children.objects.into_iter().map(|object| object.path).collect();
    assert_eq!(objects, ["a/pack-1", "a/pack-2"]);
    assert_eq!(past.list_children("").await.unwrap().folders, ["a", "b", "empty"]);
}
