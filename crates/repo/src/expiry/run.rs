//! Carrying out an expiry.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use walbrook_types::{SegmentNumber, SystemId, WalSegmentSize};

use crate::expiry::deletion::Deletion;
use crate::expiry::mark::{ExpiryMark, ExpiryState, StoredMark};
use crate::expiry::request::{ExpiryReport, ExpiryRequest, KeptBackup, KeptReason};
use crate::expiry::spans::Spans;
use crate::expiry::survey::Survey;
use crate::expiry::usage::Usage;
use crate::expiry::{Begun, is_young_mark, sweep, wal};
use crate::put::create_or_same;
use crate::{BackupId, Cluster, Error, ErrorKind, Result, document, layout};

type Sizes = BTreeMap<SystemId, WalSegmentSize>;

impl Cluster {
    /// Removes backups and WAL; and what earlier expiries, and backups that died, have left.
    ///
    /// Commits go first: from then on the backups do not exist. Their packs, manifests and the WAL
    /// follow when [`grace`](ExpiryRequest::grace) is over, by a later call, or at once when it is
    /// zero. Packs that other backups use stay. Killed anywhere, all backups that exist are whole,
    /// and the next call finishes the work. Several may run at once, beside backups and restores.
    ///
    /// What the store refuses to delete is told in the report; the rest is done.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] when the repository is not any more what the request was decided upon:
    /// nothing was removed. [`ErrorKind::Corrupt`] when the manifest of a backup that stays can't be
    /// read: then only commits were removed.
    pub async fn expire(&self, request: &ExpiryRequest) -> Result<ExpiryReport> {
        let begun = Begun::now();
        let now = request.now.unwrap_or_else(Timestamp::now);
        let before = Survey::read(self).await?;
        let leftovers = before.leftovers(now);
        let sweep_after = match now.checked_add(request.grace) {
            Ok(then) => then,
            Err(_) => Timestamp::MAX,
        };
        // What is named here counts as one that was finished, and protects nothing.
        let exists = |id: &&BackupId| before.committed.contains(*id);
        let mark = ExpiryMark {
            id: BackupId::generate(now),
            cluster: self.name().to_owned(),
            state: ExpiryState::UnderWay,
            remove: request.remove.iter().filter(exists).cloned().collect(),
            sweep: leftovers.iter().cloned().collect(),
            wal: request.wal.clone(),
            sweep_after,
            host: request.host.clone(),
            pid: std::process::id(),
            created_at: now,
            walbrook_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let nothing = request.remove.is_empty() && request.wal.is_empty() && leftovers.is_empty();
        if nothing && before.ended(&mark, now).next().is_none() {
            return Ok(ExpiryReport::default());
        }
        let path = layout::mark(self.name(), &mark.id);
        create_or_same(self.store(), &path, document::seal(&mark)?).await?;
        // A clock that is ahead would take the living for dead.
        let now = match request.now {
            Some(now) => now,
            None => {
                let created = self.store().head(&path).await?.modified;
                Timestamp::try_from(created).map_or(now, |created| now.min(created))
            }
        };
        let run = Run {
            cluster: self,
            request,
            now,
            // Behind the mark.
            survey: Survey::read(self).await?,
            mark,
            leftovers,
            deletion: Deletion::new(self, begun),
            report: ExpiryReport::default(),
        };
        run.carry_out().await
    }
}

/// An expiry whose mark is in the repository.
struct Run<'a> {
    cluster: &'a Cluster,
    request: &'a ExpiryRequest,
    now: Timestamp,
    mark: ExpiryMark,
    /// What there was when the mark was.
    survey: Survey,
    leftovers: BTreeSet<BackupId>,
    deletion: Deletion<'a>,
    report: ExpiryReport,
}

