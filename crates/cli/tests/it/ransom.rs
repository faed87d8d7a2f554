//! Whoever has the writer's credentials hides, replaces and deletes all that an S3 server lets them: what
//! was locked is read as it was, restored and compared.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use walbrook_testkit::{Cluster, fingerprint_all, majors};

use crate::support::{Ran, Scene, output};

/// An S3 server with a bucket that has object locks; ends with this.
struct S3 {
    port: u16,
    server: Child,
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl S3 {
    /// None, with a message, where there is no moto.
    fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let cached = PathBuf::from("/var/cache/walbrook-emulators/moto/bin/moto_server");
        let mut places = std::env::split_paths(&path).map(|dir| dir.join("moto_server"));
        let Some(program) = Some(cached).filter(|p| p.is_file()).or(places.find(|p| p.is_file()))
        else {
            println!("skipped: no moto_server; `pip install 'moto[server]'` gives one");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let s3 = Self { port, server };
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "moto_server does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        let made = s3.request("PUT", "", "x-amz-bucket-object-lock-enabled: true", "");
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
        Some(s3)
    }

    /// What anybody can ask of the server, which checks no signatures.
    fn request(&self, method: &str, key: &str, header: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "{method} /box{key} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{header}\r\nAuthorization: \
             AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, \
             Signature=0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// All versions of all objects: the key and the version's identifier.
    fn versions(&self) -> Vec<(String, String)> {
        let answer = self.request("GET", "?versions", "x: y", "");
        assert!(answer.contains("<IsTruncated>false<"), "more than a page");
        let part = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
            rest.split('<').next().unwrap().to_owned()
        };
        let versions = answer.split("<Version>").skip(1);
        versions.map(|text| (part(text, "Key"), part(text, "VersionId"))).collect()
    }
}

/// A scene whose commands have a configuration file that names the bucket, with locks of a day.
struct Story {
    scene: Scene,
    config: PathBuf,
}

impl Story {
    fn new(s3: &S3) -> Self {
        let scene = Scene::new();
        let config = scene.path("walbrook.toml");
        let text = format!(
            "repo = 's3://box/p'\ncluster = 'prod'\nlock-until = '1d'\n[repo-options]\n\
             endpoint = 'http://127.0.0.1:{}'\nregion = 'us-east-1'\naccess_key_id = 'test'\n\
             secret_access_key = 'test-secret'\n",
            s3.port
        );
        std::fs::write(&config, text).unwrap();
        Self { scene, config }
    }

    fn run(&self, name: &str, args: &[&str]) -> Ran {
        let config = ["--config", self.config.to_str().unwrap()];
        let mut command = self.scene.command(name, &[args, &config].concat());
        command.env_remove("WALBROOK_REPO").env_remove("WALBROOK_CLUSTER");
        output(command)
    }

    fn backup(&self, cluster: &Cluster, code: i32) -> (Value, String) {
        let conninfo = cluster.conninfo();
        // Unchanged pages are not read, so that nobody notices in passing what became of them.
        let args = ["-d", &conninfo, "--output", "json", "--changes", "auto"];
        let ran = self.run("walbrook-backup", &args).expect(code);
        (serde_json::from_str(&ran.stdout).unwrap(), ran.stderr)
    }
}

fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap()
}

