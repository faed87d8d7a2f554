//! Block summaries against those that PostgreSQL 17 and later make themselves, and, for every version,
//! against what its rules make of `pg_waldump`'s output; all of a log in which relations and databases
//! come, go, grow and shrink in every way.
//!
//! Two differences to PostgreSQL's are known, and nothing else may differ:
//!
//! 1. A truncation here forgets the blocks that it cuts off always, PostgreSQL's only if the fork was
//!    never shorter before in the same file. What PostgreSQL has more lies at or beyond the limit block,
//!    from where on every block counts as changed anyway. Merging needs it so.
//! 2. The limit of a visibility map: the record of a truncation has the heap's new length, which
//!    PostgreSQL took for the map's own; the map's is 32,672 times less. Mended servers round that up.
//!    Here it is rounded down, because the last page that is kept is rewritten in part without a block
//!    reference. (Backups take visibility maps whole, whatever summaries say of them.)

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use walbrook_testkit::{Cluster, Installation, StopMode, majors};
use walbrook_types::{Fork, Lsn, WalFileName};
use walbrook_wal::{
    BlockSummary, BlockSummaryBuilder, PgSummary, PgSummaryName, RelLocator, summarize_segment,
};

use crate::naive::{Entries, Forget, MapLimit, Naive, assert_same, entries};
use crate::oracle::decode;
use crate::server::read;
use crate::waldump::Line;

/// What is there before: a table that only gets shorter.
const BEFORE: &str = "
    CREATE TABLE long (n int, s text);
    INSERT INTO long SELECT n, repeat(md5(n::text), 5) FROM generate_series(1, 20000) AS n;
    VACUUM long;
";

const ROUNDS: [&str; 4] = [
    "
    CREATE TABLE grows (n int, s text);
    INSERT INTO grows SELECT n, repeat(md5(n::text), 5) FROM generate_series(1, 20000) AS n;
    CREATE INDEX ON grows (s);
    CREATE INDEX ON grows USING gin (string_to_array(s, 'a'));
    VACUUM grows;
    DELETE FROM grows WHERE n > 3000;
    VACUUM grows;
    INSERT INTO grows SELECT n, repeat(md5(n::text), 5) FROM generate_series(1, 9000) AS n;
    DELETE FROM grows WHERE n > 2000;
    VACUUM grows;
    UPDATE long SET s = s || 'x' WHERE n > 9000;
    DELETE FROM long WHERE n > 10000;
    VACUUM long;
    CREATE UNLOGGED TABLE u (n int PRIMARY KEY);
    INSERT INTO u SELECT generate_series(1, 5000);
    CREATE TABLE short (n int); INSERT INTO short VALUES (1); DROP TABLE short;
    BEGIN; CREATE TABLE never (n int); INSERT INTO never SELECT generate_series(1, 3000); ROLLBACK;
    CREATE DATABASE by_log STRATEGY wal_log;
    CREATE DATABASE by_copy STRATEGY file_copy;
    ",
    "
    ALTER TABLE u SET LOGGED;
    UPDATE grows SET s = s || 'x' WHERE n % 7 = 0;
    TRUNCATE grows;
    BEGIN; TRUNCATE pgbench_history; INSERT INTO pgbench_history SELECT * FROM pgbench_history; COMMIT;
    CREATE TABLE moved AS SELECT n FROM generate_series(1, 5000) AS n;
    ALTER TABLE moved SET TABLESPACE elsewhere;
    CREATE DATABASE there TABLESPACE elsewhere STRATEGY file_copy;
    ALTER DATABASE by_copy SET TABLESPACE elsewhere;
    DROP DATABASE by_log;
    VACUUM FULL pgbench_tellers;
    REINDEX TABLE pgbench_accounts;
    CLUSTER pgbench_branches USING pgbench_branches_pkey;
    ",
    "
    BEGIN; CREATE TABLE two (n int); INSERT INTO two VALUES (1); PREPARE TRANSACTION 'one';
    COMMIT PREPARED 'one';
    BEGIN; CREATE TABLE three (n int); INSERT INTO three VALUES (1); PREPARE TRANSACTION 'two';
    ROLLBACK PREPARED 'two';
    BEGIN; CREATE TABLE outer_one (n int); SAVEPOINT s; CREATE TABLE inner_one (n int PRIMARY KEY);
    INSERT INTO inner_one SELECT generate_series(1, 100); ROLLBACK TO s; COMMIT;
    DROP DATABASE there;
    DROP DATABASE by_copy;
    ALTER TABLE u SET UNLOGGED;
    SELECT pg_logical_emit_message(false, 'long', repeat('y', 3000000));
    ",
    // Commits of several pages, and of more than two segments: the relations dropped, and what other
    // sessions have to forget.
    "
    DO $$ BEGIN FOR n IN 1..600 LOOP EXECUTE format('CREATE TABLE many%s (a text, b text)', n); END LOOP; END $$;
    DO $$ BEGIN FOR n IN 1..600 LOOP EXECUTE format('DROP TABLE many%s', n); END LOOP; END $$;
    DO $$ BEGIN FOR m IN 1..30 LOOP
        EXECUTE format('CREATE TABLE few%s (a text)', m); EXECUTE format('DROP TABLE few%s', m);
    COMMIT; END LOOP; END $$;
    DELETE FROM grows; VACUUM grows;
    DELETE FROM long WHERE n > 500; VACUUM long;
    ",
];

