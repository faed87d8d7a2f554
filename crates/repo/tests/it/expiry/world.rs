//! A small repository to expire, and what must hold of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use walbrook_repo::{
    BackupId, BackupReader, BackupWriter, Cluster, Codec, ExpiryReport, ExpiryRequest, Repository,
    Result, WalRange, WalSpan, WriterOptions,
};
use walbrook_store::{MemoryStore, Store};
use walbrook_types::{SegmentNumber, TimelineId};

use crate::sample;

/// Each but the first shares what the one before has.
pub(crate) const BACKUPS: [&str; 4] = [
    "20261120T034512Z-00000000",
    "20261121T034512Z-00000001",
    "20261122T034512Z-00000002",
    "20261123T034512Z-00000003",
];

/// One that died, with packs and no commit.
pub(crate) const DEAD: &str = "20261119T034512Z-0000dead";

/// One that is taken while the expiry runs.
pub(crate) const NEW: &str = "20261124T034512Z-00000009";

pub(crate) fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

/// What the sample's backups need of the WAL, and what else there is: 1 to 6.
const NEEDED_WAL: u64 = 2;

/// A repository with [`BACKUPS`], [`DEAD`] and WAL.
pub(crate) async fn build() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(store.clone()).await.unwrap();
    sample::back_up(&cluster, BACKUPS[0], Codec::None, false).await.unwrap();
    for pair in BACKUPS.windows(2) {
        sample::back_up_shared(&cluster, pair[1], pair[0]).await.unwrap();
    }
    leave_dead(&cluster, DEAD).await;
    let archive = cluster.wal(&sample::system());
    for number in 1..=6 {
        let (name, content) = sample::segment(number);
        archive.put_bytes(name, content).await.unwrap();
    }
    archive.record_runs(2).await.unwrap();
    store
}

/// A backup that has stored a pack and a manifest, and no commit.
pub(crate) async fn leave_dead(cluster: &Cluster, name: &str) {
    let options = WriterOptions { codec: Codec::None, workers: 1, check: None };
    let mut writer =
        BackupWriter::begin(cluster, sample::intent(&id(name)), options).await.unwrap();
    writer.begin_file("base/5/7", 0o600, 0).unwrap();
    writer.write(&Bytes::from(vec![7; 20_000])).await.unwrap();
    writer.end_file().unwrap();
    writer.finish(|_| Ok(())).await.unwrap();
}

/// Takes away what [`DEAD`] has left.
pub(crate) async fn leave_nothing_dead(store: &MemoryStore) {
    let dead = sample::objects(store).await.into_keys().filter(|path| path.contains(DEAD));
    for path in dead {
        store.delete(&path).await.unwrap();
    }
}

/// A copy of a store.
pub(crate) async fn copy(store: &MemoryStore) -> Arc<MemoryStore> {
    sample::store_of(&sample::objects(store).await)
}

pub(crate) async fn open(store: Arc<dyn Store>) -> Result<Cluster> {
    Repository::open(store).await?.cluster(sample::CLUSTER)
}

/// The moment at which everything that is unfinished is dead.
pub(crate) fn later() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24 * 8)
}

pub(crate) fn wal(first: u64, last: u64) -> WalSpan {
    let size = sample::system().wal_segment_size;
    let numbers = (SegmentNumber(first), SegmentNumber(last));
    WalSpan::new(sample::SYSTEM, TimelineId::FIRST, numbers, size)
}

/// To remove these of [`BACKUPS`], with the WAL that nothing needs, at once.
pub(crate) async fn request(cluster: &Cluster, remove: &[usize]) -> Result<ExpiryRequest> {
    let there: Vec<BackupId> = cluster.backup_ids().await?;
    let remove: BTreeSet<BackupId> = remove.iter().map(|n| id(BACKUPS[*n])).collect();
    let (remove, keep) = there.into_iter().partition(|id| remove.contains(id));
    Ok(ExpiryRequest {
        remove,
        keep,
        wal: vec![wal(1, NEEDED_WAL - 1), wal(NEEDED_WAL + 1, 5)],
        grace: Duration::ZERO,
        now: Some(later()),
        decided_for: later(),
        host: "test".to_owned(),
    })
}

