use std::fmt;

use jiff::Timestamp;
use walbrook_types::TimelineId;

use crate::{Count, Period};

/// Why a backup is kept or removed. Printed, it is a phrase for a table.
///
/// A kept backup has every reason that keeps it; one that is removed has, for each rule of the policy,
/// why that rule does not want it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")
)]
#[non_exhaustive]
pub enum BackupReason {
    /// Kept: among the newest.
    Last {
        /// Its rank among all, 1 for the newest.
        rank: usize,
        /// `keep-last`.
        of: Count,
    },
    /// Kept: it can be restored to moments of the window only.
    InWindow {
        /// Where the window begins.
        since: Timestamp,
    },
    /// Kept: the newest backup from before the window from which it can be reached.
    WindowBase {
        /// Where the window begins.
        since: Timestamp,
        /// The timeline that is reached, if it is another than the backup's own.
        timeline: Option<TimelineId>,
    },
    /// Kept: the newest of a period.
    Periodic {
        /// Hour, day, …
        period: Period,
        /// Which one: `2026-11-22`, `2026-W47`.
        name: String,
        /// The rank of that period among those that have backups, 1 for the newest.
        rank: usize,
        /// How many such periods the policy keeps.
        of: Count,
    },
    /// Kept: the oldest backup that there is, for there are fewer periods than the policy keeps.
    OldestPeriodic {
        /// Hour, day, …
        period: Period,
        /// How many such periods have backups.
        found: usize,
        /// How many the policy keeps.
        of: Count,
    },
    /// Kept: without it there would be too few that can be restored.
    MinRedundancy {
        /// `min-redundancy`.
        of: Count,
    },
    /// Kept: a user asked for it.
    Pinned {
        /// Up to when; for ever without.
        until: Option<Timestamp>,
        /// What the user noted.
        note: String,
    },
    /// Kept: an annotation puts it on legal hold.
    LegalHold {
        /// The annotation.
        annotation: String,
        /// Its value.
        value: String,
    },
    /// Kept: the newest that can be restored is never removed.
    NewestRestorable,
    /// Kept: the newest that leads to the timeline that the cluster is on.
    LeadsToCurrent {
        /// That timeline.
        timeline: TimelineId,
    },
    /// Kept: a backup that is being taken uses its parts.
    BaseOfRunning {
        /// The one being taken.
        id: String,
    },
    /// Kept: the policy has no rule for backups.
    NoRule,
    /// Kept: others were asked to be removed.
    NotRequested,
    /// Kept: the plan removes nothing, for what [`Plan::holds`](crate::Plan::holds) says.
    Held,
    /// Removed: older than the newest so many.
    BeyondLast {
        /// Its rank among all, 1 for the newest.
        rank: usize,
        /// `keep-last`.
        of: Count,
    },
    /// Removed: older than the window, which another backup reaches.
    BeforeWindow {
        /// Where the window begins.
        since: Timestamp,
    },
    /// Removed: another of the same period is newer.
    NotNewestOfPeriod {
        /// Hour, day, …
        period: Period,
        /// Which one.
        name: String,
        /// The one that is kept for it, if the period is among those kept.
        kept: Option<String>,
    },
    /// Removed: the policy keeps newer periods only.
    BeyondPeriods {
        /// Hour, day, …
        period: Period,
        /// The one that it stands for.
        name: String,
        /// How many the policy keeps.
        of: Count,
    },
    /// Removed: it was asked for by name.
    Requested,
}

impl BackupReason {
    /// Whether it is a reason to keep.
    pub fn keeps(&self) -> bool {
        !matches!(
            self,
            Self::BeyondLast { .. }
                | Self::BeforeWindow { .. }
                | Self::NotNewestOfPeriod { .. }
                | Self::BeyondPeriods { .. }
                | Self::Requested
        )
    }
}

impl fmt::Display for BackupReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last { rank, of } => write!(f, "number {rank} of the newest {of}"),
            Self::InWindow { since } => write!(f, "in the window since {since:.0}"),
            Self::WindowBase { since, timeline: None } => {
                write!(f, "the window since {since:.0} is restored from it")
            }
            Self::WindowBase { since, timeline: Some(timeline) } => {
                write!(f, "the window since {since:.0} on timeline {timeline} is restored from it")
            }
            Self::Periodic { period, name, rank, of } => {
                write!(f, "newest of {period} {name}, {} {rank} of {of}", period.adverb())
            }
            Self::OldestPeriodic { period, found, of } => {
                write!(f, "oldest, while there are {found} of {of} {}", period.adverb())
            }
            Self::MinRedundancy { of } => write!(f, "one of at least {of} that can be restored"),
            Self::Pinned { until, note } => {
                f.write_str("pinned")?;
                if let Some(until) = until {
                    write!(f, " until {until:.0}")?;
                }
                if note.is_empty() { Ok(()) } else { write!(f, " ({note})") }
            }
            Self::LegalHold { annotation, value } => {
                write!(f, "on hold by its annotation {annotation}={value}")
            }
            Self::NewestRestorable => f.write_str("the newest that can be restored"),
            Self::LeadsToCurrent { timeline } => {
                write!(f, "the newest that leads to timeline {timeline}, the current one")
            }
            Self::BaseOfRunning { id } => write!(f, "backup {id}, being taken, builds on it"),
            Self::NoRule => f.write_str("the policy has no rule for backups"),
            Self::NotRequested => f.write_str("its removal was not asked for"),
            Self::Held => f.write_str("this plan removes nothing"),
            Self::BeyondLast { rank, of } => {
                write!(f, "number {rank} by age, beyond the newest {of}")
            }
            Self::BeforeWindow { since } => {
                write!(f, "before the window since {since:.0}, which does not need it")
            }
            Self::NotNewestOfPeriod { period, name, kept: Some(kept) } => {
                write!(f, "{kept} stands for {period} {name}")
            }
            Self::NotNewestOfPeriod { period, name, kept: None } => {
                write!(f, "not the newest of {period} {name}")
            }
            Self::BeyondPeriods { period, name, of } => {
                write!(f, "{period} {name} is beyond {of} {}", period.adverb())
            }
            Self::Requested => f.write_str("its removal was asked for"),
        }
    }
}