impl Run<'_> {
    async fn carry_out(mut self) -> Result<ExpiryReport> {
        if let Err(error) = self.revalidate() {
            self.delete_marks(&[self.mark.id.clone()]).await?;
            return Err(error);
        }
        let removed = self.remove_commits().await?;
        self.report.removed = removed.iter().cloned().collect();

        let sizes = self.sizes().await?;
        let asked = Spans::new(&self.request.wal, &sizes);
        let asked = self.removable_wal(asked, &sizes);
        let (wal_now, wal_later) = self.divide(&asked, &sizes);
        let waits = !self.request.grace.is_zero();
        if waits && (!removed.is_empty() || !wal_later.is_empty()) {
            self.leave_mark(&removed, wal_later.to_wal(&sizes)).await?;
        }

        let mut in_grace = self.survey.in_grace(self.now);
        let mut targets = self.targets();
        match waits {
            true => in_grace.extend(removed.iter().cloned()),
            false => targets.extend(removed.iter().cloned()),
        }
        targets.retain(|id| !in_grace.contains(id));
        // Removed, and its folder not emptied: without a mark it would look like one under way.
        let mut unswept = removed.clone();
        unswept.extend(self.survey.unfinished.keys().cloned());
        if !targets.is_empty() {
            let seen = self.survey.committed.iter().filter(|id| !removed.contains(*id));
            let usage = Usage::read(self.cluster, &targets, &in_grace, seen).await?;
            for id in &targets {
                if sweep::sweep(&mut self.deletion, id, &usage, &mut self.report).await? {
                    unswept.remove(id);
                }
            }
        }
        wal::delete(&mut self.deletion, &wal_now, &mut self.report).await?;
        self.finish(&unswept, &wal_now, &sizes, waits).await
    }

    /// What was decided upon must still be so.
    fn revalidate(&self) -> Result<()> {
        let again = "plan it again";
        if let Some(id) = self.request.keep.iter().find(|id| !self.survey.committed.contains(*id)) {
            let message = format!("backup {id}, which this expiry keeps, was removed: {again}");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let young = |stored: &&StoredMark| is_young_mark(stored, self.now);
        let others = self.survey.marks.iter().filter(young).map(|stored| &stored.mark);
        for other in others.filter(|other| other.id != self.mark.id) {
            if let Some(id) = other.remove.iter().find(|id| self.request.keep.contains(*id)) {
                let message = format!(
                    "expiry {}, begun on {} as process {}, is removing backup {id}, which this one \
                     keeps: {again} when that is done; if it died, a day after it began",
                    other.id, other.host, other.pid
                );
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
        Ok(())
    }

    /// The backup that is under way and uses this one, if one does.
    fn used_by(&self, id: &BackupId) -> Option<BackupId> {
        let uses = |intent: &crate::BackupIntent| {
            intent.id == *id || intent.base.as_ref() == Some(id) || intent.resumes.contains(id)
        };
        let mut live = self.survey.live(self.now);
        live.find(|backup| uses(&backup.intent)).map(|backup| backup.intent.id.clone())
    }

    /// Deletes the commits of what is not in use, and tells of which.
    async fn remove_commits(&mut self) -> Result<BTreeSet<BackupId>> {
        let pins = self.cluster.pins().await?;
        let (mut removed, mut paths) = (BTreeSet::new(), Vec::new());
        for id in &self.mark.remove {
            let holds = |pin: &crate::BackupPin| pin.holds_at(self.request.decided_for);
            let reason = if let Some(by) = self.used_by(id) {
                KeptReason::InUse { by }
            } else if pins.get(id).is_some_and(|pins| pins.iter().any(holds)) {
                KeptReason::Pinned
            } else {
                // Somebody else may have removed it; that one's mark is about it then.
                if self.survey.committed.contains(id) {
                    removed.insert(id.clone());
                    paths.push(layout::record(self.cluster.name(), id));
                }
                continue;
            };
            self.report.kept.push(KeptBackup { id: id.clone(), reason });
        }
        let refused = self.deletion.delete(&paths).await?;
        let refused_ids: Vec<BackupId> = removed
            .iter()
            .filter(|id| refused.contains(&layout::record(self.cluster.name(), id)))
            .cloned()
            .collect();
        for id in refused_ids {
            removed.remove(&id);
            let message = self.deletion.refused.messages.first().cloned().unwrap_or_default();
            self.report.kept.push(KeptBackup { id, reason: KeptReason::Refused { message } });
        }
        Ok(removed)
    }

    async fn sizes(&self) -> Result<Sizes> {
        let systems = self.cluster.systems().await?;
        Ok(systems.into_iter().map(|s| (s.system_identifier, s.wal_segment_size)).collect())
    }

    /// What may go of the WAL that was decided upon, now that the backups are known.
    fn removable_wal(&mut self, asked: Spans, sizes: &Sizes) -> Spans {
        if asked.is_empty() {
            return asked;
        }
        let known =
            |id: &&BackupId| self.request.keep.contains(id) || self.request.remove.contains(id);
        let why = if let Some(kept) = self.report.kept.first() {
            format!("backup {}, which may need it, stays", kept.id)
        } else if let Some(new) = self.survey.committed.iter().find(|id| !known(id)) {
            format!("backup {new} was taken meanwhile, and may need it")
        } else {
            return self.without_live(asked, sizes);
        };
        self.report.wal_kept = Some(why);
        Spans::default()
    }

    /// What no backup under way may need. Each says from where on it does, if it knows.
    fn without_live(&mut self, asked: Spans, sizes: &Sizes) -> Spans {
        let mut left = asked;
        for backup in self.survey.live(self.now) {
            let intent = &backup.intent;
            let system = intent.system_identifier;
            let from = intent.wal_from.zip(sizes.get(&system));
            let from = from.map_or(SegmentNumber(0), |(lsn, size)| size.segment_of(lsn));
            let cut = left.before(system, from);
            if cut != left {
                let which = match intent.wal_from {
                    Some(lsn) => format!("what follows {lsn}"),
                    None => "it".to_owned(),
                };
                let why = format!("backup {} is under way, and may need {which}", intent.id);
                self.report.wal_kept = Some(why);
                left = cut;
            }
        }
        left
    }

    /// What goes now of the WAL, and what waits and is in no mark that waits yet.
    fn divide(&self, asked: &Spans, sizes: &Sizes) -> (Spans, Spans) {
        if self.request.grace.is_zero() {
            return (asked.clone(), Spans::default());
        }
        let waiting = |due: bool| {
            let marks = self.survey.marks.iter().map(|stored| &stored.mark);
            let marks = marks.filter(move |mark| mark.state == ExpiryState::Waiting);
            let marks = marks.filter(move |mark| (mark.sweep_after <= self.now) == due);
            Spans::new(marks.flat_map(|mark| &mark.wal), sizes)
        };
        let (due, not_due) = (waiting(true), waiting(false));
        (asked.and(&due), asked.without(&due).without(&not_due))
    }

    /// The folders to sweep: what was left when the mark was written, and is not in use.
    fn targets(&self) -> BTreeSet<BackupId> {
        let left = self.survey.leftovers(self.now);
        let targets = left.intersection(&self.leftovers);
        targets.filter(|id| self.used_by(id).is_none()).cloned().collect()
    }

    /// Leaves word of what waits, before the own mark goes.
    async fn leave_mark(
        &mut self,
        removed: &BTreeSet<BackupId>,
        wal: Vec<crate::WalSpan>,
    ) -> Result<()> {
        let mark = ExpiryMark {
            id: BackupId::generate(self.now),
            state: ExpiryState::Waiting,
            remove: removed.iter().cloned().collect(),
            sweep: Vec::new(),
            wal,
            ..self.mark.clone()
        };
        let path = layout::mark(self.cluster.name(), &mark.id);
        create_or_same(self.cluster.store(), &path, document::seal(&mark)?).await?;
        self.report.waiting_until = Some(mark.sweep_after);
        Ok(())
    }

    /// Takes away the own mark, and those that waited for what is done now.
    async fn finish(
        mut self,
        unswept: &BTreeSet<BackupId>,
        wal_done: &Spans,
        sizes: &Sizes,
        waits: bool,
    ) -> Result<ExpiryReport> {
        let asked = Spans::new(&self.request.wal, sizes);
        let is_done = |mark: &&ExpiryMark| {
            let mut ids = mark.remove.iter().chain(&mark.sweep);
            let wal = match mark.state {
                ExpiryState::Waiting => Spans::new(&mark.wal, sizes).and(&asked).without(wal_done),
                ExpiryState::UnderWay => Spans::default(),
            };
            ids.all(|id| !unswept.contains(id)) && wal.is_empty()
        };
        let ended = self.survey.ended(&self.mark, self.now).filter(is_done);
        let mut marks: Vec<BackupId> = ended.map(|mark| mark.id.clone()).collect();
        // What waits is in a mark of its own by now.
        if waits || self.report.removed.iter().all(|id| !unswept.contains(id)) {
            marks.push(self.mark.id.clone());
        }
        self.delete_marks(&marks).await?;
        self.report.refused = self.deletion.refused;
        Ok(self.report)
    }

    async fn delete_marks(&mut self, ids: &[BackupId]) -> Result<()> {
        let paths: Vec<String> =
            ids.iter().map(|id| layout::mark(self.cluster.name(), id)).collect();
        self.deletion.delete(&paths).await?;
        Ok(())
    }
}
