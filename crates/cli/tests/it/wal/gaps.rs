//! `gaps`: what an archive lacks, by its exit code.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::Value;
use walbrook::repo::Repository;
use walbrook_testkit::{Cluster, StopMode, Until};

use super::newest;
use crate::support::{Ran, Scene};

fn gaps(scene: &Scene) -> (Ran, Value) {
    let text = scene.run("walbrook-wal", &["gaps"]);
    let json = scene.run("walbrook-wal", &["gaps", "--output", "json"]);
    assert_eq!(text.code, json.code, "{}", json.stderr);
    let json: Value = serde_json::from_str(&json.stdout).unwrap_or_default();
    (text, json[0]["systems"][0].clone())
}

/// Where the repository has a WAL file.
fn object(scene: &Scene, system: &Value, name: &str) -> PathBuf {
    let wal = scene.repo().join("prod/wal").join(system["system_identifier"].as_str().unwrap());
    match name.strip_suffix(".history") {
        Some(_) => wal.join(name),
        None => wal.join(&name[..8]).join(&name[8..16]).join(name),
    }
}

/// Writes down which WAL there is, as backups and expiries do when there is more.
fn record_runs(scene: &Scene, system: &Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = walbrook::store::open(&scene.repo().to_str().unwrap().parse().unwrap());
        let repository = Repository::open(store.unwrap()).await.unwrap();
        let cluster = repository.cluster(Scene::CLUSTER).unwrap();
        let system = cluster.systems().await.unwrap().remove(0);
        cluster.wal(&system).record_runs(1).await.unwrap();
    });
    // As if the server's user had.
    let history = object(scene, system, "00000001.history");
    let folder = history.parent().unwrap();
    let owner = fs::metadata(folder).unwrap();
    let runs = folder.join("runs");
    let names = fs::read_dir(&runs).unwrap().map(|run| run.unwrap().path());
    for path in names.chain([runs.clone()]) {
        std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
}

