//! Each kind of object, damaged in each of its parts.

use std::fs;

use super::place::{Place, block_on};
use crate::refused::{assert_nothing_in, refused};

#[test]
fn objects_that_a_restore_reads() {
    let place = Place::new();
    let scene = &place.scene;
    documents(&place);
    manifest(&place);
    pack(&place);
    what_no_restore_reads(&place);
    // All is as it was: the same restore succeeds and starts.
    let directory = place.restores(&[]);
    let restored = scene.adopt(&place.cluster, &directory).start().unwrap();
    assert_eq!(restored.psql("postgres", "SELECT count(*) FROM t").unwrap(), "20000");
    assert_eq!(restored.psql("postgres", "SELECT count(*) FROM s").unwrap(), "1000");

    // Whatever has happened to earlier backups, another one can be taken.
    let object = place.of_newer("backup.json");
    place.with_flip(&object, 9, || {
        let args = ["-d", &place.cluster.conninfo(), "--output", "json"];
        let ran = scene.ok("walbrook-backup", &args);
        assert!(ran.stderr.contains(&object), "{}", ran.stderr);
        let record: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(record["base"], place.backups[0]);
    });
    // And it can be removed, though nobody knows any more what it consists of.
    place.flip(&object, 9);
    let args = ["--backup", &place.backups[1], "--grace", "0"];
    let ran = scene.ok("walbrook-expire", &args);
    assert!(ran.stdout.contains(&place.backups[1]), "{}", ran.stdout);
    assert_eq!(scene.list()["backups"].as_array().unwrap().len(), 2);
}

