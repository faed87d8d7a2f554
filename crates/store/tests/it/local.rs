use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use walbrook_store::{ErrorKind, LocalStore, Store, StoreUrl, conformance, open};

#[tokio::test]
async fn conforms() {
    let dir = tempfile::tempdir().unwrap();
    let url: StoreUrl = dir.path().join("repo").to_str().unwrap().parse().unwrap();
    conformance::run(open(&url).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_on_many_threads_through_a_symbolic_link() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("disk")).unwrap();
    std::os::unix::fs::symlink("disk", dir.path().join("repo")).unwrap();
    let store = LocalStore::new(dir.path().join("repo")).unwrap();
    conformance::run(Arc::new(store)).await.unwrap();
}

#[tokio::test]
async fn a_folder_may_be_a_link_to_another_disk() {
    let (dir, other) = (tempfile::tempdir().unwrap(), elsewhere());
    let store = LocalStore::new(dir.path()).unwrap();
    std::os::unix::fs::symlink(other.path(), dir.path().join("wal")).unwrap();
    store.create("wal/1/segment", "x".into()).await.unwrap();
    assert_eq!(fs::read(other.path().join("1/segment")).unwrap(), b"x");
    let children = store.list_children("").await.unwrap();
    assert_eq!(children.folders, ["wal"]);
    assert_eq!(store.list_children("wal").await.unwrap().folders, ["wal/1"]);
}

/// A directory in another file system, if there is one.
fn elsewhere() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap()
}

#[tokio::test]
async fn refusals_say_who_and_what_to_do() {
    // Root is refused nothing.
    if rustix::process::geteuid().is_root() {
        eprintln!(
            "skipped: root is never denied; the child of as_nobody() below is what tests this"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let store = LocalStore::new(dir.path().join("repo")).unwrap();
    store.create("folder/object", "x".into()).await.unwrap();
    fs::set_permissions(store.root(), fs::Permissions::from_mode(0o700)).unwrap();
    if rustix::process::geteuid().is_root() {
        as_nobody(store.root());
    } else {
        fs::set_permissions(store.root(), fs::Permissions::from_mode(0o000)).unwrap();
        denied(&store).await;
        fs::set_permissions(store.root(), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

/// Runs the child below as a user who may not.
fn as_nobody(root: &Path) {
    // The test binary may be where nobody can't reach it.
    let own = tempfile::tempdir().unwrap();
    fs::set_permissions(own.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = own.path().join("it");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let out = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args(["--exact", "local::child_that_is_denied", "--include-ignored", "--nocapture"])
        .env("WALBROOK_TEST_DENIED", root)
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[tokio::test]
#[ignore = "a child process of refusals_say_who_and_what_to_do"]
async fn child_that_is_denied() {
    if let Some(root) = std::env::var_os("WALBROOK_TEST_DENIED") {
        denied(&LocalStore::new(root).unwrap()).await;
    }
}

async fn denied(store: &LocalStore) {
    for e in [
        store.get("folder/object").await.unwrap_err(),
        store.head("absent").await.unwrap_err(),
        store.create("folder/new", "x".into()).await.unwrap_err(),
        store.delete("folder/object").await.unwrap_err(),
        store.list_children("").await.unwrap_err(),
    ] {
        assert_eq!(e.kind(), ErrorKind::PermissionDenied, "{e}");
        assert!(e.to_string().contains("operating-system user with id"), "{e}");
        assert!(e.to_string().contains("check the owner"), "{e}");
    }
}
