//! I7: repositories that version 1 of the format wrote, kept in `tests/golden/v1`, read the same
//! for ever; and what is written now is what was written then.
//!
//! `WALBROOK_BLESS=1 cargo test -p walbrook-repo --test it golden` writes them anew: only for
//! a format that nobody has used yet. The segment of a real server among them needs PostgreSQL.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use walbrook_repo::{BackupReader, Codec, Repository, SystemRecord};
use walbrook_store::{MemoryStore, Store};
use walbrook_testkit::{Cluster, majors};
use walbrook_types::{PgVersion, SystemId, WalFileName, WalSegmentSize};

use crate::{by_hand, sample};

/// A backup for each codec; the one without compression leaves out the large file.
const BACKUPS: [(&str, Codec, bool); 3] = [
    ("20261122T034512Z-00000000", Codec::None, false),
    ("20261122T034512Z-00000001", Codec::Zstd(1), true),
    ("20261122T034512Z-00000002", Codec::Lz4, true),
];

/// A backup, without compression, that shares what the first of these has stored.
const SHARED: &str = "20261122T034512Z-00000003";

/// The cluster whose WAL a real server wrote.
const REAL: &str = "real";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn stored() -> BTreeMap<String, Bytes> {
    fn walk(folder: &Path, below: &str, objects: &mut BTreeMap<String, Bytes>) {
        for entry in std::fs::read_dir(folder).expect("golden files are there") {
            let entry = entry.unwrap();
            let path = format!("{below}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{path}/"), objects);
            } else {
                objects.insert(path, std::fs::read(entry.path()).unwrap().into());
            }
        }
    }
    let mut objects = BTreeMap::new();
    if std::env::var_os("WALBROOK_BLESS").is_some_and(|bless| bless == "1") {
        static BLESSED: std::sync::Once = std::sync::Once::new();
        BLESSED.call_once(bless);
    }
    walk(&folder(), "", &mut objects);
    objects
}

/// What is in the golden repository, written by this version of the code.
async fn write() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(store.clone()).await.unwrap();
    for (id, codec, large) in BACKUPS {
        sample::back_up(&cluster, id, codec, large).await.unwrap();
    }
    sample::back_up_shared(&cluster, SHARED, BACKUPS[0].0).await.unwrap();
    let archive = cluster.wal(&sample::system());
    for (name, content) in [sample::segment(2), sample::history()] {
        archive.put_bytes(name, content).await.unwrap();
    }
    store
}

