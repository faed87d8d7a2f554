use std::collections::{HashMap, HashSet};

use walbrook_types::{Lsn, Oid, TimelineId};
use walbrook_wal::{
    DbaseRecord, Error, HeapChange, Record, RelLocator, RmgrId, SmgrRecord, XactEnd, XactRecord,
    Xid, XlogRecord,
};

use super::changes::{RelationChanges, RowCounts, TransactionChanges};
use super::files::{Fate, NewFile, fates};
use crate::wal_reader::time::timestamp;

/// The most entries that are kept of transactions in flight.
pub(super) const MOST: usize = 1_000_000;

/// `RM_STANDBY_ID` and its operations (`storage/standbydefs.h`).
const STANDBY: RmgrId = RmgrId(8);
const STANDBY_LOCK: u8 = 0x00;
const RUNNING_XACTS: u8 = 0x10;

/// Adds up what each transaction does, record by record.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    open: HashMap<Xid, Open>,
    /// How many entries there are in all of `open`, and how many there may be.
    entries: usize,
    most: usize,
    /// Transactions that have made files: what else is written into these is of interest.
    makers: HashSet<Xid>,
    /// Whether one of `open` is prepared and outlives a restart of the server.
    prepared: bool,
    /// Where reading began.
    begin: Option<Lsn>,
    /// Transactions from this one on began within what was read.
    known_from: Option<Xid>,
    given_up: u64,
    /// Files of committed transactions that others took the place of.
    replaced: HashMap<RelLocator, RelLocator>,
}

/// What a transaction or subtransaction has done so far.
#[derive(Debug, Default)]
struct Open {
    rows: HashMap<RelLocator, RowCounts>,
    made: Vec<NewFile>,
    /// Relations that it locks exclusively, by database and OID.
    locked: HashSet<(Oid, Oid)>,
    /// As `wal_level=logical` says.
    truncated: HashSet<(Oid, Oid)>,
    dropped_databases: Vec<Oid>,
    gid: Option<String>,
    last: Lsn,
}

impl Open {
    fn entries(&self) -> usize {
        1 + self.rows.len() + self.made.len() + self.locked.len() + self.truncated.len()
    }
}

impl Tracker {
    /// One that keeps about so many entries of transactions in flight.
    pub(super) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Takes the next record; returns what a transaction did that it ends.
    pub(super) fn observe(&mut self, record: &Record) -> Result<Option<TransactionChanges>, Error> {
        self.begin.get_or_insert(record.lsn);
        let header = &record.header;
        match header.rmgr {
            RmgrId::HEAP | RmgrId::HEAP2 => self.heap(record)?,
            RmgrId::XACT => return self.xact(record),
            RmgrId::XLOG => {
                self.xlog(record)?;
                self.pages(record)?;
            }
            RmgrId::SMGR => {
                if let Some(SmgrRecord::Create { relation, .. }) = record.smgr()? {
                    self.made(record, relation);
                }
            }
            RmgrId::DBASE => {
                if let Some(DbaseRecord::Drop(drop)) = record.dbase()? {
                    self.change(header.xid, record.lsn, |open| {
                        open.dropped_databases.push(drop.database);
                    });
                }
            }
            STANDBY => self.standby(record)?,
            _ => self.pages(record)?,
        }
        Ok(None)
    }

    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Files that others took the place of, with these.
    pub(super) fn replaced(&self) -> &HashMap<RelLocator, RelLocator> {
        &self.replaced
    }

    fn change(&mut self, xid: Xid, lsn: Lsn, change: impl FnOnce(&mut Open)) {
        if xid == 0 {
            return;
        }
        let is_new = !self.open.contains_key(&xid);
        let open = self.open.entry(xid).or_default();
        let before = if is_new { 0 } else { open.entries() };
        change(open);
        open.last = lsn;
        self.entries += open.entries() - before;
        if self.entries > self.most {
            self.give_up();
        }
    }

