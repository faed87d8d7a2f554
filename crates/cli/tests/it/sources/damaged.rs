//! Pages that are damaged on the server's disk.

use std::os::unix::fs::FileExt;
use std::path::Path;

use walbrook_testkit::{Cluster, StopMode};

use crate::end_to_end::newest;
use crate::support::{Scene, output};

const PAGE: usize = 8192;

/// The exit code for a backup of a database that has damaged pages.
const DAMAGED: i32 = 3;

#[test]
fn damaged_pages_are_named_and_stored() {
    let scene = Scene::new();
    let has_summaries = newest().major() >= 17;
    let mut builder = Cluster::builder(newest()).data_checksums(true);
    if has_summaries {
        builder = builder.config("summarize_wal", "on");
    }
    let mut cluster = builder.start().unwrap();
    let sql = "CREATE TABLE t AS SELECT g, repeat('x', 500) FROM generate_series(1, 200) g";
    cluster.psql_ok("postgres", sql).unwrap();
    let path = cluster.psql("postgres", "SELECT pg_relation_filepath('t')").unwrap();
    cluster.stop(StopMode::Fast).unwrap();
    let file = cluster.data_dir().join(&path);
    let sound = std::fs::read(&file).unwrap();
    // Of the second page a byte; of the fourth the LSN, and its checksum put right.
    change(&file, 1, |page| page[PAGE - 1] ^= 1);
    change(&file, 3, |page| {
        page[..4].copy_from_slice(&0x7FFF_u32.to_le_bytes());
        page[8..10].copy_from_slice(&[0, 0]);
        let sum = walbrook::page::checksum(page, 3);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
    });
    cluster.start_again().unwrap();

    let directory = cluster.data_dir().to_str().unwrap().to_owned();
    let conninfo = cluster.conninfo();
    for (name, args) in [
        ("sql", vec!["--source", "sql"]),
        ("local", vec!["--source", "local", "--pgdata", &directory]),
    ] {
        let args = [&["-d", &conninfo, "--output", "json"], args.as_slice()].concat();
        let ran = output(scene.command("walbrook-backup", &args)).expect(DAMAGED);
        let record: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(record["source"]["kind"], name);
        assert_eq!(record["damage"]["pages"], 2, "{name}: {}", record["damage"]);
        for (listed, block, problem) in [(0, 1, "checksum"), (1, 3, "past")] {
            let listed = &record["damage"]["listed"][listed];
            assert_eq!((&listed["path"], &listed["block"]), (&path.as_str().into(), &block.into()));
            assert!(listed["problem"].as_str().unwrap().contains(problem), "{listed}");
            let told = format!("{path}, block {block}");
            assert!(ran.stderr.contains(&told), "{told}: {}", ran.stderr);
        }
        // All of the file is in the backup as it is.
        let restored = scene.restore(name, &["--backup", record["id"].as_str().unwrap()]);
        assert_eq!(std::fs::read(restored.join(&path)).unwrap(), std::fs::read(&file).unwrap());
    }

    // Mended without a word in the log: what a base has damaged is never taken for unchanged.
    cluster.stop(StopMode::Fast).unwrap();
    std::fs::write(&file, &sound).unwrap();
    cluster.start_again().unwrap();
    let record = scene.backup(&cluster, &["--source", "replication"]);
    let by = if has_summaries { "wal-summaries" } else { "hash" };
    assert_eq!(record["source"]["changes"]["by"], by, "{}", record["source"]["changes"]);
    assert_eq!(record["damage"]["pages"], 0, "{}", record["damage"]);
    let restored = scene.restore("mended", &[]);
    assert_eq!(std::fs::read(restored.join(&path)).unwrap(), sound);
}

fn change(file: &Path, block: u64, change: impl FnOnce(&mut [u8; PAGE])) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut page = [0; PAGE];
    file.read_exact_at(&mut page, block * PAGE as u64).unwrap();
    change(&mut page);
    file.write_all_at(&page, block * PAGE as u64).unwrap();
}
