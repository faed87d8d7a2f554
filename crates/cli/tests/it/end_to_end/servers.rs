//! Servers that are set up otherwise: segment sizes, passwords and TLS, group access.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use walbrook_testkit::{Cluster, StopMode, Until, majors};

use super::data::{self, APP, Contents};
use super::{newest, oracles};
use crate::support::Scene;

/// Fills the server, archives, loses data, restores, compares.
fn there_and_back(scene: &Scene, cluster: &Cluster) -> std::path::PathBuf {
    data::fill(cluster);
    scene.backup(cluster, &[]);
    scene.start_archiving(cluster);
    let load = cluster.pgbench_background(APP, 2).unwrap();
    data::let_it_run(cluster, &load);
    load.stop().unwrap();
    let contents = Contents::of(cluster);
    cluster.psql_ok("postgres", "SELECT pg_create_restore_point('here')").unwrap();
    data::lose_data(cluster);
    scene.archive_now(cluster);
    let target = ["--target-name", "here", "--target-action", "promote"];
    let directory = data::restore(scene, cluster, "restored", &target);
    let mut restored = scene.adopt(cluster, &directory).until(Until::Promoted).start().unwrap();
    contents.assert_in(&restored, "here");
    oracles::check_relations(&restored);
    if restored.psql("postgres", "SHOW data_checksums").unwrap() == "on" {
        oracles::check_pages(&mut restored);
    }
    directory
}

#[test]
fn segments_of_1_mib_without_checksums() {
    let scene = Scene::new();
    let builder = Cluster::builder(newest()).wal_segsize_mb(1).data_checksums(false);
    there_and_back(&scene, &scene.archiving(builder).start().unwrap());
}

#[test]
fn segments_of_64_mib() {
    let scene = Scene::new();
    let builder = Cluster::builder(newest()).wal_segsize_mb(64).data_checksums(true);
    there_and_back(&scene, &scene.archiving(builder).start().unwrap());
    assert_eq!(scene.list()["system"]["wal_segment_size"], 64 << 20);
}

/// Files and directories that the group may read stay so, or the server would not let its group
/// in any more (`data_directory_mode`).
#[test]
fn group_access_is_kept() {
    let scene = Scene::new();
    for (access, directories, files) in [(true, 0o750, 0o640), (false, 0o700, 0o600)] {
        let mut builder = Cluster::builder(newest());
        if access {
            builder = builder.initdb_arg("--allow-group-access");
        }
        let cluster = builder.start().unwrap();
        let name = format!("group-{access}");
        scene.backup(&cluster, &["--new-system"]);
        let directory = scene.restore(&name, &[]);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        for path in ["", "base", "base/1", "pg_wal", "global"] {
            assert_eq!(mode(&directory.join(path)), directories, "{access}: {path:?}");
        }
        let configuration = ["postgresql.auto.conf", "recovery.signal", "pg_hba.conf"];
        for path in [&["PG_VERSION", "global/pg_control"][..], &configuration].concat() {
            assert_eq!(mode(&directory.join(path)), files, "{access}: {path:?}");
        }
        let restored = scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
        let shown = restored.psql("postgres", "SHOW data_directory_mode").unwrap();
        assert_eq!(shown, format!("{directories:04o}"));
    }
}

/// By TCP, with a certificate that is verified and a password that is not on any command line.
#[test]
fn scram_over_tls() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIPPED: there is no openssl program to make a certificate with");
        return;
    }
    let scene = Scene::new();
    let (key, certificate) = certificate(&scene);
    let hba = "hostssl replication keeper 127.0.0.1/32 scram-sha-256";
    // Not every build has TLS.
    let found = majors().into_iter().rev().find_map(|installation| {
        let cluster = Cluster::builder(installation)
            .tcp()
            .data_checksums(true)
            .hba(hba)
            .file("server.key", key.clone())
            .file("server.crt", certificate.clone())
            .start()
            .unwrap();
        let tls = cluster.psql("postgres", "SHOW ssl_library").unwrap();
        (!tls.is_empty()).then_some(cluster)
    });
    let mut cluster = found.expect("a PostgreSQL with TLS");
    cluster.append_config(&[("ssl", "on")]).unwrap();
    cluster.restart(StopMode::Fast).unwrap();
    data::fill(&cluster);
    let role = "CREATE ROLE keeper LOGIN REPLICATION PASSWORD 'pass:word'";
    cluster.psql_ok("postgres", role).unwrap();

    let root = scene.path("server.crt");
    std::fs::write(&root, &certificate).unwrap();
    let conninfo = format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=keeper sslmode=verify-full sslrootcert={} \
         channel_binding=require",
        cluster.port(),
        root.display()
    );
    // A password file in the home directory, as libpq reads it.
    let passfile = scene.path(".pgpass");
    std::fs::write(&passfile, "localhost:*:replication:keeper:pass\\:word\n").unwrap();
    std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o600)).unwrap();
    walbrook_testkit::give_to_server(&passfile).unwrap();

    let contents = Contents::of(&cluster);
    scene.backup_of(&conninfo, &[]);
    let directory = data::restore(&scene, &cluster, "restored", &[]);
    let restored = scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
    contents.assert_in(&restored, "restored");

    let plain = conninfo.replace("verify-full", "disable").replace("require", "disable");
    let refused = scene.run("walbrook-backup", &["-d", &plain]).expect(1);
    assert!(refused.stderr.contains("pg_hba.conf"), "{}", refused.stderr);
    std::fs::write(&passfile, "localhost:*:*:keeper:wrong\n").unwrap();
    let refused = scene.run("walbrook-backup", &["-d", &conninfo]).expect(1);
    assert!(refused.stderr.contains("password"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("wrong"), "{}", refused.stderr);
}

/// A self-signed certificate for `localhost`, by the openssl program: key and certificate.
fn certificate(scene: &Scene) -> (String, String) {
    let directory = scene.path("");
    let mut command = Command::new("openssl");
    command.current_dir(&directory).args(["req", "-new", "-x509", "-days", "2", "-nodes"]);
    command.args(["-newkey", "rsa:2048", "-keyout", "made.key", "-out", "made.crt"]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    let ran = crate::support::output(command).expect(0);
    drop(ran);
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    (read("made.key"), read("made.crt"))
}

/// A server whose archiver serves another tool: the WAL that an earlier backup has streamed is not
/// taken for that of an archiver, for which a backup would wait in vain.
#[test]
fn an_archiver_that_goes_elsewhere() {
    let scene = Scene::new();
    let builder = Cluster::builder(newest()).config("archive_mode", "on");
    let cluster = builder.config("archive_command", "true").start().unwrap();
    for _ in 0..3 {
        let record = scene.backup(&cluster, &["--wal-timeout", "60s"]);
        assert_eq!(record["source"]["wal"], "stream");
    }
}
