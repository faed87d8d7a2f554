use std::fs;
use std::path::Path;

use walbrook_delta::{
    BaseBackupSpan, ChangeMap, ChangeMapBuilder, ErrorKind, FilePlan, INCREMENTAL_PREFIX,
    IncrementalHeader, IncrementalReader, IncrementalWriter, Layout, Place, Span, WholeReason,
};
use walbrook_testkit::{Cluster, majors};
use walbrook_types::{Fork, Lsn, RelFile, TimelineId};
use walbrook_wal::{BlockSummary, RelLocator, TimelineHistory};

use crate::server::{Chain, files, start};

const BEFORE: &str = "
    CREATE TABLE t (n int PRIMARY KEY, s text);
    INSERT INTO t SELECT n, repeat(md5(n::text), 4) FROM generate_series(1, 20000) AS n;
    CREATE TABLE quiet AS SELECT n, repeat('q', 100) AS s FROM generate_series(1, 5000) AS n;
    CREATE TABLE shrinks AS SELECT n, repeat('s', 100) AS s FROM generate_series(1, 9000) AS n;
    CREATE TABLE copied AS SELECT n FROM generate_series(1, 9000) AS n;
    VACUUM FREEZE;
";

const BETWEEN: &str = "
    UPDATE t SET s = 'x' WHERE n % 2000 = 7;
    DELETE FROM shrinks WHERE n > 3000;
    VACUUM shrinks;
    CREATE TABLE fresh AS SELECT n FROM generate_series(1, 3000) AS n;
";

const AFTER: &str = "
    INSERT INTO shrinks SELECT n, repeat('t', 100) FROM generate_series(1, 4000) AS n;
    INSERT INTO t SELECT n, 'more' FROM generate_series(20001, 30000) AS n;
    TRUNCATE fresh;
    VACUUM FULL quiet;
";

#[test]
fn chains_combine_as_by_pg_combinebackup() {
    for installation in majors().into_iter().filter(|found| found.major() >= 17) {
        let mut chain = Chain::new(installation);
        chain.cluster.psql_ok("postgres", BEFORE).unwrap();
        let mut base = chain.backup();
        let mut combined = base.clone();
        let mut copy_database = "CREATE DATABASE walled STRATEGY wal_log; \
             CREATE DATABASE copied STRATEGY file_copy;";
        for work in [BETWEEN, AFTER] {
            chain.cluster.psql_ok("postgres", work).unwrap();
            chain.cluster.psql_ok("postgres", copy_database).unwrap();
            copy_database = "CHECKPOINT";
            let backup = chain.backup();
            let next = chain.combine();
            let incremental = check_files(&chain, &next);
            assert!(incremental > 100, "{installation}: {incremental}");
            check_map(&chain.cluster, &base, &combined, &backup, &next);
            (base, combined) = (backup, next);
        }
    }
}

/// Every file of the newest backup, made of the chain, is what `pg_combinebackup` made. Answers how
/// many were incremental.
fn check_files(chain: &Chain, combined: &Path) -> usize {
    let newest = chain.backups.last().unwrap();
    let mut incremental = 0;
    for path in files(newest) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let Some(name) = name.strip_prefix(INCREMENTAL_PREFIX) else { continue };
        incremental += 1;
        let written = fs::read(newest.join(&path)).unwrap();
        assert_eq!(rewrite(&written), written, "{path}");
        let plain = format!("{folder}/{name}");
        let ours = combine(&chain.backups, &plain, &format!("{folder}/{INCREMENTAL_PREFIX}{name}"));
        let theirs = fs::read(combined.join(&plain)).unwrap();
        assert!(ours == theirs, "{plain}: {} bytes, {} expected", ours.len(), theirs.len());
    }
    incremental
}

fn rewrite(bytes: &[u8]) -> Vec<u8> {
    let mut reader = IncrementalReader::new(bytes).unwrap();
    let mut writer = IncrementalWriter::new(Vec::new(), reader.header()).unwrap();
    let mut page = [0; 8192];
    while reader.next_block(&mut page).unwrap().is_some() {
        writer.write_block(&page).unwrap();
    }
    writer.finish().unwrap()
}

