//! Restores under way: what they read stays until the grace is over.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use walbrook_repo::{BackupReader, Cluster, ErrorKind, ExpiryReport, ExpiryState};

use super::world::{self, BACKUPS, assert_clean, assert_whole, build, id};
use crate::sample;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn expire(cluster: &Cluster, remove: &[usize], hours: i64) -> ExpiryReport {
    let mut request = world::request(cluster, remove).await.unwrap();
    request.grace = DAY;
    request.now = Some(world::later() + SignedDuration::from_hours(hours));
    cluster.expire(&request).await.unwrap()
}

#[tokio::test]
async fn a_restore_under_way_reads_to_its_end() {
    let store = build().await;
    let cluster = world::open(store.clone()).await.unwrap();
    // It has read the record, and is going to read the rest.
    let restore = BackupReader::new(&cluster, cluster.backup(&id(BACKUPS[2])).await.unwrap());
    let first = expire(&cluster, &[1, 2], 0).await;
    assert_eq!(first.removed, [id(BACKUPS[1]), id(BACKUPS[2])]);
    assert!(first.waiting_until.is_some());
    assert_eq!(first.wal_segments, 0);
    assert_eq!(cluster.backups().await.unwrap().len(), 2);
    let gone = cluster.backup(&id(BACKUPS[2])).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    // It does not look like one that is being taken.
    assert!(
        cluster.unfinished_backups().await.unwrap().iter().all(|b| b.intent.id != id(BACKUPS[2]))
    );

    // Removing the one whose packs it shares, too, and another run before the time is over.
    let second = expire(&cluster, &[0], 2).await;
    assert_eq!(second.removed, [id(BACKUPS[0])]);
    assert_eq!((second.swept.len(), second.wal_segments), (0, 0), "{second:?}");
    let marks = cluster.expiry_marks().await.unwrap();
    assert!(marks.iter().all(|mark| mark.state == ExpiryState::Waiting) && marks.len() == 2);
    let wal: usize = marks.iter().map(|mark| mark.wal.len()).sum();
    assert_eq!(wal, 2, "what waits already does not wait anew: {marks:?}");
    let archive = cluster.wal(&sample::system());
    assert!(archive.get(&sample::segment(3).0).await.unwrap().is_some());
    read_all(&restore).await;

    // The grace of the first is over, that of the second is not.
    let third = expire(&cluster, &[], 25).await;
    assert_eq!(third.swept, [id(BACKUPS[1]), id(BACKUPS[2])]);
    assert_eq!(third.wal_segments, 4);
    assert_whole(&store, "after a day").await;
    let first = BackupReader::new(&cluster, restore.record().clone());
    assert!(first.shard(0).await.is_err(), "it is gone now");
    assert!(archive.get(&sample::segment(3).0).await.unwrap().is_none());

    let mut request = world::request(&cluster, &[]).await.unwrap();
    request.now = Some(world::later() + SignedDuration::from_hours(27));
    request.wal.clear();
    let last = cluster.expire(&request).await.unwrap();
    assert_eq!(last.swept, [id(BACKUPS[0])]);
    assert_whole(&store, "at last").await;
    assert_clean(&store, "at last").await;
}

async fn read_all(reader: &BackupReader) {
    for index in 0..reader.record().manifest.len() {
        let shard = reader.shard(index).await.unwrap();
        for frame in &shard.frames {
            let stored = reader.read_frames(&shard.packs[frame.pack as usize], &[*frame]).await;
            stored.unwrap().decode(frame).unwrap();
        }
    }
}

/// Killed before it could leave word that something waits.
#[tokio::test]
async fn an_expiry_that_dies_keeps_the_grace_that_it_promised() {
    use walbrook_testkit::{Call, Fault, FaultStore, Rule};
    let store = build().await;
    let faulty = FaultStore::new(store.clone());
    // The first that it creates is its mark, the second what waits.
    faulty.add(Rule::new(Fault::Crash).on(Call::Create).nth(2));
    let cluster = world::open(Arc::new(faulty)).await.unwrap();
    let mut request = world::request(&cluster, &[2]).await.unwrap();
    request.grace = DAY;
    cluster.expire(&request).await.unwrap_err();

    let cluster = world::open(store.clone()).await.unwrap();
    assert_eq!(cluster.backups().await.unwrap().len(), 3, "it was removed");
    let soon = expire(&cluster, &[], 20).await;
    assert!(!soon.swept.contains(&id(BACKUPS[2])), "{soon:?}");
    let then = expire(&cluster, &[], 25).await;
    assert_eq!(then.swept, [id(BACKUPS[2])]);
    // Then the WAL waits, for whose mark is dead nobody trusts.
    expire(&cluster, &[], 60).await;
    assert_whole(&store, "after it").await;
    assert_clean(&store, "after it").await;
}
