//! Deleting what an expiry removes, while it may.

use std::collections::BTreeSet;

use walbrook_store::ErrorKind as StoreErrorKind;

use crate::expiry::{Begun, EXPIRY_ABANDONED_AFTER, EXPIRY_MARGIN, Refusals};
use crate::{Cluster, Error, ErrorKind, Result};

/// Deletes objects in batches. What the store refuses is noted, and does not keep the rest from
/// being deleted; what may pass is an error, for the next expiry goes on.
pub(crate) struct Deletion<'a> {
    pub(crate) cluster: &'a Cluster,
    begun: Begun,
    pub(crate) refused: Refusals,
}

impl<'a> Deletion<'a> {
    /// `begun` is from before the expiry's mark.
    pub(crate) fn new(cluster: &'a Cluster, begun: Begun) -> Self {
        Self { cluster, begun, refused: Refusals::default() }
    }

    /// Deletes these; tells which of them the store refused.
    pub(crate) async fn delete(&mut self, paths: &[String]) -> Result<BTreeSet<String>> {
        let mut refused = BTreeSet::new();
        let limit = EXPIRY_ABANDONED_AFTER - EXPIRY_MARGIN;
        for batch in paths.chunks(1000) {
            // Somebody may take its mark away soon, and what it protects.
            if self.begun.elapsed() >= limit {
                let hours = limit.as_secs() / 3600;
                let message =
                    format!("the expiry is not done after {hours} hours: run it again to go on");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            let outcomes = self.cluster.store().delete_many(batch).await;
            for (path, outcome) in batch.iter().zip(outcomes) {
                let Err(error) = outcome else { continue };
                if matches!(
                    error.kind(),
                    StoreErrorKind::Unavailable | StoreErrorKind::StoreMissing
                ) {
                    return Err(error.into());
                }
                self.refused.add(&error);
                refused.insert(path.clone());
            }
        }
        Ok(refused)
    }
}
