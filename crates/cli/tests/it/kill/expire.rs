//! `walbrook-expire`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use walbrook::repo::{ExpiryRequest, Repository};
use walbrook_testkit::{Cluster, Until, wait_for};

use super::audit::Audit;
use super::rounds::Rounds;
use crate::end_to_end::newest;
use crate::expire::Objects;
use crate::support::{Ran, Scene, ran};

/// Backups that there are when a round begins, and how many of them the policy keeps.
const BACKUPS: usize = 6;
const KEPT: usize = 3;

/// Objects that nobody needs in the folder of each removed backup: so that deleting takes a while.
const PADDING: usize = 1500;

const POLICY: [&str; 6] = ["--keep-last", "3", "--keep-wal", "standalone", "--grace", "0"];

/// What a round does beside killing an expiry.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Nothing.
    Alone,
    /// A backup is under way meanwhile.
    Beside,
    /// What is being removed is what the next backup would build on.
    TheNewest,
}

/// A server, and a repository of it of which each round takes a copy.
struct Template {
    scene: Scene,
    cluster: Cluster,
    ids: Vec<String>,
    /// The `n`th backup has so many rows.
    rows: Vec<u64>,
}

impl Template {
    fn make() -> Self {
        let scene = Scene::new();
        let cluster = Cluster::builder(newest()).wal_segsize_mb(1).start().unwrap();
        cluster.psql_ok("postgres", "CREATE TABLE t (n int, x text)").unwrap();
        let mut template = Self { scene, cluster, ids: Vec::new(), rows: Vec::new() };
        for _ in 0..BACKUPS {
            template.change();
            let record = template.scene.backup(&template.cluster, &[]);
            template.ids.push(record["id"].as_str().unwrap().to_owned());
            template.rows.push(template.count(&template.cluster));
        }
        let removed = template.ids[..BACKUPS - KEPT].iter();
        // The newest is removed in some rounds; and of one that died nothing else is left.
        let others = [template.ids[BACKUPS - 1].as_str(), "20200101T000000Z-00000000"];
        for id in removed.map(String::as_str).chain(others) {
            let folder = template.scene.repo().join(Scene::CLUSTER).join("backups").join(id);
            fs::create_dir_all(&folder).unwrap();
            walbrook_testkit::give_to_server(&folder).unwrap();
            for number in 0..PADDING {
                let name = format!("pack-{:07}", 5_000_000 + number);
                fs::write(folder.join(name), b"in nobody's manifest").unwrap();
            }
        }
        template
    }

    fn change(&self) {
        let sql = "INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 1000) g;
                   UPDATE t SET x = md5(x) WHERE n % 50 = 3";
        self.cluster.psql_ok("postgres", sql).unwrap();
    }

    fn count(&self, cluster: &Cluster) -> u64 {
        cluster.psql("postgres", "SELECT count(*) FROM t").unwrap().parse().unwrap()
    }

    /// A repository of its own, of the same content: objects never change, so they may be shared.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.scene.path(name);
        let mut command = Command::new("cp");
        command.arg("-al").arg(self.scene.repo()).arg(&copy);
        assert!(command.status().unwrap().success());
        copy
    }

    fn command(&self, repo: &Path, args: &[&str]) -> Command {
        let mut command = self.scene.command("walbrook-expire", args);
        command.env("WALBROOK_REPO", repo);
        command
    }

    fn backup(&self, repo: &Path) -> Value {
        let dsn = self.cluster.conninfo();
        let args = ["-d", &dsn, "--output", "json", "--repo", repo.to_str().unwrap()];
        serde_json::from_str(&self.scene.ok("walbrook-backup", &args).stdout).unwrap()
    }

    /// Restores a backup and looks whether it has so many rows.
    fn check_restored(&self, repo: &Path, id: &str, rows: u64) {
        let args = ["--repo", repo.to_str().unwrap(), "--backup", id, "--target", "immediate"];
        let directory = self.scene.restore("restored", &args);
        let adopted = self.scene.adopt(&self.cluster, &directory).until(Until::Paused);
        let restored = adopted.start().unwrap();
        assert_eq!(self.count(&restored), rows, "{id}");
        drop(restored);
        fs::remove_dir_all(directory).unwrap();
    }
}

/// A backup that takes its time. It is killed when this is dropped.
struct Slow(Option<Child>);

impl Slow {
    fn begin(template: &Template, repo: &Path) -> Self {
        let dsn = template.cluster.conninfo();
        let args = ["-d", &dsn, "--output", "json", "--changes", "hash", "--max-rate", "24M"];
        let mut command = template.scene.command("walbrook-backup", &args);
        command.env("WALBROOK_REPO", repo);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let slow = Self(Some(command.spawn().unwrap()));
        let begun = || {
            let folders = fs::read_dir(repo.join(Scene::CLUSTER).join("backups")).unwrap();
            let intents = folders.map(|folder| folder.unwrap().path().join("intent.json"));
            intents.filter(|intent| intent.exists()).count() > BACKUPS
        };
        wait_for("the backup's intent", Duration::from_secs(60), begun).unwrap();
        slow
    }

