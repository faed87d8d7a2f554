//! How many requests a listing of backups takes, and a plan of what to remove.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use walbrook_repo::{
    BackupIntent, BackupSpan, BackupWriter, Codec, ExpiryRequest, ServerFacts, SourceFacts,
    WalArchive, WalSpan, WriterOptions,
};
use walbrook_store::{Children, MemoryStore, ObjectMeta, Payload, Store};
use walbrook_types::{Lsn, PgVersion, SystemId};

use super::*;

const SYSTEM: SystemId = SystemId(7_345_678_901_234_567_890);
const PAGE: u64 = 1000;

fn size() -> WalSegmentSize {
    WalSegmentSize::new(1 << 20).expect("a size")
}

/// Counts requests as a service does that lists 1000 names at a time.
#[derive(Debug, Default)]
struct Counting {
    store: MemoryStore,
    requests: Arc<AtomicU64>,
}

impl Counting {
    fn one(&self) -> &MemoryStore {
        self.requests.fetch_add(1, Ordering::Relaxed);
        &self.store
    }

    fn taken(&self) -> u64 {
        self.requests.swap(0, Ordering::Relaxed)
    }
}

type Outcome<T> = walbrook_store::Result<T>;

#[async_trait]
impl Store for Counting {
    async fn create(&self, path: &str, content: Payload) -> Outcome<()> {
        self.one().create(path, content).await
    }

    async fn get(&self, path: &str) -> Outcome<Bytes> {
        self.one().get(path).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Outcome<Bytes> {
        self.one().get_range(path, range).await
    }

    async fn get_tail(&self, path: &str, at_most: u64) -> Outcome<(Bytes, u64)> {
        self.one().get_tail(path, at_most).await
    }

    async fn head(&self, path: &str) -> Outcome<ObjectMeta> {
        self.one().head(path).await
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> BoxStream<'a, Outcome<ObjectMeta>> {
        let mut names = 0;
        let requests = self.requests.clone();
        requests.fetch_add(1, Ordering::Relaxed);
        let count = move |_: &_| {
            names += 1;
            if names > PAGE {
                names = 1;
                requests.fetch_add(1, Ordering::Relaxed);
            }
        };
        self.store.list(prefix, after).inspect(count).boxed()
    }

    /// By steps from folder to folder: one in memory looks at every object below.
    async fn list_children(&self, prefix: &str) -> Outcome<Children> {
        let mut children = Children::default();
        let mut after = None;
        loop {
            let next = self.store.list(prefix, after.as_deref()).take(1).try_collect::<Vec<_>>();
            let Some(object) = next.await?.pop() else { break };
            match object.path[prefix.len() + 1..].split_once('/') {
                None => {
                    after = Some(object.path.clone());
                    children.objects.push(object);
                }
                Some((name, _)) => {
                    let folder = format!("{prefix}/{name}");
                    after = Some(format!("{folder}/~"));
                    children.folders.push(folder);
                }
            }
        }
        let names = (children.folders.len() + children.objects.len()) as u64;
        self.requests.fetch_add(names.div_ceil(PAGE).max(1), Ordering::Relaxed);
        Ok(children)
    }

    async fn delete(&self, path: &str) -> Outcome<()> {
        self.one().delete(path).await
    }

    fn location(&self) -> String {
        "counting:".to_owned()
    }
}

fn segment_path(number: u64) -> String {
    let name = WalFileName::segment(TimelineId::FIRST, SegmentNumber(number), size()).to_string();
    format!("main/wal/{SYSTEM}/00000001/{}/{name}", &name[8..16])
}

/// A segment in which a transaction is committed.
fn segment(number: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(1 << 20);
    bytes.extend(0xD118_u16.to_le_bytes());
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend((number << 20).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(SYSTEM.0.to_le_bytes());
    bytes.extend((1_u32 << 20).to_le_bytes());
    bytes.extend(8192_u32.to_le_bytes());
    // XLogRecord and the short form of 8 bytes of data: xl_xact_commit.
    let mut header = Vec::new();
    header.extend(34_u32.to_le_bytes());
    header.extend(800_u32.to_le_bytes());
    header.extend(((number << 20) - 8).to_le_bytes());
    header.extend([0, 1, 0, 0]);
    let data = [&[255, 8][..], &800_000_000_000_000_i64.to_le_bytes()].concat();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&data), &header);
    bytes.extend(header);
    bytes.extend(crc.to_le_bytes());
    bytes.extend(data);
    bytes.resize(1 << 20, 0);
    bytes.into()
}

fn record(written: walbrook_repo::Written, first: u64) -> BackupRecord {
    let start_lsn = Lsn((first << 20) + 40);
    let stop_lsn = Lsn(((first + 1) << 20) + 400);
    let name = |lsn| WalFileName::containing(TimelineId::FIRST, lsn, size());
    let at = written.intent.started_at;
    BackupRecord {
        id: written.intent.id,
        cluster: written.intent.cluster,
        base: None,
        resumes: Vec::new(),
        server: ServerFacts {
            system_identifier: SYSTEM,
            pg_version: PgVersion::from_num(180_004).expect("a version"),
            wal_segment_size: size(),
            block_size: 8192,
            data_checksums: true,
        },
        span: BackupSpan {
            timeline: TimelineId::FIRST,
            start_lsn,
            stop_lsn,
            first_segment: name(start_lsn),
            last_segment: name(stop_lsn),
            started_at: at,
            stopped_at: at,
            checkpoint_time: at,
            last_transaction_time: None,
        },
        source: SourceFacts {
            kind: "replication".to_owned(),
            reason: None,
            from_standby: false,
            server: "/run/postgresql:5432".to_owned(),
            wal: "stream".to_owned(),
            changes: None,
        },
        tablespaces: Vec::new(),
        size: written.size,
        manifest: written.manifest,
        damage: written.damage,
        lock: written.lock,
        label: String::new(),
        annotations: BTreeMap::new(),
        walbrook_version: "0.1.0".to_owned(),
    }
}

