//! Files that `walbrook-push` and `walbrook-fetch` are given.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use walbrook_testkit::{Cluster, give_to_server, majors};

use crate::refused::{refused, tree};
use crate::support::{Scene, ran};

struct Place {
    scene: Scene,
    system: String,
    /// A whole segment of the server.
    segment: String,
    content: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let scene = Scene::new();
        let newest = majors().pop().unwrap();
        let cluster = Cluster::builder(newest).config("wal_keep_size", "1GB").start().unwrap();
        let segment = cluster.switch_wal().unwrap();
        let content = fs::read(cluster.wal_dir().join(&segment)).unwrap();
        scene.backup(&cluster, &[]);
        let query = "SELECT system_identifier FROM pg_control_system()";
        let system = cluster.psql("postgres", query).unwrap();
        scene.subdir("pg_wal");
        Self { scene, system, segment, content }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.scene.path("pg_wal").join(name);
        fs::write(&path, content).unwrap();
        give_to_server(&path).unwrap();
        path
    }

    fn push(&self, path: &str) -> crate::support::Ran {
        self.scene.run("walbrook-push", &[path, "--system-id", &self.system])
    }

    fn fetch(&self, name: &str, args: &[&str]) -> crate::support::Ran {
        let destination = self.scene.path("RECOVERYXLOG");
        let own = [name, destination.to_str().unwrap(), "--retry-for", "0"];
        self.scene.run("walbrook-fetch", &[&own, args].concat())
    }
}

#[test]
fn files_to_archive() {
    let place = Place::new();
    let Place { scene, segment, content, .. } = &place;
    let kept = tree(&scene.repo());
    let refuses = |name: &str, bytes: &[u8], words: &[&str]| {
        let path = place.file(name, bytes);
        refused(place.push(path.to_str().unwrap()), 1, words);
        assert_eq!(tree(&scene.repo()), kept, "{name}");
        fs::remove_file(path).unwrap();
    };
    refuses(segment, &content[..content.len() / 2], &[segment, "not complete"]);
    refuses(segment, &content[..20], &[segment, "does not begin as a WAL segment"]);
    refuses(segment, b"", &[segment]);
    refuses(segment, &[0x55; 16 << 20], &[segment, "does not begin as a WAL segment"]);
    refuses(segment, &vec![0; 16 << 20], &[segment, "does not begin as a WAL segment"]);
    refuses(segment, &[content.as_slice(), b"x"].concat(), &[segment]);
    refuses("0000000100000000000000FE", content, &["where its name says"]);
    refuses("0000000100000000000000FE.partial", &content[..4096], &["where its name says"]);
    for name in ["postgresql.conf", "00000001000000000000000G", "00000001.backup", "RECOVERYXLOG"] {
        refuses(name, content, &[name, "%p"]);
    }
    let missing = scene.path("pg_wal").join(segment);
    refused(place.push(missing.to_str().unwrap()), 1, &[segment, "can't be read"]);
    refused(place.push(segment), 1, &[segment, "can't be read"]);
    assert_eq!(tree(&scene.repo()), kept);

    // What is archived stays: the same again is no error, another content is.
    let path = place.file(segment, content);
    for _ in 0..2 {
        place.push(path.to_str().unwrap()).expect(0);
    }
    let stored = tree(&scene.repo());
    let mut other = content.clone();
    other[9000] ^= 1;
    let path = place.file(segment, &other);
    let words = [segment.as_str(), "other content", "nothing was changed"];
    refused(place.push(path.to_str().unwrap()), 1, &words);
    assert_eq!(tree(&scene.repo()), stored);
    place.fetch(segment, &[]).expect(0);
    assert!(fs::read(scene.path("RECOVERYXLOG")).unwrap() == *content);

    // The other kinds of files that a server archives.
    let backup = format!("{segment}.00000028.backup");
    let partial = format!("{segment}.partial");
    for (name, bytes) in [
        ("00000002.history", &b"1\t0/9000000\tno recovery target specified\n"[..]),
        (&backup, b"START WAL LOCATION: 0/2000028\n"),
        (&partial, content),
    ] {
        let path = place.file(name, bytes);
        place.push(path.to_str().unwrap()).expect(0);
        place.fetch(name, &[]).expect(0);
        assert!(fs::read(scene.path("RECOVERYXLOG")).unwrap() == bytes, "{name}");
    }
}

