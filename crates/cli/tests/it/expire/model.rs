//! What a policy keeps, as it is promised to users, and reckoned in the most naive way.

use std::collections::BTreeSet;

use jiff::{Timestamp, Zoned};

/// A backup as the model knows it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: String,
    /// When it was taken, in seconds of Unix time.
    pub(super) at: i64,
    /// A pin, up to this second.
    pub(super) pinned: Option<i64>,
}

/// So many of each, and all that the window needs.
pub(super) struct Rules {
    /// In hours.
    pub(super) window: i64,
    /// A period, as `strftime` names it, the flag that counts it, and how many are kept.
    pub(super) periods: &'static [(&'static str, &'static str, usize)],
}

impl Rules {
    /// As the flags of `walbrook-expire`.
    pub(super) fn flags(&self) -> Vec<String> {
        let periods = self.periods.iter();
        let mut flags: Vec<String> =
            periods.flat_map(|(_, flag, count)| [format!("--{flag}"), count.to_string()]).collect();
        flags.extend(["--window".to_owned(), format!("{}h", self.window)]);
        flags
    }

    /// From when on every moment is to be had.
    pub(super) fn since(&self, now: &Zoned) -> i64 {
        now.timestamp().as_second() - self.window * 3600
    }

    /// Those that the window needs, of all in the order in which they were taken: its own, and the last
    /// one before it.
    pub(super) fn of_window(&self, all: &[Known], now: &Zoned) -> BTreeSet<String> {
        let since = self.since(now);
        let older = all.iter().filter(|backup| backup.at <= since).count();
        all[older.saturating_sub(1)..].iter().map(|backup| backup.id.clone()).collect()
    }

    /// Those that stay.
    pub(super) fn keep(&self, all: &[Known], now: &Zoned) -> BTreeSet<String> {
        let mut kept = self.of_window(all, now);
        kept.extend(all.last().map(|newest| newest.id.clone()));
        let second = now.timestamp().as_second();
        let pinned = all.iter().filter(|backup| backup.pinned.is_some_and(|until| second < until));
        kept.extend(pinned.map(|backup| backup.id.clone()));
        for (name, _, count) in self.periods {
            let mut found = BTreeSet::new();
            for backup in all.iter().rev() {
                let at = Timestamp::from_second(backup.at).unwrap();
                let period = at.to_zoned(now.time_zone().clone()).strftime(name).to_string();
                if found.len() < *count && found.insert(period) {
                    kept.insert(backup.id.clone());
                }
            }
            // What the first of them will be made of.
            if found.len() < *count {
                kept.extend(all.first().map(|oldest| oldest.id.clone()));
            }
        }
        kept
    }
}
