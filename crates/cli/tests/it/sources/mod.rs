//! The sources of pages: each copies a server at work, and what is restored is what was there.

mod damaged;
mod refused;

use std::time::{Duration, Instant};

use walbrook_testkit::{Background, Cluster, Installation, Until, majors};

use crate::end_to_end::data::{self, APP, Contents};
use crate::end_to_end::{for_each_major, newest, oracles};
use crate::support::{Scene, log_tail, output};

for_each_major!(each_source);

/// A role that may take backups, and what `--print-grants` says about it.
const KEEPER: &str = "keeper";

/// Every source, one after the other, of a server at work that makes and drops tables meanwhile;
/// then a restore of each to one and the same moment.
fn each_source(installation: &Installation) {
    let scene = Scene::new();
    let builder = Cluster::builder(installation).data_checksums(true).config("max_wal_size", "4GB");
    let cluster = scene.archiving(builder).start().unwrap();
    data::fill(&cluster);
    make_keeper(&scene, &cluster);
    let session = data::hold_temporary_table(&cluster);
    let absent = data::unlogged_and_temporary(&cluster);
    let load = cluster.pgbench_background(APP, 2).unwrap();
    let churn = churn(&cluster);
    data::let_it_run(&cluster, &load);

    let directory = cluster.data_dir().to_str().unwrap().to_owned();
    let by_keeper = cluster.conninfo().replace("user=postgres", &format!("user={KEEPER}"));
    let mut sources: Vec<(&str, Vec<&str>)> =
        vec![("sql", vec!["--jobs", "3"]), ("replication", vec![])];
    // The same on every version, so the oldest and the newest will do.
    let ends = [majors().first().copied(), majors().last().copied()];
    if ends.iter().flatten().any(|end| end.major() == installation.major()) {
        sources.push(("local", vec!["--pgdata", &directory]));
    }
    let mut backups = Vec::new();
    for (source, args) in &sources {
        let args = [&["--source", source], args.as_slice()].concat();
        let record = scene.backup_of(&by_keeper, &args);
        assert_eq!(record["source"]["kind"], *source);
        assert_eq!(record["damage"]["pages"], 0, "{source}: {}", record["damage"]);
        assert_eq!(record["tablespaces"].as_array().map(Vec::len), Some(1));
        backups.push(record);
        if backups.len() == 1 {
            scene.start_archiving(&cluster);
        }
    }
    churn.stop().unwrap();
    load.stop().unwrap();
    drop(session);

    let contents = Contents::of(&cluster);
    cluster.psql_ok("postgres", "SELECT pg_create_restore_point('here')").unwrap();
    data::lose_data(&cluster);
    scene.archive_now(&cluster);
    for (record, (source, _)) in backups.iter().zip(&sources) {
        let id = record["id"].as_str().unwrap();
        let args = ["--backup", id, "--target-name", "here", "--target-action", "promote"];
        let directory = data::restore(&scene, &cluster, source, &args);
        data::assert_fit(&directory, &absent);
        let mut restored =
            scene.adopt(&cluster, &directory).until(Until::Promoted).start().unwrap();
        contents.assert_in(&restored, source);
        if *source != "replication" {
            oracles::check_relations(&restored);
            oracles::check_pages(&mut restored);
        }
    }
}

/// The same files with the same modes, whatever the source, of a server that is idle. Its group
/// may read them, which SQL does not tell of each. And none is read faster than is asked for.
#[test]
fn the_same_files() {
    let scene = Scene::new();
    let builder = Cluster::builder(newest()).initdb_arg("--allow-group-access");
    let cluster = builder.config("autovacuum", "off").start().unwrap();
    data::fill(&cluster);
    cluster.psql_ok("postgres", "CHECKPOINT").unwrap();
    let directory = cluster.data_dir().to_str().unwrap().to_owned();
    let trees = [("replication", vec![]), ("sql", vec![]), ("local", vec!["--pgdata", &directory])]
        .map(|(source, args)| {
            let args = [&["--source", source, "--max-rate", "48M"], args.as_slice()].concat();
            let begun = Instant::now();
            let record =
                scene.backup(&cluster, &[&["--changes", "hash"], args.as_slice()].concat());
            let (took, bytes) =
                (begun.elapsed(), record["size"]["database_bytes"].as_u64().unwrap());
            // Never the other way round: a machine may be as slow as it likes.
            let least = Duration::from_secs_f64(0.8 * bytes as f64 / f64::from(48 << 20));
            assert!(took >= least, "{source}: {bytes} bytes in {took:?}");
            let id = record["id"].as_str().unwrap();
            let restored = data::restore(&scene, &cluster, source, &["--backup", id]);
            let find = "find . -path ./backup_manifest -o -type l -printf '%p link\\n' \
                    -o -type d -printf '%p %m\\n' -o -printf '%p %m %s\\n' | sort";
            let mut command = std::process::Command::new("sh");
            command.args(["-c", find]).current_dir(&restored);
            (source, output(command).expect(0).stdout)
        });
    assert!(trees[0].1.contains("./base/1/PG_VERSION 640 3\n"), "{}", trees[0].1);
    for (source, tree) in &trees[1..] {
        assert_eq!(*tree, trees[0].1, "{source}");
    }
}

/// Makes the role by what `--print-grants` prints.
fn make_keeper(scene: &Scene, cluster: &Cluster) {
    cluster.psql_ok("postgres", &format!("CREATE ROLE {KEEPER} LOGIN")).unwrap();
    let dsn = format!("user={KEEPER}");
    let grants = scene.ok("walbrook-backup", &["--print-grants", "-d", &dsn]).stdout;
    let path = cluster.make_dir("grants").unwrap().join("grants.sql");
    std::fs::write(&path, grants).unwrap();
    let mut psql = cluster.command("psql");
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", "template1", "-f"]).arg(path);
    output(psql).expect(0);
}

/// Makes and drops tables all the time.
fn churn(cluster: &Cluster) -> Background {
    let script = cluster.make_dir("churn").unwrap().join("churn.sql");
    let sql = "CREATE TABLE churn:client_id AS SELECT g AS n FROM generate_series(1, 3000) g;\n\
               TRUNCATE churn:client_id;\nDROP TABLE churn:client_id;\n";
    std::fs::write(&script, sql).unwrap();
    let script = script.to_str().unwrap();
    let args = ["--no-vacuum", "--client=2", "--time=3600", "-f", script, APP];
    cluster.background("pgbench", &args).unwrap_or_else(|e| panic!("{e}: {}", log_tail(cluster)))
}
