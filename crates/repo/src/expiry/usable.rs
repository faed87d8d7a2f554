//! The backup's half of the protocol between backups and expiries: what one that has created its
//! intent may still use.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use crate::document;
use crate::expiry::mark::{ExpiryMark, WalSpan};
use crate::expiry::{ABANDONED_AFTER, COMMIT_MARGIN};
use crate::repository::is_absent;
use crate::{BackupId, BackupIntent, BackupRecord, Cluster, Error, ErrorKind, Result, layout};

/// What a backup must not use, found out after its intent was durable: an expiry whose mark is not
/// among those seen here looks for intents after that, and sees this one.
#[derive(Debug)]
pub(crate) struct Usable {
    /// Backups that the intent names and that are gone, or going, and why.
    forbidden: BTreeMap<BackupId, String>,
    /// WAL of the backup's system that is going.
    wal: Vec<WalSpan>,
    begun: Begun,
}

/// When a backup began, by the two clocks that a machine has: one may be set, the other stands
/// still while the machine sleeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(Instant, SystemTime);

impl Begun {
    pub(crate) fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    /// How long ago that is, by whichever says more.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed().max(self.1.elapsed().unwrap_or_default())
    }

    fn check(&self, id: &BackupId) -> Result<()> {
        if self.elapsed() < ABANDONED_AFTER - COMMIT_MARGIN {
            return Ok(());
        }
        let days = (ABANDONED_AFTER - COMMIT_MARGIN).as_secs() / 86_400;
        let message = format!(
            "backup {id} began more than {days} days ago: an expiry may take it for dead and remove \
             what it has stored, so it can't be completed; take it again, with more --jobs or a \
             higher --max-rate"
        );
        Err(Error::new(ErrorKind::Conflict, message))
    }
}

impl Usable {
    /// Looks for marks, and then whether what the intent names is still there. The intent must have
    /// been created before; `begun` must be from before that.
    pub(crate) async fn look(
        cluster: &Cluster,
        intent: &BackupIntent,
        begun: Begun,
    ) -> Result<Self> {
        let named: Vec<&BackupId> = intent.base.iter().chain(&intent.resumes).collect();
        let mut usable = Self { forbidden: BTreeMap::new(), wal: Vec::new(), begun };
        for object in cluster.mark_objects().await? {
            let bytes = match cluster.store().get(&object.path).await {
                Ok(bytes) => bytes,
                // It has ended between the two requests: what it removed is not found below.
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            let mark: ExpiryMark = match document::open(&object.path, &bytes) {
                Ok(mark) => mark,
                Err(error) => {
                    for id in &named {
                        let why = format!("what is being removed can't be told: {error}");
                        usable.forbidden.insert((*id).clone(), why);
                    }
                    continue;
                }
            };
            for id in named.iter().filter(|id| mark.remove.contains(id) || mark.sweep.contains(id))
            {
                let why = format!("expiry {} is removing it", mark.id);
                usable.forbidden.insert((*id).clone(), why);
            }
            let own = |span: &&WalSpan| span.system_identifier == intent.system_identifier;
            usable.wal.extend(mark.wal.iter().filter(own));
        }
        if let Some(base) = &intent.base {
            usable.must_exist(cluster, base, layout::record(cluster.name(), base)).await?;
        }
        for id in &intent.resumes {
            usable.must_exist(cluster, id, layout::intent(cluster.name(), id)).await?;
        }
        Ok(usable)
    }

    async fn must_exist(&mut self, cluster: &Cluster, id: &BackupId, path: String) -> Result<()> {
        match cluster.store().head(&path).await {
            Ok(_) => Ok(()),
            Err(error) if is_absent(&error) => {
                let why = || "it was removed".to_owned();
                self.forbidden.entry(id.clone()).or_insert_with(why);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Why a backup that the intent names must not be used; none when it may be.
    pub(crate) fn forbids(&self, id: &BackupId) -> Option<&str> {
        self.forbidden.get(id).map(String::as_str)
    }

    /// Fails for one that must not be used.
    pub(crate) fn check(&self, id: &BackupId) -> Result<()> {
        let Some(why) = self.forbids(id) else { return Ok(()) };
        let message = format!("backup {id} can't be used by another one: {why}");
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Whether the backup may be committed: it is not so old that an expiry may take it for dead, and
    /// none has been removing the WAL that it needs.
    pub(crate) fn check_commit(&self, record: &BackupRecord) -> Result<()> {
        self.begun.check(&record.id)?;
        let span = &record.span;
        let size = record.server.wal_segment_size;
        let touched = |wal: &&WalSpan| wal.touches(&span.first_segment, &span.last_segment, size);
        if let Some(wal) = self.wal.iter().find(touched) {
            let message = format!(
                "backup {} needs WAL from {} on, and an expiry has been removing {} to {} since \
                 before it began: take it again",
                record.id, span.first_segment, wal.first, wal.last
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_that_took_too_long_is_not_committed() {
        let id: BackupId = "20261122T034512Z-1f3a9c04".parse().expect("an identifier");
        let ago = |age: Duration| {
            let then = SystemTime::now().checked_sub(age).expect("there was such a time");
            Begun(Instant::now(), then).check(&id)
        };
        ago(Duration::ZERO).expect("a young one");
        ago(ABANDONED_AFTER - COMMIT_MARGIN - Duration::from_secs(60)).expect("still young");
        let error = ago(ABANDONED_AFTER - COMMIT_MARGIN).expect_err("too old");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        // A clock that was put back does not make it fail.
        Begun(Instant::now(), SystemTime::now() + Duration::from_secs(3600))
            .check(&id)
            .expect("young");
    }
}
