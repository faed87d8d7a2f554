use walbrook::SystemListing;

use crate::format::{exact_time, size};

/// What can be recovered to, and what WAL is missing, a line each.
pub(super) fn lines(system: &SystemListing, width: Option<usize>) -> String {
    let mut out = String::new();
    for window in &system.windows {
        let to = match window.to_time {
            Some(time) => format!("to {} ({})", exact_time(time), window.to_lsn),
            None => format!("to {}, no transaction after it", window.to_lsn),
        };
        let from = format!(
            "Recovery window: timeline {}, from {} ({})",
            window.timeline,
            exact_time(window.from_time),
            window.from_lsn
        );
        let fits = width.is_none_or(|width| from.len() + 1 + to.len() <= width);
        out += &format!("{from}{}{to}\n", if fits { " " } else { "\n  " });
    }
    let missing = system.gaps.iter().map(|gap| ("WAL missing", gap));
    let removed = system.expired.iter().map(|gap| ("WAL removed by an expiry", gap));
    for (what, gap) in missing.chain(removed) {
        out += &match gap.segments {
            1 => format!("{what}: timeline {}, {}\n", gap.timeline, gap.first),
            n => format!(
                "{what}: timeline {}, {} to {} ({n} segments)\n",
                gap.timeline, gap.first, gap.last
            ),
        };
    }
    if system.wal_segments > 0 {
        let plural = if system.wal_segments == 1 { "" } else { "s" };
        let stored = size(system.wal_bytes);
        out += &format!("WAL: {} segment{plural}, {stored} stored\n", system.wal_segments);
    }
    out
}
