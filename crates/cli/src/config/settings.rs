use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use walbrook::{ConnInfo, Environment, StoreUrl};

use super::discover::discover;
use super::file::{File, Section};
use super::merge::{Layer, merge, place, secrets};
use crate::args::CommonArgs;
use crate::console::Console;
use crate::failure::{Failure, Result};

/// What holds for one run of a command: flags before the environment before the file.
pub(crate) struct Settings {
    /// The repository, with all its options.
    pub(crate) repository: StoreUrl,
    /// The cluster that was named anywhere; none when the default is meant.
    pub(crate) cluster: Option<String>,
    /// The same place with no more options than the file gives for it.
    from_file: StoreUrl,
    file: Option<File>,
    file_was_named: bool,
}

impl Settings {
    /// Reads the configuration file, if there is one, and settles repository and cluster. Warns of
    /// secrets that others can see.
    pub(crate) fn load(args: &CommonArgs, console: &Console) -> Result<Self> {
        let found = discover(args.config.as_deref());
        let file_was_named = found.as_ref().is_some_and(|(_, named)| *named);
        let file = found.map(|(path, _)| File::read(&path)).transpose()?;
        let default = file.as_ref().and_then(|file| file.cluster.clone());
        let given = args.cluster.clone().filter(|name| !name.is_empty());
        let cluster = given.or(default);

        let mut layers = Vec::new();
        if let Some(file) = &file {
            for section in sections(file, cluster.as_deref()).into_iter().rev() {
                layers.push(Layer {
                    origin: file.path.display().to_string(),
                    repo: section.values.get("repo").map(String::as_str),
                    options: &section.repo_options,
                });
            }
        }
        let repo = args.repo.as_deref().filter(|repo| !repo.is_empty());
        let repository = merge(repo, &layers, &args.repo_option)?.ok_or_else(|| {
            Failure::usage_text(
                "no repository is given: use --repo URL, the variable WALBROOK_REPO, or repo = \
                 \"URL\" in a configuration file",
            )
        })?;

        let bare = place(&repository);
        let from_file = merge(Some(&bare), &layers, &[])?.unwrap_or_else(|| repository.clone());

        let settings = Self { repository, cluster, from_file, file, file_was_named };
        settings.warn_of_visible_secrets(args, console);
        Ok(settings)
    }

    /// The cluster's name, `main` unless another was given.
    pub(crate) fn cluster(&self) -> &str {
        self.cluster.as_deref().unwrap_or("main")
    }

    /// A flag's value, or what the file says under `key`.
    pub(crate) fn value<T>(
        &self,
        flag: Option<T>,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>> {
        if flag.is_some() {
            return Ok(flag);
        }
        let Some(file) = &self.file else { return Ok(None) };
        let mut sections = sections(file, self.cluster.as_deref()).into_iter();
        let Some(text) = sections.find_map(|section| section.values.get(key)) else {
            return Ok(None);
        };
        parse(text).map(Some).map_err(|fault| {
            Failure::usage(anyhow!("configuration file {}: {key}: {fault}", file.path.display()))
        })
    }

    /// The rules of `[retention]`: the cluster's own if it has any, or those for all.
    pub(crate) fn retention(&self) -> BTreeMap<String, String> {
        let Some(file) = &self.file else { return BTreeMap::new() };
        let mut sections = sections(file, self.cluster.as_deref()).into_iter();
        let own = sections.find(|section| !section.retention.is_empty());
        own.map(|section| section.retention.clone()).unwrap_or_default()
    }

    /// The server: `--dsn` or the file's `dsn`, filled up by libpq's variables and files.
    pub(crate) fn server(&self, flag: Option<String>, console: &Console) -> Result<ConnInfo> {
        if flag.as_deref().is_some_and(shows_password) {
            console.warn(
                "--dsn has a password in it, which other users can see in the list of processes: \
                 put it into ~/.pgpass or PGPASSWORD",
            );
        }
        let environment = Environment::from_process();
        let dsn = self.value(flag, "dsn", |text| Ok(text.to_owned()))?;
        ConnInfo::parse(dsn.as_deref().unwrap_or_default(), &environment)
            .map(|server| server.with_fallback_application_name("walbrook-backup"))
            .map_err(Failure::usage)
    }

    /// The configuration file that another command must be given to act as this one does: one that
    /// the user named, or one with secrets that can't be handed over in any other way.
    pub(crate) fn file_for_others(&self) -> Option<&Path> {
        let file = self.file.as_ref()?;
        let needed = self.file_was_named || self.secrets_in_file().next().is_some();
        needed.then_some(file.path.as_path())
    }

    /// Secrets of the repository that came by the command line or the URL in a variable, so that
    /// another command does not have them.
    pub(crate) fn secrets_not_in_file(&self) -> Vec<&'static str> {
        let in_file: Vec<_> = self.secrets_in_file().collect();
        secrets(&self.repository).filter(|name| !in_file.contains(name)).collect()
    }

