use std::time::{Duration, SystemTime};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use walbrook::{LockOptions, LockUntil};

use super::{duration, time};
use crate::config::Settings;
use crate::failure::Result;

/// How what is stored is locked.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Locks")]
pub(crate) struct LockArgs {
    /// Lock what is stored so that nobody can destroy it before then, with no credentials: for so long
    /// (14d, rounded up to whole hours), or until a date (2027-01-01, at 0:00 UTC) or a time. It can't be
    /// taken back, and must be paid for. Needs S3 and a bucket with object lock; see lock_mode in
    /// --repo-option. Give walbrook-backup and walbrook-push the same, and more than the days that are
    /// to stay restorable: those, and the time from the begin of one backup to the end of the next
    #[arg(long, value_name = "LENGTH|DATE", value_parser = lock_until)]
    pub(crate) lock_until: Option<LockUntil>,

    /// The longest lock that is accepted, against mistakes [default: 400d]
    #[arg(long, value_name = "LENGTH", value_parser = duration)]
    pub(crate) lock_max: Option<Duration>,
}

impl LockArgs {
    /// What the flags and the file say.
    pub(crate) fn options(&self, settings: &Settings) -> Result<Option<LockOptions>> {
        let until = settings.value(self.lock_until, "lock-until", lock_until)?;
        let at_most = settings.value(self.lock_max, "lock-max", duration)?;
        Ok(until.map(|until| {
            let mut options = LockOptions::new(until);
            options.at_most = at_most.unwrap_or(options.at_most);
            options
        }))
    }
}

/// A length of time, a date or a time.
fn lock_until(text: &str) -> Result<LockUntil, String> {
    let text = text.trim();
    if let Ok(length) = duration(text) {
        // A bare number would be seconds, which nobody means.
        let bare = text.bytes().all(|b| b.is_ascii_digit());
        return match bare {
            true => Err(format!("write a unit, such as {text}d")),
            false => Ok(LockUntil::For(length)),
        };
    }
    if text.len() == 10
        && let Ok(date) = text.parse::<Date>()
        && let Ok(midnight) = date.to_zoned(TimeZone::UTC)
    {
        return Ok(LockUntil::At(SystemTime::from(midnight.timestamp())));
    }
    match time(text) {
        Ok(time) => Ok(LockUntil::At(time.into())),
        Err(fault) if text.len() > 10 => Err(fault),
        Err(_) => Err("write a length such as 14d or 36h, or a date such as 2027-01-01".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_dates_and_times() {
        let days = |n: u64| LockUntil::For(Duration::from_secs(n * 86_400));
        assert_eq!(lock_until("14d"), Ok(days(14)));
        assert_eq!(lock_until("48h"), Ok(days(2)));
        let at = |seconds| Ok(LockUntil::At(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
        assert_eq!(lock_until("2027-01-01"), at(1_798_761_600));
        assert_eq!(lock_until("2027-01-01T01:00:00+01:00"), at(1_798_761_600));
        for (wrong, expected) in [
            ("14", "14d"),
            ("", "such as 14d"),
            ("soon", "such as 14d"),
            ("2027-13-01", "such as 14d"),
            ("2027-01-01T00:00:00 XYZ", "not one time zone"),
        ] {
            let fault = lock_until(wrong).unwrap_err();
            assert!(fault.contains(expected), "{wrong}: {fault}");
        }
    }
}
