//! Incremental backups: for each source and each way to find changes a chain of backups of a server
//! that does of everything in between, each of which restores to the very files of the server.

pub(crate) mod compare;
mod fallback;
mod native;
mod past_a_gib;
mod under_load;
mod visibility;
mod workload;

use std::ops::Range;

use serde_json::Value;
use walbrook_testkit::{Cluster, Installation, Until};

use crate::end_to_end::data::{self, Contents};
use crate::end_to_end::{installed, oracles};
use crate::support::Scene;

#[test]
#[ignore = "minutes: cargo test -p walbrook-cli --test it every_way_on -- --ignored --test-threads=1"]
fn every_way_on_15() {
    installed(15).into_iter().for_each(every_way);
}

#[test]
#[ignore = "minutes: cargo test -p walbrook-cli --test it every_way_on -- --ignored --test-threads=1"]
fn every_way_on_16() {
    installed(16).into_iter().for_each(every_way);
}

#[test]
#[ignore = "minutes: cargo test -p walbrook-cli --test it every_way_on -- --ignored --test-threads=1"]
fn every_way_on_17() {
    installed(17).into_iter().for_each(every_way);
}

#[test]
#[ignore = "minutes: cargo test -p walbrook-cli --test it every_way_on -- --ignored --test-threads=1"]
fn every_way_on_18() {
    installed(18).into_iter().for_each(every_way);
}

#[test]
fn every_way_in_turn_on_18() {
    installed(18).into_iter().for_each(every_way_in_turn);
}

#[test]
fn some_ways_on_15() {
    installed(15).into_iter().for_each(some_ways);
}

#[test]
fn some_ways_on_17() {
    installed(17).into_iter().for_each(some_ways);
}

/// A source, a way to find changes, and the name in the repository of the chain that has it.
struct Way {
    cluster: String,
    source: &'static str,
    changes: &'static str,
    /// What the record says it was.
    by: &'static str,
}

/// All that there are on this version. The first one finds its WAL archived, the others in what was
/// streamed and, unless that is too much for `auto`, on the server.
fn ways(installation: &Installation) -> Vec<Way> {
    let has_summaries = installation.major() >= 17;
    let mut ways = Vec::new();
    if !has_summaries {
        ways.push(("sql", "auto", "sum"));
    }
    for source in ["sql", "local"] {
        ways.extend(["sum", "page-lsn", "hash"].map(|changes| (source, changes, changes)));
    }
    // Over the replication protocol what changed comes by the server's summaries, or else all.
    match has_summaries {
        true => ways.extend([
            ("sql", "wal-summaries", "wal-summaries"),
            ("local", "auto", "wal-summaries"),
            ("replication", "auto", "wal-summaries"),
            ("replication", "hash", "hash"),
        ]),
        false => ways.push(("replication", "auto", "hash")),
    }
    let way =
        |(source, changes, by)| Way { cluster: format!("{source}-{changes}"), source, changes, by };
    ways.into_iter().map(way).collect()
}

/// What becomes of the chains.
struct Story {
    /// The work between backups.
    rounds: Range<u64>,
    /// A round without backups: the next ones have the work of two.
    passed_over: Option<u64>,
    /// Of how many ways one is restored in a round that is not the last.
    in_turn: u64,
}

/// Six backups of every way, all of them restored.
fn every_way(installation: &Installation) {
    let story = Story { rounds: 0..6, passed_over: None, in_turn: 1 };
    chains(installation, &ways(installation), &story);
}

/// Six backups of every way, of which the last are restored, and a third of the others.
fn every_way_in_turn(installation: &Installation) {
    let story = Story { rounds: 0..6, passed_over: None, in_turn: 3 };
    chains(installation, &ways(installation), &story);
}

/// Three backups of some ways: each source, and each kind of log.
fn some_ways(installation: &Installation) {
    let some = match installation.major() >= 17 {
        true => ["sql-sum", "sql-page-lsn", "local-auto", "replication-auto"],
        false => ["sql-auto", "sql-page-lsn", "local-sum", "replication-auto"],
    };
    let mut ways = ways(installation);
    ways.retain(|way| some.contains(&way.cluster.as_str()));
    assert_eq!(ways.len(), some.len());
    chains(installation, &ways, &Story { rounds: 0..4, passed_over: Some(2), in_turn: 1 });
}

