use super::{PACK, Running, cluster, compare, size, unfinished};
use crate::support::Scene;

/// A first backup and an incremental one are killed in the middle, whatever their source: the next
/// ones, of other sources, find what they have stored.
#[test]
fn what_was_killed_is_continued() {
    let scene = Scene::new();
    let cluster = cluster();
    let uncompressed = ["--compression", "none"];

    let dead = Running::begin(&scene, &cluster, &["--source", "sql"]).kill(&scene);
    // Some of what it has stored is not true any more.
    let change = "UPDATE filler SET x = upper(x) WHERE n % 100 = 7; CHECKPOINT";
    cluster.psql_ok("postgres", change).unwrap();
    let first = scene.backup(&cluster, &[&uncompressed[..], &["--source", "replication"]].concat());
    assert_eq!(first["resumes"], serde_json::json!([dead]));
    assert_eq!(first["base"], serde_json::Value::Null);
    let (all, resumed) = (size(&first, "database_bytes"), size(&first, "resumed_bytes"));
    assert!(resumed > PACK / 2 && size(&first, "reused_bytes") == resumed, "{}", first["size"]);
    assert!(size(&first, "stored_bytes") < all - resumed + (1 << 20), "{}", first["size"]);
    compare(&scene, &cluster, &first);

    // Every page of the table changes, and what is read is in parts.
    cluster.psql_ok("postgres", "UPDATE filler SET n = -n; CHECKPOINT").unwrap();
    let by_log = ["--source", "sql", "--changes", "sum"];
    let dead = Running::begin(&scene, &cluster, &by_log).kill(&scene);
    let base = ["--base", first["id"].as_str().unwrap()];
    let anew = [&uncompressed[..], &by_log, &base, &["--no-resume"]].concat();
    let anew = scene.backup(&cluster, &anew);
    assert_eq!((&anew["resumes"], size(&anew, "resumed_bytes")), (&serde_json::Value::Null, 0));
    let directory = cluster.data_dir().to_str().unwrap();
    let local = ["--source", "local", "--pgdata", directory, "--changes", "sum"];
    let second = scene.backup(&cluster, &[&uncompressed[..], &local, &base].concat());
    assert_eq!(second["resumes"], serde_json::json!([dead]));
    assert_eq!(
        (&second["base"], &second["source"]["changes"]["by"]),
        (&first["id"], &"sum".into())
    );
    let resumed = size(&second, "resumed_bytes");
    assert!(resumed > PACK / 2 && size(&second, "reused_bytes") > resumed, "{}", second["size"]);
    let stored = [&anew, &second].map(|record| size(record, "stored_bytes"));
    assert!(stored[1] < stored[0] - resumed + (1 << 20), "{stored:?}, {}", second["size"]);
    compare(&scene, &cluster, &second);

    // What the base has needs nobody to look at what died before it.
    let ran = scene.ok("walbrook-backup", &["-d", &cluster.conninfo(), "--output", "json"]);
    assert!(!ran.stdout.contains("resumes") && !ran.stderr.contains("continued"), "{ran:?}");
    assert_eq!(unfinished(&scene).len(), 2);
}
