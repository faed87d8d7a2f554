//! What the records of each resource manager mean, against the descriptions that `pg_waldump` prints.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use walbrook_types::{Fork, Oid};
use walbrook_wal::{
    Compression, DbaseRecord, HeapChange, Record, RelLocator, RmgrId, SmgrRecord, TablespaceRecord,
    WalVersion, XactRecord, XlogRecord,
};

use crate::oracle::decode;
use crate::server::{Wal, each};
use crate::waldump::Line;
use crate::workload;

fn records(wal: &Wal) -> Vec<Record> {
    let bytes = Bytes::from(wal.read());
    decode(wal, &bytes, bytes.len())
}

/// Each record with its line.
fn pairs<'a>(records: &'a [Record], wal: &'a Wal) -> impl Iterator<Item = (&'a Record, &'a Line)> {
    records.iter().zip(&wal.lines).inspect(|(record, line)| assert_eq!(record.lsn, line.lsn))
}

/// As `relpathperm` makes it.
fn path(relation: RelLocator, fork: Fork) -> String {
    let RelLocator { tablespace_oid, database, number } = relation;
    let suffix = fork.suffix();
    match tablespace_oid {
        1664 => format!("global/{number}{suffix}"),
        1663 => format!("base/{database}/{number}{suffix}"),
        other => format!("pg_tblspc/{other}/PG_?/{database}/{number}{suffix}"),
    }
}

/// The same of what was printed: the name of the directory has the catalog's version in it.
fn without_version(text: &str) -> String {
    let parts: Vec<&str> =
        text.split('/').map(|part| if part.starts_with("PG_") { "PG_?" } else { part }).collect();
    parts.join("/")
}

fn list<T: ToString>(items: impl Iterator<Item = T>, separator: &str) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(separator)
}

#[test]
fn files_and_directories_come_and_go_as_pg_waldump_says() {
    each(&[16], |wal| {
        let records = records(wal);
        let (mut seen, mut truncated, mut moved) = (BTreeSet::new(), 0, None);
        for (record, line) in pairs(&records, wal) {
            let ours = if let Some(smgr) = record.smgr().unwrap() {
                match smgr {
                    SmgrRecord::Create { relation, fork } => path(relation, fork),
                    SmgrRecord::Truncate(cut) => {
                        truncated += 1;
                        let flags = u8::from(cut.main)
                            | u8::from(cut.visibility_map) << 1
                            | u8::from(cut.free_space_map) << 2;
                        let path = path(cut.relation, Fork::Main);
                        format!("{path} to {} blocks flags {flags}", cut.blocks)
                    }
                    other => panic!("{other:?}"),
                }
            } else if let Some(dbase) = record.dbase().unwrap() {
                match dbase {
                    DbaseRecord::CreateFileCopy {
                        database,
                        tablespace,
                        source_database,
                        source_tablespace,
                    } => {
                        if database == source_database {
                            moved = Some((database, source_tablespace));
                        }
                        format!(
                            "copy dir {source_tablespace}/{source_database} to {tablespace}/{database}"
                        )
                    }
                    DbaseRecord::CreateWalLog { database, tablespace } => {
                        format!("create dir {tablespace}/{database}")
                    }
                    DbaseRecord::Drop(drop) => {
                        // A move is a copy, and the removal of what was copied.
                        if let Some((database, tablespace)) = moved {
                            assert!(drop.database == database);
                            assert!(drop.tablespaces().eq([tablespace]));
                            moved = None;
                        }
                        let dirs = drop.tablespaces().map(|t| format!("{t}/{}", drop.database));
                        format!("dir {}", list(dirs, " "))
                    }
                    other => panic!("{other:?}"),
                }
            } else if let Some(tablespace) = record.tablespace().unwrap() {
                match tablespace {
                    TablespaceRecord::Create { tablespace, path } => {
                        format!("{tablespace} \"{}\"", String::from_utf8_lossy(path))
                    }
                    TablespaceRecord::Drop { tablespace } => tablespace.to_string(),
                    other => panic!("{other:?}"),
                }
            } else if let Some(map) = record.relmap().unwrap() {
                // Every map has pg_class, and more.
                assert!(
                    map.mappings().len() > 3
                        && map.mappings().any(|(oid, _)| oid == 1259 || map.database == 0)
                );
                assert!(map.mappings().all(|(oid, file)| oid > 0 && file > 0));
                format!(
                    "database {} tablespace {} size {}",
                    map.database,
                    map.tablespace,
                    map.file.len()
                )
            } else {
                continue;
            };
            let (operation, rest) = line.desc.split_once(' ').unwrap();
            assert_eq!(ours, without_version(rest), "{} {line:?}", wal.major);
            seen.insert(format!("{}/{operation}", line.rmgr));
        }
        assert_eq!((seen.len(), moved), (8, None), "{seen:?}");
        assert!(truncated > 0);
    });
}

