//! Packs of which little is in use are left behind, and go.

use serde_json::Value;
use walbrook_testkit::{Cluster, Until};

use crate::end_to_end::newest;
use crate::support::Scene;

/// A backup of which a later one uses little is removed; the one after that stores the little anew, and
/// when the later one is removed as well nothing is left of the first.
#[test]
fn what_is_little_used_is_stored_anew_and_goes() {
    let scene = Scene::new();
    let cluster = Cluster::builder(newest()).config("autovacuum", "off").start().unwrap();
    let run = |sql: &str| cluster.psql_ok("postgres", sql).unwrap();
    let table = |name: &str, rows: u32| {
        run(&format!(
            "CREATE TABLE {name} AS SELECT n, md5(n::text) AS t FROM generate_series(1, {rows}) n"
        ));
    };
    table("large", 200_000);
    table("little", 20_000);
    run("VACUUM (FREEZE)");
    let first = scene.backup(&cluster, &[]);
    run("DROP TABLE large");
    table("other", 20_000);
    let second = scene.backup(&cluster, &[]);
    expire(&scene, &first);
    assert!(packs(&scene, &first) > 0, "the second backup uses them");

    let refers = scene.backup(&cluster, &["--compact", "0"]);
    assert_eq!(refers["size"]["compacted_bytes"], Value::Null);
    let compacts = scene.backup(&cluster, &[]);
    let moved = compacts["size"]["compacted_bytes"].as_u64().unwrap();
    assert!(moved > 1 << 20, "{}", compacts["size"]);
    expire(&scene, &second);
    assert!(packs(&scene, &first) > 0, "a backup that was not to compact uses them");
    expire(&scene, &refers);
    assert_eq!(packs(&scene, &first), 0);

    let directory = scene.restore("restored", &[]);
    let restored = scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
    for name in ["little", "other"] {
        let rows = format!("SELECT count(*), sum(hashtext(t)) FROM {name}");
        let expected = cluster.psql("postgres", &rows).unwrap();
        assert_eq!(restored.psql("postgres", &rows).unwrap(), expected);
    }
}

fn expire(scene: &Scene, record: &Value) {
    let id = record["id"].as_str().unwrap();
    scene.ok("walbrook-expire", &["--backup", id, "--grace", "0s"]);
}

/// How many packs there are in a backup's folder.
fn packs(scene: &Scene, record: &Value) -> usize {
    let folder = format!("prod/backups/{}", record["id"].as_str().unwrap());
    let Ok(entries) = std::fs::read_dir(scene.repo().join(folder)) else { return 0 };
    let names = entries.map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("pack-")).count()
}