/// Begins a segment with a checkpoint's redo record, so that a summary of PostgreSQL's begins where
/// a segment does. Answers that segment's start.
fn segment_boundary(cluster: &Cluster) -> Lsn {
    for _ in 0..20 {
        cluster.psql_ok("postgres", "SELECT pg_switch_wal(); CHECKPOINT").unwrap();
        let redo =
            cluster.psql("postgres", "SELECT redo_lsn FROM pg_control_checkpoint()").unwrap();
        let redo: Lsn = redo.trim().parse().unwrap();
        // Behind the long header of the first page. A snapshot of running transactions comes
        // between now and then.
        if redo.0 % (1 << 20) == 40 {
            return Lsn(redo.0 - 40);
        }
    }
    panic!("no checkpoint began a segment");
}

struct Ran {
    boundaries: Vec<Lsn>,
    /// What `pg_wal_summary_contents` says of each summary file.
    contents: BTreeMap<PgSummaryName, Entries>,
    /// The files themselves, and what `pg_walsummary` prints of each.
    files: BTreeMap<PgSummaryName, Vec<u8>>,
}

fn run(cluster: &Cluster, major: u32) -> Ran {
    let pgbench = |args: &[&str]| {
        let output = cluster.command("pgbench").args(args).arg("postgres").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let place = cluster.make_dir("elsewhere").unwrap();
    let sql = format!("CREATE TABLESPACE elsewhere LOCATION '{}'", place.display());
    cluster.psql_ok("postgres", &sql).unwrap();
    pgbench(&["-i", "-s", "1", "-q"]);
    cluster.psql_ok("postgres", BEFORE).unwrap();
    let mut boundaries = vec![segment_boundary(cluster)];
    for round in ROUNDS {
        pgbench(&["-c", "2", "-t", "150", "-n"]);
        cluster.psql_ok("postgres", round).unwrap();
        boundaries.push(segment_boundary(cluster));
    }
    let mut ran = Ran { boundaries, contents: BTreeMap::new(), files: BTreeMap::new() };
    if major >= 17 {
        gather(cluster, &mut ran);
    }
    ran
}

fn gather(cluster: &Cluster, ran: &mut Ran) {
    let last = ran.boundaries.last().unwrap();
    let done = format!(
        "SELECT coalesce(max(end_lsn) >= '{last}', false) FROM pg_available_wal_summaries()"
    );
    let deadline = Instant::now() + Duration::from_secs(60);
    while cluster.psql("postgres", &done).unwrap().trim() != "t" {
        assert!(Instant::now() < deadline, "the summarizer is not done");
        std::thread::sleep(Duration::from_millis(50));
    }
    for entry in fs::read_dir(cluster.wal_dir().join("summaries")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let parsed: PgSummaryName = name.parse().unwrap();
        assert_eq!(parsed.to_string(), name);
        let rows = cluster
            .psql(
                "postgres",
                &format!(
                    "SELECT reltablespace, reldatabase, relfilenode, relforknumber,
                            relblocknumber, is_limit_block::int
                     FROM pg_wal_summary_contents({}, '{}', '{}')",
                    parsed.timeline, parsed.start, parsed.end
                ),
            )
            .unwrap();
        ran.contents.insert(parsed, rows.lines().map(row).fold(Entries::new(), add));
        ran.files.insert(parsed, fs::read(&path).unwrap());
        let ours = path.with_extension("ours");
        fs::write(&ours, PgSummary::write(&PgSummary::read(&fs::read(&path).unwrap()).unwrap()))
            .unwrap();
        if cluster.installation().tool("pg_walsummary").exists() {
            assert_eq!(walsummary(cluster, &ours), walsummary(cluster, &path), "{name}");
        }
        fs::remove_file(ours).unwrap();
    }
}

type Row = (RelLocator, Fork, u32, bool);

fn row(line: &str) -> Row {
    let mut fields = line.split('|').map(|field| field.trim().parse::<u32>().unwrap());
    let mut field = || fields.next().unwrap();
    let relation = RelLocator { tablespace_oid: field(), database: field(), number: field() };
    let fork = match field() {
        0 => Fork::Main,
        2 => Fork::VisibilityMap,
        3 => Fork::Init,
        other => panic!("fork {other}"),
    };
    (relation, fork, field(), field() == 1)
}

fn add(mut entries: Entries, (relation, fork, block, is_limit): Row) -> Entries {
    let (limit, blocks) = entries.entry((relation, fork)).or_default();
    if is_limit {
        *limit = Some(block);
    } else {
        blocks.insert(block);
    }
    entries
}

/// What PostgreSQL's own tool prints of a summary file, in no particular order.
fn walsummary(cluster: &Cluster, path: &Path) -> Vec<String> {
    let output = cluster.command("pg_walsummary").arg("-i").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<_> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// That these differ from PostgreSQL's only as the head of this file says. Answers how many blocks
/// PostgreSQL has more.
fn assert_differences(ours: &Entries, theirs: &Entries, what: &str) -> usize {
    let mut beyond_limit = 0;
    for (key, (limit, blocks)) in theirs {
        let (our_limit, our_blocks) = ours.get(key).unwrap_or_else(|| panic!("{what}: {key:?}"));
        if key.1 == Fork::VisibilityMap {
            // 0 where PostgreSQL has 1, or hundreds.
            assert_eq!(our_limit.is_some(), limit.is_some(), "{what}: {key:?}");
            assert!(our_limit <= limit, "{what}: {key:?}");
        } else {
            assert_eq!(our_limit, limit, "{what}: {key:?}");
        }
        for block in blocks.difference(our_blocks) {
            assert!(our_limit.is_some_and(|limit| *block >= limit), "{what}: {key:?} {block}");
            beyond_limit += 1;
        }
        assert!(our_blocks.is_subset(blocks), "{what}: {key:?}");
    }
    assert_eq!(ours.len(), theirs.len(), "{what}");
    beyond_limit
}

fn check(installation: &Installation) {
    let major = installation.major();
    let mut builder = Cluster::builder(installation)
        .wal_segsize_mb(1)
        .config("autovacuum", "off")
        .config("checkpoint_timeout", "1h")
        .config("max_prepared_transactions", "5")
        .config("max_wal_size", "4GB")
        .config("wal_keep_size", "4GB");
    if major >= 17 {
        builder = builder.config("summarize_wal", "on");
    }
    let mut cluster = builder.start().unwrap();
    let ran = run(&cluster, major);
    cluster.stop(StopMode::Fast).unwrap();
    let wal = read(&cluster, major, 1);
    let records = decode(&wal, &Bytes::from(wal.read()), 1 << 20);
    let lines =
        |from: Lsn, to: Lsn| wal.lines.iter().filter(move |line| line.lsn >= from && line.lsn < to);
    let decoded = |from: Lsn, to: Lsn| {
        let mut builder = BlockSummaryBuilder::new();
        for record in records.iter().filter(|record| record.lsn >= from && record.lsn < to) {
            builder.record(record).unwrap();
        }
        builder.finish()
    };
    let merged = |from: Lsn, to: Lsn| {
        let within = |name: &WalFileName| {
            let start = name.segment_number(wal.size).unwrap().start(wal.size);
            start >= from && start < to
        };
        wal.segments
            .iter()
            .filter(|(name, _)| within(name))
            .map(|(_, bytes)| summarize_segment(bytes, false).unwrap())
            .reduce(|mut whole, next| {
                whole.merge(&next).unwrap();
                whole
            })
            .unwrap()
    };

    // Segments between two boundaries, alone and in all, against what `pg_waldump` says.
    let (first, last) = (ran.boundaries[0], *ran.boundaries.last().unwrap());
    let rounds = ran.boundaries.windows(2).map(|pair| (pair[0], pair[1]));
    for (from, to) in rounds.chain([(first, last)]) {
        let what = format!("{major}: {from} to {to}");
        let whole = merged(from, to);
        let blocks = whole.proven(from, to).unwrap();
        assert_eq!(blocks, &decoded(from, to), "{what}");
        assert_same(&entries(blocks), &Naive::ours(lines(from, to)), &what);
    }
    let all = merged(first, last);
    assert!(all.blocks.iter().filter(|(relation, ..)| relation.number == 0).count() >= 4);
    assert!(all.blocks.iter().any(|(.., fork)| fork.limit_block.is_some_and(|limit| limit > 0)));
    let forks = |wanted| all.blocks.iter().filter(|(_, fork, _)| *fork == wanted).count();
    assert!(forks(Fork::Init) > 0 && forks(Fork::VisibilityMap) > 0);
    assert_eq!(forks(Fork::FreeSpaceMap), 0);

    if major >= 17 {
        against_postgres(&ran, &wal.lines, &decoded, &|from, to| merged(from, to).blocks);
    }
}

type Of<'a> = &'a dyn Fn(Lsn, Lsn) -> BlockSummary;

fn against_postgres(ran: &Ran, lines: &[Line], decoded: Of<'_>, merged: Of<'_>) {
    // PostgreSQL's own rules give exactly what it has, so nothing was overlooked. Servers that were
    // mended limit visibility maps otherwise: whichever it is, it holds for all files.
    let by_rule = |rule: MapLimit, name: &PgSummaryName| {
        let mut naive = Naive::new(Forget::IfShorter, rule);
        let within = |line: &&Line| (name.start..name.end).contains(&line.lsn);
        lines.iter().filter(within).for_each(|line| naive.line(line));
        naive.entries
    };
    let mended =
        ran.contents.iter().any(|(name, theirs)| by_rule(MapLimit::HeapBlocks, name) != *theirs);
    let rule = if mended { MapLimit::MapPagesUp } else { MapLimit::HeapBlocks };
    let (mut blocks, mut beyond) = (0, 0);
    for (name, theirs) in &ran.contents {
        let what = name.to_string();
        assert_same(&entries(&PgSummary::read(&ran.files[name]).unwrap()), theirs, &what);
        assert_same(&by_rule(rule, name), theirs, &what);
        // Ours, of the same records, differ as they should.
        beyond += assert_differences(&entries(&decoded(name.start, name.end)), theirs, &what);
        blocks += theirs.values().map(|(_, blocks)| blocks.len()).sum::<usize>();
    }
    assert!(blocks > 3000, "{blocks} blocks");
    assert!(beyond > 0, "nothing was created and dropped in one file");

    // PostgreSQL's files from one boundary to another, merged by us, and our segments.
    let boundaries = &ran.boundaries;
    let rounds = boundaries.windows(2).map(|pair| (pair[0], pair[1]));
    for (from, to) in rounds.chain([(boundaries[0], *boundaries.last().unwrap())]) {
        let (from_redo, to_redo) = (Lsn(from.0 + 40), Lsn(to.0 + 40));
        let mut at = from_redo;
        let mut whole = BlockSummary::new();
        for (name, file) in &ran.files {
            if name.start >= from_redo && name.end <= to_redo {
                assert_eq!(name.start, at, "a file is missing");
                at = name.end;
                whole.merge(&PgSummary::read(file).unwrap());
            }
        }
        assert_eq!(at, to_redo, "a file is missing");
        let what = format!("{from} to {to}");
        assert_differences(&entries(&merged(from, to)), &entries(&whole), &what);
    }
}

#[test]
fn summaries_are_those_of_postgresql() {
    for installation in majors() {
        check(installation);
    }
}
