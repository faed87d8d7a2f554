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
    call(&absolute(&program)?, settings, standby)
}

/// A call of this program, without secrets.
fn call(program: &str, settings: &Settings, standby: bool) -> Result<String> {
    let mut words = vec![program.to_owned()];
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
    use clap::Parser;

    use super::*;
    use crate::args::CommonArgs;

    #[derive(Debug, Parser)]
    struct Args {
        #[command(flatten)]
        common: CommonArgs,
    }

    /// The command, and the secrets that it lacks.
    fn made(args: &[&str], standby: bool) -> (String, Vec<&'static str>) {
        let args = Args::parse_from([&["test"], args].concat());
        let settings = Settings::load(&args.common, &Console::plain("test"));
        let settings = settings.unwrap_or_else(|failure| panic!("{:?}", failure.lines()));
        (call("/f", &settings, standby).unwrap(), settings.secrets_not_in_file())
    }

    #[test]
    fn secrets_stay_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("w.toml");
        let config = file.to_str().unwrap();
        let text = "repo = 's3://b/p?session_token=hunter2'\n[repo-options]\n\
                    secret_access_key = 'hunter2'\nregion = 'x'\n[clusters.prod]\njobs = 2\n";
        std::fs::write(&file, text).unwrap();

        let (command, lacks) = made(&["--config", config, "--cluster", "prod"], true);
        let expected = format!(
            "/f --repo 's3://b/p?region=x' --cluster prod --config {config} --standby %f %p"
        );
        assert_eq!((command, lacks), (expected, vec![]));

        let secret = "secret_access_key=hunter2";
        let (command, lacks) =
            made(&["--config", "/dev/null", "--repo", "s3://b", "--repo-option", secret], false);
        assert_eq!(lacks, ["secret_access_key"]);
        assert_eq!(command, "/f --repo s3://b --cluster main --config /dev/null %f %p");

        // What the file says of another place is not used, and not counted.
        let (command, lacks) =
            made(&["--config", config, "--repo", "s3://c", "--repo-option", secret], false);
        assert_eq!(lacks, ["secret_access_key"], "{command}");
    }

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
