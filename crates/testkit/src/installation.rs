//! The PostgreSQL installations of this machine.
//!
//! [`installations`] finds them once per process; [`majors`] picks one for each
//! major version, which is what a "works on every major" test loops over.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The majors that Walbrook supports.
pub const SUPPORTED_MAJORS: std::ops::RangeInclusive<u32> = 15..=18;

/// One PostgreSQL installation: a `bin` directory with servers and tools of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Major and minor version, such as `(18, 6)`. Development versions have minor 0.
    pub version: (u32, u32),
    /// The directory of `postgres`, `initdb`, `pg_ctl` and the rest.
    pub bin_dir: PathBuf,
    /// The directory of loadable modules (`pg_config --pkglibdir`), when it is known.
    pub lib_dir: Option<PathBuf>,
    /// Names of the extensions that `CREATE EXTENSION` can make, sorted.
    pub extensions: Vec<String>,
}

impl Installation {
    /// The installation in this `bin` directory, or `None` when it has no
    /// complete server that runs here.
    pub fn probe(bin_dir: &Path) -> Option<Installation> {
        let bin_dir = fs::canonicalize(bin_dir).ok()?;
        let complete = ["postgres", "initdb", "pg_ctl", "psql"];
        if complete.iter().any(|tool| !bin_dir.join(tool).is_file()) {
            return None;
        }
        let version = parse_version(&output(&bin_dir.join("postgres"), "--version")?)?;
        let pg_config = bin_dir.join("pg_config");
        let lib_dir = output(&pg_config, "--pkglibdir").map(PathBuf::from);
        let share_dir = output(&pg_config, "--sharedir").map(PathBuf::from);
        let extensions = extensions(&bin_dir, share_dir.as_deref(), version.0);
        Some(Installation { version, bin_dir, lib_dir, extensions })
    }

    /// The major version, such as 18.
    pub fn major(&self) -> u32 {
        self.version.0
    }

    /// Whether `CREATE EXTENSION name` can work: the builds packed as Python
    /// wheels do not all have `amcheck` and `pg_visibility`.
    pub fn has_contrib(&self, name: &str) -> bool {
        self.extensions.iter().any(|e| e == name)
    }

    /// The path of one of its programs.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {}.{}", self.version.0, self.version.1)
    }
}

/// Every installation found, oldest version first. Empty when there is none.
///
/// Looks in `WALBROOK_PG_BIN_DIRS` (colon-separated), `/usr/lib/postgresql/*/bin`,
/// `/usr/pgsql-*/bin`, the directory of the `pg_ctl` in `PATH`, and Walbrook's
/// own cache ([`crate::cache_dir`]).
pub fn installations() -> &'static [Installation] {
    static FOUND: OnceLock<Vec<Installation>> = OnceLock::new();
    FOUND.get_or_init(discover)
}

/// One installation for each supported major that is there, oldest first.
///
/// Prefers one with `amcheck`, then the newest minor version.
pub fn majors() -> Vec<&'static Installation> {
    pick_majors(installations())
}

pub(crate) fn pick_majors(all: &[Installation]) -> Vec<&Installation> {
    let mut best: BTreeMap<u32, &Installation> = BTreeMap::new();
    for candidate in all.iter().filter(|i| SUPPORTED_MAJORS.contains(&i.major())) {
        let rank = |i: &Installation| (i.has_contrib("amcheck"), i.version);
        let slot = best.entry(candidate.major()).or_insert(candidate);
        if rank(candidate) > rank(slot) {
            *slot = candidate;
        }
    }
    best.into_values().collect()
}

/// Looks anew, which [`installations`] does once only.
pub(crate) fn discover() -> Vec<Installation> {
    let mut dirs: Vec<PathBuf> = Vec::new();
    if let Some(list) = std::env::var_os("WALBROOK_PG_BIN_DIRS") {
        dirs.extend(std::env::split_paths(&list));
    }
    dirs.extend(children("/usr/lib/postgresql").map(|dir| dir.join("bin")));
    dirs.extend(children("/usr").filter(|d| starts_with(d, "pgsql-")).map(|dir| dir.join("bin")));
    if let Some(path) = std::env::var_os("PATH") {
        dirs.extend(std::env::split_paths(&path).filter(|dir| dir.join("pg_ctl").is_file()));
    }
    let builds = crate::obtain::builds_dir();
    for package in children(&builds).filter(|d| !starts_with(d, ".")).flat_map(children) {
        dirs.extend(
            children(package).filter(|d| starts_with(d, "pginstall")).map(|d| d.join("bin")),
        );
    }

    let mut found: Vec<Installation> = Vec::new();
    for installation in dirs.iter().filter_map(|dir| Installation::probe(dir)) {
        if found.iter().all(|known| known.bin_dir != installation.bin_dir) {
            found.push(installation);
        }
    }
    found.sort_by_key(|i| i.version);
    found
}

fn children(dir: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    paths.into_iter()
}

fn starts_with(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
}

fn output(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Parses `postgres (PostgreSQL) 15.18 (Debian …)`, `… 19beta1` or `… 19devel`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let word = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let major: String = word.chars().take_while(char::is_ascii_digit).collect();
    let minor: String = match word[major.len()..].strip_prefix('.') {
        Some(rest) => rest.chars().take_while(char::is_ascii_digit).collect(),
        None => "0".into(),
    };
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn extensions(bin_dir: &Path, share_dir: Option<&Path>, major: u32) -> Vec<String> {
    let places = [
        share_dir.map(Path::to_path_buf),
        Some(bin_dir.join("../share")),
        Some(bin_dir.join("../share/postgresql")),
        // Debian's layout, where pg_config may be a package of its own.
        bin_dir
            .starts_with("/usr/lib/postgresql")
            .then(|| format!("/usr/share/postgresql/{major}").into()),
    ];
    let mut names: Vec<String> = places
        .into_iter()
        .flatten()
        .flat_map(|share| children(share.join("extension")))
        .filter(|file| file.extension().is_some_and(|e| e == "control"))
        .filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::{Installation, parse_version, pick_majors};

    #[test]
    fn versions_of_releases_and_previews() {
        let parse = |word| parse_version(&format!("postgres (PostgreSQL) {word}"));
        assert_eq!(parse("15.18 (Debian 15.18-0+deb12u1)"), Some((15, 18)));
        assert_eq!(parse("19beta1"), Some((19, 0)));
        assert_eq!(parse("19devel"), Some((19, 0)));
        assert_eq!(parse("x"), None);
        assert_eq!(parse_version(""), None);
    }

    #[test]
    fn each_major_prefers_amcheck_to_a_newer_minor() {
        let make = |version, amcheck: bool| Installation {
            version,
            bin_dir: "/x".into(),
            lib_dir: None,
            extensions: if amcheck { vec!["amcheck".into()] } else { vec![] },
        };
        let all =
            [make((18, 4), true), make((18, 6), false), make((16, 1), false), make((14, 2), true)];
        let picked: Vec<_> = pick_majors(&all).iter().map(|i| i.version).collect();
        assert_eq!(picked, [(16, 1), (18, 4)]);
    }
}
