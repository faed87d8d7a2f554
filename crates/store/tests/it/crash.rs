//! A writer that is killed at any instant leaves whole objects, and nothing else that is seen.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use walbrook_store::{LocalStore, Payload, Store};

const ROUNDS: u32 = 30;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the object of a number holds: its length and bytes follow from the number.
fn content(number: u32) -> Vec<u8> {
    let length = 1 + number as usize * 7919 % 700_000;
    (0..length).map(|at| (at as u32).wrapping_mul(number | 1) as u8).collect()
}

#[tokio::test]
async fn kill_at_any_instant() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::new(dir.path().join("repo")).unwrap();
    let mut killed_at_work = 0;
    for round in 0..ROUNDS {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_that_writes", "--include-ignored", "--nocapture"])
            .env("WALBROOK_TEST_CRASH", store.root())
            .env("WALBROOK_TEST_ROUND", round.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut child = Killed(child);
        // Until it has begun, and then for a time that differs from round to round.
        let first = store.root().join(format!("round-{round}"));
        let deadline = Instant::now() + Duration::from_secs(30);
        while !first.exists() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(u64::from(round * 7919 % 40_000))).await;
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        let folder = format!("round-{round}");
        let objects: Vec<_> = store.list(&folder, None).try_collect().await.unwrap();
        killed_at_work += u32::from(!objects.is_empty());
        for meta in objects {
            let number: u32 = meta.path.rsplit_once('/').unwrap().1.parse().unwrap();
            let found = store.get(&meta.path).await.unwrap();
            assert!(found == content(number), "{meta:?} is torn");
        }
        // The next writer is not in the way of anything that this one left.
        store.create(&format!("{folder}/after"), "x".into()).await.unwrap();
    }
    // If the children never got anything done, nothing was tested.
    assert!(killed_at_work > ROUNDS / 2, "{killed_at_work} of {ROUNDS} rounds wrote anything");
}

#[tokio::test]
#[ignore = "a child process of kill_at_any_instant"]
async fn child_that_writes() {
    let Some(root) = std::env::var_os("WALBROOK_TEST_CRASH") else { return };
    let round = std::env::var("WALBROOK_TEST_ROUND").unwrap();
    let store = LocalStore::new(root).unwrap();
    for number in 0.. {
        let path = format!("round-{round}/{}/{number}", number / 10);
        store.create(&path, Payload::from(content(number))).await.unwrap();
    }
}
