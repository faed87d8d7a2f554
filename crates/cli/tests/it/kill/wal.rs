//! `walbrook-push` and `walbrook-fetch`.

use std::fs;
use std::path::{Path, PathBuf};

use walbrook::types::WalFileName;
use walbrook_testkit::{Cluster, give_to_server, majors};

use super::audit::Audit;
use super::rounds::Rounds;
use crate::support::Scene;

/// A copy of a server's WAL directory, to archive from as its archiver would, and the repository
/// that its cluster has a place in. The server is not needed any more.
struct Archiver {
    scene: Scene,
    data_dir: PathBuf,
    /// Segments, oldest first.
    segments: Vec<String>,
    /// Where their objects are in the repository.
    objects: PathBuf,
}

impl Archiver {
    fn new() -> Self {
        let scene = Scene::new();
        let newest = majors().pop().unwrap();
        let cluster = Cluster::builder(newest).config("wal_keep_size", "1GB").start().unwrap();
        cluster.switch_wal().unwrap();
        let first = cluster.psql("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn())");
        let first = first.unwrap();
        let load = "SELECT pg_logical_emit_message(true, 'load', string_agg(md5(n::text), '')) \
                    FROM generate_series(1, 200000) n";
        let mut segments = Vec::new();
        for _ in 0..5 {
            cluster.psql_ok("postgres", load).unwrap();
            segments.push(cluster.switch_wal().unwrap());
        }
        assert!(segments[0] >= first);
        scene.backup(&cluster, &[]);

        let data_dir = scene.subdir("copy");
        for folder in ["global", "pg_wal", "pg_wal/archive_status"] {
            scene.subdir(&format!("copy/{folder}"));
        }
        let files = segments.iter().map(|name| format!("pg_wal/{name}"));
        for file in files.chain(["global/pg_control".to_owned()]) {
            fs::copy(cluster.data_dir().join(&file), data_dir.join(&file)).unwrap();
            give_to_server(&data_dir.join(&file)).unwrap();
        }
        for name in &segments {
            let ready = data_dir.join(format!("pg_wal/archive_status/{name}.ready"));
            fs::write(&ready, "").unwrap();
        }
        let system = fs::read_dir(scene.repo().join("prod/wal")).unwrap().next().unwrap();
        let name: WalFileName = segments[0].parse().unwrap();
        let folder = format!("{:08X}/{}", name.timeline().get(), &segments[0][8..16]);
        let objects = system.unwrap().path().join(folder);
        Self { scene, data_dir, segments, objects }
    }

    fn file(&self, segment: &str) -> PathBuf {
        self.data_dir.join("pg_wal").join(segment)
    }

    /// Fetches a segment and compares it with the server's own.
    fn assert_same(&self, round: u32, segment: &str) {
        let fetched = self.scene.path("fetched");
        self.scene.again(round, "walbrook-fetch", &[segment, fetched.to_str().unwrap()]);
        assert!(same(&fetched, &self.file(segment)), "round {round}: {segment} differs");
        fs::remove_file(fetched).unwrap();
    }
}

fn same(one: &Path, other: &Path) -> bool {
    fs::read(one).unwrap() == fs::read(other).unwrap()
}

#[test]
fn a_killed_push() {
    let archiver = Archiver::new();
    let Archiver { scene, segments, objects, .. } = &archiver;
    let mut audit = Audit::of(&scene.repo());
    let backups = audit.check(scene);
    // A test's own: nothing else takes an object away, so that it can be stored again.
    let clear = |audit: &mut Audit| {
        segments.iter().for_each(|segment| audit.remove(&objects.join(segment)));
    };
    let files: Vec<PathBuf> = segments.iter().map(|segment| archiver.file(segment)).collect();
    let mut rounds = Rounds::measure("walbrook-push", || {
        clear(&mut audit);
        scene.command("walbrook-push", &[files[0].to_str().unwrap()])
    });
    clear(&mut audit);
    let (mut absent, mut whole) = (0, 0);
    while let Some((round, killed)) = rounds.kill_next(|round| {
        let file = &files[round as usize % files.len()];
        scene.command("walbrook-push", &[file.to_str().unwrap()])
    }) {
        // Reads every WAL object that is there, this one and those of the look ahead.
        assert_eq!(audit.check(scene), backups);
        let segment = &segments[round as usize % segments.len()];
        match objects.join(segment).exists() {
            true => whole += 1,
            false => absent += 1,
        }
        assert!(killed || objects.join(segment).exists(), "round {round}: it ended without it");
        scene.again(round, "walbrook-push", &[archiver.file(segment).to_str().unwrap()]);
        assert_eq!(audit.check(scene), backups);
        for stored in segments.iter().filter(|segment| objects.join(segment).exists()) {
            archiver.assert_same(round, stored);
        }
        clear(&mut audit);
        rounds.passed();
    }
    println!("kill: walbrook-push: {absent} left nothing, {whole} the whole segment");
    rounds.finish();
}

#[test]
fn a_killed_fetch() {
    let archiver = Archiver::new();
    let Archiver { scene, segments, .. } = &archiver;
    for segment in segments {
        scene.ok("walbrook-push", &[archiver.file(segment).to_str().unwrap()]);
    }
    let mut audit = Audit::of(&scene.repo());
    let backups = audit.check(scene);
    let folder = scene.subdir("fetch");
    let destination = folder.join("RECOVERYXLOG");
    let args = |segment: &str| [segment.to_owned(), destination.to_str().unwrap().to_owned()];
    let mut rounds = Rounds::measure("walbrook-fetch", || {
        scene.command("walbrook-fetch", &args(&segments[0]).each_ref().map(String::as_str))
    });
    fs::remove_file(&destination).unwrap();
    let (mut absent, mut whole) = (0, 0);
    while let Some((round, killed)) = rounds.kill_next(|round| {
        let args = args(&segments[round as usize % segments.len()]);
        scene.command("walbrook-fetch", &args.each_ref().map(String::as_str))
    }) {
        let segment = &segments[round as usize % segments.len()];
        if destination.exists() {
            assert!(same(&destination, &archiver.file(segment)), "round {round}: a part of it");
            fs::remove_file(&destination).unwrap();
            whole += 1;
        } else {
            assert!(killed, "round {round}: it ended without the file");
            absent += 1;
        }
        let again = args(segment);
        scene.again(round, "walbrook-fetch", &again.each_ref().map(String::as_str));
        assert!(same(&destination, &archiver.file(segment)), "round {round}");
        // What the killed one had begun is not left for ever.
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        let own = |name: &str| name.starts_with("walbrook-prefetch-") || name == "RECOVERYXLOG";
        assert!(left.iter().all(|name| own(name.to_str().unwrap())), "round {round}: {left:?}");
        fs::remove_file(&destination).unwrap();
        rounds.passed();
    }
    println!("kill: walbrook-fetch: {absent} left nothing, {whole} the whole segment");
    assert_eq!(audit.check(scene), backups);
    rounds.finish();
}