    fn heap(&mut self, record: &Record) -> Result<(), Error> {
        let Some(change) = record.changes()? else { return Ok(()) };
        self.change(record.header.xid, record.lsn, |open| match change {
            HeapChange::Tuples(tuples) => {
                let rows = open.rows.entry(tuples.relation).or_default();
                rows.inserted += u64::from(tuples.inserted);
                rows.updated += u64::from(tuples.updated);
                rows.deleted += u64::from(tuples.deleted);
            }
            HeapChange::Truncate(truncate) => {
                let database = truncate.database;
                open.truncated.extend(truncate.relations().map(|oid| (database, oid)));
            }
            _ => {}
        });
        Ok(())
    }

    fn made(&mut self, record: &Record, relation: RelLocator) {
        let file = NewFile { lsn: record.lsn, relation, has_pages: false };
        self.change(record.header.xid, record.lsn, |open| {
            if open.made.iter().all(|made| made.relation != relation) {
                open.made.push(file);
            }
        });
        self.makers.insert(record.header.xid);
    }

    /// Whether something other than rows goes into a file that is new.
    fn pages(&mut self, record: &Record) -> Result<(), Error> {
        let xid = record.header.xid;
        if xid == 0 || !self.makers.contains(&xid) {
            return Ok(());
        }
        let Some(open) = self.open.get_mut(&xid) else { return Ok(()) };
        for block in record.parts()?.blocks() {
            let mut made = open.made.iter_mut();
            if let Some(file) = made.find(|file| file.relation == block.relation) {
                file.has_pages = true;
            }
        }
        Ok(())
    }

    fn xlog(&mut self, record: &Record) -> Result<(), Error> {
        match record.xlog()? {
            Some(XlogRecord::CheckpointShutdown(checkpoint)) => {
                self.began(checkpoint.next_xid as Xid);
                self.restarted();
            }
            Some(XlogRecord::EndOfRecovery { .. }) => self.restarted(),
            // Its next transaction ID is that of the time of the redo position.
            Some(XlogRecord::CheckpointOnline(checkpoint))
                if self.begin.is_some_and(|begin| checkpoint.redo >= begin) =>
            {
                self.began(checkpoint.next_xid as Xid);
            }
            _ => {}
        }
        Ok(())
    }

    fn began(&mut self, next: Xid) {
        self.known_from.get_or_insert(next);
    }

    /// Transactions before the oldest that runs have ended, or went with a crash. Prepared ones run.
    fn forget_before(&mut self, oldest: Xid) {
        let ended = |xid: &Xid| xid.wrapping_sub(oldest).cast_signed() < 0;
        let ended: Vec<Xid> = self.open.keys().copied().filter(ended).collect();
        ended.into_iter().for_each(|xid| drop(self.close(xid)));
    }

    /// No transaction goes on after a restart, but prepared ones, of whose subtransactions the log
    /// has told none yet: then all are kept.
    fn restarted(&mut self) {
        if !self.prepared {
            self.open.clear();
            self.makers.clear();
            self.entries = 0;
        }
    }

