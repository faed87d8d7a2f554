use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use walbrook::BackupId;
use walbrook::repo::{ExpiryReport, ExpiryRequest, KeptReason, Repository, Result};
use walbrook::store::Store;
use walbrook_testkit::{Call, Fault, FaultStore, Rule, give_to_server, wait_for};

use super::connections::LANES;
use super::{Running, cluster, compare};
use crate::support::Scene;

/// Earlier backups are removed while one is taken: its base stays until it is done, any other goes,
/// and what it has shared with them is there.
#[test]
fn earlier_backups_are_removed_meanwhile() {
    let scene = Scene::new();
    let cluster = cluster();
    let change = |n: u32| {
        let sql = format!("UPDATE filler SET x = upper(x) WHERE n % 500 = {n}; CHECKPOINT");
        cluster.psql_ok("postgres", &sql).unwrap();
    };
    let first = scene.backup(&cluster, &["--source", "sql"]);
    change(1);
    let second = scene.backup(&cluster, &["--source", "sql"]);
    assert_eq!(second["base"], first["id"]);
    change(2);

    let args = ["--output", "json", "--source", "sql", "--changes", "hash"];
    let mut running = Running::start(&scene, &cluster, &args);
    let reads = format!(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {LANES}"
    );
    let copying = || cluster.psql("postgres", &reads).is_ok_and(|row| row == "t");
    wait_for("the copy", Duration::from_secs(30), copying).unwrap();
    let report = remove(&scene, &[&first, &second]);
    assert_eq!(report.removed, [id(&first)]);
    let kept: Vec<_> = report.kept.iter().map(|kept| (&kept.id, &kept.reason)).collect();
    assert!(
        matches!(kept[..], [(kept, KeptReason::InUse { .. })] if *kept == id(&second)),
        "{kept:?}"
    );
    let ran = running.end().expect(0);
    let third: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(third["base"], second["id"]);
    compare(&scene, &cluster, &third);

    // An expiry that died was about to remove the newest: the one before it is a base as well.
    change(3);
    try_remove(&scene, &[&third], |store| {
        store.add(Rule::new(Fault::Unavailable).on(Call::Delete));
    })
    .unwrap_err();
    // Which root may have made.
    let marks = scene.repo().join(Scene::CLUSTER).join("expiry");
    for entry in std::fs::read_dir(&marks).unwrap() {
        give_to_server(&entry.unwrap().path()).unwrap();
    }
    give_to_server(&marks).unwrap();
    let fourth = scene.backup(&cluster, &["--source", "sql"]);
    assert_eq!(fourth["base"], second["id"]);
    compare(&scene, &cluster, &fourth);

    let report = remove(&scene, &[&second, &third]);
    assert_eq!(report.removed, [id(&second), id(&third)]);
    assert!(report.packs_in_use > 0, "{report:?}");
    assert_eq!(scene.list()["backups"].as_array().map(Vec::len), Some(1));
    compare(&scene, &cluster, &fourth);
}

fn id(record: &Value) -> BackupId {
    record["id"].as_str().unwrap().parse().unwrap()
}

/// Removes backups, whatever else there is.
fn remove(scene: &Scene, records: &[&Value]) -> ExpiryReport {
    try_remove(scene, records, |_| {}).unwrap()
}

/// The same, in a repository with faults.
fn try_remove(
    scene: &Scene,
    records: &[&Value],
    faults: impl FnOnce(&FaultStore<Arc<dyn Store>>),
) -> Result<ExpiryReport> {
    let request = ExpiryRequest {
        remove: records.iter().map(|record| id(record)).collect(),
        keep: Vec::new(),
        wal: Vec::new(),
        grace: Duration::ZERO,
        now: None,
        decided_for: Timestamp::now(),
        host: "here".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = scene.repo().to_str().unwrap().parse().unwrap();
        let store = Arc::new(FaultStore::new(walbrook::store::open(&url).unwrap()));
        faults(&store);
        let cluster = Repository::open(store).await?.cluster(Scene::CLUSTER)?;
        cluster.expire(&request).await
    })
}
