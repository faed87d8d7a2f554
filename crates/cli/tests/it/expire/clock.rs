//! A clock that is made up.

use std::fs;
use std::path::Path;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::Value;
use walbrook::repo::Digest;

/// The time that a story's backups were taken at, in place of the hour in which they really were.
///
/// It goes on when the story says so. What knows of it: `walbrook-expire`, by `--now`, and the records
/// of backups, whose times are [replaced](Self::date) when they have been taken. These are all the times
/// that a plan goes by: a window is cut, and days are counted, by when backups were taken. What does not:
/// the server's commit times in the WAL, the archive's notes of when a segment came, identifiers, and
/// the marks of expiries. Points in time are therefore asked for by other names than times.
pub(super) struct Clock {
    now: Zoned,
}

impl Clock {
    /// Years from now, so that nothing real is ever later; soon before the clocks are put forward, in
    /// a zone where they are.
    pub(super) fn new() -> Self {
        let zone = TimeZone::get("Europe/Rome").unwrap_or_else(|e| {
            println!("days are those of UTC: {e}");
            TimeZone::UTC
        });
        Self { now: "2041-03-08T09:10:00Z".parse::<Timestamp>().unwrap().to_zoned(zone) }
    }

    pub(super) fn now(&self) -> &Zoned {
        &self.now
    }

    /// In seconds of Unix time.
    pub(super) fn second(&self) -> i64 {
        self.now.timestamp().as_second()
    }

    pub(super) fn zone(&self) -> &str {
        self.now.time_zone().iana_name().unwrap()
    }

    pub(super) fn go_on(&mut self, seconds: i64) {
        let then = Timestamp::from_second(self.second() + seconds).unwrap();
        self.now = then.to_zoned(self.now.time_zone().clone());
    }

    /// Makes a backup one of now.
    pub(super) fn date(&self, cluster: &Path, id: &str) {
        let path = cluster.join("backups").join(id).join("backup.json");
        let mut document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let at = self.now.timestamp().to_string();
        let span = document["body"]["span"].as_object_mut().unwrap();
        for key in ["started_at", "stopped_at", "checkpoint_time", "last_transaction_time"] {
            span.insert(key.to_owned(), Value::from(at.clone()));
        }
        let text = serde_json::to_string(&document["body"]).unwrap();
        let digest = Digest::of(text.as_bytes());
        let sealed = format!("{{\"body\":{text},\"blake3\":\"{digest}\"}}\n");
        // In its place: of the same owner and mode.
        fs::write(&path, sealed).unwrap();
    }
}