    fn standby(&mut self, record: &Record) -> Result<(), Error> {
        let data = record.main_data()?;
        let word = |at: usize| {
            let bytes = data.get(at..).and_then(|rest| rest.first_chunk())?;
            Some(u32::from_le_bytes(*bytes))
        };
        match record.header.operation() {
            RUNNING_XACTS => {
                if let (Some(next), Some(oldest)) = (word(12), word(16)) {
                    self.began(next);
                    self.forget_before(oldest);
                }
            }
            STANDBY_LOCK => {
                let count = word(0).unwrap_or(0) as usize;
                let locks = (0..count.min(data.len() / 12)).map(|n| 4 + 12 * n);
                for at in locks {
                    let (Some(xid), Some(database), Some(oid)) =
                        (word(at), word(at + 4), word(at + 8))
                    else {
                        break;
                    };
                    self.change(xid, record.lsn, |open| {
                        open.locked.insert((database, oid));
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn xact(&mut self, record: &Record) -> Result<Option<TransactionChanges>, Error> {
        match record.xact()? {
            Some(XactRecord::Commit(end)) => Ok(self.end(record, &end, true)),
            Some(XactRecord::Abort(end)) => Ok(self.end(record, &end, false)),
            Some(XactRecord::Prepare(prepare)) => {
                let gid = String::from_utf8_lossy(prepare.gid).into_owned();
                self.prepared = true;
                self.change(prepare.xid, record.lsn, |open| open.gid = Some(gid));
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// What the transaction did that this record ends; none when that is nothing.
    fn end(
        &mut self,
        record: &Record,
        end: &XactEnd<'_>,
        committed: bool,
    ) -> Option<TransactionChanges> {
        let mut all = self.close(end.xid).unwrap_or_default();
        let mut subtransactions = 0;
        for xid in end.subxids() {
            // One that wrote nothing has no ID of its own, so that this one did.
            subtransactions += 1;
            let Some(open) = self.close(xid) else { continue };
            for (relation, rows) in open.rows {
                all.rows.entry(relation).or_default().add(&rows);
            }
            all.made.extend(open.made);
            all.locked.extend(open.locked);
            all.truncated.extend(open.truncated);
            all.dropped_databases.extend(open.dropped_databases);
        }
        if self.open.is_empty() {
            self.prepared = false;
        }
        let dropped = end.dropped_relations().filter(|_| committed);
        let made: HashSet<RelLocator> = all.made.iter().map(|file| file.relation).collect();
        let fates = match committed {
            true => fates(std::mem::take(&mut all.made), dropped, &all.locked),
            false => Vec::new(),
        };
        if fates.iter().any(|fate| matches!(fate, Fate::Rewritten { .. })) {
            // What a rewrite puts into new files are rows that were there before.
            all.rows.retain(|relation, _| !made.contains(relation));
        }
        let complete = self.is_complete(end.xid) && self.given_up == 0;
        let changes = self.relations(all.rows, &fates, &all.truncated);
        if changes.is_empty() && all.dropped_databases.is_empty() {
            return None;
        }
        Some(TransactionChanges {
            xid: end.xid,
            lsn: record.lsn,
            end_lsn: record.end_lsn,
            timeline: TimelineId::FIRST,
            time: timestamp(end.time),
            committed,
            prepared: end.prepared,
            gid: all.gid,
            subtransactions,
            complete,
            relations: changes,
            others: RowCounts::default(),
            dropped_databases: all.dropped_databases,
        })
    }

    fn relations(
        &mut self,
        rows: HashMap<RelLocator, RowCounts>,
        fates: &[Fate],
        truncated: &HashSet<(Oid, Oid)>,
    ) -> Vec<RelationChanges> {
        let mut changes: HashMap<RelLocator, RelationChanges> = HashMap::new();
        // Rows in new files count for the relation that got them.
        let mut former = HashMap::new();
        for fate in fates {
            match *fate {
                Fate::Created(relation) => {
                    entry(&mut changes, relation).created = true;
                }
                Fate::Dropped(relation) => entry(&mut changes, relation).dropped = true,
                Fate::Emptied { old, new, has_pages } => {
                    let change = entry(&mut changes, old);
                    change.truncated = !has_pages;
                    change.rewritten = has_pages;
                    change.new_files = Some(new);
                    former.insert(new, old);
                }
                Fate::Rewritten { old, new } => {
                    let change = entry(&mut changes, old);
                    change.rewritten = true;
                    change.new_files = new;
                    former.extend(new.map(|new| (new, old)));
                }
            }
        }
        for (relation, rows) in rows {
            let relation = former.get(&relation).copied().unwrap_or(relation);
            entry(&mut changes, relation).rows.add(&rows);
        }
        // With wal_level=logical, a truncation in place of a table that the transaction made.
        for (database, oid) in truncated {
            let made = |c: &&mut RelationChanges| {
                (c.relation.database, c.relation.number) == (*database, *oid)
            };
            if let Some(change) = changes.values_mut().find(made) {
                change.truncated = !change.rewritten;
            }
        }
        if self.replaced.len() < self.most {
            self.replaced.extend(former.into_iter().map(|(new, old)| (old, new)));
        }
        changes.into_values().filter(RelationChanges::is_change).collect()
    }

    fn close(&mut self, xid: Xid) -> Option<Open> {
        let open = self.open.remove(&xid)?;
        self.entries -= open.entries();
        self.makers.remove(&xid);
        Some(open)
    }

    fn is_complete(&self, xid: Xid) -> bool {
        self.known_from.is_some_and(|first| xid.wrapping_sub(first).cast_signed() >= 0)
    }

    /// Makes room: gives up the half of the transactions that have written nothing for longest.
    fn give_up(&mut self) {
        let mut ages: Vec<(Lsn, Xid)> = self.open.iter().map(|(xid, o)| (o.last, *xid)).collect();
        ages.sort_unstable();
        let half = ages.len().div_ceil(2);
        for (_, xid) in ages.into_iter().take(half) {
            self.close(xid);
            self.given_up += 1;
        }
    }
}

fn entry(
    changes: &mut HashMap<RelLocator, RelationChanges>,
    relation: RelLocator,
) -> &mut RelationChanges {
    changes.entry(relation).or_insert_with(|| RelationChanges::new(relation))
}

#[cfg(test)]
mod tests {
    use walbrook_wal::{RecordHeader, WalVersion};

    use super::*;

    /// A record with the block 0 of this relation, unless that is zero, and these main data.
    fn record(lsn: u64, xid: Xid, (rmgr, info): (u8, u8), number: u32, main: &[u8]) -> Record {
        let mut bytes = vec![0; RecordHeader::LEN];
        bytes[4..8].copy_from_slice(&xid.to_le_bytes());
        (bytes[16], bytes[17]) = (info, rmgr);
        if number > 0 {
            bytes.extend([0, 0, 0, 0]);
            [1663, 5, number, 0].iter().for_each(|n: &u32| bytes.extend(n.to_le_bytes()));
        }
        bytes.extend([255, main.len() as u8]);
        bytes.extend(main);
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        let header = RecordHeader::parse(&bytes).unwrap();
        let (lsn, end_lsn) = (Lsn(lsn), Lsn(lsn + 64));
        Record { lsn, end_lsn, version: WalVersion::V18, header, bytes: bytes.into() }
    }

    fn delete(lsn: u64, xid: Xid, number: u32) -> Record {
        record(lsn, xid, (10, 0x10), number, &[0; 8])
    }

    fn commit(lsn: u64, xid: Xid) -> Record {
        record(lsn, xid, (1, 0x00), 0, &[0; 8])
    }

    fn running(lsn: u64, next: Xid, oldest: Xid) -> Record {
        let mut main = vec![0; 24];
        main[12..16].copy_from_slice(&next.to_le_bytes());
        main[16..20].copy_from_slice(&oldest.to_le_bytes());
        record(lsn, 0, (8, 0x10), 0, &main)
    }

    #[test]
    fn memory_is_bounded_and_what_was_given_up_is_said() {
        let mut tracker = Tracker::new(100);
        for n in 0..10_000 {
            assert!(tracker.observe(&delete(64 * n, 1000 + n as u32 % 5000, 9)).unwrap().is_none());
            assert!(tracker.entries <= 100 && tracker.open.len() <= 100);
        }
        assert!(tracker.given_up() > 0);
        let ended = tracker.observe(&commit(1 << 40, 5999)).unwrap().unwrap();
        assert!(!ended.complete, "another of its parts may have been given up");
        let all: usize = tracker.open.values().map(Open::entries).sum();
        assert_eq!(all, tracker.entries);
    }

    #[test]
    fn only_what_began_in_sight_is_complete() {
        let mut tracker = Tracker::new(MOST);
        tracker.observe(&delete(0, 998, 9)).unwrap();
        tracker.observe(&delete(64, 999, 9)).unwrap();
        // 998 went with a crash; 999 still runs.
        tracker.observe(&running(128, 1000, 999)).unwrap();
        assert_eq!(tracker.open.len(), 1);
        tracker.observe(&delete(192, 1000, 9)).unwrap();
        tracker.observe(&delete(256, 1000, 10)).unwrap();
        let known = tracker.observe(&commit(320, 1000)).unwrap().unwrap();
        assert_eq!((known.complete, known.rows().deleted), (true, 2));
        let unknown = tracker.observe(&commit(384, 999)).unwrap().unwrap();
        assert_eq!((unknown.complete, unknown.rows().deleted), (false, 1));
        assert!(tracker.observe(&commit(448, 998)).unwrap().is_none());
        assert_eq!((tracker.entries, tracker.open.len()), (0, 0));
    }
}