#[test]
fn the_log_itself_says_what_pg_waldump_says() {
    each(&[16], |wal| {
        let records = records(wal);
        let mut seen = BTreeSet::new();
        let on = |on: bool| if on { "on" } else { "off" };
        for (record, line) in pairs(&records, wal) {
            let Some(meaning) = record.xlog().unwrap() else { continue };
            let rest = line.desc.split_once(' ').map_or("", |(_, rest)| rest);
            let ours = match meaning {
                XlogRecord::CheckpointShutdown(c) | XlogRecord::CheckpointOnline(c) => {
                    let level = c.wal_level(record.version);
                    assert_eq!(level.is_some(), record.version >= WalVersion::V17);
                    let level =
                        level.map_or(String::new(), |l| format!(" wal_level {};", l.name()));
                    let ours = format!(
                        "redo {}; tli {}; prev tli {}; fpw {};{level} xid {}:{}; oid {};",
                        c.redo,
                        c.timeline,
                        c.previous_timeline,
                        c.full_page_writes,
                        c.next_xid >> 32,
                        c.next_xid as u32,
                        c.next_oid
                    );
                    assert!(rest.starts_with(&ours), "{ours}, {line:?}");
                    assert!(rest.contains(&format!("oldest xid {} in DB", c.oldest_xid)));
                    rest.to_owned()
                }
                XlogRecord::CheckpointRedo { wal_level } => {
                    format!("wal_level {}", wal_level.name())
                }
                XlogRecord::NextOid(oid) => oid.to_string(),
                XlogRecord::FullPageWrites(on) => on.to_string(),
                XlogRecord::BackupEnd { start_lsn } => start_lsn.to_string(),
                XlogRecord::RestorePoint { name, .. } => name,
                XlogRecord::ParameterChange(p) => format!(
                    "max_connections={} max_worker_processes={} max_wal_senders={} \
                     max_prepared_xacts={} max_locks_per_xact={} wal_level={} wal_log_hints={} \
                     track_commit_timestamp={}",
                    p.max_connections,
                    p.max_worker_processes,
                    p.max_wal_senders,
                    p.max_prepared_transactions,
                    p.max_locks_per_transaction,
                    p.wal_level.name(),
                    on(p.wal_log_hints),
                    on(p.track_commit_timestamp),
                ),
                XlogRecord::Switch | XlogRecord::Fpi | XlogRecord::FpiForHint => String::new(),
                other => panic!("{other:?}"),
            };
            // LSNs have been printed with and without leading zeroes.
            assert_eq!(ours, rest.trim_start(), "{} {line:?}", wal.major);
            seen.insert(record.operation_name());
        }
        assert!(seen.len() >= 9, "{seen:?}");
    });
}

#[test]
fn transactions_say_what_pg_waldump_says() {
    each(&[16], |wal| {
        let records = records(wal);
        let (mut assigned, mut made, mut dropped, mut subxids) = (0, 0, 0, 0);
        for (record, line) in pairs(&records, wal) {
            match record.xact().unwrap() {
                Some(XactRecord::Assignment(assignment)) => {
                    let subxacts = list(assignment.subxids(), " ");
                    let ours = format!("ASSIGNMENT xtop {}: subxacts: {subxacts}", assignment.xid);
                    assert_eq!(ours, line.desc);
                    assigned += 1;
                }
                Some(XactRecord::Prepare(prepare)) => {
                    let paths = |relations: &mut dyn Iterator<Item = RelLocator>| {
                        list(relations.map(|relation| path(relation, Fork::Main)), " ")
                    };
                    let commit = paths(&mut prepare.dropped_on_commit());
                    let abort = paths(&mut prepare.dropped_on_abort());
                    let subxacts = list(prepare.subxids(), " ");
                    for (name, ours) in [
                        ("rels(commit): ", &commit),
                        ("rels(abort): ", &abort),
                        ("subxacts: ", &subxacts),
                    ] {
                        let theirs = line
                            .desc
                            .split_once(name)
                            .map_or("", |(_, rest)| rest.split(';').next().unwrap());
                        assert_eq!(ours, theirs, "{line:?}");
                    }
                    dropped += prepare.dropped_on_commit().len();
                    made += prepare.dropped_on_abort().len();
                    subxids += prepare.subxids().len();
                }
                _ => {}
            }
        }
        assert!(assigned > 2 && made > 0 && dropped > 0 && subxids > 0);
    });
}