/// A file of the newest backup, out of the chain.
fn combine(backups: &[std::path::PathBuf], plain: &str, incremental: &str) -> Vec<u8> {
    let full = backups.iter().rposition(|backup| backup.join(plain).exists()).unwrap();
    let mut layers = vec![(0, fs::read(backups[full].join(plain)).unwrap())];
    let mut layout = Layout::full((layers[0].1.len() / 8192) as u32).unwrap();
    for backup in &backups[full + 1..] {
        let bytes = fs::read(backup.join(incremental)).unwrap();
        let header = IncrementalReader::new(bytes.as_slice()).unwrap().header().clone();
        layout.apply(&header);
        layers.push((header.size() as usize, bytes));
    }
    let mut file = Vec::new();
    for run in layout.runs() {
        let len = run.count as usize * 8192;
        match run.place {
            Place::Zeros => file.resize(file.len() + len, 0),
            Place::Layer { layer, index } => {
                let (begin, bytes) = &layers[layer];
                let at = begin + index as usize * 8192;
                file.extend_from_slice(&bytes[at..at + len]);
            }
        }
    }
    file
}

/// The map of the server's own summaries, between a backup and the next.
fn server_map(cluster: &Cluster, base: (TimelineId, Lsn), to: Lsn) -> ChangeMap {
    let span = BaseBackupSpan { timeline: base.0, start: base.1, stop: base.1 };
    let span = Span::new(span, to, &TimelineHistory::root(base.0)).unwrap();
    let mut builder = ChangeMapBuilder::new(span);
    let number = |text: &String| text.parse().unwrap();
    let query = "SELECT tli, start_lsn, end_lsn FROM pg_available_wal_summaries()";
    for row in cluster.query_rows("postgres", query).unwrap() {
        let timeline: TimelineId = row[0].parse().unwrap();
        let (from, to): (Lsn, Lsn) = (row[1].parse().unwrap(), row[2].parse().unwrap());
        if !builder.wants(timeline, from, to) {
            continue;
        }
        let query = format!(
            "SELECT reltablespace, reldatabase, relfilenode, relforknumber, relblocknumber, \
                    is_limit_block \
             FROM pg_wal_summary_contents({timeline}, '{from}', '{to}')"
        );
        let mut notes = builder.summary(timeline, from, to);
        for row in cluster.query_rows("postgres", &query).unwrap() {
            let relation = RelLocator {
                tablespace_oid: number(&row[0]),
                database: number(&row[1]),
                number: number(&row[2]),
            };
            let (fork, block) = (row[3].parse().unwrap(), row[4].parse().unwrap());
            notes.server_row(relation, fork, block, row[5] == "t");
        }
        notes.complete();
    }
    builder.finish().unwrap()
}

/// The map names whatever the server sent, and together with the base gives the files of the backup.
fn check_map(cluster: &Cluster, base: &Path, base_files: &Path, backup: &Path, now: &Path) {
    let (from, to) = (start(base), start(backup));
    let map = server_map(cluster, from, to.1);
    let (mut parts, mut unchanged) = (0, 0);
    for path in files(now) {
        let size = fs::metadata(now.join(&path)).unwrap().len();
        let base_size = fs::metadata(base_files.join(&path)).ok().map(|meta| meta.len());
        let plan = map.plan(&path, size, base_size);
        let relation = RelFile::from_path(&path);
        if relation.is_none_or(|file| file.fork != Fork::Main) {
            assert!(matches!(plan, FilePlan::Whole(_)), "{path}");
            continue;
        }
        let ranges = match plan {
            FilePlan::Whole(_) => continue,
            FilePlan::Unchanged => Vec::new(),
            FilePlan::Blocks(ranges) => ranges,
        };
        parts += usize::from(!ranges.is_empty());
        unchanged += usize::from(ranges.is_empty());
        let (old, new) = (fs::read(base_files.join(&path)), fs::read(now.join(&path)).unwrap());
        let mut ours = old.unwrap();
        ours.resize(new.len(), 0);
        for range in &ranges {
            let bytes = range.start as usize * 8192..range.end as usize * 8192;
            ours[bytes.clone()].copy_from_slice(&new[bytes]);
        }
        assert!(ours == new, "{path}: {ranges:?}");
        let (folder, name) = path.rsplit_once('/').unwrap();
        if let Ok(sent) = fs::read(backup.join(format!("{folder}/{INCREMENTAL_PREFIX}{name}"))) {
            let header: IncrementalHeader =
                IncrementalReader::new(sent.as_slice()).unwrap().header().clone();
            for block in header.blocks() {
                assert!(ranges.iter().any(|range| range.contains(block)), "{path}: {block}");
            }
        }
    }
    assert!(parts > 5 && unchanged > 100, "{parts} in part, {unchanged} not at all");
    // A new database is whole even if the base should have files of those names.
    let find = "SELECT oid FROM pg_database WHERE datname = 'copied'";
    let copied = cluster.psql("postgres", find).unwrap();
    let path = format!("base/{copied}/2619");
    let expected = match base_files.join(&path).exists() {
        true => FilePlan::Unchanged,
        false => FilePlan::Whole(WholeReason::DatabaseCreated),
    };
    let size = fs::metadata(now.join(&path)).unwrap().len();
    assert_eq!(map.plan(&path, size, Some(size)), expected);
}

