use std::time::SystemTime;

use walbrook_store::{LockUntil, Store};
use walbrook_types::{SegmentNumber, WalFileName, WalSegmentSize};

use crate::backup::UncommittedBackup;
use crate::backup::record::LockFacts;
use crate::{WalArchive, layout};

/// Objects whose locks are looked at together.
const BATCH: usize = 1000;

/// Objects that were to be locked.
#[derive(Debug, Default)]
struct Locked {
    failed: u64,
    first: Option<String>,
}

impl Locked {
    async fn lock(&mut self, store: &dyn Store, paths: &[String], until: LockUntil) {
        for outcome in store.lock(paths, until.lock(SystemTime::now())).await {
            if let Err(error) = outcome {
                tracing::debug!(%error, "not locked");
                self.failed += 1;
                self.first.get_or_insert_with(|| error.to_string());
            }
        }
    }

    async fn lock_all(
        &mut self,
        store: &dyn Store,
        paths: impl Iterator<Item = String>,
        until: LockUntil,
    ) {
        let mut batch = Vec::new();
        for path in paths {
            batch.push(path);
            if batch.len() == BATCH {
                self.lock(store, &batch, until).await;
                batch.clear();
            }
        }
        self.lock(store, &batch, until).await;
    }
}

impl UncommittedBackup {
    /// Locks what this backup needs and was there before it: packs of earlier backups, the WAL from its
    /// first segment to its last, with the timeline's history, and the documents without which the
    /// repository can't be opened. What it has created itself is locked by the store that it was
    /// created in, [`LockingStore`](walbrook_store::LockingStore), or not at all.
    ///
    /// It goes into the record whether that succeeded: a backup that can't be locked is a good one.
    pub async fn lock(
        &mut self,
        archive: &WalArchive,
        wal: (WalFileName, WalFileName),
        until: LockUntil,
    ) {
        let (cluster, intent) = (&self.stored.cluster, &self.stored.intent);
        let (store, name) = (cluster.store(), cluster.name());
        let mut locked = Locked::default();
        let documents =
            [layout::REPOSITORY.to_owned(), layout::system(name, intent.system_identifier)];
        locked.lock_all(store, documents.into_iter(), until).await;
        let packs = self.shared.iter().flat_map(|(backup, packs)| {
            packs.iter().map(move |number| layout::pack(name, backup, number))
        });
        locked.lock_all(store, packs, until).await;
        let timeline = wal.0.timeline();
        let history = (timeline.get() > 1).then_some(WalFileName::TimelineHistory { timeline });
        let files = history.into_iter().chain(segments(wal, archive.segment_size()));
        let paths = files.map(|file| layout::wal_file(name, archive.system(), &file));
        locked.lock_all(store, paths, until).await;

        let began = SystemTime::from(intent.started_at);
        let promised = match until {
            LockUntil::For(length) => began.checked_add(length).unwrap_or(began),
            LockUntil::At(date) => date,
        };
        let trouble = locked.first.map(|first| match locked.failed {
            1 => first,
            failed => format!("{first}; and {} other objects", failed - 1),
        });
        self.lock = Some(LockFacts { until: promised.try_into().unwrap_or_default(), trouble });
    }
}

/// The segments of a timeline from one to another.
fn segments(
    (first, last): (WalFileName, WalFileName),
    size: WalSegmentSize,
) -> impl Iterator<Item = WalFileName> {
    let number = |name: &WalFileName| name.segment_number(size).map(|number| number.0);
    let range = number(&first).zip(number(&last)).map(|(first, last)| first..=last);
    let timeline = first.timeline();
    let name = move |number| WalFileName::segment(timeline, SegmentNumber(number), size);
    range.into_iter().flatten().map(name)
}