#[test]
fn rows_are_counted_as_the_statements_count_them() {
    each(&[16], |wal| {
        let records = records(wal);
        let mut totals: BTreeMap<Oid, (u32, u32, u32)> = BTreeMap::new();
        let (mut counted, mut truncations) = (None, 0);
        for (record, line) in pairs(&records, wal) {
            let data = record.main_data().unwrap();
            let marker = b"counted\0".as_slice();
            if let Some(at) = data.windows(marker.len()).position(|part| part == marker)
                && record.header.rmgr == RmgrId::LOGICAL_MESSAGE
            {
                let text = String::from_utf8_lossy(&data[at + marker.len()..]).into_owned();
                counted = Some(text.parse::<Oid>().unwrap());
            }
            match record.changes().unwrap() {
                Some(HeapChange::Tuples(tuples)) => {
                    assert_eq!(
                        Some(tuples.relation),
                        record.parts().unwrap().blocks().next().map(|b| b.relation)
                    );
                    if let Some((_, count)) = line.desc.split_once("ntuples: ") {
                        let count = count.split(|c: char| !c.is_ascii_digit()).next().unwrap();
                        assert_eq!(count, tuples.inserted.to_string(), "{line:?}");
                    }
                    let (inserted, updated, deleted) =
                        totals.entry(tuples.relation.number).or_default();
                    *inserted += tuples.inserted;
                    *updated += tuples.updated;
                    *deleted += tuples.deleted;
                }
                Some(HeapChange::Truncate(truncate)) => {
                    assert!(line.desc.starts_with("TRUNCATE"));
                    let words = line.desc.to_lowercase();
                    assert_eq!(words.contains("cascade"), truncate.cascade, "{line:?}");
                    assert_eq!(
                        words.contains("restart_seqs"),
                        truncate.restart_sequences,
                        "{line:?}"
                    );
                    let relations: Vec<String> =
                        truncate.relations().map(|oid| oid.to_string()).collect();
                    let (_, theirs) = line.desc.rsplit_once("relids").unwrap();
                    let theirs: Vec<&str> = theirs
                        .split(|c: char| !c.is_ascii_digit())
                        .filter(|s| !s.is_empty())
                        .collect();
                    assert_eq!(relations, theirs, "{line:?}");
                    truncations += 1;
                }
                None => {}
                other => panic!("{other:?}"),
            }
        }
        let counted = totals.get(&counted.unwrap()).unwrap();
        assert_eq!(*counted, workload::COUNTED, "{}", wal.major);
        assert!(truncations > 1);
    });
}

#[test]
fn the_workload_covers_what_it_should() {
    each(&[16], |wal| {
        let records = records(wal);
        let mut seen = BTreeSet::new();
        let (mut methods, mut used) = (Vec::new(), BTreeSet::new());
        for (record, line) in pairs(&records, wal) {
            if let Some(name) = record.operation_name() {
                seen.insert(format!("{}/{name}", record.header.rmgr));
            }
            let parts = record.parts().unwrap();
            for image in parts.blocks().filter_map(|block| block.image) {
                used.insert(match image.compression {
                    Compression::None => "off",
                    Compression::Pglz => "pglz",
                    Compression::Lz4 => "lz4",
                    Compression::Zstd => "zstd",
                    _ => "?",
                });
            }
            if line.desc.contains("prefix \"wal_compression\"") {
                let data = String::from_utf8_lossy(parts.main_data()).into_owned();
                methods.extend(data.rsplit('\0').next().map(str::to_owned));
            }
        }
        let of_version =
            if wal.major >= 17 { workload::COVERED_SINCE_17 } else { workload::COVERED_UNTIL_16 };
        let missing: Vec<_> = workload::COVERED
            .iter()
            .chain(of_version)
            .filter(|name| !seen.contains(**name))
            .collect();
        assert!(missing.is_empty(), "{}: {missing:?}", wal.major);
        assert!(methods.len() >= 2, "{methods:?}");
        assert!(
            methods.iter().map(String::as_str).collect::<BTreeSet<_>>() == used,
            "{methods:?} {used:?}"
        );
    });
}