    fn end(mut self) -> Ran {
        ran(self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_killed_expiry() {
    let template = Template::make();
    let newest = template.ids[BACKUPS - 1].as_str();
    let by_name = ["--backup", newest, "--even-last", "--grace", "0"];
    let mut number = 0;
    let mut rounds = Rounds::measure("walbrook-expire", || {
        number += 1;
        let repo = template.copy(&format!("measured-{number}"));
        template.command(&repo, &POLICY)
    });
    for number in 1..=number {
        let repo = template.scene.path(&format!("measured-{number}"));
        // An undisturbed run leaves no more than a killed one that was run again.
        check_clean(&repo, &template.ids[BACKUPS - KEPT..], true);
        fs::remove_dir_all(repo).unwrap();
    }

    let kind = |round: u32| match round % 4 {
        1 => Kind::Beside,
        2 => Kind::TheNewest,
        _ => Kind::Alone,
    };
    let mut died = [0; 4];
    let mut slow = None;
    while let Some((round, killed)) = rounds.kill_next(|round| {
        let repo = template.copy("copy");
        let kind = kind(round);
        slow = (kind == Kind::Beside).then(|| Slow::begin(&template, &repo));
        let args = if kind == Kind::TheNewest { &by_name[..] } else { &POLICY };
        template.command(&repo, args)
    }) {
        let repo = template.scene.path("copy");
        let kind = kind(round);
        died[stage(&template, &repo)] += usize::from(killed);
        let keep = match kind {
            Kind::TheNewest => &template.ids[..BACKUPS - 1],
            _ => &template.ids[BACKUPS - KEPT..],
        };
        // What a backup under way adds would be missed in part.
        let listed = match kind {
            Kind::Beside => Vec::new(),
            _ => Audit::of(&repo).check(&template.scene),
        };
        let whole = || keep.iter().all(|id| listed.contains(id));
        assert!(kind == Kind::Beside || whole(), "round {round}: {listed:?}");

        // What comes next may be a backup, or the same again.
        let mut taken = None;
        if kind == Kind::TheNewest {
            taken = Some(template.backup(&repo));
        }
        let repo_args = ["--repo", repo.to_str().unwrap()];
        let policy = [&POLICY[..], &repo_args].concat();
        let by_name = [&by_name[..], &repo_args].concat();
        if kind != Kind::TheNewest {
            template.scene.again(round, "walbrook-expire", &policy);
        } else if listed.iter().any(|id| id == newest) {
            template.scene.again(round, "walbrook-expire", &by_name);
        }
        if let Some(slow) = slow.take() {
            let ran = slow.end().expect(0);
            taken = Some(serde_json::from_str(&ran.stdout).unwrap());
            // While it was under way what it builds on stayed, with WAL.
            template.scene.again(round, "walbrook-expire", &policy);
        }
        bury(&repo);

        let mut left: Vec<String> = match kind {
            Kind::TheNewest => template.ids[..BACKUPS - 1].to_vec(),
            Kind::Beside => template.ids[BACKUPS - KEPT + 1..].to_vec(),
            Kind::Alone => template.ids[BACKUPS - KEPT..].to_vec(),
        };
        left.extend(taken.iter().map(|record| record["id"].as_str().unwrap().to_owned()));
        let audited: BTreeSet<_> = Audit::of(&repo).check(&template.scene).into_iter().collect();
        assert_eq!(audited, left.iter().cloned().collect(), "round {round}, {kind:?}");
        check_clean(&repo, &left, kind != Kind::TheNewest);
        // All are read, above; some are started.
        let which = match kind {
            Kind::Alone if round.is_multiple_of(2) => Some(round as usize / 2 % left.len()),
            Kind::Alone => None,
            Kind::Beside | Kind::TheNewest => Some(left.len() - 1),
        };
        if let Some(id) = which.map(|which| &left[which]) {
            let known = template.ids.iter().position(|known| known == id);
            template.check_restored(&repo, id, template.rows[known.unwrap_or(BACKUPS - 1)]);
        }
        fs::remove_dir_all(&repo).unwrap();
        rounds.passed();
    }
    let [before, commits, sweep, done] = died;
    println!(
        "kill: walbrook-expire: {before} died before a commit was removed, {commits} before anything \
         else was, {sweep} before all was, {done} after that"
    );
    rounds.finish();
}

/// How far an expiry has come: no commit is removed, nothing but commits, not all, or all.
fn stage(template: &Template, repo: &Path) -> usize {
    let gone = Objects::of(&template.scene.repo()).without(&Objects::of(repo));
    let commits = |path: &str| path.ends_with("/backup.json");
    if gone.count(|path| !commits(path)) == 0 {
        return usize::from(gone.count(commits) > 0);
    }
    let padding = Objects::of(repo).count(|path| path.contains("/pack-5"));
    // In the folder of the newest of those that stay.
    2 + usize::from(padding <= PADDING)
}

/// A day and an hour later: what an expiry that died has left goes.
fn bury(repo: &Path) {
    let request = ExpiryRequest {
        remove: Vec::new(),
        keep: Vec::new(),
        wal: Vec::new(),
        grace: Duration::ZERO,
        now: Some(Timestamp::now() + Duration::from_secs(25 * 3600)),
        decided_for: Timestamp::now(),
        host: "here".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = walbrook::store::open(&repo.to_str().unwrap().parse().unwrap()).unwrap();
        let repository = Repository::open(store).await.unwrap();
        repository.cluster(Scene::CLUSTER).unwrap().expire(&request).await.unwrap();
    });
}

/// Nothing is there but these backups, and what they need.
fn check_clean(repo: &Path, left: &[String], standalone: bool) {
    let rolled_forward = if standalone { &left[left.len() - 1..] } else { left };
    let mut objects = Objects::of(repo);
    // The newest backup exists in most rounds: what pads its folder is not looked for there.
    let of_newest =
        |path: &str| path.contains("/pack-5") && left.iter().any(|id| path.contains(id.as_str()));
    objects.forget(of_newest);
    objects.check(repo, &rolled_forward.iter().cloned().collect(), false);
}
