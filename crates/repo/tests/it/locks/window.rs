//! The promise of `--lock-until D`, over many made-up histories: with backups that each end at most S
//! after the one before began, every moment can be restored for D - S after it has passed, whatever an
//! attacker deletes that is not locked, and whenever.
//!
//! The model has what backups and pushes do to locks (`UncommittedBackup::lock`, `LockingStore`), in
//! their order and at any pace, and takes the dates of locks from the code.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use walbrook_store::LockUntil;

/// A cheap source of choices that a seed repeats.
struct Random(u64);

impl Random {
    fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        least + number % (most.max(least) - least + 1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Seconds of the model, of which 0 is no full hour.
fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + second)
}

/// An object: from when on it is there, and what was done to its lock.
struct Object {
    created: u64,
    locks: Vec<(u64, SystemTime)>,
}

impl Object {
    fn new(until: LockUntil, created: u64) -> Self {
        Self { created, locks: vec![(created, until.date(at(created)))] }
    }

    /// A backup sees to it that it is locked.
    fn extend(&mut self, until: LockUntil, now: u64) {
        let lock = until.lock(at(now));
        if self.locked(now) < lock.enough {
            self.locks.push((now, lock.until));
        }
    }

    /// Until when it is locked by what was done up to then.
    fn locked(&self, by: u64) -> SystemTime {
        let done = self.locks.iter().filter(|(when, _)| *when <= by);
        done.map(|(_, until)| *until).max().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Whether it is there at a moment, when somebody deletes what they can from `attack` on.
    fn survives(&self, attack: u64, moment: u64) -> bool {
        self.created <= attack && (moment < attack || self.locked(attack) > at(moment))
    }
}

struct Backup {
    began: u64,
    /// From when on it can be restored to.
    consistent: u64,
    committed: u64,
    /// All its packs, of its own and of earlier ones, manifest and record.
    objects: BTreeSet<usize>,
}

/// What was done, and which parts of it are left out to see that they are needed.
struct History {
    until: LockUntil,
    objects: Vec<Object>,
    /// Each segment: the last moment in it, and its object.
    wal: Vec<(u64, usize)>,
    backups: Vec<Backup>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LeftOut {
    Nothing,
    /// Locks of packs of earlier backups are not extended.
    SharedPacks,
    /// WAL is pushed without locks.
    WalLocks,
}

impl History {
    fn made_up(random: &mut Random, length: u64, left_out: LeftOut) -> Self {
        let until = LockUntil::For(Duration::from_secs(length));
        let mut history = Self { until, objects: Vec::new(), wal: Vec::new(), backups: Vec::new() };
        let end = random.between(length, 3 * length);
        let interval = random.between(HOUR, length / 2);
        // The document of the repository, and that of the system.
        let documents = BTreeSet::from([history.create(0), history.create(0)]);
        let (mut now, step) = (0, random.between(600, interval));
        while now < end + DAY {
            now += random.between(1, step);
            let pushed = now + random.between(0, 1200);
            let object = history.create(pushed);
            if left_out == LeftOut::WalLocks {
                history.objects[object].locks.clear();
            }
            history.wal.push((now, object));
        }
        let mut began = 0;
        while began < end {
            let consistent = began + random.between(60, interval / 2);
            // It waits for its WAL.
            let last = history.wal.iter().find(|(through, _)| *through >= consistent);
            let Some(pushed) = last.map(|(_, object)| history.objects[*object].created) else {
                break;
            };
            let locking = pushed.max(consistent) + random.between(0, 600);
            let committed = locking + random.between(0, 600);
            let mut objects = documents.clone();
            if let Some(base) = history.backups.last() {
                // Packs are left behind by and by.
                let kept = base.objects.iter().filter(|_| random.chance(80));
                objects.extend(kept);
            }
            let wal = history.wal_between(began, consistent);
            for object in objects.iter().chain(&wal).copied().collect::<Vec<_>>() {
                let when = random.between(locking, committed);
                if left_out != LeftOut::SharedPacks || documents.contains(&object) {
                    history.objects[object].extend(until, when);
                }
            }
            for _ in 0..random.between(1, 4) {
                objects.insert(history.create(random.between(began, committed)));
            }
            objects.insert(history.create(committed));
            history.backups.push(Backup { began, consistent, committed, objects });
            began = committed + random.between(60, interval);
        }
        history
    }

    fn create(&mut self, now: u64) -> usize {
        self.objects.push(Object::new(self.until, now));
        self.objects.len() - 1
    }

    /// The segments that have what was written from one moment to another.
    fn wal_between(&self, from: u64, to: u64) -> Vec<usize> {
        let first = self.wal.partition_point(|(through, _)| *through < from);
        let last = self.wal.partition_point(|(through, _)| *through < to);
        self.wal[first..(last + 1).min(self.wal.len())].iter().map(|(_, object)| *object).collect()
    }

    /// The longest time from the begin of a backup to the end of the next, up to the attack.
    fn longest_gap(&self, attack: u64) -> u64 {
        let done: Vec<_> = self.backups.iter().filter(|b| b.committed <= attack).collect();
        let next = done.iter().skip(1).map(|next| next.committed).chain([attack]);
        done.iter().zip(next).map(|(backup, next)| next - backup.began).max().unwrap_or(0)
    }

    fn restorable(&self, target: u64, attack: u64, moment: u64) -> bool {
        let alive = |object: &usize| self.objects[*object].survives(attack, moment);
        self.backups.iter().any(|backup| {
            backup.consistent <= target
                && backup.committed <= attack
                && backup.objects.iter().all(alive)
                && self.wal_between(backup.began, target).iter().all(alive)
        })
    }

    /// A moment that was promised and can't be restored.
    fn broken(&self, length: u64, attack: u64) -> Option<u64> {
        let promised = length.saturating_sub(self.longest_gap(attack));
        let first = self.backups.first()?;
        let archived = |(_, object): &&(u64, usize)| self.objects[*object].created <= attack;
        let moments = self.wal.iter().take_while(archived).map(|(through, _)| *through);
        // The last moment at which it was promised, if that is not before the attack.
        moments
            .filter(|target| *target >= first.consistent && first.committed <= attack)
            .filter(|target| promised > 0 && target + promised > attack)
            .find(|target| !self.restorable(*target, attack, target + promised - 1))
    }
}

/// How many of so many histories break the promise.
fn broken(histories: u64, left_out: LeftOut) -> u64 {
    let mut broken = 0;
    let mut looked_at = 0;
    for seed in 1..=histories {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let length = random.between(12 * HOUR, 30 * DAY);
        let history = History::made_up(&mut random, length, left_out);
        let last = history.backups.last().map_or(0, |backup| backup.committed);
        for _ in 0..4 {
            let attack = random.between(0, last);
            looked_at += u64::from(history.longest_gap(attack) < length / 2);
            broken += u64::from(history.broken(length, attack).is_some());
        }
    }
    assert!(looked_at > histories, "promises of nothing prove nothing");
    broken
}

#[test]
fn every_moment_stays_restorable_for_as_long_as_promised() {
    assert_eq!(broken(400, LeftOut::Nothing), 0);
}

#[test]
fn and_no_part_of_it_can_be_left_out() {
    assert!(broken(100, LeftOut::SharedPacks) > 0);
    assert!(broken(100, LeftOut::WalLocks) > 0);
}