/// Backups of these ways, with work in between. Nothing writes while they are taken and compared, so
/// that what each restores to can be compared with the server file by file.
fn chains(installation: &Installation, ways: &[Way], story: &Story) {
    let scene = Scene::new();
    let mut builder = Cluster::builder(installation)
        .data_checksums(true)
        .config("autovacuum", "off")
        .config("max_wal_size", "4GB")
        // Where the archive lacks segments they are read from here.
        .config("wal_keep_size", "2GB");
    if installation.major() >= 17 {
        builder = builder.config("summarize_wal", "on");
    }
    let cluster = scene.archiving(builder).start().unwrap();
    data::fill(&cluster);
    workload::begin(&cluster);
    let end = story.rounds.end - 1;
    let mut last: Vec<Value> = Vec::new();
    for round in story.rounds.clone() {
        workload::round(&cluster, round);
        if story.passed_over == Some(round) {
            continue;
        }
        // Read before the backups: whoever reads rows first marks them, which changes pages.
        let contents = (round > 0).then(|| Contents::of(&cluster));
        cluster.psql_ok("postgres", "CHECKPOINT").unwrap();
        let mut records = Vec::new();
        for (index, way) in ways.iter().enumerate() {
            let record = backup(&scene, &cluster, way);
            check_record(&record, way, last.get(index));
            records.push(record);
        }
        if round == 0 {
            // One chain has its segments archived from here on; the others have what was streamed.
            archive_for(&scene, &cluster, &ways[0]);
        }
        // The first ones are full, which other tests are about.
        let Some(contents) = contents else {
            last = records;
            continue;
        };
        for (index, (way, record)) in (round..).zip(ways.iter().zip(&records)) {
            if round < end && !index.is_multiple_of(story.in_turn) {
                continue;
            }
            let name = format!("{}-{round}", way.cluster);
            let directory = restore(&scene, &cluster, &name, way, record);
            compare::files(&cluster, &directory, &name, lsn(&record["span"]["start_lsn"]));
            // The same files are the same rows: a server is started on some.
            if index.is_multiple_of(if round == end { story.in_turn } else { ways.len() as u64 }) {
                start(&scene, &cluster, &directory, &name, &contents);
            }
            remove(&scene, &name);
        }
        last = records;
    }
}

pub(crate) fn lsn(value: &Value) -> u64 {
    let (high, low) = value.as_str().and_then(|text| text.split_once('/')).unwrap();
    let half = |text| u64::from_str_radix(text, 16).unwrap();
    half(high) << 32 | half(low)
}

#[track_caller]
fn backup(scene: &Scene, cluster: &Cluster, way: &Way) -> Value {
    let directory = cluster.data_dir().to_str().unwrap();
    let mut args =
        vec!["--cluster", &way.cluster, "--source", way.source, "--changes", way.changes];
    if way.source == "local" {
        args.extend(["--pgdata", directory]);
    }
    scene.backup(cluster, &args)
}

#[track_caller]
fn check_record(record: &Value, way: &Way, base: Option<&Value>) {
    let name = &way.cluster;
    assert_eq!(record["source"]["kind"], way.source, "{name}");
    assert_eq!(record["damage"]["pages"], 0, "{name}: {}", record["damage"]);
    let Some(base) = base else {
        assert_eq!(record["base"], Value::Null, "{name}");
        return;
    };
    assert_eq!(record["base"], base["id"], "{name}");
    let changes = &record["source"]["changes"];
    assert_eq!(changes["by"], way.by, "{name}: {changes}");
    let (all, reused) = (&record["size"]["database_bytes"], &record["size"]["reused_bytes"]);
    let (all, reused) = (all.as_u64().unwrap(), reused.as_u64().unwrap());
    assert!(reused > all / 3, "{name}: {reused} of {all} bytes are shared with the base");
}

/// Lets the server archive into the chain of this way.
fn archive_for(scene: &Scene, cluster: &Cluster, way: &Way) {
    let command = scene.archive_command().replace(Scene::CLUSTER, &way.cluster);
    cluster.append_config(&[("archive_command", &command)]).unwrap();
    cluster.psql_ok("postgres", "SELECT pg_reload_conf()").unwrap();
    scene.archive_now(cluster);
}

fn restore(
    scene: &Scene,
    cluster: &Cluster,
    name: &str,
    way: &Way,
    record: &Value,
) -> std::path::PathBuf {
    let id = record["id"].as_str().unwrap();
    let args = ["--cluster", &way.cluster, "--backup", id, "--target", "immediate"];
    data::restore(scene, cluster, name, &[&args[..], &["--target-action", "promote"]].concat())
}

/// What was restored runs, holds the same rows, and PostgreSQL's own checks find nothing.
fn start(
    scene: &Scene,
    cluster: &Cluster,
    directory: &std::path::Path,
    name: &str,
    contents: &Contents,
) {
    let mut restored = scene.adopt(cluster, directory).until(Until::Promoted).start().unwrap();
    contents.assert_in(&restored, name);
    oracles::check_relations(&restored);
    oracles::check_pages(&mut restored);
}

fn remove(scene: &Scene, name: &str) {
    for entry in std::fs::read_dir(scene.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)) {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
}
