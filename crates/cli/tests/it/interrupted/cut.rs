use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::connections::LOST;
use super::proxy::Proxy;
use super::{SLOW, cluster, compare, size, unfinished};
use crate::support::{Random, Scene, output};

/// The wire between a backup and its server is cut after a random number of bytes, again and again: the
/// backup says so and leaves no commit, and the next one goes on from what all of them have stored.
/// `WALBROOK_CUT_SEED` repeats a run's choices.
#[test]
fn the_wire_is_cut() {
    let scene = Scene::new();
    let cluster = cluster();
    let proxy = Proxy::start(&cluster, &scene.subdir("wire"));
    let mut random = Random::seeded("WALBROOK_CUT_SEED");
    let directory = cluster.data_dir().to_str().unwrap();
    let local = ["--source", "local", "--pgdata", directory];
    let (sql, replication) = (["--source", "sql"], ["--source", "replication"]);
    let sources = [&local[..], &sql[..], &replication[..]];
    // While it connects; before anything is copied; anywhere. Of local files none go over the wire.
    let bytes = [3_000, 90_000, 72_000_000];
    // The first one has no base; then every page changes.
    for changes in [&["--full"][..], &["--changes", "hash"]] {
        let before = unfinished(&scene);
        let mut known = before.len();
        for round in 0..7 {
            let which = round % 3;
            let limit = bytes[random.below(if which == 0 { 2 } else { 3 })];
            // Something is stored in any case.
            let limit = if round == 4 { bytes[2] } else { limit };
            let least = if round == 4 { 60_000_000 } else { 1 };
            let (bytes, comes_back) = (random.between(least, limit), random.below(2) == 0);
            proxy.cut_after(bytes as u64, comes_back);
            let args = [&["-d", proxy.conninfo()], &SLOW[..], changes, sources[which]].concat();
            let ran = output(scene.command("walbrook-backup", &args));
            let was_cut = proxy.mend();
            let what = format!("{} cut after {bytes} bytes: {}", sources[which][1], ran.stderr);
            println!("comes back: {comes_back}, {what}");
            assert!(was_cut && ran.code == Some(1) && ran.stdout.is_empty(), "{what}");
            // Before it has begun there is nothing to go on from.
            let begun = unfinished(&scene).len() > known;
            known += usize::from(begun);
            let says = |words: &str| ran.stderr.contains(words);
            assert!(says("connection") && says(" lost"), "{what}");
            assert!(!begun || says(LOST) || says("take it again"), "{what}");
        }
        let mut dead = unfinished(&scene);
        dead.retain(|folder| !before.contains(folder) && has_packs(folder));
        let ids: Vec<_> = dead.iter().map(|folder| folder.file_name().unwrap().to_str()).collect();
        let args = [&["-d", proxy.conninfo(), "--output", "json"], changes].concat();
        let ran = scene.ok("walbrook-backup", &args);
        let record: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(record["resumes"], json!(ids));
        assert!(size(&record, "resumed_bytes") > 1 << 20, "{}", record["size"]);
        compare(&scene, &cluster, &record);
        cluster.psql_ok("postgres", "UPDATE filler SET n = -n; CHECKPOINT").unwrap();
    }
}

fn has_packs(folder: &Path) -> bool {
    let mut names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.any(|name| name.to_string_lossy().starts_with("pack-"))
}