/// A cluster with so many backups, each followed by `apart` segments; in the middle three segments were
/// lost, and, a quarter before, three removed by an expiry.
async fn build(store: Arc<Counting>, backups: u64, apart: u64) -> Cluster {
    let repository = Repository::open_or_create(store.clone()).await.expect("a repository");
    let cluster = repository.cluster("main").expect("a cluster");
    let system = SystemRecord {
        system_identifier: SYSTEM,
        pg_version: PgVersion::from_num(180_004).expect("a version"),
        wal_segment_size: size(),
        registered_at: Timestamp::now(),
    };
    cluster.register_system(&system, false).await.expect("registered");
    let archive = cluster.wal(&system);
    let begun = Timestamp::now() - SignedDuration::from_hours(backups as i64);
    let (lost, removed) = (backups / 2 * apart + 10, backups / 4 * apart + 10);
    let ends = [lost - 1, removed - 1, backups * apart];
    for backup in 0..backups {
        for number in backup * apart + 1..=(backup + 1) * apart {
            if (lost..lost + 3).contains(&number) {
                continue;
            }
            if ends.contains(&number) {
                let name = WalFileName::segment(TimelineId::FIRST, SegmentNumber(number), size());
                archive.put_bytes(name, segment(number)).await.expect("stored");
                continue;
            }
            let path = segment_path(number);
            store.store.create(&path, Payload::from("segment")).await.expect("new");
            store.store.create(&format!("{path}.sum"), Payload::default()).await.expect("new");
        }
        let started_at = begun + SignedDuration::from_hours(backup as i64);
        let intent = BackupIntent {
            id: BackupId::generate(started_at),
            cluster: "main".to_owned(),
            system_identifier: SYSTEM,
            base: None,
            resumes: Vec::new(),
            wal_from: None,
            host: "test".to_owned(),
            pid: 1,
            started_at,
            walbrook_version: "0.1.0".to_owned(),
        };
        let options = WriterOptions { codec: Codec::None, workers: 1, check: None };
        let writer = BackupWriter::begin(&cluster, intent, options).await.expect("begun");
        let stored = writer.finish(|_| Ok(())).await.expect("finished");
        let first = backup * apart + 2;
        stored.commit(|written| record(written, first)).await.expect("committed");
        if backup % 10 == 9 || backup + 1 == backups {
            archive.record_runs(WalArchive::RUN_AT_LEAST).await.expect("written down");
        }
    }
    let numbers = (SegmentNumber(removed), SegmentNumber(removed + 2));
    let request = ExpiryRequest {
        remove: Vec::new(),
        keep: cluster.backup_ids().await.expect("listed"),
        wal: vec![WalSpan::new(SYSTEM, TimelineId::FIRST, numbers, size())],
        grace: Duration::ZERO,
        now: Some(Timestamp::now()),
        decided_for: Timestamp::now(),
        host: "test".to_owned(),
    };
    let report = cluster.expire(&request).await.expect("expired");
    assert_eq!(report.wal_segments, 3, "{report:?}");
    cluster
}

/// Lists and plans; tells how many requests each took.
async fn count(backups: u64, apart: u64) -> (u64, u64) {
    let store = Arc::new(Counting::default());
    let cluster = build(store.clone(), backups, apart).await;
    store.taken();
    let begun = Instant::now();
    let listing = list_cluster(&cluster, true, WalCheck::Recorded).await.expect("listed");
    let (listed, in_time) = (store.taken(), begun.elapsed());
    let begun = Instant::now();
    let (inventory, _) = crate::expire::inventory::read(&cluster, Timestamp::now(), &[])
        .await
        .expect("an inventory");
    let planned = store.taken();
    println!(
        "{backups} backups, {} segments: listed with {listed} requests in {in_time:?}, inventory with \
         {planned} in {:?}",
        backups * apart,
        begun.elapsed()
    );
    let system = &listing.systems[0];
    assert_eq!(system.backups.len() as u64, backups);
    assert!(system.backups.iter().all(|backup| backup.restorable));
    assert_eq!((system.gaps.len(), system.gaps[0].segments), (1, 3));
    assert_eq!((system.expired.len(), system.expired[0].segments), (1, 3));
    assert_eq!(system.windows.len(), 3);
    assert_eq!(system.wal_segments, backups * apart - 6);
    assert_eq!(inventory.wal.len(), 3);
    assert_eq!(inventory.backups.len() as u64, backups);

    // The same as all requests find.
    let all = list_cluster(&cluster, true, WalCheck::Listed).await.expect("listed");
    println!("by listing all: {} requests", store.taken());
    let json = |listing: &ClusterListing| serde_json::to_value(listing).expect("JSON");
    assert!(json(&all) == json(&listing), "by listing all something else is found");
    (listed, planned)
}

#[tokio::test]
async fn requests_are_in_proportion_to_backups() {
    let (backups, constant) = (40, 60);
    // Twice as much WAL takes no more.
    for apart in [500, 1000] {
        let (listed, planned) = count(backups, apart).await;
        // A record each, and two segments that the backup needs.
        assert!(listed <= 3 * backups + constant, "{listed}");
        assert!(planned <= 3 * backups + constant, "{planned}");
    }
}

/// What issue 5 names: gigabytes of names in memory, and minutes.
#[tokio::test]
#[ignore = "ten million objects in memory"]
async fn ten_thousand_backups_and_five_million_segments() {
    let (listed, planned) = count(10_000, 500).await;
    assert!(listed <= 30_100 && planned <= 30_100, "{listed}, {planned}");
}
