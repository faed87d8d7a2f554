//! I6: memory is bounded, whatever the number of files and of WAL names.
//!
//! What a process has used at most (`VmHWM` in `/proc/self/status`) is a matter of the whole
//! process, so each measurement runs in one of its own: this test binary, told by an environment
//! variable what to do.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use walbrook_repo::{
    BackupReader, BackupRecord, BackupWriter, BaseIndex, Cluster, Codec, Repository, WriterOptions,
};
use walbrook_store::{MemoryStore, Store, StoreUrl};
use walbrook_types::{SegmentNumber, TimelineId, WalFileName};

use crate::sample;

const TASK: &str = "WALBROOK_TEST_MEMORY";

/// The most memory that this process has used since [`forget_peak`], in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The peak is from now on measured anew.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Runs a measurement in a process of its own; it prints its result in KiB.
fn measured(task: &str) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::measurement", "--ignored", "--nocapture"])
        .env(TASK, task)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let result = text.lines().find_map(|line| line.strip_prefix("peak "));
    result.expect("the measurement printed its result").parse().unwrap()
}

#[test]
#[ignore = "a measurement that other tests run in a process of its own"]
fn measurement() {
    let Ok(task) = std::env::var(TASK) else { return };
    let (what, count) = task.split_once(' ').unwrap();
    let count: u64 = count.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let peak = runtime.block_on(async {
        match what {
            "backup" => back_up_and_read(count, false).await,
            "second" => back_up_and_read(count, true).await,
            "names" => list_names(count).await,
            _ => panic!("{what}"),
        }
    });
    println!("\npeak {peak}");
}

/// A backup of many files, most of them empty or tiny, written and read again; `twice`: and then
/// another one that shares what the first has stored.
async fn back_up_and_read(files: u64, twice: bool) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let url: StoreUrl = format!("file://{}", folder.path().display()).parse().unwrap();
    let cluster = sample::cluster(walbrook_store::open(&url).unwrap()).await.unwrap();
    forget_peak();
    let before = peak();
    let record = back_up(&cluster, "20261122T034512Z-1f3a9c04", files, None).await;
    assert_eq!(record.size.files, files);
    let reader = BackupReader::new(&cluster, record);
    let mut entries = 0;
    for index in 0..reader.record().manifest.len() {
        entries += reader.shard(index).await.unwrap().entries.len() as u64;
    }
    assert_eq!(entries, files);
    if twice {
        let record = back_up(&cluster, "20261122T034513Z-1f3a9c04", files, Some(reader)).await;
        assert_eq!((record.size.files, record.size.packs), (files, 0));
        assert_eq!(record.size.reused_bytes, record.size.database_bytes);
    }
    peak() - before
}

async fn back_up(
    cluster: &Cluster,
    id: &str,
    files: u64,
    base: Option<BackupReader>,
) -> BackupRecord {
    let mut intent = sample::intent(&id.parse().unwrap());
    intent.base = base.as_ref().map(|base| base.record().id.clone());
    let options = WriterOptions { codec: Codec::default(), workers: 2, check: None };
    let mut writer = BackupWriter::begin(cluster, intent, options).await.unwrap();
    if let Some(base) = base {
        writer.set_base(BaseIndex::open(&base).await.unwrap()).unwrap();
    }
    for number in 0..files {
        let path = format!("base/{number:0>60}");
        // A quarter of what the base has is said to be unchanged, the rest is found to be.
        let known = writer.base().filter(|_| number % 4 == 0).map(|base| base.lookup(&path));
        if let Some(known) = known {
            writer.reuse_file(&path, 0o600, 0, known.unwrap().unwrap()).unwrap();
            continue;
        }
        writer.begin_file(&path, 0o600, 0).unwrap();
        if number % 2 == 0 {
            writer.write(&Bytes::from(format!("{number}\n"))).await.unwrap();
        }
        writer.end_file().unwrap();
    }
    writer.finish(|_| Ok(())).await.unwrap().commit(sample::record).await.unwrap()
}

/// The ranges of a timeline of many segments.
async fn list_names(segments: u64) -> u64 {
    let store = Arc::new(MemoryStore::new());
    let cluster = sample::cluster(store.clone()).await.unwrap();
    let size = sample::system().wal_segment_size;
    for number in 1..=segments {
        let name = WalFileName::segment(TimelineId::FIRST, SegmentNumber(number), size);
        let text = name.to_string();
        let path = format!("main/wal/{}/{}/{}/{text}", sample::SYSTEM, &text[..8], &text[8..16]);
        store.create(&path, "".into()).await.unwrap();
    }
    let repository = Repository::open(store).await.unwrap();
    let cluster_again = repository.cluster(cluster.name()).unwrap();
    forget_peak();
    let before = peak();
    let ranges = cluster_again.wal(&sample::system()).ranges(TimelineId::FIRST).await.unwrap();
    assert_eq!(ranges.len(), 1);
    assert_eq!(ranges[0].segments(), segments);
    peak() - before
}

#[test]
fn i6_memory_does_not_grow_with_the_number_of_files() {
    let few = measured("backup 2000");
    // By the order in which threads come to run, it is a third more now and then.
    let least = |task| (0..3).map(|_| measured(task)).min().unwrap();
    let (some, many) = (least("backup 200000"), least("backup 500000"));
    println!("2,000 files: {few} KiB; 200,000: {some} KiB; 500,000: {many} KiB");
    // Buffers that fill up once: a run of the sorter, a shard and its tables, the frames under way.
    assert!(some < few + (96 << 10), "{some} KiB, {few} KiB for a hundredth of the files");
    // Past that nothing is kept for a file: 300,000 more are not 40 bytes each.
    assert!(many < some + (12 << 10), "{many} KiB, {some} KiB for two fifths of the files");
}

#[test]
fn i6_memory_does_not_grow_with_the_number_of_files_of_the_base() {
    let few = measured("second 2000");
    let many = measured("second 300000");
    println!("2,000 files, twice: {few} KiB; 300,000: {many} KiB");
    assert!(many < few + (128 << 10), "{many} KiB, {few} KiB for a hundredth of the files");
}

#[test]
fn i6_memory_does_not_grow_with_the_number_of_wal_names() {
    let many = measured("names 100000");
    println!("100,000 names: {many} KiB");
    // The names alone are 10 MiB.
    assert!(many < 3 << 10, "{many} KiB");
}
