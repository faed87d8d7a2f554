//! The `restore_command` that a restored server gets.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::commands::find_program;
use crate::config::Settings;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::quoting::word;

/// A call of `walbrook-fetch` with this repository and cluster, for the server that is restored.
/// Secrets are not in it: the server's `postgresql.auto.conf` is in every later backup.
pub(crate) fn restore_command(
    settings: &Settings,
    standby: bool,
    console: &Console,
) -> Result<String> {
    let program = find_program("walbrook-fetch").ok_or_else(|| {
        Failure::usage_text(
            "walbrook-fetch, which the restored server needs to get its WAL, is neither beside \
             walbrook-restore nor in PATH: install it, or give --restore-command",
        )
    })?;
    let secrets = settings.secrets_not_in_file();
    if !secrets.is_empty() {
        console.warn(format_args!(
            "the restored server's restore_command does not have {}: secrets are never written \
             into it. Put them into [repo-options] of a file and name it by --config, or into the \
             server's environment, before you start it",
            secrets.join(" and ")
        ));
    }
    let mut words = vec![absolute(&program)?];
    words.extend(["--repo".to_owned(), settings.repository.without_secrets().to_string()]);
    words.extend(["--cluster".to_owned(), settings.cluster().to_owned()]);
    if let Some(file) = settings.file_for_others() {
        words.extend(["--config".to_owned(), text(file)?]);
    }
    if standby {
        words.push("--standby".to_owned());
    }
    command(&words).map_err(|word| {
        Failure::usage(anyhow!("{word:?} can't stand in a restore_command: give --restore-command"))
    })
}

/// The whole command; `Err` is the word that can't be in one.
fn command(words: &[String]) -> Result<String, &str> {
    let mut command = String::new();
    for text in words {
        command += &word(text).ok_or(text.as_str())?;
        command.push(' ');
    }
    // PostgreSQL puts names into these that need no quotes.
    command += "%f %p";
    Ok(command)
}

fn absolute(path: &Path) -> Result<String> {
    let path = env::current_dir().map_or_else(|_| path.to_owned(), |dir: PathBuf| dir.join(path));
    text(&path)
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::usage(anyhow!(
            "the path {path:?} is not UTF-8 and can't stand in a restore_command: give --restore-command"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_quoted_for_itself() {
        let words = [
            "/opt/wal brook/walbrook-fetch",
            "--repo",
            "s3://b/p?region=x&sse=y",
            "--cluster",
            "100%",
        ];
        let words = words.map(str::to_owned);
        assert_eq!(
            command(&words).unwrap(),
            "'/opt/wal brook/walbrook-fetch' --repo 's3://b/p?region=x&sse=y' --cluster 100%% %f %p"
        );
        assert_eq!(command(&["a\nb".to_owned()]), Err("a\nb"));
    }
}
