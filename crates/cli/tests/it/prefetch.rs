//! Segments that wait near the server before recovery asks for them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use walbrook_testkit::{Cluster, majors, wait_for};

use crate::support::Scene;

/// The folders of `pg_wal` in which segments wait.
fn folders(wal: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(wal).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with("walbrook-prefetch-"))
        .map(|entry| entry.path())
        .collect()
}

#[test]
fn the_next_segments_are_near_before_they_are_asked_for() {
    let scene = Scene::new();
    let newest = majors().pop().unwrap();
    let cluster = scene.archiving(Cluster::builder(newest).wal_segsize_mb(1)).start().unwrap();
    scene.backup(&cluster, &[]);
    scene.start_archiving(&cluster);
    cluster.psql_ok("postgres", "CREATE TABLE t (n int)").unwrap();
    let mut segments = Vec::new();
    for n in 0..5 {
        cluster.psql_ok("postgres", &format!("INSERT INTO t VALUES ({n})")).unwrap();
        segments.push(scene.archive_now(&cluster));
    }
    for segment in &segments {
        scene.wait_archived(&cluster, segment);
    }
    let wal = scene.subdir("restoring").join("pg_wal");
    fs::create_dir(&wal).unwrap();
    walbrook_testkit::give_to_server(&wal).unwrap();
    let fetch = |segment: &str, more: &[&str]| {
        let destination = wal.join(segment);
        let mut args = vec![segment, destination.to_str().unwrap()];
        args.extend(more);
        scene.run("walbrook-fetch", &args)
    };

    fetch(&segments[0], &["--prefetch", "3"]).expect(0);
    let waiting = |segment: &str| folders(&wal).iter().any(|f| f.join(segment).exists());
    wait_for("three segments", Duration::from_secs(30), || {
        segments[1..4].iter().all(|s| waiting(s))
    })
    .unwrap();
    assert!(!waiting(&segments[4]), "no more than was asked for");

    // The proof that the next one comes from there: the repository is out of reach.
    let away = scene.path("away");
    fs::rename(scene.repo(), &away).unwrap();
    fetch(&segments[1], &["--prefetch", "3", "--retry-for", "0s"]).expect(0);
    fetch(&segments[4], &["--prefetch", "3", "--retry-for", "0s"]).expect(200);
    fs::rename(&away, scene.repo()).unwrap();
    let archived = fs::read(cluster.wal_dir().join(&segments[1]));
    if let Ok(original) = archived {
        assert!(fs::read(wal.join(&segments[1])).unwrap() == original, "not what was archived");
    }

    // The end of the archive: nothing waits any more.
    fetch("0000000100000000000000FF", &["--prefetch", "3"]).expect(1);
    wait_for("no folder", Duration::from_secs(30), || folders(&wal).is_empty()).unwrap();
    fetch(&segments[2], &["--prefetch", "0"]).expect(0);
    assert!(folders(&wal).is_empty(), "none was to be brought");
}
