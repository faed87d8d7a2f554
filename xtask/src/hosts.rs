//! No file of the project names a package registry's host: mirrors and proxies
//! differ, and what a reader needs is the package's name.

use std::fs;

use anyhow::{Result, bail};

use crate::shell;

/// Hosts, in parts: this file is searched too.
const HOSTS: &[&[&str]] = &[
    &["crates", "io"],
    &["pypi", "org"],
    &["pythonhosted", "org"],
    &["registry", "npmjs", "org"],
    &["deb", "debian", "org"],
    &["archive", "ubuntu", "com"],
    &["proxy", "golang", "org"],
];

/// Cargo writes the registry's address into each entry; it can't be had without.
const EXEMPT: &[&str] = &["Cargo.lock", "fuzz/Cargo.lock"];

pub(crate) fn check() -> Result<()> {
    let hosts: Vec<String> = HOSTS.iter().map(|parts| parts.join(".")).collect();
    let files = shell::output(&mut shell::command(
        "git",
        &["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    ))?;
    let mut found = 0;
    for file in files.split_terminator('\0').filter(|file| !EXEMPT.contains(file)) {
        // A file may be deleted in the work tree, and a symbolic link may lead nowhere.
        let Ok(bytes) = fs::read(shell::root().join(file)) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in text.lines().enumerate() {
            for host in hosts.iter().filter(|host| line.contains(host.as_str())) {
                println!("  {file}:{}: {host}", number + 1);
                found += 1;
            }
        }
    }
    match found {
        0 => Ok(()),
        n => bail!("{n} lines name a package registry's host; say \"the registry\""),
    }
}
