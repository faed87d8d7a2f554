use crate::{Count, Length, Period};

/// What to keep. Every rule only adds: a backup stays when any rule wants it, and what no rule
/// wants goes.
///
/// Written as text it is its rules, separated by spaces or commas; as TOML or JSON (feature
/// `serde`) a table with the same keys:
///
/// ```
/// use walbrook_retention::{Count, Policy};
///
/// let policy: Policy = "window=7d daily=14 weekly=8 monthly=12 yearly=3".parse()?;
/// assert_eq!(policy.daily, Count::new(14));
/// assert_eq!(policy.to_string(), "window=7d daily=14 weekly=8 monthly=12 yearly=3");
/// # Ok::<(), walbrook_retention::Error>(())
/// ```
///
/// A policy without a rule for backups (`keep-last`, `window`, `hourly` to `yearly`) keeps them
/// all, and an empty one keeps all WAL too: nothing is removed that nobody asked to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "kebab-case")
)]
pub struct Policy {
    /// The newest so many.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_none"))]
    pub keep_last: Count,
    /// Whatever it takes to restore to any moment of the last so long: the backups of that time, one
    /// older backup for its beginning, and the WAL from there on.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub window: Option<Length>,
    /// The newest of each of the last so many hours that have a backup. As long as there are fewer
    /// such hours than asked for, the oldest backup of all stays too, so that history grows.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_none"))]
    pub hourly: Count,
    /// The same with days.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_none"))]
    pub daily: Count,
    /// The same with weeks, which begin on Mondays.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_none"))]
    pub weekly: Count,
    /// The same with months.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_none"))]
    pub monthly: Count,
    /// The same with years.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_none"))]
    pub yearly: Count,
    /// Never fewer than so many that can be restored: the newest are kept in addition to what the
    /// other rules keep, until there are enough. One always is.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_none"))]
    pub min_redundancy: Count,
    /// Which WAL.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub wal: Option<WalRule>,
    /// The annotations that put a backup on legal hold, whatever the rules say. Any value does but
    /// `false`, `no`, `off` and `0`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_usual_hold"))]
    pub hold_annotations: Vec<String>,
    /// How long nothing at all may have happened before time stops to count: when the newest backup
    /// and the newest WAL are older, either backups have stopped or the clock was put forward, and
    /// neither is a moment to remove anything because of its age.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_silence: Option<Length>,
}

/// Which WAL is kept, beside what a window needs and what follows the newest backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalRule {
    /// Everything that a kept backup can replay: each can be restored to any later moment.
    All,
    /// That only for the newest so many of the kept backups; the others keep what makes them
    /// consistent.
    Newest(u32),
    /// Only what makes each kept backup consistent: each can be restored as it was taken.
    Standalone,
}

impl Policy {
    /// The annotation that means legal hold unless the policy names others.
    pub const LEGAL_HOLD: &str = "legal-hold";

    /// How long nothing may have happened, in days, unless the policy says otherwise.
    pub const MAX_SILENCE_DAYS: i32 = 35;

    /// How many of such periods it keeps.
    pub fn periodic(&self, period: Period) -> Count {
        match period {
            Period::Hour => self.hourly,
            Period::Day => self.daily,
            Period::Week => self.weekly,
            Period::Month => self.monthly,
            Period::Year => self.yearly,
        }
    }

    /// Whether it has a rule for backups; without one it keeps them all.
    pub fn has_backup_rule(&self) -> bool {
        !self.keep_last.is_none()
            || self.window.is_some()
            || Period::ALL.iter().any(|period| !self.periodic(*period).is_none())
    }

    /// Whether it asks for nothing; it then keeps everything.
    pub fn is_empty(&self) -> bool {
        !self.has_backup_rule() && self.wal.is_none()
    }

    /// The rule for WAL, said or usual.
    pub fn wal_rule(&self) -> WalRule {
        self.wal.unwrap_or(WalRule::All)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            keep_last: Count::NONE,
            window: None,
            hourly: Count::NONE,
            daily: Count::NONE,
            weekly: Count::NONE,
            monthly: Count::NONE,
            yearly: Count::NONE,
            min_redundancy: Count::NONE,
            wal: None,
            hold_annotations: vec![Self::LEGAL_HOLD.to_owned()],
            max_silence: None,
        }
    }
}

#[cfg(feature = "serde")]
fn is_none(count: &Count) -> bool {
    count.is_none()
}

#[cfg(feature = "serde")]
fn is_usual_hold(names: &[String]) -> bool {
    names == [Policy::LEGAL_HOLD]
}
