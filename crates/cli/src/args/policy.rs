use std::collections::BTreeMap;

use walbrook::retention::Policy;

/// What to keep: each flag is one rule, and a backup stays when any rule wants it.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "What to keep")]
pub(crate) struct PolicyArgs {
    /// The newest N backups
    #[arg(long, value_name = "N")]
    keep_last: Option<String>,
    /// Whatever it takes to restore to any moment of the last so long: 7d, 2w, 3mo
    #[arg(long, value_name = "LENGTH")]
    window: Option<String>,
    /// The newest of each of the last N hours that have a backup
    #[arg(long, value_name = "N")]
    hourly: Option<String>,
    /// The newest of each of the last N days that have a backup
    #[arg(long, value_name = "N")]
    daily: Option<String>,
    /// The newest of each of the last N weeks, which begin on Mondays
    #[arg(long, value_name = "N")]
    weekly: Option<String>,
    /// The newest of each of the last N months
    #[arg(long, value_name = "N")]
    monthly: Option<String>,
    /// The newest of each of the last N years
    #[arg(long, value_name = "N")]
    yearly: Option<String>,
    /// Never fewer than N backups that can be restored
    #[arg(long, value_name = "N")]
    min_redundancy: Option<String>,
    /// Which WAL, beside what the window needs: all that a kept backup can replay, that of the newest N
    /// only, or what makes each backup consistent [default: all]
    #[arg(long, value_name = "all|newest:N|standalone")]
    keep_wal: Option<String>,
    /// How long nothing may have happened before no backup is removed because of its age
    /// [default: 35d]
    #[arg(long, value_name = "LENGTH")]
    max_silence: Option<String>,
}

impl PolicyArgs {
    /// Whether any of its flags was given.
    pub(crate) fn is_given(&self) -> bool {
        let flags = [
            &self.keep_last,
            &self.window,
            &self.hourly,
            &self.daily,
            &self.weekly,
            &self.monthly,
            &self.yearly,
            &self.min_redundancy,
            &self.keep_wal,
            &self.max_silence,
        ];
        flags.into_iter().any(Option::is_some)
    }

    /// The rules of the file, and over them those of the flags. A count of 0 switches a rule off.
    pub(crate) fn over(&self, file: &BTreeMap<String, String>) -> Result<Policy, String> {
        let mut policy = Policy::default();
        for (key, value) in file {
            let fault = |e| format!("[retention] in the configuration file: {key}: {e}");
            policy.set(key, value).map_err(fault)?;
        }
        let flags = [
            ("keep-last", &self.keep_last),
            ("window", &self.window),
            ("hourly", &self.hourly),
            ("daily", &self.daily),
            ("weekly", &self.weekly),
            ("monthly", &self.monthly),
            ("yearly", &self.yearly),
            ("min-redundancy", &self.min_redundancy),
            ("wal", &self.keep_wal),
            ("max-silence", &self.max_silence),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                let flag = if key == "wal" { "keep-wal" } else { key };
                policy.set(key, value).map_err(|e| format!("--{flag}: {e}"))?;
            }
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_before_the_file() {
        let file = [("daily", "14"), ("weekly", "8")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let args = PolicyArgs { daily: Some("0".into()), ..PolicyArgs::default() };
        assert_eq!(args.over(&file.into()).map(|p| p.to_string()), Ok("weekly=8".into()));
        let wrong = PolicyArgs { window: Some("7".into()), ..PolicyArgs::default() };
        let fault = wrong.over(&BTreeMap::new()).unwrap_err();
        assert!(fault.starts_with("--window: \"7\" is not a length of time"), "{fault}");
        let fault = args.over(&[("dayly".to_owned(), "1".to_owned())].into()).unwrap_err();
        assert!(fault.contains("[retention]") && fault.contains("dayly"), "{fault}");
    }
}