/// The first byte, one within, those of the digest, and the last.
fn documents(place: &Place) {
    let system = format!("prod/systems/{}.json", place.system);
    for object in ["walbrook.json", &system] {
        let length = fs::metadata(place.file(object)).unwrap().len() as usize;
        for at in [0, 9, length / 3, length - 40, length - 1] {
            place.with_flip(object, at, || place.refuses(&[], &[object, "damaged"]));
        }
        let whole = fs::read(place.file(object)).unwrap();
        place.with(object, Some(whole[..length / 2].to_vec()), || {
            place.refuses(&[], &[object, "damaged"]);
        });
        place.with(object, Some(Vec::new()), || place.refuses(&[], &[object, "damaged"]));
    }
    let object = place.of_newer("backup.json");
    let whole = fs::read(place.file(&object)).unwrap();
    for at in [0, 9, whole.len() / 3, whole.len() - 40, whole.len() - 1] {
        place.with_flip(&object, at, || passed_over(place, &object, "damaged"));
    }
    for length in [whole.len() / 2, 0] {
        let cut = Some(whole[..length].to_vec());
        place.with(&object, cut, || passed_over(place, &object, "damaged"));
    }
    // A record of another backup, and a backup that lost its record, which then is none.
    let other = fs::read(place.file(&place.of_older("backup.json"))).unwrap();
    place.with(&object, Some(other), || {
        passed_over(place, &object, "it is the record of");
        place.refuses(&["--backup", &place.backups[1]], &[&object, &place.backups[0]]);
        place.refuses(&["--target", "immediate"], &[&object, "--backup"]);
        let ran = place.scene.run("walbrook-list", &["--output", "json"]).expect(3);
        let listed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(listed[0]["systems"][0]["backups"].as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(listed[0]["damaged"][0]["id"], place.backups[1], "{listed}");
        let policy = ["--keep-last", "1", "--cluster", "prod"];
        let words = [&object, "walbrook-expire --backup", &place.backups[1]];
        refused(place.scene.run("walbrook-expire", &policy), 1, &words);
    });
    place.with(&object, None, || {
        place.refuses(&["--backup", &place.backups[1]], &[&place.backups[1], "walbrook-list"]);
        let listed = place.scene.list();
        assert_eq!(listed["backups"].as_array().unwrap().len(), 1);
    });
    // A damaged record of one backup does not keep another from being restored by its name.
    let older = place.of_older("backup.json");
    place.with_flip(&older, 40, || {
        place.restores(&["--backup", &place.backups[1]]);
        place.clear();
    });
}

/// A backup whose record can't be read is no reason not to restore: another one and the WAL since lead
/// to the same point.
#[track_caller]
fn passed_over(place: &Place, object: &str, word: &str) {
    let map = format!("{}=/nowhere", place.tablespace.display());
    let args = ["--dry-run", "--tablespace-map", &map];
    let plan = place.scene.try_restore("planned", &args).expect(0);
    assert!(plan.stdout.contains(&place.backups[0]), "{}", plan.stdout);
    for word in [object, word, "passed over"] {
        assert!(plan.stderr.contains(word), "{word}: {}", plan.stderr);
    }
}

fn manifest(place: &Place) {
    let object = place.of_newer("manifest-00000");
    let whole = fs::read(place.file(&object)).unwrap();
    for at in [0, 5, 20, 48, whole.len() / 2, whole.len() - 1] {
        place.with_flip(&object, at, || place.refuses(&[], &[&object, "damaged"]));
    }
    place.with(&object, Some(whole[..whole.len() - 1].to_vec()), || {
        place.refuses(&[], &[&object]);
    });
    place.with(&object, None, || place.refuses(&[], &[&object, "it is missing"]));
    let other = fs::read(place.file(&place.of_older("manifest-00000"))).unwrap();
    place.with(&object, Some(other), || place.refuses(&[], &[&object, "backup.json"]));
}

fn pack(place: &Place) {
    let object = place.of_newer("pack-0000000");
    let whole = fs::read(place.file(&object)).unwrap();
    let (_, _, shard) = block_on(place.read());
    let frame = shard.frames[shard.frames.len() / 2];
    let begin = frame.offset as usize;
    let end = begin + frame.stored_len as usize;
    // Each member of a frame's header, its digest, and its payload from end to end.
    let header = [0, 4, 5, 6, 7, 8, 11, 12, 15, 16, 47].map(|at| begin + at);
    for at in header.into_iter().chain([begin + 48, (begin + end) / 2, end - 1]) {
        place.with_flip(&object, at, || place.refuses(&[], &[&object, "damaged"]));
    }
    for length in [0, 1, begin, begin + 20, end - 1] {
        let cut = whole[..length].to_vec();
        place.with(&object, Some(cut), || place.refuses(&[], &[&object]));
    }
    place.with(&object, None, || place.refuses(&[], &[&object, "it is missing"]));
    // Two packs that were exchanged: each is whole, and neither is the other.
    let other = place.of_older("pack-0000000");
    let theirs = fs::read(place.file(&other)).unwrap();
    place.with(&object, Some(theirs), || {
        place.with(&other, Some(whole), || {
            place.refuses(&[], &[&object]);
            place.refuses(&["--backup", &place.backups[0]], &[&other]);
        });
    });
}

/// A restore takes all from the manifest: an intent, and the index of a pack, are for others.
fn what_no_restore_reads(place: &Place) {
    for object in ["intent.json", "pack-0000000"] {
        let object = place.of_newer(object);
        let last = fs::metadata(place.file(&object)).unwrap().len() as usize - 1;
        place.with_flip(&object, last, || {
            place.scene.list();
            place.restores(&[]);
            place.clear();
        });
    }
}

#[test]
fn objects_that_recovery_reads() {
    let place = Place::new();
    let scene = &place.scene;
    let listed = scene.list();
    let newer = &listed["backups"][1];
    assert_eq!(newer["id"], place.backups[1].as_str());
    let segment = newer["span"]["first_segment"].as_str().unwrap();
    let folder = format!("prod/wal/{}/{}/{}", place.system, &segment[..8], &segment[8..16]);
    let object = format!("{folder}/{segment}");

    // A timeline that forks off after the newer backup.
    let history = "00000002.history";
    let window = listed["windows"].as_array().unwrap().last().unwrap();
    let fork = window["to_lsn"].as_str().unwrap();
    let wal = scene.subdir("pg_wal");
    fs::write(wal.join(history), format!("1\t{fork}\tno recovery target specified\n")).unwrap();
    let system = ["--system-id", &place.system];
    let file = wal.join(history);
    scene.ok("walbrook-push", &[file.to_str().unwrap(), system[0], system[1]]);

    let destination = scene.path("RECOVERYXLOG");
    let fetch = |name: &str| {
        let args = [name, destination.to_str().unwrap(), "--retry-for", "0", system[0], system[1]];
        scene.run("walbrook-fetch", &args)
    };
    let cases = [(segment, object), (history, format!("prod/wal/{}/{history}", place.system))];
    for (name, object) in &cases {
        let whole = fs::read(place.file(object)).unwrap();
        let length = whole.len();
        // The trailer tells where the description begins, and that ends where the trailer begins.
        let info = u32::from_le_bytes(*whole[..length - 8].last_chunk().unwrap()) as usize;
        let described = length - 12 - info;
        for at in [
            0,
            6,
            20,
            48,
            described / 2,
            described - 1, // content
            described,
            described + 20,
            described + 48,
            length - 13, // description
            length - 12,
            length - 9,
            length - 8,
            length - 1, // trailer
        ] {
            place.with_flip(object, at, || {
                refused(fetch(name), 200, &[object, "damaged"]);
                assert!(!destination.exists());
            });
        }
        for cut in [0, 1, length / 2, length - 1] {
            place.with(object, Some(whole[..cut].to_vec()), || {
                refused(fetch(name), 200, &[object]);
                assert!(!destination.exists());
            });
        }
        place.with(object, None, || {
            assert_eq!(fetch(name).code, Some(1), "what is not there is absent");
        });
    }
    // A whole segment under another's name.
    let (segment, object) = &cases[0];
    let others = scene.list()["backups"][0]["span"]["first_segment"].as_str().unwrap().to_owned();
    let other = fs::read(place.file(&format!("{folder}/{others}"))).unwrap();
    place.with(object, Some(other), || {
        refused(fetch(segment), 200, &[object]);
        assert_nothing_in(&destination);
    });
    restores_that_look_into_wal(&place, object, &cases[1].1);
    recovery_stops(&place, object);
}

/// Targets are looked for in the WAL before anything is written.
fn restores_that_look_into_wal(place: &Place, segment: &str, history: &str) {
    let length = fs::metadata(place.file(segment)).unwrap().len() as usize;
    let name = ["--target-name", "none of this name"];
    for at in [length - 30, length - 1] {
        place.with_flip(segment, at, || place.refuses(&name, &[segment, "damaged"]));
    }
    place.with_flip(segment, 100, || place.refuses(&name, &[segment, "damaged"]));
    let length = fs::metadata(place.file(history)).unwrap().len() as usize;
    for at in [50, length - 30, length - 1] {
        place.with_flip(history, at, || place.refuses(&[], &[history, "damaged"]));
    }
}

/// A restore up to the end does not read the WAL: PostgreSQL asks for it, is told that it can't be
/// had, and must neither start on what it has nor be promoted.
fn recovery_stops(place: &Place, segment: &str) {
    let scene = &place.scene;
    place.with_flip(segment, 100, || {
        let directory = place.restores(&["--target-timeline", "current"]);
        let started = scene.adopt(&place.cluster, &directory).start();
        let message = started.expect_err("it must not start").to_string();
        assert!(message.contains(segment) && message.contains("damaged"), "{message}");
        assert!(directory.join("recovery.signal").exists(), "it is still to be recovered");
        let control = place.cluster.command("pg_controldata").arg("-D").arg(&directory).output();
        let control = String::from_utf8(control.unwrap().stdout).unwrap();
        let timeline = "Latest checkpoint's TimeLineID:       1\n";
        assert!(control.contains(timeline), "promoted: {control}");
    });
    // The object is whole again, and so the same directory recovers.
    let directory = scene.path("restored");
    let restored = scene.adopt(&place.cluster, &directory).start().unwrap();
    assert_eq!(restored.psql("postgres", "SELECT count(*) FROM t").unwrap(), "20000");
}
