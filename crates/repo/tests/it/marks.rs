//! What a backup makes of the marks of expiries: whatever they name it leaves alone, and says so.

use std::sync::Arc;

use serde_json::{Value, json};
use walbrook_repo::{
    BackupId, BackupReader, BackupWriter, BaseIndex, Codec, ErrorKind, ResumedBackups,
    WriterOptions, Written,
};
use walbrook_store::{MemoryStore, Store};

use crate::sample;

const BASE: &str = "20261122T034512Z-00000000";
const DEAD: &str = "20261122T034512Z-00000001";
const NEXT: &str = "20261122T034512Z-00000002";

fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

/// The bytes of a mark, as docs/format.md says that they are.
pub(crate) fn mark(name: &str, remove: &[&str], sweep: &[&str], wal: Value) -> Vec<u8> {
    let body = json!({
        "format": "walbrook-expiry", "version": 1, "id": name, "cluster": sample::CLUSTER,
        "state": "under-way", "remove": remove, "sweep": sweep, "wal": wal,
        "sweep_after": "2026-11-23T03:45:12Z", "host": "h", "pid": 1,
        "created_at": "2026-11-22T03:45:12Z", "walbrook_version": "0.1.0",
    });
    sealed(&body)
}

fn sealed(body: &Value) -> Vec<u8> {
    let text = serde_json::to_vec(body).unwrap();
    let digest = blake3::hash(&text).to_hex();
    [b"{\"body\":", &text[..], b",\"blake3\":\"", digest.as_bytes(), b"\"}\n"].concat()
}

async fn put(store: &MemoryStore, name: &str, bytes: impl Into<walbrook_store::Payload>) {
    let path = format!("{}/expiry/{name}.json", sample::CLUSTER);
    store.create(&path, bytes.into()).await.unwrap();
}

fn options() -> WriterOptions {
    WriterOptions { codec: Codec::None, workers: 1, check: None }
}

#[tokio::test]
async fn what_a_mark_names_is_not_used() {
    let store = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(store.clone()).await.unwrap();
    let record = sample::back_up(&cluster, BASE, Codec::None, false).await.unwrap();
    BackupWriter::begin(&cluster, sample::intent(&id(DEAD)), options()).await.unwrap();
    let base = BaseIndex::open(&BackupReader::new(&cluster, record)).await.unwrap();
    let resumed = ResumedBackups::open(&cluster, &[id(DEAD)]).await.unwrap();

    let expiry = "20261122T040000Z-00000000";
    let cases: [(Option<Vec<u8>>, bool, bool); 5] = [
        (None, true, true),
        (Some(mark(expiry, &[BASE], &[], json!([]))), false, true),
        (Some(mark(expiry, &[], &[DEAD], json!([]))), true, false),
        (Some(mark(expiry, &[NEXT], &[], json!([]))), true, true),
        // One that can't be read may name anything.
        (Some(b"{}".to_vec()), false, false),
    ];
    for (mark, base_usable, dead_usable) in cases {
        if let Some(bytes) = mark.clone() {
            put(&store, expiry, bytes).await;
        }
        let mut intent = sample::intent(&id(NEXT));
        intent.base = Some(id(BASE));
        intent.resumes = vec![id(DEAD)];
        let mut writer = BackupWriter::begin(&cluster, intent, options()).await.unwrap();
        let case = format!("{:?}", mark.map(String::from_utf8));
        assert_eq!(writer.forbids(&id(BASE)).is_none(), base_usable, "{case}");
        assert_eq!(writer.forbids(&id(DEAD)).is_none(), dead_usable, "{case}");
        let outcomes = [
            (base_usable, writer.set_base(base.clone())),
            (dead_usable, writer.set_resumed(resumed.clone())),
        ];
        for (usable, outcome) in outcomes {
            match outcome {
                Ok(()) => assert!(usable, "{case}"),
                Err(error) => {
                    assert!(!usable, "{case}: {error}");
                    assert_eq!(error.kind(), ErrorKind::Conflict);
                }
            }
        }
        let path = format!("{}/expiry/{expiry}.json", sample::CLUSTER);
        store.delete(&path).await.unwrap();
    }
}

/// After it saw no mark: an expiry that ended before it looked leaves none.
#[tokio::test]
async fn what_is_gone_is_not_used() {
    let store = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(store.clone()).await.unwrap();
    sample::back_up(&cluster, BASE, Codec::None, false).await.unwrap();
    store.delete(&format!("{}/backups/{BASE}/backup.json", sample::CLUSTER)).await.unwrap();
    let mut intent = sample::intent(&id(NEXT));
    intent.base = Some(id(BASE));
    intent.resumes = vec![id(DEAD)];
    let writer = BackupWriter::begin(&cluster, intent, options()).await.unwrap();
    assert_eq!(writer.forbids(&id(BASE)), Some("it was removed"));
    assert_eq!(writer.forbids(&id(DEAD)), Some("it was removed"));
    assert_eq!(writer.forbids(&id(NEXT)), None);
}

/// An expiry that began before the backup does not know of it, and removes WAL that the backup of a
/// standby, which starts long ago, needs.
#[tokio::test]
async fn a_backup_whose_wal_is_going_is_not_committed() {
    for (wal, good) in [((1, 1), true), ((1, 2), false), ((2, 9), false), ((3, 9), true)] {
        let store = Arc::new(MemoryStore::new());
        let cluster = sample::cluster(store.clone()).await.unwrap();
        let name = |n| sample::segment(n).0.to_string();
        let span = json!([{
            "system_identifier": sample::SYSTEM.to_string(),
            "first": name(wal.0), "last": name(wal.1),
        }]);
        let expiry = "20261122T040000Z-00000000";
        put(&store, expiry, mark(expiry, &[], &[], span)).await;
        let writer = BackupWriter::begin(&cluster, sample::intent(&id(NEXT)), options()).await;
        let stored = writer.unwrap().finish(|_| Ok(())).await.unwrap();
        // It needs segment 2.
        let outcome = stored.commit(|written: Written| sample::record(written)).await;
        assert_eq!(outcome.is_ok(), good, "{wal:?}: {outcome:?}");
        assert_eq!(cluster.backup_ids().await.unwrap().len(), usize::from(good));
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::Conflict);
        }
    }
}
