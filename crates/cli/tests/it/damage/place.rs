//! [`Place`]: a repository with two backups, whose objects are damaged one at a time.

use std::fs;
use std::path::{Path, PathBuf};

use walbrook::repo::{BackupReader, BackupRecord, Repository, Shard};
use walbrook_testkit::{Cluster, give_to_server, majors};

use crate::refused::{assert_nothing_in, refused};
use crate::support::Scene;

pub(super) struct Place {
    pub(super) scene: Scene,
    pub(super) cluster: Cluster,
    /// The older backup, and the newer one that restores begin with.
    pub(super) backups: [String; 2],
    pub(super) system: String,
    pub(super) tablespace: PathBuf,
}

impl Place {
    pub(super) fn new() -> Self {
        let scene = Scene::new();
        let newest = majors().pop().unwrap();
        let cluster = Cluster::builder(newest).start().unwrap();
        let tablespace = scene.subdir("space");
        let fill = format!(
            "CREATE TABLESPACE space LOCATION '{}';
             CREATE TABLE t AS SELECT n, md5(n::text) AS x FROM generate_series(1, 20000) n;
             CREATE TABLE s TABLESPACE space AS SELECT n FROM generate_series(1, 1000) n;",
            tablespace.display()
        );
        cluster.psql_ok("postgres", &fill).unwrap();
        let backup = || {
            // Each with its own packs: what is damaged is one backup's and no other's.
            let record = scene.backup(&cluster, &["--full"]);
            cluster.psql_ok("postgres", "UPDATE t SET x = md5(x)").unwrap();
            record["id"].as_str().unwrap().to_owned()
        };
        let backups = [backup(), backup()];
        let query = "SELECT system_identifier FROM pg_control_system()";
        let system = cluster.psql("postgres", query).unwrap();
        Self { scene, cluster, backups, system, tablespace }
    }

    /// An object of the newer backup.
    pub(super) fn of_newer(&self, name: &str) -> String {
        format!("prod/backups/{}/{name}", self.backups[1])
    }

    /// An object of the older backup.
    pub(super) fn of_older(&self, name: &str) -> String {
        format!("prod/backups/{}/{name}", self.backups[0])
    }

    pub(super) fn file(&self, object: &str) -> PathBuf {
        self.scene.repo().join(object)
    }

    /// Puts other bytes in the place of an object, as long as `body` runs; none to take it away.
    pub(super) fn with(&self, object: &str, bytes: Option<Vec<u8>>, body: impl FnOnce()) {
        let file = self.file(object);
        let original = fs::read(&file).unwrap();
        replace(&file, bytes.as_deref());
        body();
        replace(&file, Some(&original));
    }

    /// [`with`](Self::with) one bit of one byte changed.
    pub(super) fn with_flip(&self, object: &str, at: usize, body: impl FnOnce()) {
        let mut bytes = fs::read(self.file(object)).unwrap();
        bytes[at] ^= 0x04;
        self.with(object, Some(bytes), body);
    }

    /// Changes one bit of one byte for good.
    pub(super) fn flip(&self, object: &str, at: usize) {
        let file = self.file(object);
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 0x04;
        replace(&file, Some(&bytes));
    }

    /// Restores, which must be refused with a message that says all of `words`, and leave nothing.
    #[track_caller]
    pub(super) fn refuses(&self, args: &[&str], words: &[&str]) {
        let (directory, moved) = (self.scene.path("refused"), self.scene.path("refused-space"));
        let map = format!("{}={}", self.tablespace.display(), moved.display());
        let args = [&["--tablespace-map", &map], args].concat();
        let ran = self.scene.try_restore("refused", &args);
        refused(ran, 1, words);
        assert_nothing_in(&directory);
        assert_nothing_in(&moved);
    }

    /// Restores, which must succeed; returns the directory.
    #[track_caller]
    pub(super) fn restores(&self, args: &[&str]) -> PathBuf {
        let moved = self.scene.path("restored-space");
        let map = format!("{}={}", self.tablespace.display(), moved.display());
        let args = [&["--tablespace-map", &map], args].concat();
        self.scene.restore("restored", &args)
    }

    /// Removes what [`restores`](Self::restores) made.
    pub(super) fn clear(&self) {
        for name in ["restored", "restored-space"] {
            fs::remove_dir_all(self.scene.path(name)).unwrap();
        }
    }

    /// The record of the newer backup and its manifest's first shard, read with the library.
    pub(super) async fn read(&self) -> (Repository, BackupRecord, Shard) {
        let store = walbrook::store::open(&self.scene.repo().to_str().unwrap().parse().unwrap());
        let repository = Repository::open(store.unwrap()).await.unwrap();
        let cluster = repository.cluster(Scene::CLUSTER).unwrap();
        let record = cluster.backup(&self.backups[1].parse().unwrap()).await.unwrap();
        let shard = BackupReader::new(&cluster, record.clone()).shard(0).await.unwrap();
        (repository, record, shard)
    }
}

/// Objects are never written to; a new file takes the old one's place.
fn replace(file: &Path, bytes: Option<&[u8]>) {
    if file.exists() {
        fs::remove_file(file).unwrap();
    }
    if let Some(bytes) = bytes {
        fs::write(file, bytes).unwrap();
        give_to_server(file).unwrap();
    }
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
