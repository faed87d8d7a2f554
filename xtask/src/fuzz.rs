//! `cargo xtask fuzz`: the targets of `fuzz/`, each for a bounded time, by libFuzzer.
//!
//! The stable compiler is enough: its coverage counters need no nightly, only the sanitizers do,
//! and there is no unsafe code for them to look at.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// What cargo-fuzz passes as well: counters at each edge, for libFuzzer to see where it was.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1 --cfg fuzzing";

/// How long CI runs each target, in seconds.
const IN_CI: &str = "10";

/// Runs the targets of these names, or all; a number before them says for how many seconds each.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (seconds, names) = match args.split_first() {
        Some((seconds, names)) if seconds.parse::<u32>().is_ok() => (seconds.as_str(), names),
        _ => ("60", args),
    };
    let all = targets()?;
    if let Some(name) = names.iter().find(|name| !all.contains(name)) {
        bail!("no fuzz target {name:?}; there are: {}", all.join(", "));
    }
    let folder = build()?;
    let kept = shell::root().join("target/fuzz");
    for target in all.iter().filter(|target| names.is_empty() || names.contains(target)) {
        // What it finds on the way is kept, so that the next run begins where this one ended.
        let corpus = kept.join("corpus").join(target);
        let artifacts = kept.join("artifacts").join(target);
        for folder in [&corpus, &artifacts] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        println!("fuzzing {target} for {seconds} s");
        let mut command = shell::command(&text(&folder.join(target)), &[]);
        command.arg(&corpus).arg(format!("fuzz/seeds/{target}"));
        command.args([format!("-max_total_time={seconds}"), prefix(&artifacts)]);
        command.args(["-max_len=65536", "-rss_limit_mb=1024", "-timeout=20", "-verbosity=0"]);
        // It has much to say, of which only a failure matters.
        let output = command.output().with_context(|| shell::line(&command))?;
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            bail!("{target} failed; the input is in {}", artifacts.display());
        }
    }
    Ok(())
}

/// All targets, for a short time each.
pub(crate) fn in_ci() -> Result<()> {
    let manifest = "fuzz/Cargo.toml";
    shell::run(&mut shell::cargo(&["fmt", "--manifest-path", manifest, "--check"]))?;
    run(&[IN_CI.to_owned()])
}

/// The targets: a file in `fuzz/fuzz_targets` each.
fn targets() -> Result<Vec<String>> {
    let folder = shell::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort_unstable();
    Ok(names)
}

/// Builds all targets and returns the folder that they are in.
fn build() -> Result<PathBuf> {
    let host = host()?;
    // With a target named, the flags do not apply to build scripts.
    let mut cargo = shell::cargo(&["build", "--release", "--bins"]);
    cargo.args(["--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/fuzz"]);
    cargo.args(["--target", &host]).env("RUSTFLAGS", COVERAGE);
    shell::run(&mut cargo).context("libFuzzer is C++: is a C++ compiler (g++) there?")?;
    Ok(shell::root().join("target/fuzz").join(host).join("release"))
}

fn host() -> Result<String> {
    let version = shell::output(&mut shell::command("rustc", &["-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not tell its host")?.to_owned())
}

fn prefix(folder: &Path) -> String {
    format!("-artifact_prefix={}/", folder.display())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