/// Only what certainly is not there ends with 1, which promotes a server in recovery.
#[test]
fn files_to_fetch() {
    let place = Place::new();
    let scene = &place.scene;
    let absent = "0000000100000000000000FE";
    for name in [absent, "00000009.history", "0000000100000000000000FE.partial"] {
        assert_eq!(place.fetch(name, &[]).code, Some(1), "{name}");
    }
    let is_trouble = |ran: crate::support::Ran, words: &[&str]| {
        refused(ran, 200, words);
        assert!(!scene.path("RECOVERYXLOG").exists());
    };
    for name in ["00000001", "../walbrook.json", "pg_control", ""] {
        is_trouble(place.fetch(name, &[]), &["is not the name of a WAL file"]);
    }
    is_trouble(place.fetch(absent, &["--cluster", "none"]), &["\"none\"", "--cluster"]);
    is_trouble(place.fetch(absent, &["--system-id", "1"]), &["belongs to system identifier"]);
    is_trouble(place.fetch(absent, &["--cluster", "../prod"]), &["is not allowed"]);
    for args in [&[absent][..], &[], &[absent, "a", "b"], &[absent, "a", "--no-such-flag"]] {
        assert_eq!(scene.run("walbrook-fetch", args).code, Some(200), "{args:?}");
    }
    let segments = scene.list()["backups"][0]["span"]["first_segment"].clone();
    let there = segments.as_str().unwrap();
    let nowhere = scene.path("no/such/directory/x");
    let args = [there, nowhere.to_str().unwrap(), "--retry-for", "0"];
    is_trouble(scene.run("walbrook-fetch", &args), &["no/such/directory", "can't be written"]);

    // The repository is away, in each way that it can be.
    let (repo, away) = (scene.repo(), scene.path("away"));
    let place_name = repo.to_str().unwrap();
    fs::rename(&repo, &away).unwrap();
    is_trouble(place.fetch(absent, &[]), &[place_name]);
    // An empty mount point.
    scene.subdir("repo");
    is_trouble(place.fetch(absent, &[]), &[place_name, "there is no Walbrook repository"]);
    fs::remove_dir(&repo).unwrap();
    fs::rename(&away, &repo).unwrap();
    let description = repo.join("walbrook.json");
    fs::rename(&description, scene.path("away")).unwrap();
    is_trouble(place.fetch(absent, &[]), &[place_name, "there is no Walbrook repository"]);
    fs::rename(scene.path("away"), &description).unwrap();
    // Not for us to read: the whole, and a folder within.
    let system = repo.join("prod/wal").join(&place.system);
    for folder in [repo.clone(), repo.join("prod/systems"), system.join("00000001")] {
        let mode = fs::metadata(&folder).unwrap().permissions();
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o0)).unwrap();
        is_trouble(place.fetch(there, &[]), &["ermission denied"]);
        is_trouble(place.fetch(absent, &[]), &["ermission denied"]);
        fs::set_permissions(&folder, mode).unwrap();
    }
    assert_eq!(place.fetch(absent, &[]).code, Some(1));
    // A standby asks again, or streams: its archive's trouble is not its end.
    let standby = [absent, "x", "--standby", "--repo", "/nonexistent", "--retry-for", "0"];
    assert_eq!(ran(scene.command("walbrook-fetch", &standby).output().unwrap()).code, Some(1));
    place.fetch(there, &[]).expect(0);
}
