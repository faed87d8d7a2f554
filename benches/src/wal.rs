//! One WAL segment in and out, and the start-up of the programs that PostgreSQL calls for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use walbrook_testkit::give_to_server;

use crate::bench::Bench;
use crate::measure::{alone, compare, time};

/// Measured runs of each side.
const RUNS: usize = 15;

/// Segments that the runs go through in turn.
const SEGMENTS: usize = 5;

/// Start-up: nothing to do, and a question that has the answer "absent".
pub(crate) fn start() -> Result<()> {
    let archive = Archive::new()?;
    let version = |program| {
        let mut command = archive.bench.walbrook(program, "repo")?;
        command.arg("--version");
        anyhow::Ok(command)
    };
    for program in ["walbrook-push", "walbrook-fetch"] {
        let mut command = version(program)?;
        alone(3 * RUNS, &format!("{program} --version"), &mut |_| time(&mut command, 0))?;
    }
    let mut absent = archive.fetch("0000000100000FFF00000001", Path::new("out"))?;
    alone(3 * RUNS, "walbrook-fetch of an absent segment", &mut |_| time(&mut absent, 1))?;
    // What starting any process costs here.
    let mut nothing = archive.bench.command("/bin/true");
    alone(3 * RUNS, "/bin/true", &mut |_| time(&mut nothing, 0))
}

/// A push is durable when it returns, so the peer's file is synced as well.
pub(crate) fn push() -> Result<()> {
    let archive = Archive::new()?;
    let out = archive.bench.work.join("peer.zst");
    compare(
        RUNS,
        ("walbrook-push", &mut |number| {
            let segment = archive.segment(number);
            archive.forget(segment)?;
            time(&mut archive.push(segment)?, 0)
        }),
        ("zstd -1, fsync", &mut |number| {
            let start = remove(&out).map(|()| Instant::now())?;
            time(&mut zstd(&archive, &["-1"], archive.segment(number), &out), 0)?;
            File::open(&out)?.sync_all()?;
            Ok(start.elapsed())
        }),
    )?;
    let (ours, peer) = (fs::metadata(archive.object(archive.segment(RUNS))?)?, fs::metadata(&out)?);
    println!(
        "  sizes: 16777216 bytes become {} by Walbrook, {} by zstd -1",
        ours.len(),
        peer.len()
    );
    Ok(())
}

/// Neither side syncs what it writes: PostgreSQL replays it at once, and can ask again.
pub(crate) fn fetch() -> Result<()> {
    let archive = Archive::new()?;
    let work = &archive.bench.work;
    let out = work.join("out");
    let stored = |number: usize| work.join(format!("peer-{}.zst", number % SEGMENTS));
    for number in 0..SEGMENTS {
        time(&mut zstd(&archive, &["-1"], archive.segment(number), &stored(number)), 0)?;
    }
    compare(
        RUNS,
        ("walbrook-fetch", &mut |number| {
            remove(&out)?;
            let took = time(&mut archive.fetch(name(archive.segment(number))?, &out)?, 0)?;
            if fs::read(&out)? != fs::read(archive.segment(number))? {
                bail!("walbrook-fetch brought back something else");
            }
            Ok(took)
        }),
        ("zstd -d", &mut |number| {
            remove(&out)?;
            time(&mut zstd(&archive, &["-d"], &stored(number), &out), 0)
        }),
    )
}

/// A repository that has some segments of pgbench's load.
struct Archive {
    bench: Bench,
    segments: Vec<PathBuf>,
}

impl Archive {
    fn new() -> Result<Self> {
        let bench = Bench::new(20)?;
        time(&mut bench.backup("repo")?, 0)?;
        // The usual mixture: full pages after the checkpoint, small records later.
        let first = bench.server.psql("postgres", "SELECT pg_walfile_name(pg_switch_wal())")?;
        let load = bench.server.pgbench_background("postgres", 4)?;
        let current =
            || bench.server.psql("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn())");
        let end = Instant::now() + Duration::from_secs(120);
        let number = |name: &str| u64::from_str_radix(&name[16..], 16);
        while number(&current()?)? < number(&first)? + 2 + 4 * SEGMENTS as u64 {
            if Instant::now() > end {
                bail!("pgbench writes too little WAL: {}", load.output());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        load.stop()?;

        // As in a data directory, with no other file that waits for the archiver.
        let data = bench.work.join("data");
        for dir in [data.clone(), data.join("global"), data.join("pg_wal")] {
            fs::create_dir(&dir)?;
            give_to_server(&dir)?;
        }
        let server = bench.server.data_dir();
        let control = data.join("global/pg_control");
        fs::copy(server.join("global/pg_control"), &control)?;
        give_to_server(&control)?;
        let mut segments = Vec::new();
        for step in 0..SEGMENTS as u64 {
            let file = format!("{}{:08X}", &first[..16], number(&first)? + 1 + 4 * step);
            let copy = data.join("pg_wal").join(&file);
            fs::copy(server.join("pg_wal").join(&file), &copy).with_context(|| file)?;
            give_to_server(&copy)?;
            segments.push(copy);
        }
        let archive = Self { bench, segments };
        for segment in &archive.segments {
            time(&mut archive.push(segment)?, 0)?;
        }
        Ok(archive)
    }

    fn segment(&self, number: usize) -> &Path {
        &self.segments[number % SEGMENTS]
    }

    fn push(&self, segment: &Path) -> Result<Command> {
        let mut command = self.bench.walbrook("walbrook-push", "repo")?;
        command.arg(segment);
        Ok(command)
    }

    fn fetch(&self, name: &str, out: &Path) -> Result<Command> {
        let mut command = self.bench.walbrook("walbrook-fetch", "repo")?;
        command.arg(name).arg(out);
        Ok(command)
    }

    /// The file of a segment in the repository.
    fn object(&self, segment: &Path) -> Result<PathBuf> {
        let name = name(segment)?;
        let mut dirs = vec![self.bench.work.join("repo/bench/wal")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir)? {
                let path = entry?.path();
                if path.is_dir() {
                    dirs.push(path);
                } else if path.ends_with(name) {
                    return Ok(path);
                }
            }
        }
        bail!("{name} is not in the repository")
    }

    /// Takes a segment out of the repository, so that it can be pushed anew. Its neighbours stay:
    /// directories are made once for many segments.
    fn forget(&self, segment: &Path) -> Result<()> {
        Ok(fs::remove_file(self.object(segment)?)?)
    }
}

fn name(segment: &Path) -> Result<&str> {
    segment.file_name().and_then(|name| name.to_str()).context("a segment has a name")
}

fn zstd(archive: &Archive, args: &[&str], from: &Path, to: &Path) -> Command {
    let mut command = archive.bench.command("zstd");
    command.args(args).arg("-q").arg(from).arg("-o").arg(to);
    command
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}
