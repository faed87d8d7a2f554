//! Manifests that no server would send, with every digest right: somebody who can write to the
//! repository must not get to write elsewhere.

use std::fs;
use std::path::Path;

use walbrook::Codec;
use walbrook::repo::{BackupIntent, BackupRecord, BackupWriter, Entry, EntryKind, WriterOptions};
use walbrook_testkit::give_to_server;

use super::place::{Place, block_on};

#[test]
fn manifests_that_lead_out_of_the_directory() {
    let place = Place::new();
    let outside = place.scene.subdir("outside");
    let absolute = outside.join("written").to_str().unwrap().to_owned();
    let link = |path: &str, target: &str| Entry {
        path: path.to_owned(),
        mode: 0o777,
        mtime: 0,
        kind: EntryKind::Symlink { target: target.to_owned() },
    };
    let links = [
        link("base", outside.to_str().unwrap()),
        link("pg_wal", outside.to_str().unwrap()),
        // Of no tablespace that the record has.
        link("pg_tblspc/99999", outside.to_str().unwrap()),
        link("pg_tblspc/../outside", outside.to_str().unwrap()),
    ];
    let mut number = 0;
    let mut case = |files: &[&str], link: Option<&Entry>, words: &[&str]| {
        number += 1;
        let id = format!("20200101T0000{number:02}Z-00000000");
        block_on(write(&place, &id, files, link));
        place.refuses(&["--backup", &id], words);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{files:?} {link:?}");
        assert!(!place.scene.path("written").exists(), "{files:?}");
        fs::remove_dir_all(place.scene.repo().join("prod/backups").join(id)).unwrap();
    };
    for path in ["../written", "../outside/written", "base/../../written", &absolute, "./written"] {
        case(&[path], None, &["manifest-00000", path, "leaves the data directory"]);
    }
    for link in &links {
        let below = format!("{}/written", link.path);
        case(&[&below], Some(link), &["symbolic link"][..0]);
        case(&[], Some(link), &[&link.path]);
    }
    // Whole, and no cluster: nothing that could be started is left of it either.
    case(&["PG_VERSION"], None, &["has no global/pg_control"]);
}

/// Commits a backup that has these files and this link.
async fn write(place: &Place, id: &str, files: &[&str], link: Option<&Entry>) {
    let (repository, record, _) = place.read().await;
    let cluster = repository.cluster("prod").unwrap();
    let intent = BackupIntent {
        id: id.parse().unwrap(),
        cluster: "prod".into(),
        system_identifier: record.server.system_identifier,
        base: None,
        resumes: Vec::new(),
        wal_from: None,
        host: "hostile".into(),
        pid: 1,
        started_at: record.span.started_at,
        walbrook_version: record.walbrook_version.clone(),
    };
    let options = WriterOptions { codec: Codec::default(), workers: 1, check: None };
    let mut writer = BackupWriter::begin(&cluster, intent, options).await.unwrap();
    if let Some(link) = link {
        writer.add(link.clone()).unwrap();
    }
    for path in files {
        writer.begin_file(path, 0o600, 0).unwrap();
        writer.write(&b"hostile"[..].into()).await.unwrap();
        writer.end_file().unwrap();
    }
    let stored = writer.finish(|_| Ok(())).await.unwrap();
    let describe = |written: walbrook::repo::Written| BackupRecord {
        id: written.intent.id,
        manifest: written.manifest,
        size: written.size,
        ..record
    };
    stored.commit(describe).await.unwrap();
    give_all(&place.scene.repo().join("prod/backups").join(id));
}

/// This test may run as root, the restore as the servers' user.
fn give_all(path: &Path) {
    give_to_server(path).unwrap();
    for entry in fs::read_dir(path).into_iter().flatten() {
        give_all(&entry.unwrap().path());
    }
}
