//! Sixty backups of a server that goes on, expired by a grandfather-father-son policy with a recovery
//! window, on a [`Clock`] that is made up.
//!
//! `WALBROOK_EXPIRE_SEED` repeats a run's choices.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use walbrook::types::{Lsn, WalSegmentSize};
use walbrook_testkit::{Cluster, Fingerprint, Until, fingerprint, wait_for};

use super::model::{Known, Rules};
use super::{Clock, Objects};
use crate::end_to_end::newest;
use crate::support::{Random, Scene};

const BACKUPS: usize = 60;

/// After so many backups one expires.
const EVERY: usize = 5;

const HOUR: i64 = 3600;

/// Of each rule there is something to keep, and to remove, in the two months that the story takes.
const RULES: Rules = Rules {
    window: 60,
    periods: &[
        ("%F %H %z", "hourly", 3),
        ("%F", "daily", 4),
        ("%G-%V", "weekly", 3),
        ("%Y-%m", "monthly", 2),
    ],
};

/// What the database does between backups; `?` is a random number below a hundred.
const CHANGES: [&str; 12] = [
    "UPDATE accounts SET balance = balance + 1 WHERE id % 100 = ?",
    "UPDATE accounts SET filler = md5(filler) WHERE id BETWEEN ? * 80 AND ? * 80 + 60",
    "DELETE FROM accounts WHERE id % 400 = ?",
    "INSERT INTO accounts SELECT g, g, md5(g::text) FROM generate_series(1, ?) g",
    "INSERT INTO wide SELECT string_agg(md5((g * ?)::text), '') FROM generate_series(1, 900) g",
    "DELETE FROM wide WHERE ctid IN (SELECT ctid FROM wide LIMIT 1)",
    "CREATE TABLE IF NOT EXISTS passing AS SELECT g AS n FROM generate_series(1, ? * 20) g",
    "DROP TABLE IF EXISTS passing",
    "TRUNCATE journal; INSERT INTO journal SELECT g, 'anew' FROM generate_series(1, ?) g",
    "VACUUM FULL accounts",
    "VACUUM (FREEZE) accounts",
    "REINDEX TABLE accounts",
];

/// A moment between two transactions, with all that a recovery target can call it but its time.
struct Point {
    name: String,
    lsn: String,
    xid: String,
    /// By the clock that is made up.
    at: i64,
    contents: Fingerprint,
}

/// The server, its repository, and what is remembered of both.
struct Story {
    // Dropped in this order: the server stops before its directory goes.
    cluster: Cluster,
    scene: Scene,
    clock: Clock,
    random: Random,
    /// The backups that there should be, in the order in which they were taken, with what each holds.
    known: Vec<(Known, Fingerprint)>,
    points: Vec<Point>,
    taken: usize,
    /// Expiries that kept what is pinned for nothing else.
    pin_counted: usize,
    restored: usize,
    refused: usize,
    /// Where the time went.
    spent: [Duration; 4],
}

impl Story {
    fn begin() -> Self {
        let scene = Scene::new();
        let builder = Cluster::builder(newest()).wal_segsize_mb(1);
        let cluster = scene.archiving(builder.config("max_wal_size", "64MB")).start().unwrap();
        let sql = "CREATE TABLE accounts (id int, balance int, filler text);
                   INSERT INTO accounts SELECT g, 0, md5(g::text) FROM generate_series(1, 8000) g;
                   CREATE INDEX ON accounts (id);
                   CREATE TABLE wide (body text);
                   CREATE TABLE journal (n int, what text)";
        cluster.psql_ok("postgres", sql).unwrap();
        Self {
            cluster,
            scene,
            clock: Clock::new(),
            random: Random::seeded("WALBROOK_EXPIRE_SEED"),
            known: Vec::new(),
            points: Vec::new(),
            taken: 0,
            pin_counted: 0,
            restored: 0,
            refused: 0,
            spent: [Duration::ZERO; 4],
        }
    }

    fn folder(&self) -> PathBuf {
        self.scene.repo().join(Scene::CLUSTER)
    }