fn bless() {
    let write_all = async {
        let store = write().await;
        let (system, name, content) = tokio::task::spawn_blocking(real_segment).await.unwrap();
        let repository = Repository::open(store.clone()).await.unwrap();
        let cluster = repository.cluster(REAL).unwrap();
        cluster.register_system(&system, false).await.unwrap();
        cluster.wal(&system).put_bytes(name, content).await.unwrap();
        let _ = std::fs::remove_dir_all(folder());
        for (path, content) in sample::objects(&store).await {
            let path = folder().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    };
    std::thread::spawn(|| {
        tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(write_all);
    })
    .join()
    .unwrap();
}

/// A segment with a commit and a restore point in it, and little else.
fn real_segment() -> (SystemRecord, WalFileName, Bytes) {
    let installation = majors().pop().expect("a PostgreSQL");
    let cluster = Cluster::builder(installation).wal_segsize_mb(1).start().unwrap();
    let sql = |text| cluster.psql("postgres", text).unwrap();
    sql("CREATE TABLE t (n int)");
    sql("CHECKPOINT");
    sql("SELECT pg_switch_wal()");
    let name = sql("SELECT pg_walfile_name(pg_current_wal_lsn() + 1)");
    sql("INSERT INTO t VALUES (1)");
    sql("SELECT pg_create_restore_point('walbrook golden')");
    sql("SELECT pg_switch_wal()");
    let content = std::fs::read(cluster.wal_dir().join(&name)).unwrap();
    let identifier = sql("SELECT system_identifier FROM pg_control_system()");
    let version = sql("SHOW server_version_num");
    let system = SystemRecord {
        system_identifier: SystemId(identifier.parse().unwrap()),
        pg_version: PgVersion::from_num(version.parse().unwrap()).unwrap(),
        wal_segment_size: WalSegmentSize::new(1 << 20).unwrap(),
        registered_at: sample::system().registered_at,
    };
    (system, name.parse().unwrap(), content.into())
}

#[tokio::test]
async fn i7_what_version_1_wrote_is_read() {
    let objects = stored();
    assert!(objects.values().map(Bytes::len).sum::<usize>() < 200_000);
    let store = sample::store_of(&objects);
    let repository = Repository::open(store).await.unwrap();
    assert_eq!(repository.clusters().await.unwrap(), [sample::CLUSTER, REAL]);
    let cluster = repository.cluster(sample::CLUSTER).unwrap();
    assert_eq!(cluster.systems().await.unwrap(), [sample::system()]);
    let records = cluster.backups().await.unwrap();
    assert_eq!(records.len(), BACKUPS.len() + 1);
    let shared = records.last().unwrap();
    assert_eq!(shared.base.as_ref().unwrap().as_str(), BACKUPS[0].0);
    let content = sample::read_backup(&cluster, &SHARED.parse().unwrap()).await.unwrap();
    assert_eq!(content, sample::expected_shared());
    for ((id, _, large), record) in BACKUPS.into_iter().zip(records) {
        assert_eq!(record.id.as_str(), id);
        let content = sample::read_backup(&cluster, &record.id).await.unwrap();
        assert_eq!(content, sample::expected(large));
        let reader = BackupReader::new(&cluster, record);
        let index = reader.pack_index(0).await.unwrap();
        let indexed: u64 =
            index.frames.iter().flat_map(|f| &f.pieces).map(|piece| u64::from(piece.len)).sum();
        assert_eq!(indexed, reader.record().size.database_bytes);
    }
    let wal = sample::read_wal(&cluster, &sample::system()).await.unwrap();
    let expected = [sample::segment(2), sample::history()];
    assert_eq!(wal, expected.map(|(name, content)| (name.to_string(), content)).into());
}

#[tokio::test]
async fn i7_wal_of_a_real_server_is_described_the_same() {
    let store = sample::store_of(&stored());
    let cluster = Repository::open(store).await.unwrap().cluster(REAL).unwrap();
    let system = cluster.systems().await.unwrap().pop().unwrap();
    let wal = sample::read_wal(&cluster, &system).await.unwrap();
    let (name, content) = wal.first_key_value().unwrap();
    let name: WalFileName = name.parse().unwrap();
    let stored = cluster.wal(&system).info(&name).await.unwrap().unwrap();
    let found = stored.content.as_ref().unwrap();
    assert_eq!(found.restore_points[0].name, "walbrook golden");
    assert!(found.transactions.unwrap().count >= 1);

    let again = Repository::open_or_create(Arc::new(MemoryStore::new())).await.unwrap();
    let again = again.cluster(REAL).unwrap().wal(&system);
    let mut info = again.put_bytes(name, content.clone()).await.unwrap().info;
    info.archived_at = stored.archived_at;
    assert_eq!(info, stored);
}

/// What depends on the version of a compressor, made the same.
fn without_compression(mut record: Value) -> Value {
    record["size"]["stored_bytes"] = Value::Null;
    for shard in record["manifest"].as_array_mut().unwrap() {
        shard["size"] = Value::Null;
        shard["blake3"] = Value::Null;
    }
    record
}

#[tokio::test]
async fn i7_what_is_written_is_what_version_1_wrote() {
    let golden = stored();
    let written = sample::objects(write().await.as_ref() as &dyn Store).await;
    let golden_main = golden.keys().filter(|path| !path.starts_with("real/"));
    assert!(golden_main.eq(written.keys()), "{:?}", written.keys());
    for (path, written) in &written {
        let golden = &golden[path];
        let name = path.rsplit('/').next().unwrap();
        let uncompressed = path.contains(BACKUPS[0].0) || path.contains(SHARED);
        match name {
            "walbrook.json" => {
                let mut documents = [by_hand::document(golden), by_hand::document(written)];
                for document in &mut documents {
                    document["id"] = Value::Null;
                    document["created_at"] = Value::Null;
                }
                assert_eq!(documents[0], documents[1]);
            }
            "backup.json" => {
                let documents = [golden, written].map(|bytes| by_hand::document(bytes));
                let [golden, written] = documents.map(without_compression);
                assert_eq!(golden, written);
            }
            _ if name.ends_with(".json") => assert_eq!(golden, written, "{path}"),
            _ if name.starts_with("pack-") && uncompressed => {
                let [golden, written] = [golden, written]
                    .map(|pack| (pack, by_hand::last_frame(pack, b"WBPACK\x01\n")));
                assert_eq!(golden.1.1.content, written.1.1.content, "the index of {path}");
                assert_eq!(golden.0[..golden.1.0], written.0[..written.1.0], "{path}");
            }
            _ if name.starts_with("manifest-") && uncompressed => {
                let [golden, written] = [golden, written].map(|shard| {
                    let tables = by_hand::frame(shard);
                    (tables.content, by_hand::frame(tables.rest).content)
                });
                assert_eq!(golden, written, "{path}");
            }
            // Compressed: that both read the same is another test's.
            _ => {}
        }
    }
}

#[test]
fn i7_the_document_suffices_to_read_it() {
    let objects = stored();
    let get = |path: &str| &objects[&format!("{}/{path}", sample::CLUSTER)][..];
    for ((id, _, large), codec) in BACKUPS.into_iter().zip([0, 1, 2]) {
        let expected = sample::expected(large);
        let found = by_hand::backup(id, get);
        let found: BTreeMap<_, Bytes> = found.into_iter().map(|(p, c)| (p, c.into())).collect();
        assert_eq!(found, expected);

        // Each pack by itself, from its end.
        let pack = get(&format!("backups/{id}/pack-0000000"));
        let (end, index) = by_hand::last_frame(pack, b"WBPACK\x01\n");
        assert_eq!(index.kind, 2);
        let mut cursor = by_hand::Cursor(&index.content);
        assert_eq!(cursor.take(1), [1]);
        assert_eq!((cursor.text().as_str(), cursor.number()), (id, 0));
        let mut rest = &pack[..end];
        for _ in 0..cursor.number() {
            assert_eq!(cursor.signed(), 0, "frames follow each other without a gap");
            let frame = by_hand::frame(rest);
            assert_eq!((frame.codec, frame.kind), (codec, 1));
            assert_eq!(cursor.number() as usize, rest.len() - frame.rest.len());
            assert_eq!(cursor.number() as usize, frame.content.len());
            assert_eq!(cursor.take(32), frame.digest);
            let mut content = &frame.content[..];
            for _ in 0..cursor.number() {
                let (path, offset) = (cursor.text(), cursor.number() as usize);
                let (piece, more) = content.split_at(cursor.number() as usize);
                assert_eq!(piece, &expected[&path][offset..offset + piece.len()]);
                for page in piece.chunks(8192) {
                    assert_eq!(cursor.take(16), &blake3::hash(page).as_bytes()[..16]);
                }
                content = more;
            }
            assert!(content.is_empty());
            rest = frame.rest;
        }
        assert!(rest.is_empty() && cursor.0.is_empty());
    }

    let shared = by_hand::backup(SHARED, get).into_iter();
    let shared: BTreeMap<_, Bytes> = shared.map(|(path, c)| (path, c.into())).collect();
    assert_eq!(shared, sample::expected_shared());

    let (name, content) = sample::segment(2);
    let folder = format!("wal/{}/00000001/00000000", sample::SYSTEM);
    let object = get(&format!("{folder}/{name}"));
    let (end, description) = by_hand::last_frame(object, b"WBWAL\x01\r\n");
    assert_eq!(description.kind, 6);
    let description: Value = serde_json::from_slice(&description.content).unwrap();
    assert_eq!(description["format"], "walbrook-wal");
    assert_eq!(description["version"], 1);
    assert_eq!(description["name"], name.to_string());
    assert_eq!(description["blake3"], blake3::hash(&content).to_hex().as_str());
    let frame = by_hand::frame(&object[..end]);
    assert_eq!(frame.kind, 5);
    assert!(frame.rest.is_empty());
    assert_eq!(frame.content, content);
}