/// Why a stretch of WAL is kept or removed. Printed, it is a phrase for a table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")
)]
#[non_exhaustive]
pub enum WalReason {
    /// Kept: makes a kept backup consistent.
    Consistency {
        /// The backup.
        backup: String,
    },
    /// Kept: rolls a kept backup forward.
    Replay {
        /// The backup; of several that can, the one from which the most WAL is replayed.
        backup: String,
    },
    /// Kept: a backup of this system is being taken, and may need it.
    RunningBackup {
        /// The backup.
        id: String,
    },
    /// Kept: its timeline has no known parent, so nobody can say that no backup leads to it.
    UnknownAncestry,
    /// Kept: the cluster is on this timeline, though no backup leads to it yet.
    CurrentTimeline,
    /// Kept: its system has no backup yet.
    NoBackupYet,
    /// Kept: the plan removes nothing, for what [`Plan::holds`](crate::Plan::holds) says.
    Held,
    /// Removed: every kept backup of the timeline starts later.
    BeforeBackups {
        /// The one that starts first.
        oldest: String,
    },
    /// Removed: the kept backups around it are to be restored as they were taken.
    BetweenBackups,
    /// Removed: no kept backup leads to it.
    Unreachable,
    /// Removed: its system has no kept backup, and the cluster has another system now.
    SystemLeft,
}

impl WalReason {
    /// Whether it is a reason to keep.
    pub fn keeps(&self) -> bool {
        !matches!(
            self,
            Self::BeforeBackups { .. }
                | Self::BetweenBackups
                | Self::Unreachable
                | Self::SystemLeft
        )
    }
}

impl fmt::Display for WalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consistency { backup } => write!(f, "makes backup {backup} consistent"),
            Self::Replay { backup } => write!(f, "rolls backup {backup} forward"),
            Self::RunningBackup { id } => {
                write!(f, "backup {id}, being taken, may need it")
            }
            Self::UnknownAncestry => f.write_str("nobody knows where its timeline comes from"),
            Self::CurrentTimeline => f.write_str("the cluster is on this timeline"),
            Self::NoBackupYet => f.write_str("its system has no backup yet"),
            Self::Held => f.write_str("this plan removes nothing"),
            Self::BeforeBackups { oldest } => {
                write!(f, "older than {oldest}, the first backup kept on its timeline")
            }
            Self::BetweenBackups => f.write_str("between backups that are kept without replay"),
            Self::Unreachable => f.write_str("no kept backup leads to it"),
            Self::SystemLeft => {
                f.write_str("of a system that the cluster left, without a kept backup")
            }
        }
    }
}

/// Why a plan removes nothing at all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")
)]
#[non_exhaustive]
pub enum Hold {
    /// A backup is from the future: the clock was put back, or was ahead where the backup was taken.
    BackupInFuture {
        /// The backup.
        id: String,
        /// When it began or ended, whichever is later.
        at: Timestamp,
    },
    /// Now is before a moment that is known to have passed.
    ClockPutBack {
        /// That moment.
        seen: Timestamp,
    },
    /// Nothing has happened for so long that the clock may have been put forward.
    Silence {
        /// The last sign of life.
        since: Timestamp,
    },
    /// There are backups, and none can be restored: their WAL is missing, or they are damaged.
    NothingRestorable,
    /// The policy asks for nothing.
    EmptyPolicy,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackupInFuture { id, at } => write!(
                f,
                "backup {id} is from the future ({at:.0}): set the clock right, or remove that backup \
                 by name if it was another clock that was wrong"
            ),
            Self::ClockPutBack { seen } => {
                write!(f, "{seen:.0} was seen before, so the clock was put back: set it right")
            }
            Self::Silence { since } => write!(
                f,
                "nothing was backed up or archived since {since:.0}: either the clock was put forward, \
                 or backups have stopped; mend that, or allow more with max-silence"
            ),
            Self::NothingRestorable => f.write_str(
                "no backup can be restored: all lack WAL or are damaged; take a good one first",
            ),
            Self::EmptyPolicy => f.write_str("the policy is empty: give it a rule"),
        }
    }
}
