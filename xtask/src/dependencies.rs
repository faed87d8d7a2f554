//! Which crate may depend on which: the layers of `docs/architecture.md` as a table.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::shell;

/// Each crate and the Walbrook crates that it may depend on: those below it only.
const LAYERS: &[(&str, &[&str])] = &[
    ("walbrook-types", &[]),
    ("walbrook-page", &["types"]),
    ("walbrook-wal", &["types"]),
    ("walbrook-delta", &["types", "page", "wal"]),
    ("walbrook-retention", &["types"]),
    ("walbrook-replication", &["types"]),
    ("walbrook-store", &[]),
    ("walbrook-repo", &["types", "page", "wal", "store"]),
    ("walbrook", &["types", "page", "wal", "delta", "retention", "replication", "store", "repo"]),
    ("walbrook-cli", &["types", "page", "wal", "delta", "replication", "store", "repo", ""]),
    ("walbrook-testkit", &["store"]),
    ("walbrook-benches", &["testkit"]),
    ("xtask", &["testkit"]),
];

/// What no library may pull in: the command line's own.
const COMMAND_LINE: &[&str] =
    &["clap", "clap_builder", "anyhow", "indicatif", "comfy-table", "tracing-subscriber"];

/// What the pure crates may not pull in: they are synchronous and do no I/O.
const INPUT_OUTPUT: &[&str] =
    &["tokio", "futures", "mio", "socket2", "object_store", "reqwest", "hyper", "rustix"];

/// The network half of the store, which its feature `cloud` switches off.
const CLOUD: &[&str] = &["object_store", "reqwest", "hyper", "rustls"];

/// A second TLS or cryptography stack: rustls with aws-lc-rs is the only one.
const SECOND_TLS: &[&str] = &["openssl", "openssl-sys", "native-tls", "ring"];

/// A package selection of cargo's, and what must not be in its tree of normal dependencies.
const FORBIDDEN: &[(&[&str], &[&str])] = &[
    (&["-p", "walbrook-types", "--all-features"], INPUT_OUTPUT),
    (&["-p", "walbrook-page", "--all-features"], INPUT_OUTPUT),
    (&["-p", "walbrook-wal", "--all-features"], INPUT_OUTPUT),
    (&["-p", "walbrook-delta", "--all-features"], INPUT_OUTPUT),
    (&["-p", "walbrook-retention", "--all-features"], INPUT_OUTPUT),
    (&["-p", "walbrook-store", "--no-default-features"], CLOUD),
    // The facade's tree has all libraries in it.
    (&["-p", "walbrook", "--all-features"], COMMAND_LINE),
    (&["--workspace", "--all-features"], SECOND_TLS),
];

pub(crate) fn check() -> Result<()> {
    let mut faults = Vec::new();
    for package in members()? {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package) else {
            faults
                .push(format!("{package} has no place in the layers of xtask/src/dependencies.rs"));
            continue;
        };
        let allowed: Vec<String> = allowed.iter().map(|short| full_name(short)).collect();
        let direct = tree(&["-p", &package, "--all-features", "--depth", "1"])?;
        for name in direct.iter().filter(|n| n.starts_with("walbrook") && **n != package) {
            if !allowed.contains(name) {
                faults.push(format!("{package} may not depend on {name}"));
            }
        }
    }
    for (selection, forbidden) in FORBIDDEN {
        let tree = tree(selection)?;
        for name in forbidden.iter().filter(|name| tree.contains(**name)) {
            let selection = selection.join(" ");
            faults.push(format!("{name} is in the tree of `cargo tree {selection} -e normal`"));
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => bail!("{}", faults.join("\n       ")),
    }
}

fn full_name(short: &str) -> String {
    if short.is_empty() { "walbrook".into() } else { format!("walbrook-{short}") }
}

/// The names of the workspace's packages.
fn members() -> Result<Vec<String>> {
    let args = ["tree", "--workspace", "--depth", "0", "--prefix", "none", "-f", "{p}"];
    let text = shell::output(&mut shell::cargo(&args))?;
    Ok(text.lines().filter_map(first_word).collect())
}

/// The names of all packages in a tree of normal dependencies.
fn tree(selection: &[&str]) -> Result<BTreeSet<String>> {
    let mut cargo = shell::cargo(&["tree", "-e", "normal", "--prefix", "none", "-f", "{p}"]);
    let text = shell::output(cargo.args(selection))?;
    Ok(text.lines().filter_map(first_word).collect())
}

fn first_word(line: &str) -> Option<String> {
    line.split_whitespace().next().map(str::to_owned)
}
