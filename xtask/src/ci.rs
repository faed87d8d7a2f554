//! `cargo xtask ci`: everything that a change must pass before it lands.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{dependencies, fuzz, hosts, licences, manifests, shell, test};

/// A heading and the check under it.
type Step = (&'static str, fn() -> Result<()>);

/// The quick ones first.
const STEPS: &[Step] = &[
    ("formatting", || shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))),
    ("package manifests", manifests::check),
    ("registry hosts", hosts::check),
    ("dependencies", dependencies::check),
    ("licences", licences::check),
    ("clippy", || clippy(&["--workspace", "--all-targets"])),
    ("clippy, fewest features", clippy_fewest_features),
    ("documentation", documentation),
    ("fuzzing", fuzz::in_ci),
    // Last, so that the output ends with its summary.
    ("tests", || test::run(&[])),
];

/// Runs all steps, or those whose names begin with one of the arguments.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let wanted = |step: &Step, name: &String| step.0.starts_with(name.as_str());
    if let Some(name) = names.iter().find(|name| !STEPS.iter().any(|step| wanted(step, name))) {
        let all: Vec<&str> = STEPS.iter().map(|step| step.0).collect();
        bail!("no step {name:?}; there are: {}", all.join(", "));
    }
    let start = Instant::now();
    for step in STEPS {
        if !names.is_empty() && !names.iter().any(|name| wanted(step, name)) {
            continue;
        }
        let seconds = start.elapsed().as_secs();
        println!("== {:>2}:{:02} {}", seconds / 60, seconds % 60, step.0);
        (step.1)().with_context(|| format!("ci stopped at {:?}", step.0))?;
    }
    Ok(())
}

fn clippy(what: &[&str]) -> Result<()> {
    shell::run(shell::cargo(&["clippy", "--quiet"]).args(what).args(["--", "-D", "warnings"]))
}

/// `--workspace` unites features, so a crate that needs one it does not ask for would pass.
fn clippy_fewest_features() -> Result<()> {
    for package in ["walbrook-types", "walbrook-store"] {
        clippy(&["-p", package, "--no-default-features"])?;
    }
    Ok(())
}

fn documentation() -> Result<()> {
    let mut cargo = shell::cargo(&["doc", "--quiet", "--workspace", "--no-deps"]);
    shell::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}
