//! What a repository has written down of its WAL is so, whoever dies at what.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use proptest::prelude::*;
use walbrook_repo::{Cluster, ExpiryRequest, SegmentSet, WalArchive, WalRange, WalSpan};
use walbrook_store::{ErrorKind as StoreErrorKind, MemoryStore, Store};
use walbrook_testkit::{Call, Fault, FaultStore, Rule};
use walbrook_types::{SegmentNumber, TimelineId, WalFileName};

use crate::sample::{self, SYSTEM};

const LINE: TimelineId = TimelineId::FIRST;

/// Objects with the names of segments, and nothing of what is in them.
async fn push(store: &MemoryStore, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let size = sample::system().wal_segment_size;
        let name = WalFileName::segment(LINE, SegmentNumber(number), size).to_string();
        let path = format!("main/wal/{SYSTEM}/00000001/{}/{name}", &name[8..16]);
        store.overwrite(&path, vec![0; 1 + (number % 7) as usize]).unwrap();
        store.overwrite(&format!("{path}.sum"), "s").unwrap();
    }
}

async fn open(store: Arc<dyn Store>) -> walbrook_repo::Result<(Cluster, WalArchive)> {
    let cluster = walbrook_repo::Repository::open(store).await?.cluster(sample::CLUSTER)?;
    let archive = cluster.wal(&sample::system());
    Ok((cluster, archive))
}

async fn expire(cluster: &Cluster, spans: &[(u64, u64)]) -> walbrook_repo::Result<u64> {
    let size = sample::system().wal_segment_size;
    let span = |(first, last): &(u64, u64)| {
        WalSpan::new(SYSTEM, LINE, (SegmentNumber(*first), SegmentNumber(*last)), size)
    };
    let request = ExpiryRequest {
        remove: Vec::new(),
        keep: Vec::new(),
        wal: spans.iter().map(span).collect(),
        grace: Duration::ZERO,
        now: Some(jiff::Timestamp::now()),
        decided_for: jiff::Timestamp::now(),
        host: "test".to_owned(),
    };
    Ok(cluster.expire(&request).await?.wal_segments)
}

/// By a listing, and by what was written down.
async fn both(archive: &WalArchive) -> (Vec<WalRange>, Vec<WalRange>) {
    let index = archive.index().await.unwrap();
    let known = archive.known_ranges(LINE, &index).await.unwrap();
    (archive.ranges(LINE).await.unwrap(), known)
}

async fn names(store: &MemoryStore, folder: &str) -> Vec<String> {
    let folder = format!("main/wal/{SYSTEM}/{folder}");
    store.list(&folder, None).map_ok(|object| object.path).try_collect().await.unwrap()
}

async fn empty() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    sample::cluster(store.clone()).await.unwrap();
    store
}

#[derive(Debug, Clone)]
enum Step {
    Push(u64, u64),
    Record(u64),
    Expire(Vec<(u64, u64)>),
}