    fn timed<T>(&mut self, what: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        let begun = Instant::now();
        let result = work(self);
        self.spent[what] += begun.elapsed();
        result
    }

    /// Time passes and the database changes, with a few moments that are remembered, the last one
    /// right before the backup.
    fn back_up(&mut self) {
        let gap = match self.random.below(20) {
            0..7 => self.random.between(10 * 60, 50 * 60),
            7..13 => self.random.between(3 * HOUR, 8 * HOUR),
            13..18 => self.random.between(20 * HOUR, 28 * HOUR),
            // The window still has the three moments before it.
            _ => self.random.between(60 * HOUR, 85 * HOUR),
        };
        let count = if (self.taken + 1).is_multiple_of(EVERY) { 3 } else { 2 };
        for _ in 0..count {
            self.clock.go_on(gap / count as i64);
            self.timed(0, Self::pass);
        }
        self.clock.go_on(1);
        let id = self.timed(1, Self::take_backup);
        self.clock.date(&self.folder(), &id);
        let contents = self.points.last().unwrap().contents.clone();
        self.known.push((Known { id, at: self.clock.second(), pinned: None }, contents));
        self.taken += 1;
        if self.taken == 1 {
            self.scene.start_archiving(&self.cluster);
        }
    }

    fn take_backup(&mut self) -> String {
        let directory = self.cluster.data_dir().to_str().unwrap();
        let sources = [&["--source", "sql"][..], &["--source", "local", "--pgdata", directory]];
        let source = *self.random.choose(&sources);
        let record = self.scene.backup(&self.cluster, source);
        assert_eq!(record["base"].is_null(), self.taken == 0, "{record}");
        record["id"].as_str().unwrap().to_owned()
    }

    fn pass(&mut self) {
        let mut sql = String::new();
        for _ in 0..3 {
            let change = *self.random.choose(&CHANGES);
            let number = self.random.below(100).to_string();
            sql += &format!("{};\n", change.replace('?', &number));
        }
        let name = format!("point {}", self.points.len());
        sql += &format!(
            "INSERT INTO journal VALUES (0, '{name}') RETURNING pg_current_xact_id()::xid"
        );
        let xid = self.cluster.psql("postgres", &sql).unwrap_or_else(|e| panic!("{e}: {sql}"));
        let contents = fingerprint(&self.cluster, "postgres").unwrap();
        let lsn = self.cluster.current_lsn().unwrap();
        let name_it = format!("SELECT pg_create_restore_point('{name}')");
        self.cluster.psql_ok("postgres", &name_it).unwrap();
        self.points.push(Point { name, lsn, xid, at: self.clock.second(), contents });
    }

    fn run_expire(&self, args: &[&str]) -> Value {
        self.run_expire_with("0", args)
    }

    fn run_expire_with(&self, grace: &str, args: &[&str]) -> Value {
        let common = ["--output", "json", "--time-zone", self.clock.zone(), "--grace", grace];
        let now = self.clock.now().timestamp().to_string();
        let args = [&common[..], &["--now", &now], args].concat();
        serde_json::from_str(&self.scene.ok("walbrook-expire", &args).stdout).unwrap()
    }

