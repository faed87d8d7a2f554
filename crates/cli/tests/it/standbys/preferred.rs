use serde_json::Value;
use walbrook_testkit::{Cluster, StopMode};

use crate::end_to_end::newest;
use crate::support::{Ran, Scene};

/// The servers as one connection string, in this order.
fn hosts(servers: &[&Cluster]) -> String {
    let list = |one: &dyn Fn(&Cluster) -> String| {
        servers.iter().map(|server| one(server)).collect::<Vec<_>>().join(",")
    };
    let sockets = list(&|server| server.socket_dir().display().to_string());
    let ports = list(&|server| server.port().to_string());
    format!("host={sockets} port={ports} user=postgres")
}

#[track_caller]
fn backup(scene: &Scene, dsn: &str, args: &[&str]) -> (Value, Ran) {
    let ran = scene.ok("walbrook-backup", &[&["-d", dsn, "--output", "json"], args].concat());
    (serde_json::from_str(&ran.stdout).unwrap(), ran)
}

/// Fails unless it was this server, and both the record and standard error tell why.
#[track_caller]
fn assert_from(record: &Value, ran: &Ran, server: &Cluster, from_standby: bool, why: &str) {
    let source = &record["source"];
    assert_eq!(source["from_standby"], from_standby, "{source}");
    let socket = server.socket_dir().to_str().unwrap();
    assert!(source["server"].as_str().unwrap().starts_with(socket), "{source}");
    assert!(source["reason"].as_str().unwrap().contains(why), "{source}");
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
}

#[test]
fn a_standby_is_preferred() {
    let scene = Scene::new();
    let primary = Cluster::builder(newest())
        // The last segment ends soon: a standby can't end one itself.
        .wal_segsize_mb(1)
        .config("wal_keep_size", "200MB")
        .start()
        .unwrap();
    primary.pgbench_init("postgres", 1).unwrap();
    let mut standby = primary.create_standby().unwrap();
    let load = primary.pgbench_background("postgres", 1).unwrap();
    let both = hosts(&[&primary, &standby]);
    let prefer = ["--from-standby"];

    // All connections of a backup are to one server, whichever it is.
    backup(&scene, &format!("{both} load_balance_hosts=random"), &[]);

    for source in ["sql", "replication"] {
        let args = ["-v", "--from-standby", "--source", source];
        let (record, ran) = backup(&scene, &both, &args);
        assert_from(&record, &ran, &standby, true, "it is a standby, as was asked for");
    }

    standby.psql_ok("postgres", "SELECT pg_wal_replay_pause()").unwrap();
    let (record, ran) = backup(&scene, &both, &prefer);
    assert_from(&record, &ran, &primary, false, "no standby will do: ");
    assert!(ran.stderr.contains("its replay is paused"), "{}", ran.stderr);
    let (record, ran) = backup(&scene, &hosts(&[&standby]), &prefer);
    assert_from(&record, &ran, &standby, true, "a standby that does not keep up");
    standby.psql_ok("postgres", "SELECT pg_wal_replay_resume()").unwrap();

    let primary_only =
        scene.run("walbrook-backup", &[&["-d", &hosts(&[&primary])], &prefer[..]].concat());
    assert!(primary_only.expect(0).stderr.contains("there is none among the hosts"));
    standby.stop(StopMode::Fast).unwrap();
    let (record, ran) = backup(&scene, &both, &prefer);
    assert_from(&record, &ran, &primary, false, "no standby will do: ");
    let only = format!("{both} target_session_attrs=standby");
    let ran = scene.run("walbrook-backup", &[&["-d", &only], &prefer[..]].concat()).expect(1);
    assert!(ran.stderr.contains("no standby will do: "), "{}", ran.stderr);
    load.stop().unwrap();
}
