//! What tells the server how to recover: `postgresql.auto.conf` and a signal file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use walbrook_types::TimelineId;

use crate::restore::{RestoreOptions, Target, TargetTimeline};
use crate::{Error, ErrorKind, Result};

/// Every setting that could name a target: PostgreSQL refuses to start when two do, so one that
/// an earlier restore, or somebody, left in a configuration file is emptied.
const TARGETS: [&str; 5] = [
    "recovery_target",
    "recovery_target_time",
    "recovery_target_lsn",
    "recovery_target_xid",
    "recovery_target_name",
];

/// The settings that lead to the target, in the order in which they are written.
pub(crate) fn recovery_settings(
    options: &RestoreOptions,
    timeline: TimelineId,
) -> Result<Vec<(String, String)>> {
    let command = options.restore_command.clone().map_or_else(|| default_command(options), Ok)?;
    let target = match &options.target {
        Target::Latest => None,
        _ if options.standby => {
            let message = "a standby follows to no end: it can't have a target";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Target::Immediate => Some((TARGETS[0], "immediate".to_owned())),
        Target::Time(time) => {
            Some((TARGETS[1], time.strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string()))
        }
        Target::Lsn(lsn) => Some((TARGETS[2], lsn.to_string())),
        Target::Xid(xid) => Some((TARGETS[3], xid.to_string())),
        Target::Name(name) => Some((TARGETS[4], name.clone())),
    };
    let mut settings = vec![("restore_command".to_owned(), command)];
    // The emptied ones first: PostgreSQL takes even an empty target after another for a second.
    for name in TARGETS.iter().filter(|name| target.as_ref().is_none_or(|(set, _)| set != *name)) {
        settings.push(((*name).to_owned(), String::new()));
    }
    settings.extend(target.map(|(name, value)| (name.to_owned(), value)));
    let inclusive = if options.exclusive { "off" } else { "on" };
    settings.push(("recovery_target_inclusive".to_owned(), inclusive.to_owned()));
    let timeline = match options.timeline {
        // A standby goes on to timelines that do not exist yet.
        TargetTimeline::Latest if options.standby => "latest".to_owned(),
        _ => timeline.to_string(),
    };
    settings.push(("recovery_target_timeline".to_owned(), timeline));
    let action = options.action.map_or("pause", |action| action.name());
    settings.push(("recovery_target_action".to_owned(), action.to_owned()));
    if let Some((name, _)) = settings.iter().find(|(_, value)| value.contains(['\n', '\0'])) {
        let message = format!("{name} must be a single line of text");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(settings)
}

/// `walbrook-fetch` from the server's `PATH`, with what it needs to find the repository. Secrets
/// are left out: the server's environment must have them.
fn default_command(options: &RestoreOptions) -> Result<String> {
    let repository = options.repository.without_secrets().to_string();
    let standby = if options.standby { " --standby" } else { "" };
    let command = format!(
        "walbrook-fetch --repo {} --cluster {}{standby} %f %p",
        shell_word(&repository)?,
        shell_word(&options.cluster)?
    );
    Ok(command)
}

/// A word that a shell, and PostgreSQL's own replacement of `%`, leave as it is.
fn shell_word(word: &str) -> Result<String> {
    if word.contains('\0') {
        let message = "a NUL character can't stand in a restore_command";
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''").replace('%', "%%")))
}

/// Appends the settings to `postgresql.auto.conf`, where the last one of a name counts, and
/// creates the signal file. New files get this mode.
pub(crate) fn write(
    directory: &Path,
    settings: &[(String, String)],
    standby: bool,
    heading: &str,
    mode: u32,
) -> Result<()> {
    let mut text = format!("\n# {heading}\n");
    for (name, value) in settings {
        // As in SQL, a quote is doubled; and a backslash escapes, so it is doubled as well.
        let value = value.replace('\\', r"\\").replace('\'', "''");
        text.push_str(&format!("{name} = '{value}'\n"));
    }
    let conf = directory.join("postgresql.auto.conf");
    let failed = |e| Error::io(format!("{} can't be written", conf.display()), e);
    let mut file =
        OpenOptions::new().append(true).create(true).mode(mode).open(&conf).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    // The backup of a standby has the standby's own, and PostgreSQL would obey that one: the copy
    // would never end its recovery, and follow the primary that it was made to replace.
    for name in ["standby.signal", "recovery.signal"] {
        let signal = directory.join(name);
        match fs::remove_file(&signal) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(format!("{} can't be removed", signal.display()), e));
            }
            _ => {}
        }
    }
    let signal = directory.join(if standby { "standby.signal" } else { "recovery.signal" });
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&signal)
        .map_err(|e| Error::io(format!("{} can't be written", signal.display()), e))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(target: Target) -> RestoreOptions {
        let url = "file:///back'ups/50%".parse().expect("a URL");
        let mut options = RestoreOptions::new(url, "main", "/restored");
        options.target = target;
        options
    }

    #[test]
    fn only_the_target_that_was_asked_for_is_set() {
        let settings =
            recovery_settings(&options(Target::Xid(7)), TimelineId::FIRST).expect("settings");
        let set: Vec<_> = settings
            .iter()
            .filter(|(name, value)| TARGETS.contains(&name.as_str()) && !value.is_empty())
            .collect();
        assert_eq!(set, [&("recovery_target_xid".to_owned(), "7".to_owned())]);
    }

    #[test]
    fn what_no_configuration_file_can_hold_is_refused() {
        for name in ["a\nrestore_command = 'rm -rf /'", "a\0"] {
            let refused = recovery_settings(&options(Target::Name(name.into())), TimelineId::FIRST);
            assert_eq!(refused.expect_err("refused").kind(), ErrorKind::Invalid);
        }
        let mut standby = options(Target::Xid(7));
        standby.standby = true;
        assert!(recovery_settings(&standby, TimelineId::FIRST).is_err());
    }

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(shell_word("a'b 50%").expect("a word"), r"'a'\''b 50%%'");
        assert!(shell_word("a\0").is_err());
    }
}
