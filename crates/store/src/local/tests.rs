use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use super::*;
use crate::conformance;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn stores() -> impl Iterator<Item = (tempfile::TempDir, LocalStore)> {
    [false, true].into_iter().map(|named| {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::build(dir.path().join("repo"), named).unwrap();
        (dir, store)
    })
}

/// All names below a directory, hidden ones included.
fn everything(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().to_str().unwrap().to_owned());
        if entry.file_type().unwrap().is_dir() {
            names.extend(everything(&entry.path()));
        }
    }
    names.sort();
    names
}

#[test]
fn named_temporary_files_conform_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::build(dir.path().join("repo"), true).unwrap();
    run(conformance::run(Arc::new(store))).unwrap();
    assert_eq!(everything(dir.path()), ["repo"]);
}

#[test]
fn the_rename_for_file_systems_without_links_keeps_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    for (content, expected) in [("first", Ok(())), ("second", Err(rustix::io::Errno::EXIST))] {
        let from = dir.path().join(content);
        fs::write(&from, content).unwrap();
        assert_eq!(temp::rename_new(&from, &target), expected);
    }
    assert_eq!(fs::read_to_string(target).unwrap(), "first");
}

#[test]
fn modes_are_for_owner_and_group() {
    for (_dir, store) in stores() {
        run(store.create("folder/object", "x".into())).unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        // Whatever the umask is, others get nothing and the owner what is needed.
        assert_eq!(mode(store.root().join("folder/object")) & 0o717, 0o600);
        assert_eq!(mode(store.root().join("folder")) & 0o707, 0o700);
        assert_eq!(mode(store.root().to_owned()) & 0o707, 0o700);
    }
}

#[test]
fn a_missing_root_is_not_an_absent_object() {
    use futures::TryStreamExt;

    for (dir, store) in stores() {
        let check = || {
            let errors = [
                run(store.get("a")).unwrap_err(),
                run(store.get_range("a", 0..1)).unwrap_err(),
                run(store.get_tail("a", 1)).unwrap_err(),
                run(store.head("a/b")).unwrap_err(),
                run(store.list("", None).try_collect::<Vec<_>>()).unwrap_err(),
                run(store.list("a", None).try_collect::<Vec<_>>()).unwrap_err(),
                run(store.list_children("a")).unwrap_err(),
                run(store.delete("a")).unwrap_err(),
            ];
            for e in errors {
                assert_eq!(e.kind(), ErrorKind::StoreMissing, "{e}");
            }
        };
        check();
        // Nor is it made where the directory above is missing.
        let deep = LocalStore::build(dir.path().join("no/repo"), false).unwrap();
        assert_eq!(run(deep.create("a", "x".into())).unwrap_err().kind(), ErrorKind::StoreMissing);
        run(store.create("a", "x".into())).unwrap();
        assert_eq!(run(store.get("b")).unwrap_err().kind(), ErrorKind::NotFound);
        fs::remove_dir_all(store.root()).unwrap();
        fs::write(store.root(), "not a directory").unwrap();
        check();
        let e = run(store.create("a", "x".into())).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::StoreMissing, "{e}");
    }
}

#[test]
fn what_is_not_ours_is_not_seen() {
    use futures::TryStreamExt;

    let (_dir, store) = stores().next().unwrap();
    run(store.create("folder/object", "x".into())).unwrap();
    for name in [".tmp-1-2", ".nfs0001", "lost+found", "folder/.tmp-3-4", "folder/a b"] {
        fs::write(store.root().join(name), "x").unwrap();
    }
    fs::create_dir_all(store.root().join(".snapshot/folder")).unwrap();
    fs::write(store.root().join(".snapshot/folder/object"), "x").unwrap();
    fs::create_dir_all(store.root().join("empty/emptier")).unwrap();
    let listed: Vec<_> = run(store.list("", None).try_collect()).unwrap();
    assert_eq!(listed.iter().map(|meta| &*meta.path).collect::<Vec<_>>(), ["folder/object"]);
    let children = run(store.list_children("")).unwrap();
    assert_eq!((children.folders, children.objects), (vec!["folder".to_owned()], vec![]));
}

#[test]
fn only_what_dead_writers_left_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::build(dir.path().to_owned(), true).unwrap();
    let make = |name: &str, hours: u64| {
        let file = File::create(dir.path().join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
        file
    };
    make(".tmp-1-old", 30);
    make(".tmp-1-young", 1);
    make("object", 30);
    make(".other", 30);
    let held = make(".tmp-1-held", 30);
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    run(store.create("new", "x".into())).unwrap();
    assert_eq!(everything(dir.path()), [".other", ".tmp-1-held", ".tmp-1-young", "new", "object"]);
}

#[test]
fn an_object_where_a_folder_is_needed() {
    for (_dir, store) in stores() {
        run(store.create("object", "x".into())).unwrap();
        let e = run(store.create("object/below", "x".into())).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidPath, "{e}");
        assert!(e.to_string().contains("a folder of this path is an object"), "{e}");
    }
}

#[test]
fn creating_and_deleting_in_the_same_folders_at_once() {
    // Each deletion removes the folder that the next creation is about to use.
    for (_dir, store) in stores() {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let store = store.clone();
                std::thread::spawn(move || {
                    let path = format!("a/b/c/{thread}");
                    for _ in 0..50 {
                        run(store.create(&path, "x".into())).unwrap();
                        run(store.delete(&path)).unwrap();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(everything(store.root()), [""; 0]);
    }
}
