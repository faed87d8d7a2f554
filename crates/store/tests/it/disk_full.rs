//! A full and a read-only disk: real ones, of memory.

use std::path::Path;
use std::process::Command;

use futures::TryStreamExt;
use walbrook_store::{ErrorKind, LocalStore, Payload, Store};

/// A small file system of memory, unmounted on drop.
struct Mount(tempfile::TempDir);

impl Mount {
    /// Nothing where mounting is not allowed.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=2m", "tmpfs"], dir.path()).then_some(Self(dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[], self.0.path());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let out = Command::new(program).args(arguments).arg(path).output();
    out.is_ok_and(|out| out.status.success())
}

#[tokio::test]
async fn full_disk() {
    let Some(mount) = Mount::new() else {
        eprintln!("skipped: mounting a file system takes root");
        return;
    };
    let store = LocalStore::new(mount.0.path()).unwrap();
    store.create("folder/kept", vec![1; 1 << 20].into()).await.unwrap();
    for _ in 0..3 {
        let e = store.create("folder/large", Payload::from(vec![2; 1536 << 10])).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::StorageFull, "{e}");
        assert!(e.to_string().contains("free or add space"), "{e}");
        assert!(!e.is_transient());
    }
    // Nothing of it is left: what fits still fits.
    store.create("folder/small", vec![3; 768 << 10].into()).await.unwrap();
    let names: Vec<_> = store.list("", None).map_ok(|meta| meta.path).try_collect().await.unwrap();
    assert_eq!(names, ["folder/kept", "folder/small"]);
    assert_eq!(std::fs::read_dir(mount.0.path().join("folder")).unwrap().count(), 2);
}

#[tokio::test]
async fn read_only_disk() {
    let Some(mount) = Mount::new() else {
        eprintln!("skipped: mounting a file system takes root");
        return;
    };
    let store = LocalStore::new(mount.0.path()).unwrap();
    store.create("folder/object", "x".into()).await.unwrap();
    assert!(run("mount", &["-o", "remount,ro"], mount.0.path()));
    for e in [
        store.create("folder/new", "x".into()).await.unwrap_err(),
        store.create("new/object", "x".into()).await.unwrap_err(),
        store.delete("folder/object").await.unwrap_err(),
    ] {
        assert_eq!(e.kind(), ErrorKind::ReadOnly, "{e}");
        assert!(e.to_string().contains("remount"), "{e}");
    }
    assert_eq!(store.get("folder/object").await.unwrap(), "x");
    // What is there is reported as such, also where nothing could be written.
    let e = store.create("folder/object", "x".into()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists, "{e}");
}
