use jiff::Zoned;
use walbrook_types::{Lsn, SystemId, TimelineId, WalSegmentSize};

use crate::{Backup, Inventory, Length, Plan, Policy, Result, WalRange, plan};

/// What a policy would keep if from now on a backup was taken every so often, and expired after each.
///
/// An iterator of [`Step`]s, one for each backup, with the plan that is made after it. Every backup
/// takes no time, and WAL is one segment for each minute.
///
/// ```
/// use walbrook_retention::{Inventory, Policy, Simulation};
///
/// let start = "2026-01-01T03:00[Europe/Rome]".parse()?;
/// let policy: Policy = "daily=7 monthly=12".parse()?;
/// let year = Simulation::new(Inventory::default(), policy, &start, "1d".parse()?, "365d".parse()?)?;
/// let last = year.last().ok_or("no step")??;
/// // December's and January's newest are among the seven days.
/// assert_eq!(last.kept(), 7 + 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Simulation {
    inventory: Inventory,
    policy: Policy,
    start: Zoned,
    end: Zoned,
    every: Length,
    /// The number of the next step, none when the calendar has ended.
    next: Option<u32>,
    /// Where the simulated WAL goes on, and the position there at the start.
    line: (SystemId, TimelineId, WalSegmentSize),
    from: Lsn,
}

/// One moment of a simulation: a backup has just been taken, and this is what expiry then does.
#[derive(Debug, Clone)]
pub struct Step {
    /// The moment.
    pub now: Zoned,
    /// The plan.
    pub plan: Plan,
}

impl Step {
    /// How many backups stay.
    pub fn kept(&self) -> usize {
        self.plan.backups.iter().filter(|d| d.action == crate::Action::Keep).count()
    }
}

impl Simulation {
    /// Begins with what is there (nothing, for a policy alone) at `start`, and lasts `length`. The
    /// first backup is taken `every` after the start.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Time`](crate::ErrorKind::Time) when the length leads out of the calendar.
    pub fn new(
        inventory: Inventory,
        policy: Policy,
        start: &Zoned,
        every: Length,
        length: Length,
    ) -> Result<Self> {
        let end = length.after(start, 1)?;
        let newest = inventory.backups.iter().max_by_key(|backup| backup.started_at);
        let (system, timeline) =
            newest.map_or((SystemId(1), TimelineId::FIRST), |b| (b.system, b.timeline));
        let of_line = inventory.wal.iter().filter(|r| r.line() == (system, timeline));
        let last = of_line.max_by_key(|range| range.end);
        let size = last.map_or(WalSegmentSize::DEFAULT, |range| range.segment_size);
        let reached = last.map_or(Lsn(0), |range| range.end);
        let reached = newest.map_or(reached, |backup| reached.max(backup.stop_lsn));
        let from = size.segment_of(reached).next().start(size);
        let line = (system, timeline, size);
        Ok(Self { inventory, policy, start: start.clone(), end, every, next: Some(1), line, from })
    }

    fn step(&mut self, now: Zoned) -> Result<Step> {
        let (system, timeline, size) = self.line;
        let passed = now.timestamp().duration_since(self.start.timestamp());
        let minutes = u64::try_from(passed.as_secs() / 60);
        let start_lsn = self.from + minutes.unwrap_or(0).saturating_mul(size.bytes());
        let stop_lsn = start_lsn + size.bytes();
        let ends_here = |r: &&mut WalRange| r.line() == (system, timeline) && r.end <= start_lsn;
        let last = self.inventory.wal.iter_mut().filter(ends_here).max_by_key(|r| r.end);
        match last {
            Some(range) => {
                // As many bytes as positions: the simulation knows no compression.
                range.bytes = range.bytes.saturating_add(stop_lsn.bytes_since(range.end));
                range.end = stop_lsn;
                range.written_by = Some(now.timestamp());
            }
            None => self.inventory.wal.push(WalRange {
                system,
                timeline,
                start: self.from,
                end: stop_lsn,
                segment_size: size,
                bytes: stop_lsn.bytes_since(self.from),
                written_by: Some(now.timestamp()),
            }),
        }
        self.inventory.backups.push(Backup {
            id: format!("simulated-{}", now.strftime("%Y%m%dT%H%M%S%z")),
            system,
            timeline,
            start_lsn,
            stop_lsn,
            started_at: now.timestamp(),
            stopped_at: now.timestamp(),
            self_contained: false,
            damaged: false,
            pins: Vec::new(),
            annotations: Default::default(),
            bytes: 0,
        });
        let plan = plan(&self.inventory, &self.policy, &now)?;
        self.inventory = plan.applied_to(&self.inventory);
        Ok(Step { now, plan })
    }
}

impl Iterator for Simulation {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.next?;
        self.next = number.checked_add(1);
        match self.every.after(&self.start, number) {
            Ok(now) if now > self.end => None,
            Ok(now) => Some(self.step(now)),
            Err(error) => {
                self.next = None;
                Some(Err(error))
            }
        }
    }
}
