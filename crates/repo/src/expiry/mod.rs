//! Removing backups and WAL while others are taken and restored, without a lock.
//!
//! An expiry tells what it is about to remove by an [`ExpiryMark`], a backup what it uses by its
//! [`BackupIntent`]; each writes its own first and looks for the other's second, so that one of them
//! always sees the other. [`usable`] is the backup's half. [`model`] searches every order of their
//! requests.
//!
//! An [`UnfinishedBackup`] is one with an intent and no commit: somebody is taking it, or it died.
//! Which of the two, nobody can tell but by its age.

mod deletion;
mod freed;
mod mark;
#[cfg(test)]
mod model;
mod pins;
mod request;
mod run;
mod spans;
mod survey;
mod sweep;
mod usable;
mod usage;
mod wal;

pub use mark::{ExpiryMark, ExpiryState, WalSpan};
pub use pins::BackupPin;
pub use request::{ExpiryReport, ExpiryRequest, KeptBackup, KeptReason, Refusals};
pub(crate) use usable::{Begun, Usable};
pub(crate) use usage::Bits;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::document;
use crate::expiry::mark::StoredMark;
use crate::repository::is_absent;
use crate::{BackupId, BackupIntent, BackupRecord, Cluster, DamagedBackup, Result, layout};

/// How old a backup that was not finished must be to be taken for dead. Until then it protects its
/// base, and the WAL of its system.
pub(crate) const ABANDONED_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long before that a backup must be committed: clocks differ, and a request may hang.
pub(crate) const COMMIT_MARGIN: Duration = Duration::from_secs(24 * 3600);

/// How old the mark of an expiry must be to be one that died. Until then nobody takes it away.
pub(crate) const EXPIRY_ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How long before that an expiry stops by itself.
pub(crate) const EXPIRY_MARGIN: Duration = Duration::from_secs(4 * 3600);

/// Requests that are under way at once.
const REQUESTS: usize = 16;

/// A backup that was begun and has no commit object.
#[derive(Debug, Clone, PartialEq)]
pub struct UnfinishedBackup {
    /// What it began with.
    pub intent: BackupIntent,
    /// When its intent was created, by the store's clock.
    pub begun_at: SystemTime,
}

impl UnfinishedBackup {
    /// How long one is taken to be alive: a week. A backup refuses to be committed a day before
    /// that, so one that is older died.
    pub const ABANDONED_AFTER: Duration = ABANDONED_AFTER;

    /// Whether it may still be under way, by whichever of two clocks says so: the store's, and that of
    /// who takes it.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        is_young(self.begun_at, self.intent.started_at, ABANDONED_AFTER, now)
    }
}

/// Whether an expiry may still be at work under its mark.
fn is_young_mark(stored: &StoredMark, now: Timestamp) -> bool {
    is_young(stored.modified, stored.mark.created_at, EXPIRY_ABANDONED_AFTER, now)
}

/// Whether what was begun at these two times, by two clocks, may still be at work.
fn is_young(modified: SystemTime, told: Timestamp, limit: Duration, now: Timestamp) -> bool {
    let begun = Timestamp::try_from(modified).unwrap_or(Timestamp::MAX).max(told);
    begun.checked_add(limit).map_or(true, |dead| now < dead)
}

impl Cluster {
    /// The backups that were begun and not finished, in the order of their identifiers; not those
    /// that were, and whose commit an expiry removed. Takes requests in proportion to the number of
    /// backups, finished or not.
    ///
    /// Who wants both these and the finished ones asks for these first: one that is finished
    /// meanwhile is then seen twice rather than never.
    pub async fn unfinished_backups(&self) -> Result<Vec<UnfinishedBackup>> {
        let children = self.store().list_children(&layout::backups(self.name())).await?;
        let ids: Vec<BackupId> =
            children.folders.iter().filter_map(|f| f.rsplit('/').next()?.parse().ok()).collect();
        self.unfinished_among(&ids).await
    }

    /// All backups: the records of those that exist, in the order in which they began; those whose record
    /// is damaged; and those that were begun and not finished. What
    /// [`readable_backups`](Self::readable_backups) and
    /// [`unfinished_backups`](Self::unfinished_backups) tell, with fewer requests; one that is finished
    /// meanwhile is among these or those.
    pub async fn all_backups(
        &self,
    ) -> Result<(Vec<BackupRecord>, Vec<DamagedBackup>, Vec<UnfinishedBackup>)> {
        let (mut records, mut damaged) = self.readable_backups().await?;
        let known: BTreeSet<BackupId> =
            records.iter().map(|r| &r.id).chain(damaged.iter().map(|d| &d.id)).cloned().collect();
        let children = self.store().list_children(&layout::backups(self.name())).await?;
        let mut ids: Vec<BackupId> =
            children.folders.iter().filter_map(|f| f.rsplit('/').next()?.parse().ok()).collect();
        ids.retain(|id| !known.contains(id));
        let unfinished = self.unfinished_among(&ids).await?;
        // What was finished between the two looks is in neither so far.
        ids.retain(|id| unfinished.iter().all(|backup| backup.intent.id != *id));
        let (late_records, late_damaged) = self.read_records(ids).await?;
        records.extend(late_records);
        damaged.extend(late_damaged);
        records.sort_by(|a, b| (a.span.started_at, &a.id).cmp(&(b.span.started_at, &b.id)));
        Ok((records, damaged, unfinished))
    }

    async fn unfinished_among(&self, ids: &[BackupId]) -> Result<Vec<UnfinishedBackup>> {
        let looks: Vec<_> = ids.iter().map(|id| self.unfinished_backup(id)).collect();
        let looks: Vec<_> = stream::iter(looks).buffered(REQUESTS).try_collect().await?;
        let mut unfinished: Vec<_> = looks.into_iter().flatten().collect();
        // Behind the look at commits: what an expiry has taken the commit of is in its mark.
        let marks = self.expiry_marks().await?;
        unfinished.retain(|backup| !marks.iter().any(|m| m.remove.contains(&backup.intent.id)));
        Ok(unfinished)
    }

    pub(crate) async fn unfinished_backup(
        &self,
        id: &BackupId,
    ) -> Result<Option<UnfinishedBackup>> {
        match self.store().head(&layout::record(self.name(), id)).await {
            Ok(_) => return Ok(None),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let path = layout::intent(self.name(), id);
        let found = async {
            let begun_at = self.store().head(&path).await?.modified;
            Ok::<_, walbrook_store::Error>((self.store().get(&path).await?, begun_at))
        };
        match found.await {
            Ok((bytes, begun_at)) => {
                let intent = document::open(&path, &bytes).map_err(|e| {
                    e.with_remedy(format_args!(
                        "if backup {id} is not under way, delete that object"
                    ))
                })?;
                Ok(Some(UnfinishedBackup { intent, begun_at }))
            }
            // Packs whose intent is gone are nobody's.
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