/// What is done, and the call at which it dies, if it does.
fn steps() -> impl Strategy<Value = Vec<(Step, Option<u64>)>> {
    let span = || (0..60u64, 0..15u64).prop_map(|(first, len)| (first, first + len));
    let step = prop_oneof![
        3 => span().prop_map(|(first, last)| Step::Push(first, last)),
        3 => (1..5u64).prop_map(Step::Record),
        2 => proptest::collection::vec(span(), 1..3).prop_map(Step::Expire),
    ];
    let dies = prop_oneof![2 => Just(None), 1 => (1..25u64).prop_map(Some)];
    proptest::collection::vec((step, dies), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// After whatever was done, and wherever it died, what is known without a listing is what a listing
    /// finds.
    #[test]
    fn what_is_known_is_what_is_there(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = empty().await;
            let mut died = false;
            for (step, dies) in steps {
                let faulty = FaultStore::new(store.clone());
                if let Some(n) = dies {
                    died = true;
                    faulty.add(Rule::new(Fault::Crash).nth(n));
                }
                let outcome = match &step {
                    Step::Push(first, last) => {
                        push(&store, *first..=*last).await;
                        Ok(())
                    }
                    Step::Record(at_least) => match open(Arc::new(faulty)).await {
                        Ok((_, archive)) => archive.record_runs(*at_least).await,
                        Err(error) => Err(error),
                    },
                    Step::Expire(spans) => match open(Arc::new(faulty)).await {
                        Ok((cluster, _)) => expire(&cluster, spans).await.map(drop),
                        Err(error) => Err(error),
                    },
                };
                prop_assert!(dies.is_some() || outcome.is_ok(), "{:?}: {:?}", step, outcome);
                let (_, archive) = open(store.clone()).await.unwrap();
                let (listed, known) = both(&archive).await;
                let segments = |ranges: &[WalRange]| {
                    SegmentSet::new(ranges.iter().map(|range| (range.first, range.last)))
                };
                prop_assert_eq!(segments(&listed), segments(&known), "{:?}", step);
                prop_assert_eq!(listed.len(), known.len());
                let bytes = |ranges: &[WalRange]| -> u64 { ranges.iter().map(|r| r.stored_bytes).sum() };
                // Where nothing died each byte is counted; what is removed in the middle of a run
                // leaves its neighbours with a share.
                let off = bytes(&listed).abs_diff(bytes(&known));
                prop_assert!(died || off <= 16, "{:?} is {} off", step, off);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_crash_at_any_call_leaves_what_is_so() {
    // Two runs to be joined with what came since, and one of which a part was removed.
    let original = empty().await;
    let (cluster, archive) = open(original.clone()).await.unwrap();
    for range in [0..=9, 30..=34, 35..=39] {
        push(&original, range).await;
        archive.record_runs(5).await.unwrap();
    }
    push(&original, 40..=60).await;
    let step = async |cluster: &Cluster, archive: &WalArchive| {
        expire(cluster, &[(0, 3), (32, 33)]).await?;
        archive.record_runs(5).await
    };
    drop((cluster, archive));
    for fault in [Fault::Crash, Fault::CrashAfter, Fault::ErrorAfter(StoreErrorKind::Unavailable)] {
        for n in 1.. {
            let when = format!("{fault:?} at call {n}");
            let store = sample::store_of(&sample::objects(original.as_ref()).await);
            let faulty = FaultStore::new(store.clone());
            faulty.add(Rule::new(fault.clone()).nth(n));
            let outcome = match open(Arc::new(faulty.clone())).await {
                Ok((cluster, archive)) => step(&cluster, &archive).await,
                Err(error) => Err(error),
            };
            let (cluster, archive) = open(store.clone()).await.unwrap();
            let (listed, known) = both(&archive).await;
            let ends = |ranges: &[WalRange]| -> Vec<_> {
                ranges.iter().map(|range| (range.first.0, range.last.0)).collect()
            };
            assert_eq!(ends(&listed), ends(&known), "{when}");
            step(&cluster, &archive).await.unwrap_or_else(|e| panic!("{when}: {e}"));
            let (listed, known) = both(&archive).await;
            assert_eq!((ends(&listed), ends(&known)), (ends(&known), ends(&listed)), "{when}");
            assert_eq!(ends(&known), [(4, 9), (30, 31), (34, 60)], "{when}");
            assert!(names(&store, "runs").await.len() <= 3, "{when}");
            let index = archive.index().await.unwrap();
            assert_eq!(index.expired(LINE).segments(), 6, "{when}");
            if faulty.calls().total() < n {
                assert!(outcome.is_ok() && n > 30, "{n} calls");
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_was_taken_away_by_hand_is_found_by_a_listing() {
    let store = empty().await;
    let (_, archive) = open(store.clone()).await.unwrap();
    push(&store, 0..=99).await;
    archive.record_runs(WalArchive::RUN_AT_LEAST).await.unwrap();
    let lost = "00000001/00000000/000000010000000000000032";
    store.delete(&format!("main/wal/{SYSTEM}/{lost}")).await.unwrap();
    let (listed, known) = both(&archive).await;
    assert_eq!((listed.len(), known.len()), (2, 1));
    let missing = archive.missing(LINE, (SegmentNumber(40), SegmentNumber(60))).await.unwrap();
    assert_eq!(missing, SegmentSet::new([(SegmentNumber(50), SegmentNumber(50))]));
    assert!(archive.index().await.unwrap().expired(LINE).is_empty());
}

/// A store that deletes nothing: all that is said stays true, and little of it is said twice.
#[tokio::test]
async fn a_store_that_refuses_deletes() {
    let store = empty().await;
    let faulty = FaultStore::new(store.clone());
    let denied = Fault::Error(StoreErrorKind::PermissionDenied);
    faulty.add(Rule::new(denied).on(Call::Delete));
    let (cluster, archive) = open(Arc::new(faulty)).await.unwrap();
    for n in 0..20 {
        push(&store, n * 100..n * 100 + 100).await;
        archive.record_runs(64).await.unwrap();
    }
    let runs = names(&store, "runs").await;
    assert_eq!(runs.len(), 20, "one for each time");
    let (listed, known) = both(&archive).await;
    assert_eq!(listed, known);
    assert_eq!(expire(&cluster, &[(0, 99)]).await.unwrap(), 0);
    let (listed, known) = both(&archive).await;
    assert_eq!(listed[0].segments(), known[0].segments());

    // When it lets them go, what says nothing of its own goes.
    let (_, archive) = open(store.clone()).await.unwrap();
    archive.record_runs(64).await.unwrap();
    assert!(names(&store, "runs").await.len() <= 7, "{:?}", names(&store, "runs").await);
    let (listed, known) = both(&archive).await;
    assert_eq!(listed[0].segments(), known[0].segments());
}
