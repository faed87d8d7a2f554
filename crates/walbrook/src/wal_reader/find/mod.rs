//! Which transactions changed how much of what: for finding the one that did the damage.
//!
//! [`find_transactions`] passes the records of a [`WalReader`] to a `Tracker`, which adds up what
//! each transaction does until it ends; ended transactions are named, filtered and ranked in
//! batches, and no more of them kept than were asked for.

mod changes;
mod files;
mod options;
mod rank;
mod tracker;

pub use changes::{Found, RelationChanges, RowCounts, TransactionChanges};
pub use options::{FindOptions, FindSort, RelationFilter};

use super::names::RelationNames;
use super::reader::WalReader;
use crate::Result;
use rank::Ranking;
use tracker::{MOST, Tracker};

/// Finds the transactions that ended in the reader's range and changed rows or files there.
///
/// With `names`, relations are called by their names, TOAST tables and catalogs are told apart
/// from tables, and a file that was replaced in the range or once since is still known. The server
/// must be of the cluster that wrote the WAL.
///
/// # What counts
///
/// Rows that a transaction and its committed subtransactions inserted, updated and deleted, by
/// their WAL. A table that got a new, empty file without being rewritten was truncated; one whose
/// file went and that got none was dropped. `VACUUM FULL`, `CLUSTER`, `REFRESH MATERIALIZED VIEW`
/// and `ALTER TABLE` that rewrites are told as rewritten. When one transaction truncates, creates
/// and drops several relations, which of the files belong together can be uncertain: then those
/// that went are told as dropped.
///
/// # Memory
///
/// What is in flight is kept by transaction and relation, up to a million entries; beyond that,
/// transactions that have written nothing for longest are given up, and what refers to them is
/// marked as not [`complete`](TransactionChanges::complete).
pub async fn find_transactions(
    reader: &mut WalReader,
    options: &FindOptions,
    mut names: Option<&mut RelationNames>,
) -> Result<Found> {
    let mut tracker = Tracker::new(MOST);
    let mut ranking = Ranking::new(options);
    let mut checked = names.is_none();
    while let Some(record) = reader.next().await? {
        if let (false, Some(names), Some(system)) = (checked, &names, reader.system_id()) {
            names.check_system(system)?;
            checked = true;
        }
        let ended = tracker.observe(&record).map_err(super::garbled)?;
        let Some(mut ended) = ended.filter(|_| record.lsn >= reader.from()) else { continue };
        ended.timeline = reader.timeline_of(ended.lsn);
        if ranking.add(ended) {
            ranking.settle(names.as_deref_mut(), tracker.replaced()).await?;
        }
    }
    ranking.settle(names, tracker.replaced()).await?;
    let (transactions, matched) = ranking.finish();
    let to = reader.position().max(reader.from());
    Ok(Found { transactions, matched, from: reader.from(), to, given_up: tracker.given_up() })
}
