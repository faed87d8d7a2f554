//! `cargo xtask demo`: a server under load loses a table's rows and gets them back, told in a
//! dozen lines. Everything is real: the server, the load, the binaries, the figures.

mod scene;
mod story;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use walbrook_testkit::{Installation, ensure_postgres, installations, wait_for};

use crate::shell;
use scene::{BOOKS, DATABASE, Restored, Scene};
use story::{Story, count, megabytes};

/// How long the archive may take to get what is wanted from it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs it on the newest PostgreSQL, or on that of the major version given.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let installation = choose(args)?;
    // What `cargo xtask` itself was built with: the binaries will be beside it.
    let mut build = shell::cargo(&["build", "--quiet", "-p", "walbrook-cli", "--bins"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    shell::run(&mut build)?;

    let mut story = Story::begin();
    let mut scene = Scene::new(&installation)?;
    story.tell(&format!(
        "{installation} runs in {}: {} rows of pgbench's, 20,000 orders. pgbench writes from now on.",
        scene.place().display(),
        count(scene.number("SELECT count(*) FROM pgbench_accounts")?),
    ));
    let load = scene.server.pgbench_background(DATABASE, 2)?;

    back_up(&mut story, &scene)?;
    archive(&mut story, &scene)?;
    let (before, target) = lose(&mut story, &scene)?;
    // The load went on behind all this, or it would have been no proof.
    load.stop()?;
    let restored = bring_back(&mut story, &mut scene, &target)?;

    let after = restored.digest()?;
    ensure!(after == before, "the restored table has {after}, and it had {before}");
    let (orders, balanced) =
        (restored.number("SELECT count(*) FROM orders")?, restored.text(BOOKS)?);
    ensure!(balanced == "t", "pgbench's balances do not agree after the restore");
    drop((restored, scene));
    let seconds = story.seconds();
    story.tell("pgbench's balances agree, and each order is what it was. Servers and files are gone again.");
    println!(
        "The rows are back: all {} orders, {seconds:.0} seconds after the story began.",
        count(orders)
    );
    Ok(())
}

/// The wanted major or the newest one, with amcheck if it can be; obtained if there is none at all.
fn choose(args: &[String]) -> Result<Installation> {
    let wanted: Option<u32> = match args {
        [] => None,
        [major] => Some(major.parse().with_context(|| format!("no major version: {major:?}"))?),
        _ => bail!("demo takes one argument, the major version to run on"),
    };
    let supported = walbrook_testkit::SUPPORTED_MAJORS;
    if let Some(major) = wanted.filter(|major| !supported.contains(major)) {
        let (first, last) = (supported.start(), supported.end());
        bail!("PostgreSQL {major} is not supported: give one from {first} to {last}");
    }
    let fits =
        |i: &&Installation| wanted.map_or(supported.contains(&i.major()), |m| i.major() == m);
    let mut found = installations().to_vec();
    if !found.iter().any(|i| fits(&i)) {
        found = ensure_postgres(&mut |line| println!("  {line}"))?;
    }
    let best = found
        .into_iter()
        .filter(|i| fits(&i))
        .max_by_key(|i| (i.has_contrib("amcheck"), i.version));
    best.with_context(|| match wanted {
        Some(major) => format!("there is no PostgreSQL {major} here; see `cargo xtask pg`"),
        None => "there is no PostgreSQL here; see `cargo xtask pg`".to_owned(),
    })
}

fn back_up(story: &mut Story, scene: &Scene) -> Result<()> {
    let dsn = scene.server.conninfo();
    let mut command = scene.walbrook("walbrook-backup")?;
    story.command(&format!("walbrook-backup -d '{dsn}'"));
    let record = story.json(command.args(["--output", "json", "-d", &dsn]))?;
    let figure = |name: &str| record["size"][name].as_u64().unwrap_or_default();
    story.tell(&format!(
        "  backup {}: {} in {} files became {} in a new repository; its WAL came along by streaming.",
        record["id"].as_str().context("a backup has an id")?,
        megabytes(figure("database_bytes")),
        count(figure("files")),
        megabytes(figure("stored_bytes")),
    ));
    Ok(())
}

/// Switches archiving on, and lets business go on.
fn archive(story: &mut Story, scene: &Scene) -> Result<()> {
    let command = scene.archive_command()?;
    story.command(&format!(
        "psql -c \"ALTER SYSTEM SET archive_command = '{}'\"",
        scene.shortened(&command)
    ));
    let quoted = command.replace('\'', "''");
    scene.server.psql_ok("postgres", &format!("ALTER SYSTEM SET archive_command = '{quoted}'"))?;
    scene.server.psql_ok("postgres", "SELECT pg_reload_conf()")?;
    scene.server.psql_ok(
        DATABASE,
        "INSERT INTO orders SELECT n, 'after the backup ' || md5(n::text) FROM generate_series(20001, 21000) n",
    )?;
    story.tell("  1,000 more orders come in: only the WAL has those.");
    // The target is a second before the disaster, and these orders are before the target.
    std::thread::sleep(Duration::from_millis(1200));
    Ok(())
}

/// Deletes the rows. Returns what they were, and the moment a second before.
fn lose(story: &mut Story, scene: &Scene) -> Result<(String, String)> {
    let before = scene.digest()?;
    let target = scene.text(
        "BEGIN; DELETE FROM orders; \
         SELECT to_char(now() AT TIME ZONE 'UTC' - interval '1 second', 'YYYY-MM-DD HH24:MI:SS.US+00'); COMMIT",
    )?;
    let left = scene.number("SELECT count(*) FROM orders")?;
    ensure!(left == 0, "{left} orders are left after the DELETE");
    story.tell("Oops: DELETE FROM orders; COMMIT. 21,000 rows are gone, and pgbench goes on.");

    let last = scene.server.switch_wal()?;
    let archived = "SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver";
    let outcome = wait_for(&format!("walbrook-push of {last}"), PATIENCE, || {
        scene.server.psql("postgres", archived).is_ok_and(|name| name >= last)
    });
    outcome.with_context(|| format!("--- server log ---\n{}", scene.server.log()))?;

    story.command("walbrook-list");
    let list = story.json(scene.walbrook("walbrook-list")?.args(["--output", "json"]))?;
    let system = &list[0]["systems"][0];
    let window = &system["windows"][0];
    let clock = |name: &str| window[name].as_str().and_then(|t| t.get(11..19)).map(str::to_owned);
    story.tell(&format!(
        "  any moment from {} to {} can be had; {} WAL segments are stored in {}.",
        clock("from_time").context("no recovery window")?,
        clock("to_time").context("the recovery window has no end")?,
        system["wal_segments"],
        megabytes(system["wal_bytes"].as_u64().unwrap_or_default()),
    ));
    Ok((before, target))
}

/// Restores beside the old server, checks the copy, and starts it.
fn bring_back(story: &mut Story, scene: &mut Scene, target: &str) -> Result<Restored> {
    story.command(&format!(
        "walbrook-restore --pgdata restored --target-time '{target}' --target-action promote"
    ));
    let mut command = scene.walbrook("walbrook-restore")?;
    command.args(["--output", "json", "--pgdata", "restored", "--target-time", target]);
    let report = story.json(command.args(["--target-action", "promote"]))?;
    let figure = |name: &str| report[name].as_u64().unwrap_or_default();
    story.tell(&format!(
        "  {} files, {}; each frame's digest and each page's checksum was checked on the way.",
        count(figure("files")),
        megabytes(figure("bytes")),
    ));

    let mut verify = scene.tool("pg_verifybackup");
    if scene.has(&verify) {
        // The WAL is in the repository, not in the directory.
        let said = story.output(verify.args(["--no-parse-wal", "restored"]))?;
        story.tell(&format!("$ pg_verifybackup --no-parse-wal restored: {}", said.trim()));
    }

    story.command("pg_ctl -D restored start");
    let restored = scene.start_restored()?;
    let fetched = restored.log().matches("restored log file \"").count();
    story.tell(&format!(
        "  walbrook-fetch brought {fetched} files of WAL; the server replayed them to that moment and went on from there."
    ));

    let mut amcheck = restored.tool("pg_amcheck");
    if scene.has_amcheck && scene.has(&amcheck) {
        story.output(amcheck.args(["--heapallindexed", "--database", DATABASE]))?;
        story.tell(&format!(
            "$ pg_amcheck --heapallindexed --database {DATABASE}: nothing to complain of."
        ));
    }
    Ok(restored)
}