/// Versions have whole seconds for their times.
fn next_second() {
    let begun = now();
    while now() == begun {
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_locked_is_got_back() {
    let Some(s3) = S3::start() else { return };
    let story = Story::new(&s3);
    let scene = &story.scene;
    let builder = Cluster::builder(majors().pop().unwrap()).config("summarize_wal", "on");
    let cluster = scene.archiving(builder).start().unwrap();
    let sql = "CREATE TABLE t AS SELECT n, md5(n::text) AS x FROM generate_series(1, 50000) AS n";
    cluster.psql_ok("postgres", sql).unwrap();
    let (first, _) = story.backup(&cluster, 0);
    assert!(first["lock"]["trouble"].is_null() && first["lock"]["until"].is_string(), "{first}");
    let push = scene.program("walbrook-push");
    let archive = format!("'{}' --config '{}' %p", push.display(), story.config.display());
    cluster.append_config(&[("archive_command", &archive)]).unwrap();
    cluster.psql_ok("postgres", "SELECT pg_reload_conf()").unwrap();
    cluster.psql_ok("postgres", "UPDATE t SET x = 'second' WHERE n % 100 = 0").unwrap();
    scene.archive_now(&cluster);
    let (second, _) = story.backup(&cluster, 0);
    assert_eq!(second["base"], first["id"]);
    assert!(second["size"]["reused_bytes"].as_u64() > Some(0), "{second}");
    // An expiry hides what it removes; the bucket keeps it as long as it is locked.
    let id = first["id"].as_str().unwrap();
    story.run("walbrook-expire", &["--backup", id, "--grace", "0"]).expect(0);
    cluster.psql_ok("postgres", "UPDATE t SET x = 'only in the log' WHERE n % 7 = 0").unwrap();
    scene.archive_now(&cluster);
    let expected = fingerprint_all(&cluster).unwrap();

    next_second();
    let then = now().to_string();
    let as_of = format!("as_of={then}");
    next_second();

    // First in silence: one pack that is shared. The next backup tells.
    let originals = s3.versions();
    let keys: BTreeMap<&str, &str> =
        originals.iter().map(|(key, version)| (key.as_str(), version.as_str())).collect();
    assert_eq!(keys.len(), originals.len(), "objects are created once");
    let pack = format!("/backups/{}/pack-0000000", first["id"].as_str().unwrap());
    let pack = keys.keys().find(|key| key.ends_with(&pack)).unwrap();
    s3.request("PUT", &format!("/{pack}"), "x: y", "garbage");
    let (third, told) = story.backup(&cluster, 4);
    let trouble = third["lock"]["trouble"].as_str().unwrap();
    assert!(
        trouble.contains("somebody has replaced it")
            && trouble.contains(pack.trim_start_matches("p/"))
    );
    assert!(told.contains("not all that it needs is locked"), "{told}");
    // It is not the server's archive that is under attack any longer.
    cluster.append_config(&[("archive_command", "")]).unwrap();
    cluster.psql_ok("postgres", "SELECT pg_reload_conf()").unwrap();

    // Then openly: all that can be done to each.
    for (at, (key, version)) in s3.versions().into_iter().enumerate() {
        let path = format!("/{key}");
        if at % 2 == 0 {
            let put = s3.request("PUT", &path, "x: y", "your data is encrypted");
            assert!(put.starts_with("HTTP/1.1 200"), "{put}");
        }
        if at % 3 > 0 {
            let deleted = s3.request("DELETE", &path, "x: y", "");
            assert!(deleted.starts_with("HTTP/1.1 204"), "{deleted}");
        }
        // All but what the expiry wrote for itself.
        let locked = !key.contains("/expiry/") && !key.contains("/expired/");
        if locked && keys.get(&*key) == Some(&&*version) {
            let version = format!("{path}?versionId={version}");
            let header = "x-amz-bypass-governance-retention: true";
            let refused = s3.request("DELETE", &version, header, "");
            assert!(refused.starts_with("HTTP/1.1 403"), "{key}: {refused}");
        }
    }
    let ruined = story.run("walbrook-list", &[]);
    assert_ne!(ruined.code, Some(0), "{}", ruined.stdout);

    // What there was is all there.
    let option = ["--repo-option", &as_of];
    for (more, count) in [(&[][..], 1), (&["--repo-option", "undelete=true"], 2)] {
        let args = [&option[..], more, &["--output", "json"]].concat();
        let list: Value =
            serde_json::from_str(&story.run("walbrook-list", &args).expect(0).stdout).unwrap();
        let backups = list[0]["systems"][0]["backups"].as_array().unwrap();
        assert_eq!(backups.len(), count, "{list}");
        assert!(backups.iter().all(|backup| backup["restorable"] == true), "{list}");
    }
    story.run("walbrook-wal", &[&["gaps"], &option[..]].concat()).expect(0);
    let directory = restore(&story, "restored", &option);
    let restored = scene.adopt(&cluster, &directory).start().unwrap();
    assert_eq!(fingerprint_all(&restored).unwrap(), expected);

    // Nobody writes into the past.
    let conninfo = cluster.conninfo();
    let refused =
        story.run("walbrook-backup", &[&["-d", &conninfo], &option[..]].concat()).expect(1);
    assert!(refused.stderr.contains("leave out the option as_of"), "{}", refused.stderr);
}

fn restore(story: &Story, name: &str, option: &[&str]) -> PathBuf {
    let directory = story.scene.path(name);
    let args = [&["--pgdata", directory.to_str().unwrap()], option].concat();
    story.run("walbrook-restore", &args).expect(0);
    assert!(Path::new(&directory).join("recovery.signal").is_file());
    directory
}
