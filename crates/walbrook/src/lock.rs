use std::sync::Arc;
use std::time::{Duration, SystemTime};

use walbrook_store::{LockUntil, LockingStore, Store, StoreUrl};

use crate::{Error, ErrorKind, Result};

/// How what is stored is locked, so that nobody can destroy it before a date: not with the
/// credentials that stored it, and in the mode `compliance` of S3 with no others either.
///
/// Give the same to all that stores: backups, and each push of WAL. With `LockUntil::For(d)`, and backups
/// that end at most `s` after the one before began, every moment since the first of them can be
/// restored for at least `d - s` after it has passed, whatever anybody does to the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockOptions {
    /// Until when.
    pub until: LockUntil,
    /// The longest lock that is taken for meant, from now on: others are refused. What is locked for
    /// too long has to be paid for as long.
    pub at_most: Duration,
}

impl LockOptions {
    /// Locks until then, if that is no more than 400 days ahead.
    pub fn new(until: LockUntil) -> Self {
        Self { until, at_most: Duration::from_secs(400 * 86_400) }
    }

    /// Refuses dates that are past, and those that can't be meant.
    fn check(&self) -> Result<()> {
        let now = SystemTime::now();
        let ahead = match self.until {
            LockUntil::For(length) => length,
            LockUntil::At(date) => date.duration_since(now).unwrap_or_default(),
        };
        let message = if ahead.is_zero() {
            "a lock must end in the future".to_owned()
        } else if ahead > self.at_most {
            format!(
                "a lock of {} days is longer than the {} that are allowed: it can't be taken back, and \
                 what is locked must be paid for; if that is meant, allow more (--lock-max)",
                ahead.as_secs() / 86_400,
                self.at_most.as_secs() / 86_400
            )
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Invalid, message))
    }
}

impl LockOptions {
    /// What to say when locks are hardly longer than the time since the backup before began, so that they
    /// promise little.
    pub(crate) fn warn_of_gap(&self, before: SystemTime) -> Option<String> {
        let LockUntil::For(length) = self.until else { return None };
        let gap = SystemTime::now().duration_since(before).unwrap_or_default();
        if gap <= length / 2 {
            return None;
        }
        let hours = |time: Duration| time.as_secs().div_ceil(3600);
        Some(format!(
            "locks of {} hours protect little, for the backup before this one began {} hours ago: a moment \
             can be restored for as long as its backup is locked; lock for longer (--lock-until), or take \
             backups more often",
            hours(length),
            hours(gap)
        ))
    }
}

/// Opens a store in which all that is created is locked, if that is asked for.
pub(crate) fn open(repository: &StoreUrl, lock: Option<LockOptions>) -> Result<Arc<dyn Store>> {
    let store = walbrook_store::open(repository)?;
    let Some(lock) = lock else { return Ok(store) };
    lock.check()?;
    Ok(Arc::new(LockingStore::new(store, lock.until)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_that_are_too_short_for_the_gap() {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        let lock = LockOptions::new(LockUntil::For(hours(48)));
        let now = SystemTime::now();
        assert_eq!(lock.warn_of_gap(now - hours(23)), None);
        let warning = lock.warn_of_gap(now - hours(25) + Duration::from_secs(600)).unwrap();
        assert!(warning.contains("of 48 hours") && warning.contains("began 25 hours"), "{warning}");
        assert_eq!(LockOptions::new(LockUntil::At(now)).warn_of_gap(now - hours(25)), None);
    }

    #[test]
    fn locks_that_cannot_be_meant() {
        let days = |n: u64| Duration::from_secs(n * 86_400);
        let now = SystemTime::now();
        for (until, good) in [
            (LockUntil::For(days(14)), true),
            (LockUntil::For(days(3650)), false),
            (LockUntil::For(days(0)), false),
            (LockUntil::At(now + days(399)), true),
            (LockUntil::At(now + days(401)), false),
            (LockUntil::At(now - days(1)), false),
        ] {
            let lock = LockOptions::new(until);
            assert_eq!(lock.check().is_ok(), good, "{until:?}");
        }
        let long = LockOptions { until: LockUntil::For(days(3650)), at_most: days(3660) };
        assert!(long.check().is_ok());
    }
}
