//! What every package's `Cargo.toml` must say.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Inherited from the workspace, so that there is one place to change them.
const INHERITED: &[&str] = &[
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
    "[lints]\nworkspace = true",
];

pub(crate) fn check() -> Result<()> {
    let mut faults = Vec::new();
    for directory in directories()? {
        let path = directory.join("Cargo.toml");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let name =
            directory.strip_prefix(shell::root()).unwrap_or(&directory).display().to_string();
        for line in INHERITED.iter().filter(|line| !text.contains(**line)) {
            faults.push(format!("{name}/Cargo.toml lacks {line:?}"));
        }
        if text.contains("publish = false") {
            continue;
        }
        if !text.contains("description = ") {
            faults.push(format!("{name}/Cargo.toml lacks a description"));
        }
        if !directory.join("README.md").is_file() {
            faults.push(format!("{name} is published and has no README.md"));
        }
    }
    let workspace = fs::read_to_string(shell::root().join("Cargo.toml"))?;
    if !workspace.contains("\nrust-version = \"") {
        faults.push("the workspace declares no rust-version (MSRV)".into());
    }
    match faults.is_empty() {
        true => Ok(()),
        false => bail!("{}", faults.join("\n       ")),
    }
}

/// The directories of all packages.
fn directories() -> Result<Vec<PathBuf>> {
    let crates = shell::root().join("crates");
    let mut directories = vec![shell::root().join("xtask"), shell::root().join("benches")];
    for entry in fs::read_dir(&crates).with_context(|| crates.display().to_string())? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            directories.push(path);
        }
    }
    directories.sort();
    Ok(directories)
}
