use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use toml::{Table, Value};

use crate::failure::{Failure, Result};

/// What a section may say, apart from `repo-options` and `retention`.
const KEYS: &[&str] = &[
    "repo",
    "dsn",
    "compression",
    "jobs",
    "lock-max",
    "lock-until",
    "changes",
    "grace",
    "checkpoint",
    "compact",
    "from-standby",
    "max-rate",
    "pgdata",
    "source",
    "wal",
    "wal-timeout",
    "look-ahead",
    "retry-for",
];

/// More than any sensible file; a wrong `--config` may name a pack of the repository.
const MAX_SIZE: u64 = 1 << 20;

/// A configuration file as it was read. Values are text still: which of them are used, and as
/// what, depends on the command.
pub(super) struct File {
    pub(super) path: PathBuf,
    /// Whether others than its owner and group may read it.
    pub(super) world_readable: bool,
    /// The cluster to take when none is named.
    pub(super) cluster: Option<String>,
    /// What holds for all clusters.
    pub(super) all: Section,
    /// What holds for one.
    pub(super) clusters: BTreeMap<String, Section>,
}

#[derive(Default)]
pub(super) struct Section {
    pub(super) values: BTreeMap<&'static str, String>,
    pub(super) repo_options: BTreeMap<String, String>,
    /// The rules of a retention policy.
    pub(super) retention: BTreeMap<String, String>,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let open = || format!("could not read the configuration file {}", path.display());
        let file = fs::File::open(path).with_context(open)?;
        let mode = file.metadata().with_context(open)?.permissions().mode();
        let mut bytes = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut bytes).with_context(open)?;
        // An absolute path is still right in the command that a restore writes into a setting.
        let path = std::path::absolute(path).with_context(open)?;
        let parsed = String::from_utf8(bytes)
            .map_err(|_| "it is not text".to_owned())
            .and_then(|text| Self::parse(&text));
        let Parsed { cluster, all, clusters } = parsed.map_err(|fault| {
            Failure::usage(anyhow!("configuration file {}: {fault}", path.display()))
        })?;
        Ok(Self { path, world_readable: mode & 0o004 != 0, cluster, all, clusters })
    }

    fn parse(text: &str) -> Result<Parsed, String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            // Not the whole error: it shows the line, which may have a secret in it.
            let at = error.span().map_or(0, |span| span.start);
            let line = text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
            format!("line {line}: this is not TOML; is a value without quotes?")
        })?;
        let mut parsed = Parsed::default();
        for (key, value) in table {
            match key.as_str() {
                "cluster" => match value {
                    Value::String(name) => parsed.cluster = Some(name),
                    _ => {
                        return Err("cluster must be a name in quotes; settings of one cluster \
                                    stand below [clusters.NAME]"
                            .to_owned());
                    }
                },
                "clusters" => {
                    for (name, section) in as_table(&key, value)? {
                        let prefix = format!("clusters.{name}");
                        let mut read = Section::default();
                        for (key, value) in as_table(&prefix, section)? {
                            read.set(&format!("{prefix}.{key}"), &key, value)?;
                        }
                        parsed.clusters.insert(name, read);
                    }
                }
                _ => parsed.all.set(&key, &key, value)?,
            }
        }
        Ok(parsed)
    }
}

#[derive(Default)]
struct Parsed {
    cluster: Option<String>,
    all: Section,
    clusters: BTreeMap<String, Section>,
}

impl Section {
    /// Takes one entry; `name` is its whole name for messages.
    fn set(&mut self, name: &str, key: &str, value: Value) -> Result<(), String> {
        let table = match key {
            "repo-options" => Some(&mut self.repo_options),
            "retention" => Some(&mut self.retention),
            _ => None,
        };
        if let Some(table) = table {
            for (option, value) in as_table(name, value)? {
                let value = as_text(&format!("{name}.{option}"), value)?;
                table.insert(option, value);
            }
            return Ok(());
        }
        let Some(known) = KEYS.iter().find(|known| **known == key) else {
            let keys = KEYS.join(", ");
            return Err(format!(
                "unknown key {name}: there are cluster, {keys}, [repo-options], [retention] \
                 and [clusters.NAME]"
            ));
        };
        self.values.insert(known, as_text(name, value)?);
        Ok(())
    }
}

fn as_table(name: &str, value: Value) -> Result<Table, String> {
    match value {
        Value::Table(table) => Ok(table),
        _ => Err(format!("{name} must be a table: [{name}]")),
    }
}

/// Numbers and flags may stand without quotes.
fn as_text(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        _ => Err(format!("{name} must be a text in quotes, a number, or true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections() {
        let file = File::parse(
            "repo = 's3://b/p'\ncluster = 'prod'\njobs = 4\n[repo-options]\nmax_retries = 3\n\
             [retention]\ndaily = 14\n\
             [clusters.prod]\ndsn = 'host=db1'\n[clusters.prod.repo-options]\nregion = 'x'\n",
        )
        .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(file.cluster.as_deref(), Some("prod"));
        assert_eq!(file.all.values["jobs"], "4");
        assert_eq!(file.all.repo_options["max_retries"], "3");
        assert_eq!(file.all.retention["daily"], "14");
        assert_eq!(file.clusters["prod"].values["dsn"], "host=db1");
        assert_eq!(file.clusters["prod"].repo_options["region"], "x");
    }

    #[test]
    fn faults_name_the_key_and_show_no_value() {
        for (text, expected) in [
            ("rpo = 'hunter2'", "unknown key rpo"),
            ("[clusters.prod]\nrpo = 'hunter2'", "unknown key clusters.prod.rpo"),
            ("[cluster.prod]\ndsn = 'x'", "[clusters.NAME]"),
            ("jobs = [1]", "jobs must be"),
            ("repo-options = 'secret_access_key=hunter2'", "repo-options must be a table"),
            ("repo = 'x'\n[repo-options]\nsecret_access_key = hunter2", "line 3"),
            ("clusters = 1", "clusters must be a table"),
        ] {
            let Err(fault) = File::parse(text) else { panic!("{text} was accepted") };
            assert!(fault.contains(expected) && !fault.contains("hunter2"), "{text}: {fault}");
        }
    }
}
