//! Finding the record that a target names.

use futures::TryStreamExt;
use jiff::Timestamp;
use walbrook_repo::Transactions;
use walbrook_types::{Lsn, SegmentNumber};
use walbrook_wal::XlogRecord;

use crate::Result;
use crate::restore::scan::{Scan, transaction_end};
use crate::wal_path::WalPath;

/// Where the record of the first restore point of this name begins, from `from` on.
pub(crate) async fn restore_point(
    path: &WalPath,
    name: &str,
    from: Lsn,
    last: SegmentNumber,
) -> Result<Option<Lsn>> {
    let first = path.size().segment_of(from);
    let mut infos = std::pin::pin!(path.infos(first, last));
    while let Some((_, info)) = infos.try_next().await? {
        let points = info.content.map(|content| content.restore_points).unwrap_or_default();
        if let Some(point) = points.iter().find(|p| p.name == name && p.lsn >= from) {
            return Ok(Some(point.lsn));
        }
    }
    // The notes of two segments lack a record that lies in both.
    let named = |record: &walbrook_wal::Record| {
        matches!(
            record.xlog(),
            Ok(Some(XlogRecord::RestorePoint { name: found, .. })) if found == name
        )
    };
    Scan::new(path, from, last).find(named).await
}

/// Where the record begins that ends this transaction, from `from` on.
pub(crate) async fn transaction(
    path: &WalPath,
    xid: u32,
    from: Lsn,
    last: SegmentNumber,
) -> Result<Option<Lsn>> {
    let first = path.size().segment_of(from);
    let ends_it = |record: &walbrook_wal::Record| {
        transaction_end(record).is_some_and(|(ended, _)| ended == xid)
    };
    let mut infos = std::pin::pin!(path.infos(first, last));
    while let Some((number, info)) = infos.try_next().await? {
        let transactions = info.content.and_then(|content| content.transactions);
        if transactions.is_some_and(|transactions| may_include(&transactions, xid)) {
            let begin = number.start(path.size()).max(from);
            if let Some(lsn) = Scan::new(path, begin, number).find(ends_it).await? {
                return Ok(Some(lsn));
            }
        }
    }
    // The notes of two segments lack a record that lies in both.
    Scan::new(path, from, last).find(ends_it).await
}

/// Transaction IDs wrap: their order is that of the signed difference.
fn may_include(transactions: &Transactions, xid: u32) -> bool {
    let not_before = |a: u32, b: u32| a.wrapping_sub(b).cast_signed() >= 0;
    not_before(xid, transactions.oldest_xid) && not_before(transactions.newest_xid, xid)
}

/// Whether a transaction ends after `time` (at it, if `or_at`) in the WAL from `from` on. If none
/// does, tells the time of the last one.
pub(crate) async fn transaction_after(
    path: &WalPath,
    time: Timestamp,
    or_at: bool,
    from: Lsn,
    last: SegmentNumber,
) -> Result<Result<(), Option<Timestamp>>> {
    let first = path.size().segment_of(from);
    let is_after = |end: Timestamp| end > time || (or_at && end == time);
    let noted = path.last_transaction(first, last).await?;
    let newest =
        noted.as_ref().and_then(|info| Some(info.content.as_ref()?.transactions?.last_time));
    if newest.is_some_and(is_after) {
        return Ok(Ok(()));
    }
    // One whose record lies in two segments is in the notes of neither: it can only be at the end
    // of the segment that the notes stopped at, or behind it.
    let begin = noted
        .and_then(|info| info.name.segment_number(path.size()))
        .map_or(from, |number| number.start(path.size()).max(from));
    let found = Scan::new(path, begin, last)
        .find(|record| transaction_end(record).is_some_and(|(_, end)| is_after(end)))
        .await?;
    Ok(if found.is_some() { Ok(()) } else { Err(newest) })
}
