use clap::Args;
use walbrook::types::{Lsn, TimelineId};
use walbrook::{Target, TargetAction, TargetTimeline};

use super::time::time;

/// Where recovery ends, and what the server does there: PostgreSQL's `recovery_target_…` settings.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recovery target")]
pub(crate) struct RecoveryArgs {
    /// The last moment to restore to: '2026-11-22 04:00:00+00', 2026-11-22T04:00:00Z or
    /// '2026-11-22 04:00:00 Europe/Berlin'; without a zone it is this machine's local time
    #[arg(long, value_name = "TIME", value_parser = time, group = "where")]
    target_time: Option<jiff::Timestamp>,

    /// The position in the WAL to restore to, such as 0/5000060
    #[arg(long, value_name = "LSN", group = "where")]
    target_lsn: Option<Lsn>,

    /// The last transaction to restore, as pg_current_xact_id() shows it
    #[arg(long, value_name = "XID", value_parser = xid, group = "where")]
    target_xid: Option<u32>,

    /// The restore point to restore to, made by pg_create_restore_point()
    #[arg(long, value_name = "NAME", value_parser = name, group = "where")]
    target_name: Option<String>,

    /// immediate: as soon as the cluster is consistent; latest: all the WAL that there is
    /// [default: latest]
    #[arg(long, value_name = "WHERE", group = "where")]
    target: Option<Extreme>,

    /// The timeline to follow: its number, latest, or current for that of the backup
    #[arg(long, value_name = "TIMELINE", value_parser = timeline, default_value = "latest")]
    pub(crate) target_timeline: TargetTimeline,

    /// End just before the target, not just after it
    #[arg(long)]
    pub(crate) target_exclusive: bool,

    /// What the server does at the target [default: PostgreSQL's own, pause]
    #[arg(long, value_name = "ACTION")]
    target_action: Option<Action>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Extreme {
    Immediate,
    Latest,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Action {
    Pause,
    Promote,
    Shutdown,
}

impl RecoveryArgs {
    pub(crate) fn target(&self) -> Target {
        let time = self.target_time.map(Target::Time);
        let lsn = self.target_lsn.map(Target::Lsn);
        let xid = self.target_xid.map(Target::Xid);
        let name = self.target_name.clone().map(Target::Name);
        time.or(lsn).or(xid).or(name).unwrap_or(match self.target {
            Some(Extreme::Immediate) => Target::Immediate,
            Some(Extreme::Latest) | None => Target::Latest,
        })
    }

    pub(crate) fn action(&self) -> Option<TargetAction> {
        self.target_action.map(|action| match action {
            Action::Pause => TargetAction::Pause,
            Action::Promote => TargetAction::Promote,
            Action::Shutdown => TargetAction::Shutdown,
        })
    }
}

/// As the server reads `recovery_target_xid`: a 64-bit transaction ID, as `pg_current_xact_id()`
/// gives it, of which the log holds the lower half.
fn xid(text: &str) -> Result<u32, String> {
    let number: u64 = text.parse().map_err(|_| "it must be a transaction ID".to_owned())?;
    match number as u32 {
        // FirstNormalTransactionId in access/transam.h.
        0..3 => Err("0, 1 and 2 are no ordinary transactions".to_owned()),
        xid => Ok(xid),
    }
}

/// MAXFNAMELEN in access/xlog_internal.h is 64, with the zero at the end.
fn name(text: &str) -> Result<String, String> {
    match text.len() {
        1..64 => Ok(text.to_owned()),
        _ => Err("the name of a restore point has 1 to 63 bytes".to_owned()),
    }
}

fn timeline(text: &str) -> Result<TargetTimeline, String> {
    let number = match text {
        "latest" => return Ok(TargetTimeline::Latest),
        "current" => return Ok(TargetTimeline::Current),
        // File names have it in hexadecimal; the server takes 0x as well.
        text => match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        },
    };
    let timeline = number.and_then(TimelineId::new).map(TargetTimeline::Id);
    timeline.ok_or_else(|| "it must be a timeline's number, latest or current".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(xid("731"), Ok(731));
        assert_eq!(xid("4294968027"), Ok(731));
        assert!(xid("2").is_err() && xid("-5").is_err() && xid("4294967296").is_err());
        assert_eq!(timeline("0xA"), Ok(TargetTimeline::Id(TimelineId::new(10).unwrap())));
        assert_eq!(timeline("3"), Ok(TargetTimeline::Id(TimelineId::new(3).unwrap())));
        assert!(timeline("0").is_err() && timeline("newest").is_err());
        assert!(name("").is_err() && name(&"x".repeat(64)).is_err() && name("a b").is_ok());
    }
}