#[test]
fn a_gap_is_no_map() {
    let one = TimelineId::FIRST;
    let base = BaseBackupSpan { timeline: one, start: Lsn(100), stop: Lsn(150) };
    let span = Span::new(base, Lsn(900), &TimelineHistory::root(one)).unwrap();
    let mut builder = ChangeMapBuilder::new(span.clone());
    builder.summary(one, Lsn(50), Lsn(300)).complete();
    // Begun and not completed: as if it had never been there.
    let mut notes = builder.summary(one, Lsn(300), Lsn(500));
    notes.limit(RelLocator { tablespace_oid: 1663, database: 5, number: 7 }, Fork::Main, 0);
    let _ = notes;
    builder.summary(one, Lsn(450), Lsn(900)).complete();
    let error = builder.finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    assert_eq!(error.to_string(), "the changes from 0/12C to 0/1C2 on timeline 1 are not known");

    let mut builder = ChangeMapBuilder::new(span);
    let mut notes = builder.summary(one, Lsn(0), Lsn(1000));
    let relation = RelLocator { tablespace_oid: 1663, database: 5, number: 7 };
    notes.server_row(relation, 9, 0, false);
    notes.complete();
    assert_eq!(builder.finish().unwrap_err().kind(), ErrorKind::NotLogged);
}

#[test]
fn a_summary_of_all_the_span_is_a_map() {
    let two = TimelineId::new(2).unwrap();
    let history = TimelineHistory::parse(two, "1\t0/C8\tpromoted\n").unwrap();
    let base = BaseBackupSpan { timeline: TimelineId::FIRST, start: Lsn(100), stop: Lsn(150) };
    let span = Span::new(base, Lsn(900), &history).unwrap();
    let relation = RelLocator { tablespace_oid: 1663, database: 5, number: 7 };
    let mut summary = BlockSummary::new();
    summary.mark(relation, Fork::Main, 2);
    summary.mark(relation, Fork::VisibilityMap, 0);
    summary.limit(relation, Fork::Main, 8);
    summary.recreate_database(1663, 6);
    let mut builder = ChangeMapBuilder::new(span);
    builder.whole_span(&summary);
    let map = builder.finish().unwrap();
    let plan = |path: &str| map.plan(path, 10 * 8192, Some(10 * 8192));
    assert_eq!(plan("base/5/7"), FilePlan::Blocks(vec![2..3, 8..10]));
    assert_eq!(plan("base/5/7.1"), FilePlan::Whole(WholeReason::Created));
    assert_eq!(plan("base/5/7_vm"), FilePlan::Whole(WholeReason::Fork));
    assert_eq!(plan("base/5/8"), FilePlan::Unchanged);
    assert_eq!(plan("base/6/8"), FilePlan::Whole(WholeReason::DatabaseCreated));
    assert_eq!(plan("pg_xact/0000"), FilePlan::Whole(WholeReason::NotARelation));
    let odd = map.plan("base/5/8", 8191, Some(8192));
    assert_eq!(odd, FilePlan::Whole(WholeReason::OddLength));
}