    /// The secrets in use that are those of the file.
    fn secrets_in_file(&self) -> impl Iterator<Item = &'static str> {
        secrets(&self.repository)
            .filter(|name| self.from_file.option(name) == self.repository.option(name))
    }

    fn warn_of_visible_secrets(&self, args: &CommonArgs, console: &Console) {
        let flags = args.repo_option.iter().map(|flag| flag.key.as_str());
        for name in flags.filter(|flag| secrets(&self.repository).any(|secret| secret == *flag)) {
            console.warn(format_args!(
                "--repo-option {name}=… can be seen by other users in the list of processes: put \
                 it into the environment or into [repo-options] of a configuration file"
            ));
        }
        // A URL in the variable is nobody else's to see.
        let by_variable = std::env::var("WALBROOK_REPO").ok() == args.repo;
        let flag = args.repo.as_deref().filter(|_| !by_variable);
        if let Some(name) = flag.and_then(|url| secrets(&url.parse().ok()?).next()) {
            console.warn(format_args!(
                "{name}=… in --repo can be seen by other users in the list of processes: put it \
                 into the environment or into [repo-options] of a configuration file"
            ));
        }
        if let Some(file) = self.file.as_ref().filter(|file| file.world_readable) {
            let secret = self.secrets_in_file().next();
            let password = sections(file, self.cluster.as_deref())
                .iter()
                .any(|section| section.values.get("dsn").is_some_and(|dsn| shows_password(dsn)));
            let what = secret.or(password.then_some("the dsn's password"));
            if let Some(what) = what {
                let path: PathBuf = file.path.clone();
                console.warn(format_args!(
                    "every user can read {what} in {}: chmod 600 it, or 640 for a group",
                    path.display()
                ));
            }
        }
    }
}

/// The sections that hold for a cluster, the closest first.
fn sections<'a>(file: &'a File, cluster: Option<&str>) -> Vec<&'a Section> {
    let own = file.clusters.get(cluster.unwrap_or("main"));
    own.into_iter().chain([&file.all]).collect()
}

/// Whether a connection string has a password in it, as a keyword or in a URL.
fn shows_password(dsn: &str) -> bool {
    let user_part = dsn.split_once("://").and_then(|(_, rest)| {
        let authority = rest.split(['/', '?']).next()?;
        authority.rsplit_once('@').map(|(user, _)| user)
    });
    let keyword = dsn.split("password").skip(1).any(|rest| rest.trim_start().starts_with('='));
    keyword || user_part.is_some_and(|user| user.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_connection_strings() {
        for dsn in [
            "host=a password=x",
            "password = 'x'",
            "postgresql://u:p@h/db",
            "postgresql://h/?password=x",
        ] {
            assert!(shows_password(dsn), "{dsn}");
        }
        for dsn in [
            "",
            "host=a user=password",
            "passfile=/x",
            "postgresql://u@h:5432/db",
            "postgresql://h:5432",
        ] {
            assert!(!shows_password(dsn), "{dsn}");
        }
    }
}
