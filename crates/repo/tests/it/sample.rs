//! A small repository of fixed content, and reading all of one.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use walbrook_repo::{
    BackupId, BackupIntent, BackupReader, BackupRecord, BackupSpan, BackupWriter, BaseIndex,
    Cluster, Codec, Entry, EntryKind, Place, Repository, Result, ServerFacts, SourceFacts,
    SystemRecord, TablespaceRecord, UncommittedBackup, WriterOptions, Written,
};
use walbrook_store::{MemoryStore, Store};
use walbrook_types::{Lsn, PgVersion, SystemId, TimelineId, WalFileName, WalSegmentSize};

pub(crate) const CLUSTER: &str = "main";
pub(crate) const SYSTEM: SystemId = SystemId(7_345_678_901_234_567_890);

/// One file of the sample, or a directory or link.
pub(crate) enum Sample {
    Directory(&'static str),
    Symlink(&'static str, &'static str),
    File(&'static str, Vec<u8>),
}

fn page(n: u8) -> Vec<u8> {
    [vec![n; 24], vec![0; 8100], vec![n; 68]].concat()
}

/// In the order in which a server might send them, which is not that of their paths. `large`
/// has a file of more than one frame.
pub(crate) fn files(large: bool) -> Vec<Sample> {
    let mut files = vec![
        Sample::File("PG_VERSION", b"18\n".to_vec()),
        Sample::Directory("base"),
        Sample::Directory("base/5"),
        Sample::File("base/5/2619_vm", Vec::new()),
        Sample::File("base/5/2619", [page(1), page(2)].concat()),
        Sample::Directory("pg_tblspc"),
        Sample::Symlink("pg_tblspc/16385", "/srv/tables \u{e9}"),
        Sample::File("pg_tblspc/16385/PG_18_202506291/5/16390", page(3)),
        Sample::File("base/5/\u{e9}t\u{e9}", b"not in ASCII".to_vec()),
        Sample::Directory("global"),
        Sample::File("global/pg_control", (0..=255).cycle().take(512).collect()),
    ];
    if large {
        let text = "more than one frame holds\n".repeat(50_000);
        files.push(Sample::File("base/5/1259", text.into_bytes()));
    }
    files
}

/// What [`read_backup`] reads of a backup of [`files`].
pub(crate) fn expected(large: bool) -> BTreeMap<String, Bytes> {
    let pair = |sample| match sample {
        Sample::Directory(path) => (path.to_owned(), Bytes::from("directory")),
        Sample::Symlink(path, target) => (path.to_owned(), Bytes::from(format!("-> {target}"))),
        Sample::File(path, content) => (path.to_owned(), Bytes::from(content)),
    };
    files(large).into_iter().map(pair).collect()
}

pub(crate) fn system() -> SystemRecord {
    SystemRecord {
        system_identifier: SYSTEM,
        pg_version: PgVersion::from_num(180_004).unwrap(),
        wal_segment_size: WalSegmentSize::new(1 << 20).unwrap(),
        registered_at: "2026-11-22T03:45:00Z".parse().unwrap(),
    }
}

pub(crate) fn intent(id: &BackupId) -> BackupIntent {
    BackupIntent {
        id: id.clone(),
        cluster: CLUSTER.to_owned(),
        system_identifier: SYSTEM,
        base: None,
        resumes: Vec::new(),
        wal_from: None,
        host: "golden.example".to_owned(),
        pid: 4711,
        started_at: time(),
        walbrook_version: "0.1.0".to_owned(),
    }
}

fn time() -> Timestamp {
    "2026-11-22T03:45:12.345678Z".parse().unwrap()
}

pub(crate) fn record(written: Written) -> BackupRecord {
    let system = system();
    let (start_lsn, stop_lsn) = (Lsn(0x20_0028), Lsn(0x20_0158));
    let timeline = TimelineId::FIRST;
    let segment = WalFileName::containing(timeline, start_lsn, system.wal_segment_size);
    BackupRecord {
        id: written.intent.id,
        cluster: written.intent.cluster,
        base: None,
        resumes: written.intent.resumes,
        server: ServerFacts {
            system_identifier: system.system_identifier,
            pg_version: system.pg_version,
            wal_segment_size: system.wal_segment_size,
            block_size: 8192,
            data_checksums: true,
        },
        span: BackupSpan {
            timeline,
            start_lsn,
            stop_lsn,
            first_segment: segment,
            last_segment: segment,
            started_at: time(),
            stopped_at: time(),
            checkpoint_time: time(),
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
        tablespaces: vec![TablespaceRecord { oid: 16385, location: "/srv/tables \u{e9}".into() }],
        size: written.size,
        manifest: written.manifest,
        damage: written.damage,
        label: "golden".to_owned(),
        annotations: BTreeMap::from([("ticket".to_owned(), "4711".to_owned())]),
        lock: written.lock,
        walbrook_version: "0.1.0".to_owned(),
    }
}

pub(crate) async fn cluster(store: Arc<dyn Store>) -> Result<Cluster> {
    let cluster = Repository::open_or_create(store).await?.cluster(CLUSTER)?;
    cluster.register_system(&system(), false).await?;
    Ok(cluster)
}

pub(crate) async fn back_up(
    cluster: &Cluster,
    id: &str,
    codec: Codec,
    large: bool,
) -> Result<BackupRecord> {
    let options = WriterOptions { codec, workers: 1, check: None };
    let mut writer = BackupWriter::begin(cluster, intent(&id.parse()?), options).await?;
    for sample in files(large) {
        let (path, kind) = match sample {
            Sample::Directory(path) => (path, EntryKind::Directory),
            Sample::Symlink(path, target) => (path, EntryKind::Symlink { target: target.into() }),
            Sample::File(path, content) => {
                writer.begin_file(path, 0o600, 1_795_000_000)?;
                writer.write(&content.into()).await?;
                writer.end_file()?;
                continue;
            }
        };
        writer.add(Entry { path: path.to_owned(), mode: 0o700, mtime: -1, kind })?;
    }
    writer.finish(|_| Ok(())).await?.commit(record).await
}

/// What [`read_backup`] reads of a backup of [`back_up_shared`].
pub(crate) fn expected_shared() -> BTreeMap<String, Bytes> {
    let mut files = expected(false);
    let path = "pg_tblspc/16385/PG_18_202506291/5/16390";
    files.insert(path.to_owned(), [&page(3)[..], &page(4), &[0; 8192]].concat().into());
    files.insert("base/5/2619".to_owned(), [page(1), page(9)].concat().into());
    files
}

/// A backup that shares what the one of [`files`] without the large one has stored, by all the
/// ways that there are.
pub(crate) async fn back_up_shared(
    cluster: &Cluster,
    id: &str,
    base: &str,
) -> Result<BackupRecord> {
    write_shared(cluster, id, base).await?.commit(record_shared).await
}

pub(crate) fn record_shared(written: Written) -> BackupRecord {
    let base = written.intent.base.clone();
    BackupRecord { base, ..record(written) }
}

/// The same up to the commit.
pub(crate) async fn write_shared(
    cluster: &Cluster,
    id: &str,
    base: &str,
) -> Result<UncommittedBackup> {
    let mut intent = intent(&id.parse()?);
    intent.base = Some(base.parse()?);
    let options = WriterOptions { codec: Codec::None, workers: 1, check: None };
    let mut writer = BackupWriter::begin(cluster, intent, options).await?;
    let base = BackupReader::new(cluster, cluster.backup(&base.parse()?).await?);
    let base = BaseIndex::open(&base).await?;
    writer.set_base(base.clone())?;
    for sample in files(false) {
        let (path, kind) = match sample {
            Sample::Directory(path) => (path, EntryKind::Directory),
            Sample::Symlink(path, target) => (path, EntryKind::Symlink { target: target.into() }),
            Sample::File(path, content) => {
                let known = base.lookup(path)?;
                match (path.rsplit('/').next(), known) {
                    (Some("16390"), known) => {
                        let file = writer.open_file(path, 0o600, 1_795_000_001, known)?;
                        writer.write_at(file, 8192, &page(4)).await?;
                        writer.reuse(file, 0..8192)?;
                        writer.zeros(file, 16384..24576)?;
                        writer.close_file(file, 24576)?;
                    }
                    (Some("2619"), known) => {
                        let file = writer.open_file(path, 0o600, 1_795_000_001, known)?;
                        writer.write_at(file, 0, &[page(1), page(9)].concat()).await?;
                        writer.close_file(file, 16384)?;
                    }
                    (Some("PG_VERSION"), Some(known)) => {
                        writer.reuse_file(path, known.mode(), known.mtime(), known)?;
                    }
                    _ => {
                        writer.begin_file(path, 0o600, 1_795_000_000)?;
                        writer.write(&content.into()).await?;
                        writer.end_file()?;
                    }
                }
                continue;
            }
        };
        writer.add(Entry { path: path.to_owned(), mode: 0o700, mtime: -1, kind })?;
    }
    writer.finish(|_| Ok(())).await
}

/// A segment of the sample's system with nothing in it but its header
/// (`XLogLongPageHeaderData` in PostgreSQL's `access/xlog_internal.h`; 0xD118 is PostgreSQL 18).
pub(crate) fn segment(number: u64) -> (WalFileName, Bytes) {
    let size = system().wal_segment_size;
    let mut bytes = Vec::with_capacity(1 << 20);
    bytes.extend(0xD118_u16.to_le_bytes());
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend((number << 20).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(SYSTEM.0.to_le_bytes());
    bytes.extend((1_u32 << 20).to_le_bytes());
    bytes.extend(8192_u32.to_le_bytes());
    bytes.resize(1 << 20, 0);
    let name = WalFileName::segment(TimelineId::FIRST, walbrook_types::SegmentNumber(number), size);
    (name, bytes.into())
}

pub(crate) fn history() -> (WalFileName, Bytes) {
    let text = "1\t0/300000\tno recovery target specified\n";
    ("00000002.history".parse().unwrap(), Bytes::from(text))
}

/// All that a backup holds, by path, through the public interface; and everything else of it is
/// read as well.
pub(crate) async fn read_backup(
    cluster: &Cluster,
    id: &BackupId,
) -> Result<BTreeMap<String, Bytes>> {
    let reader = BackupReader::new(cluster, cluster.backup(id).await?);
    let mut found = BTreeMap::new();
    for index in 0..reader.record().manifest.len() {
        let shard = reader.shard(index).await?;
        let mut frames = BTreeMap::new();
        for entry in &shard.entries {
            let content = match &entry.kind {
                EntryKind::Directory => Bytes::from("directory"),
                EntryKind::Symlink { target } => Bytes::from(format!("-> {target}")),
                EntryKind::File(content) => {
                    let mut bytes = Vec::new();
                    for extent in &content.extents {
                        let Place::Frame { frame, offset } = extent.place else {
                            bytes.resize(bytes.len() + extent.len as usize, 0);
                            continue;
                        };
                        let raw = match frames.entry(frame) {
                            btree_map::Entry::Occupied(there) => there.into_mut(),
                            btree_map::Entry::Vacant(room) => {
                                let found = shard.frames[frame as usize];
                                let pack = &shard.packs[found.pack as usize];
                                let stored = reader.read_frames(pack, &[found]).await?;
                                room.insert(stored.decode(&found)?)
                            }
                        };
                        bytes.extend(&raw[offset as usize..][..extent.len as usize]);
                    }
                    bytes.into()
                }
                other => panic!("{other:?}"),
            };
            found.insert(entry.path.clone(), content);
        }
    }
    Ok(found)
}

/// All WAL files of a system, by name.
pub(crate) async fn read_wal(
    cluster: &Cluster,
    system: &SystemRecord,
) -> Result<BTreeMap<String, Bytes>> {
    let archive = cluster.wal(system);
    let mut found = BTreeMap::new();
    for timeline in archive.timelines().await? {
        let mut names: Vec<_> =
            archive.names(timeline, None).map_ok(|(name, _)| name).try_collect().await?;
        names.push(WalFileName::TimelineHistory { timeline });
        for name in names {
            if let Some(info) = archive.info(&name).await? {
                let stored = archive.get(&name).await?.expect("its description was there");
                assert_eq!(*stored.info(), info);
                found.insert(name.to_string(), stored.decode(1)?.concat().into());
            }
        }
    }
    Ok(found)
}

/// The objects of a store, by path.
pub(crate) async fn objects(store: &dyn Store) -> BTreeMap<String, Bytes> {
    let listed: Vec<_> = store.list("", None).try_collect().await.unwrap();
    let mut objects = BTreeMap::new();
    for object in listed {
        let content = store.get(&object.path).await.unwrap();
        objects.insert(object.path, content);
    }
    objects
}

/// A store of these objects.
pub(crate) fn store_of(objects: &BTreeMap<String, Bytes>) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    for (path, content) in objects {
        store.overwrite(path, content.clone()).unwrap();
    }
    Arc::new(store)
}
