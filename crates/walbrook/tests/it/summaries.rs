//! Each archived segment has its block summary beside it, and nothing depends on that being there.

use std::fs;

use walbrook::repo::{BackupRecord, Repository, SystemRecord, WalArchive};
use walbrook::types::{Lsn, SegmentNumber, WalFileName, WalSegmentSize};
use walbrook::wal::{WalSummary, summarize_segment};
use walbrook::{
    BackupOptions, ConnInfo, Environment, NoProgress, PushOptions, StoreUrl, backup, push, store,
};
use walbrook_testkit::{Cluster, majors};

async fn archive(repo: &StoreUrl, record: &BackupRecord) -> WalArchive {
    let repository = Repository::open(store::open(repo).unwrap()).await.unwrap();
    let cluster = repository.cluster("prod").unwrap();
    let system: SystemRecord = cluster.system(record.server.system_identifier).await.unwrap();
    cluster.wal(&system)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_segment_has_one_and_a_lost_one_is_made_again() {
    let installation = majors().pop().expect("a PostgreSQL: run `cargo xtask pg`");
    let cluster = Cluster::builder(installation)
        .wal_segsize_mb(1)
        .config("wal_keep_size", "512MB")
        .start()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let repo: StoreUrl = format!("file://{}", folder.path().display()).parse().unwrap();
    let info = ConnInfo::parse(&cluster.conninfo(), &Environment::from_process()).unwrap();
    let options = BackupOptions::new(repo.clone(), "prod", info);
    let record = backup(&options, &NoProgress).await.unwrap();
    let sql = |text: &str| cluster.psql("postgres", text).unwrap();
    sql("SELECT pg_switch_wal()");
    let from: Lsn = sql("SELECT pg_current_wal_lsn()").parse().unwrap();
    sql("CREATE TABLE t AS SELECT n, repeat('x', 500) AS x FROM generate_series(1, 8000) n");
    let file: u32 = sql("SELECT pg_relation_filenode('t')").parse().unwrap();
    let pages: u32 = sql("SELECT pg_relation_size('t') / 8192").parse().unwrap();
    let to: Lsn = sql("SELECT pg_switch_wal()").parse().unwrap();

    let archive = archive(&repo, &record).await;
    let size: WalSegmentSize = archive.segment_size();
    let segments: Vec<WalFileName> = (size.segment_of(from).0..=size.segment_of(to).0)
        .map(|n| WalFileName::segment(record.span.timeline, SegmentNumber(n), size))
        .collect();
    assert!(segments.len() >= 4, "records lie in two of them: {segments:?}");
    let mut merged: Option<WalSummary> = None;
    for name in &segments {
        let path = cluster.wal_dir().join(name.to_string());
        push(&PushOptions::new(repo.clone(), "prod", &path)).await.unwrap();
        let expected = summarize_segment(&fs::read(&path).unwrap(), true).unwrap();
        let object = find(folder.path(), &format!("{name}.sum"));
        let stored = fs::read(&object).unwrap();
        assert_eq!(archive.summary(*name, 1).await.unwrap().as_ref(), Some(&expected));

        // Damaged, it is passed over; lost, it is stored again.
        fs::write(&object, &stored[..stored.len() - 1]).unwrap();
        assert_eq!(archive.summary(*name, 1).await.unwrap().as_ref(), Some(&expected));
        fs::remove_file(&object).unwrap();
        assert_eq!(archive.summary(*name, 1).await.unwrap().as_ref(), Some(&expected));
        assert_eq!(fs::read(&object).unwrap(), stored);
        match &mut merged {
            Some(merged) => merged.merge(&expected).unwrap(),
            None => merged = Some(expected),
        }
    }
    let merged = merged.unwrap();
    let blocks = merged.proven(from, to).unwrap();
    let table = blocks.iter().find(|(relation, ..)| relation.number == file).unwrap();
    assert!((0..pages).all(|page| table.2.is_changed(page)));

    // Another segment's is not taken for it.
    let (first, second) = (segments[0], segments[1]);
    let object = |name: WalFileName| find(folder.path(), &format!("{name}.sum"));
    fs::copy(object(second), object(first)).unwrap();
    let again = archive.summary(first, 1).await.unwrap().unwrap();
    assert_eq!(again.start, size.segment_of(from).start(size));
    let absent = WalFileName::segment(record.span.timeline, SegmentNumber(9999), size);
    assert_eq!(archive.summary(absent, 1).await.unwrap(), None);
}

fn find(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.ends_with(name) => return path,
                false => {}
            }
        }
    }
    panic!("{name} is not in the repository");
}
