//! Every dependency's licence must be one that a user of MIT or Apache-2.0 code can live with.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::shell;

/// Permissive licences, by their SPDX identifiers.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(crate) fn check() -> Result<()> {
    let args = ["tree", "--workspace", "--all-features", "-e", "normal,build", "--prefix", "none"];
    let text = shell::output(shell::cargo(&args).args(["-f", "{p}|{l}"]))?;
    let refused: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.trim_end_matches(" (*)").split_once('|'))
        .filter(|(_, licence)| !allowed(licence))
        .map(|(package, _)| package)
        .collect();
    for package in &refused {
        println!("  not an allowed licence: {package}");
    }
    match refused.len() {
        0 => Ok(()),
        n => bail!("{n} packages have a licence that xtask/src/licences.rs does not allow"),
    }
}

/// Whether an SPDX expression can be fulfilled by allowed licences alone.
/// What can't be parsed is not allowed.
fn allowed(expression: &str) -> bool {
    // The old form "MIT/Apache-2.0" means OR.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    any(&mut words) == Some(true) && words.is_empty()
}

/// `all OR all …`; the words are in reverse order, so that they can be popped.
fn any(words: &mut Vec<&str>) -> Option<bool> {
    let mut result = all(words)?;
    while words.pop_if(|word| *word == "OR").is_some() {
        result |= all(words)?;
    }
    Some(result)
}

/// `one AND one …`
fn all(words: &mut Vec<&str>) -> Option<bool> {
    let mut result = one(words)?;
    while words.pop_if(|word| *word == "AND").is_some() {
        result &= one(words)?;
    }
    Some(result)
}

/// `( any )`, `licence` or `licence WITH exception`
fn one(words: &mut Vec<&str>) -> Option<bool> {
    let word = words.pop()?;
    if word == "(" {
        let result = any(words)?;
        return (words.pop()? == ")").then_some(result);
    }
    match words.pop_if(|word| *word == "WITH") {
        Some(_) => Some(ALLOWED.contains(&&*format!("{word} WITH {}", words.pop()?))),
        None => Some(ALLOWED.contains(&word)),
    }
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn expressions() {
        for yes in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(allowed(yes), "{yes}");
        }
        for no in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(GPL-2.0 OR AGPL-3.0) AND MIT",
            "MIT OR",
            "(MIT",
            "Apache-2.0 WITH Other-exception",
        ] {
            assert!(!allowed(no), "{no}");
        }
    }
}
