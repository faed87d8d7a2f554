//! Dropping a future ends its operation and leaves nothing half-done that anybody could take for
//! whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use walbrook::{
    BackupOptions, ConnInfo, Environment, NoProgress, Phase, Progress, RestoreOptions, StoreUrl,
    backup, list, plan_restore,
};
use walbrook_testkit::{Cluster, majors, wait_for};

/// Notes what it is told, and says when a certain phase was reached.
#[derive(Default)]
struct Watch {
    phases: Mutex<Vec<Phase>>,
    totals: Mutex<BTreeMap<String, Option<u64>>>,
    bytes: AtomicU64,
    stop_in: Option<Phase>,
    /// Whether to stop at the first bytes of the phase, not at its beginning.
    at_bytes: bool,
    reached: Notify,
}

impl Progress for Watch {
    fn begin(&self, phase: Phase, total: Option<u64>) {
        self.phases.lock().unwrap().push(phase);
        self.totals.lock().unwrap().insert(format!("{phase:?}"), total);
        if self.stop_in == Some(phase) && !self.at_bytes {
            self.reached.notify_one();
        }
    }

    fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.at_bytes && self.phases.lock().unwrap().last().copied() == self.stop_in {
            self.reached.notify_one();
        }
    }
}

/// Runs an operation, but drops it when the phase is reached; `None` if it was dropped.
async fn until<T>(watch: &Watch, operation: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = watch.reached.notified() => None,
        outcome = operation => Some(outcome),
    }
}

fn server() -> Cluster {
    let installation = majors().pop().expect("a PostgreSQL: run `cargo xtask pg`");
    Cluster::stock(installation).unwrap()
}

fn url(folder: &Path) -> StoreUrl {
    format!("file://{}", folder.display()).parse().unwrap()
}

fn options(repo: &StoreUrl, cluster: &Cluster) -> BackupOptions {
    let info = ConnInfo::parse(&cluster.conninfo(), &Environment::from_process()).unwrap();
    BackupOptions::new(repo.clone(), "prod", info)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_dropped_does_not_exist() {
    let cluster = server();
    let folder = tempfile::tempdir().unwrap();
    let repo = url(folder.path());
    let options = options(&repo, &cluster);
    let moments = [
        (Phase::Checkpoint, false),
        (Phase::Copy, true),
        (Phase::Finish, false),
        (Phase::WaitForWal, false),
    ];
    for (phase, at_bytes) in moments {
        let watch = Watch { stop_in: Some(phase), at_bytes, ..Watch::default() };
        let outcome = until(&watch, backup(&options, &watch)).await;
        assert!(outcome.is_none(), "{phase:?}: {outcome:?}");
        let listed = list(&repo, Some("prod")).await.unwrap();
        assert!(listed[0].systems[0].backups.is_empty(), "{phase:?}");
        // The server forgets it too: no slot stays that would hold its WAL back.
        let slots = || cluster.psql("postgres", "SELECT count(*) FROM pg_replication_slots");
        wait_for("no slot", Duration::from_secs(20), || slots().unwrap() == "0").unwrap();
    }

    let watch = Watch::default();
    let record = backup(&options, &watch).await.unwrap();
    let phases = watch.phases.lock().unwrap().clone();
    assert_eq!(phases, moments.map(|(phase, _)| phase));
    let total = watch.totals.lock().unwrap()["Copy"].expect("the server tells");
    let seen = watch.bytes.load(Ordering::Relaxed);
    assert!(seen >= record.size.database_bytes && seen < total * 2, "{seen} of {total}");
    let listed = list(&repo, Some("prod")).await.unwrap();
    assert_eq!(listed[0].systems[0].backups.len(), 1);
    assert!(listed[0].systems[0].backups[0].restorable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_dropped_leaves_an_empty_directory() {
    let cluster = server();
    let folder = tempfile::tempdir().unwrap();
    let repo = url(&folder.path().join("repo"));
    std::fs::create_dir(folder.path().join("repo")).unwrap();
    let record = backup(&options(&repo, &cluster), &NoProgress).await.unwrap();

    let directory = folder.path().join("restored");
    let count = || std::fs::read_dir(&directory).map_or(0, |entries| entries.count());
    let moments = [(Phase::Restore, false), (Phase::Restore, true), (Phase::Sync, false)];
    for round in 0..12 {
        let (phase, at_bytes) = moments[round % moments.len()];
        let plan = plan_restore(&RestoreOptions::new(repo.clone(), "prod", &directory)).await;
        let plan = plan.expect("the directory is fit to restore into");
        let watch = Watch { stop_in: Some(phase), at_bytes, ..Watch::default() };
        let outcome = until(&watch, plan.execute(&watch)).await;
        assert!(outcome.is_none(), "{phase:?}: {outcome:?}");
        // Threads that were writing at that moment finish first.
        wait_for("an empty directory", Duration::from_secs(20), || count() == 0).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(count(), 0, "something was written after the directory was cleared");
    }

    let plan = plan_restore(&RestoreOptions::new(repo.clone(), "prod", &directory)).await.unwrap();
    let watch = Watch::default();
    let report = plan.execute(&watch).await.unwrap();
    assert_eq!(*watch.phases.lock().unwrap(), [Phase::Restore, Phase::Sync]);
    assert_eq!(watch.bytes.load(Ordering::Relaxed), record.size.database_bytes);
    assert_eq!(report.bytes, record.size.database_bytes);
    assert!(directory.join("global/pg_control").exists());
}