#[test]
fn between_backups_and_at_a_switch_of_timelines() {
    let scene = Scene::new();
    let cluster = scene.archiving(Cluster::builder(newest()).wal_segsize_mb(1)).start().unwrap();
    let first = scene.backup(&cluster, &[]);
    scene.start_archiving(&cluster);
    let segments: Vec<String> = (0..4)
        .map(|n| {
            cluster.psql_ok("postgres", &format!("CREATE TABLE t{n} (n int)")).unwrap();
            scene.archive_now(&cluster)
        })
        .collect();
    let second = scene.backup(&cluster, &["--wal", "archive"]);
    let (text, system) = gaps(&scene);
    assert_eq!(text.code, Some(0), "{}", text.stdout);
    assert!(text.stdout.contains("No WAL is missing"), "{}", text.stdout);
    assert_eq!(system["gaps"], serde_json::json!([]));

    // Between the backups.
    let aside = |name: &str| {
        let path = object(&scene, &system, name);
        fs::rename(&path, scene.path("aside")).unwrap();
        move |scene: &Scene| fs::rename(scene.path("aside"), &path).unwrap()
    };
    let back = aside(&segments[2]);
    let (text, lacks) = gaps(&scene);
    assert_eq!(text.code, Some(3), "{}", text.stdout);
    assert!(text.stdout.contains(&segments[2]), "{}", text.stdout);
    let gap = &lacks["gaps"][0];
    assert_eq!((&gap["first"], &gap["last"]), (&gap["last"], &Value::from(segments[2].as_str())));
    assert_eq!((&gap["after_backup"], &gap["before_backup"]), (&first["id"], &second["id"]));
    assert_eq!(gap["unusable_backups"], serde_json::json!([]));
    // Records before and behind it can be shown, and not over it.
    let over = ["show", "--from", &segments[1], "--output", "json"];
    let failed = scene.run("walbrook-wal", &over).expect(1);
    assert!(failed.stderr.contains(&segments[2]), "{}", failed.stderr);
    let skipped = scene.ok("walbrook-wal", &[&over[..], &["--skip-missing"]].concat());
    assert!(skipped.stderr.contains("WAL is missing"), "{}", skipped.stderr);
    assert!(skipped.stdout.lines().count() > failed.stdout.lines().count());
    scene.ok("walbrook-wal", &["stats"]);
    back(&scene);

    // What a backup needs.
    let back = aside(second["span"]["first_segment"].as_str().unwrap());
    let (text, lacks) = gaps(&scene);
    assert_eq!(text.code, Some(3), "{}", text.stdout);
    assert_eq!(lacks["gaps"][0]["unusable_backups"], serde_json::json!([second["id"]]));
    assert!(text.stdout.contains("can't be restored without it"), "{}", text.stdout);
    back(&scene);

    // What was written down of WAL is believed by a listing of backups, but for what these need.
    let last = scene.archive_now(&cluster);
    record_runs(&scene, &system);
    let back = aside(&segments[1]);
    assert_eq!(scene.list()["gaps"], serde_json::json!([]));
    let checked = scene.ok("walbrook-list", &["--check-wal"]).stdout;
    assert!(checked.contains("WAL missing") && checked.contains(&segments[1]), "{checked}");
    // A restore looks, and would end before it.
    let of_first = ["--backup", first["id"].as_str().unwrap(), "--dry-run"];
    let planned = scene.try_restore("planned", &of_first).expect(0).stdout;
    assert!(planned.contains(&format!("to {}\n", segments[0])), "{planned}");
    back(&scene);
    // Where a window ends.
    let back = aside(&last);
    assert_eq!(scene.list()["gaps"][0]["first"], last.as_str());
    let (text, lacks) = gaps(&scene);
    assert_eq!((text.code, &lacks["gaps"][0]["first"]), (Some(3), &Value::from(last.as_str())));
    assert_eq!(lacks["gaps"][0]["after_backup"], second["id"]);
    back(&scene);
    let needed = second["span"]["first_segment"].as_str().unwrap();
    let back = aside(needed);
    let listed = scene.list();
    assert_eq!(listed["backups"][1]["restorable"], false, "{listed}");
    assert_eq!(listed["gaps"][0]["first"], needed, "{listed}");
    let refused = scene.try_restore("refused", &["--backup", second["id"].as_str().unwrap()]);
    assert!(refused.expect(1).stderr.contains(needed));
    back(&scene);

    // A promoted copy archives as timeline 2.
    let directory = scene.restore("copy", &["--target", "immediate", "--target-action", "promote"]);
    drop(cluster);
    let mut copy = Cluster::adopt(newest(), &directory)
        .config("archive_mode", "on")
        .config("archive_command", scene.archive_command())
        .until(Until::Promoted)
        .start()
        .unwrap();
    let branch = copy.psql("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn())").unwrap();
    assert!(branch.starts_with("00000002"), "{branch}");
    for n in 0..2 {
        copy.psql_ok("postgres", &format!("CREATE TABLE copy{n} (n int)")).unwrap();
        scene.archive_now(&copy);
    }
    copy.stop(StopMode::Fast).unwrap();
    let (text, system) = gaps(&scene);
    assert_eq!(text.code, Some(0), "{}", text.stdout);
    assert_eq!(system["timelines"], serde_json::json!([1, 2]));
    // Records on both sides of the switch, along its history.
    let shown = scene.ok("walbrook-wal", &["show", "--output", "json"]).stdout;
    let timeline = |n: u64| {
        let is_on = |line: &&str| serde_json::from_str::<Value>(line).unwrap()["timeline"] == n;
        shown.lines().filter(is_on).count()
    };
    assert!(timeline(1) > 0 && timeline(2) > 0, "{} and {}", timeline(1), timeline(2));

    let first_of_two = branch.as_str();
    let back = aside(first_of_two);
    let (text, lacks) = gaps(&scene);
    assert_eq!(text.code, Some(3), "{}", text.stdout);
    assert_eq!(lacks["gaps"][0]["first"], first_of_two);
    assert_eq!(lacks["gaps"][0]["at_timeline_switch"], true, "{lacks}");
    back(&scene);
    let back = aside("00000002.history");
    let (text, lacks) = gaps(&scene);
    assert_eq!(text.code, Some(3), "{}", text.stdout);
    assert_eq!(lacks["missing_histories"][0]["file"], "00000002.history");
    back(&scene);
    assert_eq!(gaps(&scene).0.code, Some(0));
    assert_eq!(scene.run("walbrook-wal", &["gaps", "--cluster", "other"]).code, Some(1));

    // What an expiry removes is not missing.
    let args = ["--keep-last", "2", "--keep-wal", "standalone", "--grace", "0"];
    scene.ok("walbrook-expire", &args);
    assert!(!object(&scene, &system, &segments[2]).exists());
    let listed = scene.list();
    assert_eq!(listed["gaps"], serde_json::json!([]));
    let expired = &listed["expired"][0];
    let names = ["first", "last"].map(|key| expired[key].as_str().unwrap());
    assert!(names[0] <= segments[2].as_str() && segments[2].as_str() <= names[1], "{expired}");
    assert!(listed["backups"].as_array().unwrap().iter().all(|b| b["restorable"] == true));
    let (text, _) = gaps(&scene);
    assert_eq!(text.code, Some(0), "{}", text.stdout);
    assert!(text.stdout.contains("WAL removed by an expiry"), "{}", text.stdout);
}
