//! Backups of a server that goes on, expired by a policy on a clock that is made up: what stays is
//! restored, and nothing else stays.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use walbrook::repo::{BackupReader, Digest, Repository};
use walbrook_testkit::{Cluster, Until, majors};

use crate::support::{Ran, Scene};

/// The server, its repository, and how many backups were taken.
struct Story {
    scene: Scene,
    cluster: Cluster,
    taken: u32,
}

const DAY: i64 = 24 * 3600;

impl Story {
    fn begin() -> Self {
        let scene = Scene::new();
        let cluster = Cluster::builder(majors().pop().unwrap()).start().unwrap();
        let sql = "CREATE TABLE day (n int, note text); \
                   CREATE TABLE big AS SELECT n, repeat(md5(n::text), 20) AS t \
                   FROM generate_series(1, 20000) AS n";
        cluster.psql_ok("postgres", sql).unwrap();
        Self { scene, cluster, taken: 0 }
    }

    /// Changes the database, and backs it up.
    fn back_up(&mut self, args: &[&str]) -> Value {
        self.taken += 1;
        let n = self.taken;
        let sql = format!(
            "INSERT INTO day VALUES ({n}, 'x'); \
             UPDATE big SET t = md5(t) || repeat('{n}', 600) WHERE n % 50 = {n} % 50"
        );
        self.cluster.psql_ok("postgres", &sql).unwrap();
        self.scene.backup(&self.cluster, args)
    }

    /// Makes a backup of so many days from now of one of now.
    fn date(&self, id: &str, now: i64) {
        let path = self.folder().join("backups").join(id).join("backup.json");
        let mut document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let at = jiff::Timestamp::from_second(now).unwrap().to_string();
        let span = &mut document["body"]["span"];
        for key in ["started_at", "stopped_at", "checkpoint_time"] {
            span[key] = Value::from(at.clone());
        }
        span["last_transaction_time"] = Value::Null;
        let text = serde_json::to_string(&document["body"]).unwrap();
        let digest = Digest::of(text.as_bytes());
        let sealed = format!("{{\"body\":{text},\"blake3\":\"{digest}\"}}\n");
        // Another file in its place, of the same owner and mode.
        fs::write(&path, sealed).unwrap();
    }

    fn folder(&self) -> PathBuf {
        self.scene.repo().join(Scene::CLUSTER)
    }

    fn expire(&self, args: &[&str]) -> Ran {
        let common = ["--output", "json", "--time-zone", "UTC", "--grace", "0"];
        self.scene.run("walbrook-expire", &[&common, args].concat())
    }

    fn expired(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.expire(args).expect(0).stdout).unwrap()
    }

    fn listed(&self) -> Vec<Value> {
        let backups = self.scene.list()["backups"].take();
        let backups = backups.as_array().unwrap().clone();
        assert!(backups.iter().all(|backup| backup["restorable"] == true), "{backups:?}");
        backups
    }

    fn ids(&self) -> Vec<String> {
        self.listed().iter().map(id).collect()
    }

    /// Restores a backup and looks whether it has what the server had when it was the n-th.
    fn check_restored(&self, id: &str, n: u32) {
        let directory = self.scene.restore(
            "restored",
            &["--backup", id, "--target", "immediate", "--target-action", "promote"],
        );
        let adopted = self.scene.adopt(&self.cluster, &directory).until(Until::Promoted);
        let restored = adopted.start().unwrap();
        let query = "SELECT count(*), max(n) FROM day";
        assert_eq!(restored.psql("postgres", query).unwrap(), format!("{n}|{n}"), "{id}");
        // Each change is to another fiftieth.
        let query = "SELECT count(*) FROM big WHERE length(t) <> 640";
        assert_eq!(restored.psql("postgres", query).unwrap().parse(), Ok(n * 400), "{id}");
        drop(restored);
        fs::remove_dir_all(directory).unwrap();
    }

    /// Bytes of all objects of backups.
    fn stored_bytes(&self) -> u64 {
        let folders = fs::read_dir(self.folder().join("backups")).unwrap();
        let objects = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
        objects.map(|object| object.unwrap().metadata().unwrap().len()).sum()
    }

    /// The repository has the packs that manifests name, and no others.
    fn check_space(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let named = runtime.block_on(named_packs(&self.scene.repo()));
        let mut there = BTreeSet::new();
        let mut intents = 0;
        for folder in fs::read_dir(self.folder().join("backups")).unwrap() {
            let folder = folder.unwrap();
            for object in fs::read_dir(folder.path()).unwrap() {
                let name = object.unwrap().file_name().into_string().unwrap();
                intents += usize::from(name == "intent.json");
                if name.starts_with("pack-") {
                    there.insert(format!("{}/{name}", folder.file_name().to_str().unwrap()));
                }
            }
        }
        assert_eq!(there, named);
        assert_eq!(intents, self.ids().len());
        let marks = fs::read_dir(self.folder().join("expiry"));
        assert_eq!(marks.map_or(0, Iterator::count), 0, "marks are left");
    }
}