pub(crate) async fn expire(store: Arc<dyn Store>, remove: &[usize]) -> Result<ExpiryReport> {
    let cluster = open(store).await?;
    let request = request(&cluster, remove).await?;
    cluster.expire(&request).await
}

/// All backups that exist are whole, and have their WAL; tells which there are.
pub(crate) async fn assert_whole(store: &Arc<MemoryStore>, when: &str) -> Vec<BackupId> {
    let cluster = open(store.clone()).await.unwrap();
    let ids = cluster.backup_ids().await.unwrap();
    for id in &ids {
        let found = sample::read_backup(&cluster, id).await;
        let found = found.unwrap_or_else(|e| panic!("{when}: {id}: {e}"));
        let expected = match id.as_str() == BACKUPS[0] {
            true => sample::expected(false),
            false => sample::expected_shared(),
        };
        assert_eq!(found, expected, "{when}: {id}");
        let archive = cluster.wal(&sample::system());
        let segment = archive.get(&sample::segment(NEEDED_WAL).0).await.unwrap();
        assert!(segment.is_some(), "{when}: the WAL of {id}");
    }
    assert_recorded(&cluster, when).await;
    ids
}

/// The WAL that is written down to be there is.
async fn assert_recorded(cluster: &Cluster, when: &str) {
    let archive = cluster.wal(&sample::system());
    let index = archive.index().await.unwrap();
    for (first, last) in index.recorded(TimelineId::FIRST).ranges() {
        let missing = archive.missing(TimelineId::FIRST, (first, last)).await.unwrap();
        assert!(missing.is_empty(), "{when}: {missing:?} are not there");
    }
    let known = archive.known_ranges(TimelineId::FIRST, &index).await.unwrap();
    let listed = archive.ranges(TimelineId::FIRST).await.unwrap();
    let ends = |ranges: &[WalRange]| ranges.iter().map(|r| (r.first, r.last)).collect::<Vec<_>>();
    assert_eq!(ends(&known), ends(&listed), "{when}");
}

/// Nothing is there that no backup uses, but for words about WAL.
pub(crate) async fn assert_clean(store: &Arc<MemoryStore>, when: &str) {
    let cluster = open(store.clone()).await.unwrap();
    let mut expected = BTreeSet::from([
        "walbrook.json".to_owned(),
        format!("main/systems/{}.json", sample::SYSTEM),
    ]);
    for record in cluster.backups().await.unwrap() {
        let folder = format!("main/backups/{}", record.id);
        expected.extend(["intent", "backup"].map(|name| format!("{folder}/{name}.json")));
        let reader = BackupReader::new(&cluster, record.clone());
        for (index, shard) in record.manifest.iter().enumerate() {
            expected.insert(format!("{folder}/manifest-{:05}", shard.number));
            for pack in reader.shard(index).await.unwrap().packs {
                expected.insert(format!("main/backups/{}/pack-{:07}", pack.backup, pack.number));
            }
        }
    }
    for number in [NEEDED_WAL, 6] {
        let name = sample::segment(number).0.to_string();
        expected.insert(format!("main/wal/{}/00000001/00000000/{name}", sample::SYSTEM));
    }
    let found = sample::objects(store.as_ref() as &dyn Store).await;
    let mut found = found.into_keys().collect::<BTreeSet<_>>();
    found.retain(|path| {
        !path.ends_with(".sum") && !path.contains("/runs/") && !path.contains("/expired/")
    });
    let more: Vec<_> = found.difference(&expected).collect();
    assert!(more.is_empty(), "{when}: nobody uses {more:?}");
    let fewer: Vec<_> = expected.difference(&found).collect();
    assert!(fewer.is_empty(), "{when}: missing are {fewer:?}");
}