    /// Expires by the policy, and looks at what is left.
    fn expire(&mut self) {
        let all: Vec<Known> = self.known.iter().map(|(known, _)| known.clone()).collect();
        let now = self.clock.now();
        let expected = RULES.keep(&all, now);
        let unpinned: Vec<Known> =
            all.iter().map(|known| Known { pinned: None, ..known.clone() }).collect();
        self.pin_counted += usize::from(RULES.keep(&unpinned, now) != expected);
        let gone: BTreeSet<String> =
            all.iter().map(|b| b.id.clone()).filter(|id| !expected.contains(id)).collect();
        let mut rolled_forward = RULES.of_window(&all, now);
        rolled_forward.extend(all.last().map(|newest| newest.id.clone()));

        let flags = RULES.flags();
        let mut args: Vec<&str> = flags.iter().map(String::as_str).collect();
        args.extend(["--keep-wal", "standalone"]);
        let before = Objects::of(&self.scene.repo());
        let plan = self.run_expire(&[&args[..], &["--dry-run"]].concat());
        assert_eq!(Objects::of(&self.scene.repo()), before, "a dry run");
        assert_eq!(planned(&plan, "keep"), expected, "{now}: {all:?}");
        assert_eq!(planned(&plan, "remove"), gone, "{now}: {all:?}");
        let report = self.run_expire(&args);
        assert_eq!(ids(&report["removed"]), gone);
        let after = Objects::of(&self.scene.repo());
        check_freed(&report, &before, &after);
        assert_eq!(report["wal_segments"], planned_segments(&plan), "{report}");
        after.check(&self.scene.repo(), &rolled_forward, true);
        self.known.retain(|(known, _)| expected.contains(&known.id));
        assert_eq!(self.listed(), expected);
    }

    /// Removes a backup by name; it frees what `walbrook-list` said.
    fn remove(&mut self, index: usize) {
        let (removed, _) = self.known.remove(index);
        let said = self.scene.ok("walbrook-list", &["--frees", "--output", "json"]).stdout;
        let said: Value = serde_json::from_str(&said).unwrap();
        let said = said[0]["systems"][0]["backups"].as_array().unwrap().iter();
        let said = said.clone().find(|backup| backup["id"] == removed.id.as_str()).unwrap();
        let before = Objects::of(&self.scene.repo());
        let report = self.run_expire(&["--backup", &removed.id]);
        assert_eq!(ids(&report["removed"]), [removed.id.clone()].into());
        let after = Objects::of(&self.scene.repo());
        check_freed(&report, &before, &after);
        let freed = before.without(&after).bytes(|path| path.starts_with("backups/"));
        assert_eq!(said["frees"], freed, "what {} frees", removed.id);
    }