async fn named_packs(repo: &Path) -> BTreeSet<String> {
    let store = walbrook::store::open(&repo.to_str().unwrap().parse().unwrap()).unwrap();
    let cluster = Repository::open(store).await.unwrap().cluster(Scene::CLUSTER).unwrap();
    let mut named = BTreeSet::new();
    for record in cluster.backups().await.unwrap() {
        let shards = record.manifest.len();
        let reader = BackupReader::new(&cluster, record);
        for shard in 0..shards {
            let packs = reader.shard(shard).await.unwrap().packs;
            named.extend(packs.iter().map(|p| format!("{}/pack-{:07}", p.backup, p.number)));
        }
    }
    named
}

fn id(backup: &Value) -> String {
    backup["id"].as_str().unwrap().to_owned()
}

#[test]
fn what_a_policy_keeps_is_restored_and_nothing_else_stays() {
    let mut story = Story::begin();
    let today = jiff::Timestamp::now().as_second();

    // The first one copies all, and goes with the second: that one is whole without it.
    let first = id(&story.back_up(&[]));
    let config = story.scene.path("walbrook.toml");
    fs::write(&config, "grace = 0\n[retention]\nkeep-last = 1\n").unwrap();
    let second = id(&story.back_up(&["--expire", "--config", config.to_str().unwrap()]));
    assert_eq!(story.ids(), std::slice::from_ref(&second));
    assert!(!story.folder().join("backups").join(&first).join("intent.json").exists());
    story.check_space();
    story.check_restored(&second, 2);
    let only = story.expire(&["--backup", &second]).expect(1);
    assert!(only.stderr.contains("can't be removed"), "{}", only.stderr);
    story.date(&second, today + DAY);

    // A backup a day, and after each the policy.
    let policy = ["--keep-last", "2", "--daily", "3", "--weekly", "2"];
    let mut taken = vec![(second, 2)];
    let mut pinned = None;
    for day in 2..=12 {
        let new = id(&story.back_up(&[]));
        let now = today + day * DAY;
        story.date(&new, now);
        taken.push((new.clone(), story.taken));
        if day == 3 {
            let until = jiff::Timestamp::from_second(today + 9 * DAY).unwrap().to_string();
            story.scene.ok("walbrook-list", &["--pin", &new, "--until", &until, "--note", "audit"]);
            let table = story.scene.ok("walbrook-list", &[]).stdout;
            assert!(table.contains("pinned until"), "{table}");
            let refused = story.expire(&["--backup", &new]).expect(1);
            assert!(refused.stderr.contains("pinned"), "{}", refused.stderr);
            pinned = Some(new);
        }
        let now = jiff::Timestamp::from_second(now + 3600).unwrap().to_string();
        let report = story.expired(&[&policy[..], &["--now", &now]].concat());
        let kept = story.ids();
        for gone in report["removed"].as_array().unwrap() {
            assert!(!kept.contains(&gone.as_str().unwrap().to_owned()), "{report}");
        }
        assert!((2..=6).contains(&kept.len()), "{kept:?}");
        let newest = taken.iter().rev().take(3).map(|(id, _)| id);
        assert!(newest.clone().all(|id| kept.contains(id)), "day {day}: {kept:?}");
        let pinned_now = pinned.as_ref().is_some_and(|id| kept.contains(id));
        assert_eq!(pinned_now, (3..9).contains(&day), "day {day}: {kept:?}");
        story.check_space();
    }
    let kept = story.ids();
    let numbers: Vec<_> = taken.iter().filter(|(id, _)| kept.contains(id)).collect();
    for (id, n) in [numbers[0], numbers[numbers.len() / 2]] {
        story.check_restored(id, *n);
    }

    let frees: Value = serde_json::from_str(
        &story.scene.ok("walbrook-list", &["--frees", "--output", "json"]).stdout,
    )
    .unwrap();
    let frees = frees[0]["systems"][0]["backups"][0]["frees"].as_u64().unwrap();
    let before = story.stored_bytes();
    story.expired(&["--backup", &kept[0]]);
    assert_eq!(before - story.stored_bytes(), frees, "what {} frees", kept[0]);
    let kept = story.ids();

    // By the real clock all of them are from the future: the backup is good, and nothing goes.
    let config = ["--config", config.to_str().unwrap()];
    let conninfo = story.cluster.conninfo();
    let args = [&["-d", &conninfo, "--expire"], &config[..]].concat();
    let held = story.scene.run("walbrook-backup", &args).expect(4);
    assert!(held.stderr.contains("from the future"), "{}", held.stderr);
    assert_eq!(story.ids().len(), kept.len() + 1);
}
