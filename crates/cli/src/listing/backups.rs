use jiff::Timestamp;
use walbrook::{BackupPin, BackupRecord};

use super::columns::columns;
use crate::format::{size, time};

/// A backup, whether the WAL is there that makes it consistent, and its pins.
pub(super) type Listed<'a> = (&'a BackupRecord, bool, &'a [BackupPin]);

/// A table of backups. Where the terminal is too narrow for one line each, a backup takes two:
/// begin above end, database above stored size.
pub(super) fn table(backups: &[Listed<'_>], width: Option<usize>) -> String {
    if backups.is_empty() {
        return "No backups.\n".to_owned();
    }
    let fits = |text: &String| {
        width.is_none_or(|width| text.lines().all(|line| line.chars().count() <= width))
    };
    let layouts: [fn(&[Listed<'_>]) -> String; 2] = [wide, |backups| stacked(backups, "  ")];
    let fitting = layouts.iter().map(|layout| layout(backups)).find(fits);
    fitting.unwrap_or_else(|| stacked(backups, " "))
}

fn wide(backups: &[Listed<'_>]) -> String {
    let header = "ID,Started,Stopped,Start LSN,Stop LSN,TLI,Version,Database,Stored,State,Label";
    let mut rows = vec![header.split(',').map(str::to_owned).collect::<Vec<_>>()];
    for backup in backups {
        let record = backup.0;
        rows.push(vec![
            record.id.to_string(),
            time(record.span.started_at),
            time(record.span.stopped_at),
            record.span.start_lsn.to_string(),
            record.span.stop_lsn.to_string(),
            record.span.timeline.to_string(),
            record.server.pg_version.to_string(),
            size(record.size.database_bytes),
            size(record.size.stored_bytes),
            state(*backup),
            one_line(&record.label),
        ]);
    }
    columns(&rows, &[5, 7, 8], "  ")
}

fn stacked(backups: &[Listed<'_>], gap: &str) -> String {
    let header = "ID\nLabel,Started\nStopped,Start LSN\nStop LSN,Vers.\nTLI,Database\nStored,State";
    let mut rows = vec![header.split(',').map(str::to_owned).collect::<Vec<_>>()];
    for backup in backups {
        let record = backup.0;
        let span = &record.span;
        // Narrow, and without the zone, which is always +00.
        let short = |at| time(at).trim_end_matches("+00").to_owned();
        rows.push(vec![
            format!("{}\n{}", record.id, one_line(&record.label)),
            format!("{}\n{}", short(span.started_at), short(span.stopped_at)),
            format!("{}\n{}", span.start_lsn, span.stop_lsn),
            format!("{}\n{}", record.server.pg_version, span.timeline),
            format!("{}\n{}", size(record.size.database_bytes), size(record.size.stored_bytes)),
            state(*backup).replace(", ", " ").replace(' ', "\n"),
        ]);
    }
    columns(&rows, &[4], gap)
}

/// Whether it can be restored, whether its pages are sound, whether a lock failed, and whether somebody
/// keeps it.
fn state((record, restorable, pins): Listed<'_>) -> String {
    let wal = (!restorable).then(|| "WAL missing".to_owned());
    let damage = match record.damage.pages {
        0 => None,
        1 => Some("1 damaged page".to_owned()),
        pages => Some(format!("{pages} damaged pages")),
    };
    let mut state = match (wal, damage) {
        (None, None) => "ok".to_owned(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(wal), Some(damage)) => format!("{wal}, {damage}"),
    };
    if record.lock.as_ref().is_some_and(|lock| lock.trouble.is_some()) {
        state += ", not all locked";
    }
    match pins.iter().map(|pin| pin.until).max_by_key(|until| until.unwrap_or(Timestamp::MAX)) {
        None => {}
        Some(None) => state += ", pinned",
        Some(Some(until)) => state += &format!(", pinned until {}", time(until)),
    }
    state
}

/// A label comes from outside: nothing in it may steer a terminal.
fn one_line(label: &str) -> String {
    label.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(label: &str, damaged: u64) -> BackupRecord {
        let segment = "000000010000002F0000003A";
        let time = "2026-11-22T03:45:12.5Z";
        let value: Value = json!({
            "id": "20261122T034512Z-1f3a9c04", "cluster": "prod", "base": null,
            "server": {
                "system_identifier": "7710856619594526580", "pg_version": 170_005,
                "wal_segment_size": 16 << 20, "block_size": 8192, "data_checksums": true,
            },
            "span": {
                "timeline": 1, "start_lsn": "2F/3A000028", "stop_lsn": "2F/3A000120",
                "first_segment": segment, "last_segment": segment, "started_at": time,
                "stopped_at": "2026-11-22T04:46:01Z", "checkpoint_time": time,
                "last_transaction_time": null,
            },
            "source": {
                "kind": "replication", "from_standby": false, "server": "db1", "wal": "stream",
            },
            "tablespaces": [],
            "size": {
                "files": 1, "database_bytes": 31_u64 << 40, "stored_bytes": 4 << 20, "packs": 1,
            },
            "manifest": [], "damage": { "pages": damaged, "listed": [] }, "label": label,
            "walbrook_version": "0.1.0",
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn one_line_each_where_nobody_looks() {
        let (one, two) = (record("nightly \u{1b}[2J", 0), record("x", 3));
        let text = table(&[(&one, true, &[]), (&two, false, &[])], None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains("2F/3A000028  2F/3A000120    1  17.5"), "{text}");
        assert!(lines[1].ends_with("ok                            nightly ?[2J"), "{text}");
        assert!(lines[2].contains("WAL missing, 3 damaged pages  x"), "{text}");
    }

    #[test]
    fn a_lock_that_failed() {
        let mut record = record("x", 0);
        let until = record.span.stopped_at;
        for (trouble, state) in [(None, "ok"), (Some("denied".to_owned()), "ok, not all locked")] {
            record.lock = Some(walbrook::repo::LockFacts { until, trouble });
            assert_eq!(super::state((&record, true, &[])), state);
        }
    }

    #[test]
    fn a_terminal_of_80_columns_is_enough() {
        let (one, two) = (record("nightly", 0), record("weekly", 3));
        let text = table(&[(&one, true, &[]), (&two, false, &[])], Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for part in ["20261122T034512Z-1f3a9c04", "weekly", "2026-11-22 04:46:01", "2F/3A000120"] {
            assert!(text.contains(part), "{part} is not cut off: {text}");
        }
    }
}
