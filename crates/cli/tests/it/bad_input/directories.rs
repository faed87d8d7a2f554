//! Directories that are not fit to restore into.

use std::fs;

use walbrook_testkit::{Cluster, give_to_server, majors};

use crate::refused::{assert_nothing_in, refused, tree};
use crate::support::Scene;

#[test]
fn directories_in_use() {
    let scene = Scene::new();
    let newest = majors().pop().unwrap();
    let cluster = Cluster::builder(newest).start().unwrap();
    let space = scene.subdir("space");
    let old = space.to_str().unwrap();
    cluster.psql_ok("postgres", &format!("CREATE TABLESPACE space LOCATION '{old}'")).unwrap();
    scene.backup(&cluster, &[]);
    let full = scene.subdir("full");
    fs::write(full.join("precious"), "kept").unwrap();
    let file = scene.path("a-file");
    fs::write(&file, "").unwrap();
    let moved = format!("{old}={}", scene.path("moved").display());
    let map = ["--tablespace-map", moved.as_str()];
    let before = tree(&scene.path(""));

    let into = |directory: &str, args: &[&str]| scene.try_restore(directory, args);
    let pid = cluster.pid().unwrap().to_string();
    let running = cluster.data_dir().to_str().unwrap();
    refused(into(running, &map), 1, &[running, "running server", &pid, "stop it"]);
    refused(into("full", &map), 1, &["full is not empty", "new directory"]);
    refused(into("a-file", &map), 1, &["a-file", "can't be restored into"]);
    refused(into("a-file/below", &map), 1, &["a-file/below"]);
    refused(into("/proc/walbrook", &map), 1, &["/proc/walbrook"]);
    // The tablespace's own place is that of the server that still runs.
    refused(into("new", &[]), 1, &[old, "is not empty"]);
    for (new, code, words) in [
        (full.to_str().unwrap(), 1, &["full is not empty"][..]),
        (scene.path("new/inside").to_str().unwrap(), 1, &["inside", "--tablespace-map"]),
        ("relative", 1, &["relative"]),
    ] {
        let map = format!("{old}={new}");
        let ran = into("new", &["--tablespace-map", &map]);
        // What is wrong in itself is a matter of usage.
        let code = if new == "relative" { ran.code.unwrap() } else { code };
        assert!(matches!(code, 1 | 2));
        refused(ran, code, words);
    }
    let unknown = ["--tablespace-map", "/no/such/space=/tmp/x", map[0], map[1]];
    refused(into("new", &unknown), 1, &["no tablespace \"/no/such/space\"", old]);
    refused(into("new", &["--backup", "20200101T000000Z-00000000"]), 1, &["20200101T000000Z"]);
    refused(into("new", &["--backup", "newest"]), 2, &["newest"]);
    assert_eq!(tree(&scene.path("")), before, "nothing was touched");
    assert_nothing_in(&scene.path("new"));

    // An unfinished restore of another data directory is not cleared away, nor one that a server
    // was started on since.
    let mark = "walbrook-restore.unfinished";
    scene.subdir("theirs");
    for name in ["theirs/precious", &format!("theirs/{mark}")] {
        fs::write(scene.path(name), "The data directory: /elsewhere\n").unwrap();
        give_to_server(&scene.path(name)).unwrap();
    }
    refused(into("theirs", &map), 1, &["theirs", "another data directory"]);
    assert!(scene.path("theirs/precious").exists());
    scene.restore("new", &map);
    for name in [mark, "postmaster.opts"] {
        fs::write(scene.path("new").join(name), "").unwrap();
    }
    refused(into("new", &map), 1, &[mark, "was started on it"]);
    assert!(scene.path("new/global/pg_control").exists());
}
