use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds from the Unix epoch to 2000-01-01 00:00:00 UTC, where PostgreSQL counts from.
const EPOCH_OFFSET_MICROS: i64 = 946_684_800_000_000;

/// A moment as PostgreSQL counts it: microseconds since 2000-01-01 00:00:00 UTC.
///
/// `TimestampTz` in PostgreSQL's `datatype/timestamp.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PgTimestamp(pub i64);

impl PgTimestamp {
    /// The present moment by this machine's clock.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// From microseconds since the Unix epoch; saturates.
    pub fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(EPOCH_OFFSET_MICROS))
    }

    /// Microseconds since the Unix epoch; saturates.
    pub fn unix_micros(self) -> i64 {
        self.0.saturating_add(EPOCH_OFFSET_MICROS)
    }
}

impl From<SystemTime> for PgTimestamp {
    fn from(time: SystemTime) -> Self {
        let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        Self::from_unix_micros(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => micros(after),
            Err(before) => -micros(before.duration()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_2000() {
        assert_eq!(PgTimestamp(0).unix_micros(), 946_684_800_000_000);
        let moment = UNIX_EPOCH + Duration::from_secs(946_684_801);
        assert_eq!(PgTimestamp::from(moment), PgTimestamp(1_000_000));
        assert_eq!(PgTimestamp::from_unix_micros(i64::MIN).0, i64::MIN);
        assert_eq!(PgTimestamp(i64::MAX).unix_micros(), i64::MAX);
    }
}