    fn listed(&self) -> BTreeSet<String> {
        let mut listed = self.scene.list();
        assert_eq!(listed["gaps"], Value::Array(Vec::new()), "what is removed is not missing");
        let backups = listed["backups"].take();
        let backups = backups.as_array().unwrap();
        assert!(backups.iter().all(|backup| backup["restorable"] == true), "{backups:?}");
        backups.iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Restores to so many random moments of the window, by whichever name they have.
    fn check_window(&mut self, count: usize) {
        let since = RULES.since(self.clock.now());
        let mut inside: Vec<usize> =
            (0..self.points.len()).filter(|i| self.points[*i].at >= since).collect();
        assert!(inside.len() >= count);
        for _ in 0..count {
            let which = inside.swap_remove(self.random.below(inside.len()));
            let target = self.target(which);
            let point = &self.points[which];
            let what = format!("{} by {target:?}", point.name);
            self.check_restored(&[target.0, &target.1], &point.contents, &what);
            self.restored += 1;
        }
    }

    fn target(&mut self, which: usize) -> (&'static str, String) {
        let point = &self.points[which];
        match self.random.below(3) {
            0 => ("--target-name", point.name.clone()),
            1 => ("--target-lsn", point.lsn.clone()),
            _ => ("--target-xid", point.xid.clone()),
        }
    }

    /// Restores a backup, up to where it is consistent.
    fn check_backup(&mut self, index: usize) {
        let (known, contents) = &self.known[index];
        let args = ["--backup", &known.id, "--target", "immediate"];
        self.check_restored(&args, contents, &known.id);
        self.restored += 1;
    }

    fn check_restored(&self, args: &[&str], contents: &Fingerprint, what: &str) {
        let directory = self.scene.restore("restored", args);
        let adopted = self.scene.adopt(&self.cluster, &directory).until(Until::Paused);
        let restored = adopted.start().unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(&fingerprint(&restored, "postgres").unwrap(), contents, "{what}");
        drop(restored);
        fs::remove_dir_all(directory).unwrap();
    }

    /// A random moment whose WAL is gone can't be had, and nothing is written.
    fn check_gone(&mut self) {
        let size = WalSegmentSize::new(1 << 20).unwrap();
        let objects = Objects::of(&self.scene.repo());
        let kept: BTreeSet<&str> = objects
            .0
            .keys()
            .filter_map(|path| path.strip_prefix("wal/")?.rsplit('/').next())
            .collect();
        let is_gone = |point: &Point| {
            let lsn: Lsn = point.lsn.parse().unwrap();
            let segment = size.segment_of(lsn).0;
            let name = format!("{:08X}{:08X}{:08X}", 1, segment / 4096, segment % 4096);
            !kept.contains(name.as_str())
        };
        let gone: Vec<usize> =
            (0..self.points.len()).filter(|i| is_gone(&self.points[*i])).collect();
        if gone.is_empty() {
            return;
        }
        let which = *self.random.choose(&gone);
        let target = self.target(which);
        let ran = self.scene.try_restore("refused", &[target.0, &target.1]);
        assert_eq!(ran.code, Some(1), "{} by {target:?}: {ran:?}", self.points[which].name);
        assert!(!self.scene.path("refused").exists(), "nothing is written: {}", ran.stderr);
        self.refused += 1;
    }
}

/// What became of each backup in a plan.
fn planned(plan: &Value, action: &str) -> BTreeSet<String> {
    let decisions = plan["backups"].as_array().unwrap().iter();
    let such = decisions.filter(|decision| decision["action"] == action);
    such.map(|decision| decision["backup"]["id"].as_str().unwrap().to_owned()).collect()
}

/// How many segments a plan removes.
fn planned_segments(plan: &Value) -> u64 {
    let decisions = plan["wal"].as_array().unwrap().iter();
    let removed = decisions.filter(|decision| decision["action"] == "remove");
    let lsn = |value: &Value| value.as_str().unwrap().parse::<Lsn>().unwrap().0;
    removed.map(|range| (lsn(&range["range"]["end"]) - lsn(&range["range"]["start"])) >> 20).sum()
}

fn ids(array: &Value) -> BTreeSet<String> {
    array.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// What an expiry says that it freed is what is gone, and nothing else has changed.
#[track_caller]
fn check_freed(report: &Value, before: &Objects, after: &Objects) {
    assert_eq!(after.without(before), Objects::none(), "are new");
    let gone = before.without(after);
    let stay = before.without(&gone);
    assert_eq!(&stay, after, "have changed");
    // Commits are not told: they are gone before anything is freed.
    let told = |path: &str| !path.starts_with("wal/") && !path.ends_with("/backup.json");
    assert_eq!(report["bytes"], gone.bytes(told), "{report}");
    assert_eq!(report["wal_bytes"], gone.bytes(|path| path.starts_with("wal/")), "{report}");
    assert_eq!(report["refused"]["objects"], 0, "{report}");
}

#[test]
fn sixty_backups_under_a_policy() {
    let mut story = Story::begin();
    let only = |story: &mut Story| {
        let id = story.known[0].0.id.clone();
        let refused = story.scene.run("walbrook-expire", &["--backup", &id]).expect(1);
        assert!(refused.stderr.contains("can't be removed"), "{}", refused.stderr);
    };
    story.back_up();
    only(&mut story);
    story.back_up();
    // The first one copied all, and goes: the second is whole without it.
    story.remove(0);
    story.points.iter_mut().for_each(|point| point.at = i64::MIN);
    only(&mut story);
    story.check_backup(0);
    let after_first = Objects::of(&story.scene.repo());
    after_first.check(&story.scene.repo(), &story.listed(), true);

    let mut pinned = false;
    while story.taken < BACKUPS {
        story.back_up();
        if !story.taken.is_multiple_of(EVERY) {
            continue;
        }
        story.clock.go_on(5 * 60);
        story.timed(2, Story::expire);
        story.timed(3, |story| {
            story.check_window(3);
            story.check_gone();
            let now = story.clock.now();
            let all: Vec<Known> = story.known.iter().map(|(known, _)| known.clone()).collect();
            let of_window = RULES.of_window(&all, now);
            let others: Vec<usize> =
                (0..all.len()).filter(|i| !of_window.contains(&all[*i].id)).collect();
            if !others.is_empty() {
                let which = *story.random.choose(&others);
                story.check_backup(which);
            }
        });
        if !pinned && story.taken >= 15 {
            pinned = true;
            story.pin();
        }
    }
    println!(
        "{} backups up to {}, {} restored, {} refused, {} times a pin counted; {} are left; changes took {:?}, backups {:?}, \
         expiries {:?}, restores {:?}",
        story.taken,
        story.clock.now(),
        story.restored,
        story.refused,
        story.pin_counted,
        story.known.len(),
        story.spent[0],
        story.spent[1],
        story.spent[2],
        story.spent[3],
    );
    assert!(story.refused > 3);

    // Some are removed by name, and the rest still restores.
    for _ in 0..3 {
        let which = story.random.below(story.known.len() - 1);
        story.remove(which);
    }
    assert_eq!(story.listed(), story.known.iter().map(|(known, _)| known.id.clone()).collect());
    story.expire_with_grace();
    let which = story.random.below(story.known.len());
    story.check_backup(which);
    story.check_real_clock();
}

impl Story {
    /// Pins a backup of the window, which otherwise few rules want when the window has passed it.
    fn pin(&mut self) {
        let which = self.known.len() - 1 - self.random.between(1, 4) as usize;
        let until = self.clock.second() + 12 * 24 * HOUR;
        let known = &mut self.known[which].0;
        known.pinned = Some(until);
        let until = jiff::Timestamp::from_second(until).unwrap().to_string();
        let args = ["--pin", &known.id, "--until", &until, "--note", "audit"];
        self.scene.ok("walbrook-list", &args);
        let id = known.id.clone();
        let table = self.scene.ok("walbrook-list", &[]).stdout;
        assert!(table.contains("pinned until"), "{table}");
        let now = self.clock.now().timestamp().to_string();
        let args = ["--backup", &id, "--now", &now];
        let refused = self.scene.run("walbrook-expire", &args).expect(1);
        assert!(refused.stderr.contains("pinned"), "{}", refused.stderr);
    }

    /// Expires with a grace, which is by the real clock: until it is over all but commits is left.
    fn expire_with_grace(&mut self) {
        let args = ["--keep-last", "3", "--keep-wal", "standalone"];
        let before = Objects::of(&self.scene.repo());
        let report = self.run_expire_with("1s", &args);
        assert!(!report["waiting_until"].is_null(), "{report}");
        let gone = before.without(&Objects::of(&self.scene.repo()));
        let commits = gone.bytes(|path| path.ends_with("/backup.json"));
        assert_eq!((report["bytes"].as_u64(), gone.bytes(|_| true)), (Some(0), commits));
        self.known.drain(..self.known.len() - 3);
        assert_eq!(self.listed(), self.known.iter().map(|(known, _)| known.id.clone()).collect());
        let nothing_waits = || {
            self.run_expire_with("1s", &args);
            !Objects::of(&self.scene.repo()).0.keys().any(|path| path.starts_with("expiry/"))
        };
        wait_for("the end of the grace", Duration::from_secs(60), nothing_waits).unwrap();
        let newest = self.known.last().unwrap().0.id.clone();
        Objects::of(&self.scene.repo()).check(&self.scene.repo(), &[newest].into(), true);
    }

    /// By the real clock all backups are from the future: a new one is good, and nothing goes.
    fn check_real_clock(&mut self) {
        let config = self.scene.path("walbrook.toml");
        fs::write(&config, "grace = 0\n[retention]\nkeep-last = 1\n").unwrap();
        let conninfo = self.cluster.conninfo();
        let args = ["-d", &conninfo, "--expire", "--config", config.to_str().unwrap()];
        let held = self.scene.run("walbrook-backup", &args).expect(4);
        assert!(held.stderr.contains("from the future"), "{}", held.stderr);
        assert_eq!(self.listed().len(), self.known.len() + 1);
    }
}
