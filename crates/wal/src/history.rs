use std::fmt;

use walbrook_types::{Lsn, SegmentNumber, TimelineId, WalSegmentSize};

use crate::{Error, ErrorKind};

/// How a timeline came to be: the content of its `.history` file.
///
/// Each line names an ancestor, the position at which its child left it, and why
/// (`readTimeLineHistory` and `writeTimeLineHistory` in PostgreSQL's `access/transam/timeline.c`).
/// Printed, it is such a file again.
///
/// ```
/// use walbrook_types::{Lsn, TimelineId};
/// use walbrook_wal::TimelineHistory;
///
/// let three = TimelineId::new(3).ok_or("a timeline")?;
/// let history = TimelineHistory::parse(three, "1\t0/5000000\tno recovery target specified\n\
///                                              2\t0/9000000\tat restore point \"a\"\n")?;
/// assert_eq!(history.timeline_of(Lsn(0x400_0000)), TimelineId::FIRST);
/// assert_eq!(history.timeline_of(Lsn(0x900_0000)), three);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineHistory {
    timeline: TimelineId,
    ancestors: Vec<HistoryEntry>,
}

/// One line of a history file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The ancestor.
    pub timeline: TimelineId,
    /// Where its child begins: the first position that is no longer the ancestor's.
    pub switch_lsn: Lsn,
    /// Why, in words for a reader.
    pub reason: String,
}

impl TimelineHistory {
    /// The history of a timeline without ancestors, which has no history file.
    pub fn root(timeline: TimelineId) -> Self {
        Self { timeline, ancestors: Vec::new() }
    }

    /// Reads the history file of this timeline.
    ///
    /// # Errors
    ///
    /// [`BadHistory`](ErrorKind::BadHistory) for a line that is none, and when the timelines or
    /// the positions do not ascend.
    pub fn parse(timeline: TimelineId, text: &str) -> Result<Self, Error> {
        let mut ancestors: Vec<HistoryEntry> = Vec::new();
        for line in text.lines() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = HistoryEntry::parse(line).ok_or_else(|| {
                let shown: String = line.chars().take(80).collect();
                bad(timeline, format!("{shown:?} is no line of a timeline, an LSN and a reason"))
            })?;
            if ancestors.last().is_some_and(|last| {
                last.timeline >= entry.timeline || last.switch_lsn > entry.switch_lsn
            }) {
                return Err(bad(timeline, "its timelines or positions do not ascend"));
            }
            ancestors.push(entry);
        }
        if ancestors.last().is_some_and(|last| last.timeline >= timeline) {
            return Err(bad(timeline, "it has an ancestor that is not older than itself"));
        }
        Ok(Self { timeline, ancestors })
    }

    /// The timeline whose history this is.
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// Its ancestors, oldest first.
    pub fn ancestors(&self) -> &[HistoryEntry] {
        &self.ancestors
    }

    /// The timeline that it left, and where; none for a timeline without ancestors.
    pub fn parent(&self) -> Option<&HistoryEntry> {
        self.ancestors.last()
    }

    /// The path from the oldest ancestor to the timeline itself: each timeline with the position at
    /// which its part begins, and the one at which it ends unless it is the last.
    pub fn path(&self) -> impl Iterator<Item = (TimelineId, Lsn, Option<Lsn>)> + '_ {
        let begins = std::iter::once(Lsn(0)).chain(self.ancestors.iter().map(|e| e.switch_lsn));
        let parts = self.ancestors.iter().map(|e| (e.timeline, Some(e.switch_lsn)));
        let parts = parts.chain(std::iter::once((self.timeline, None)));
        parts.zip(begins).map(|((timeline, end), begin)| (timeline, begin, end))
    }

    /// The timeline that the byte at this position belongs to (`tliOfPointInHistory`).
    pub fn timeline_of(&self, lsn: Lsn) -> TimelineId {
        let entry = self.ancestors.iter().find(|entry| lsn < entry.switch_lsn);
        entry.map_or(self.timeline, |entry| entry.timeline)
    }

    /// The timeline of whose segment files the one that holds this segment is, for a reader of this
    /// history. A segment in which timelines change hands is in full in the file of the last of them:
    /// it begins with a copy of what its ancestors wrote. The ancestor's own file, often a
    /// `.partial` one, ends where it was left.
    pub fn timeline_of_segment(&self, number: SegmentNumber, size: WalSegmentSize) -> TimelineId {
        self.timeline_of(Lsn(number.start(size).0.saturating_add(size.bytes() - 1)))
    }

    /// Whether the byte at this position on that timeline is part of this history.
    pub fn contains(&self, timeline: TimelineId, lsn: Lsn) -> bool {
        self.timeline_of(lsn) == timeline
    }

    /// Where this history leaves that timeline: none when it never does, because it is the last
    /// or not part of it.
    pub fn switch_lsn(&self, timeline: TimelineId) -> Option<Lsn> {
        let entry = self.ancestors.iter().find(|entry| entry.timeline == timeline);
        entry.map(|entry| entry.switch_lsn)
    }
}

impl HistoryEntry {
    /// As `sscanf("%u\t%X/%X")` reads it: any white space separates.
    fn parse(line: &str) -> Option<Self> {
        let (timeline, rest) = line.split_once(char::is_whitespace)?;
        let rest = rest.trim_start();
        let (lsn, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        Some(Self {
            timeline: timeline.parse().ok()?,
            switch_lsn: lsn.parse().ok()?,
            reason: reason.trim().to_owned(),
        })
    }
}

impl fmt::Display for TimelineHistory {
    /// The content of a history file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.ancestors {
            writeln!(f, "{}\t{}\t{}", entry.timeline, entry.switch_lsn, entry.reason)?;
        }
        Ok(())
    }
}

fn bad(timeline: TimelineId, what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::BadHistory, format!("history of timeline {timeline}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tli(number: u32) -> TimelineId {
        TimelineId::new(number).unwrap()
    }

    #[test]
    fn reads_what_postgres_writes() {
        let text = "1\t0/3000090\tno recovery target specified\n\n# a comment\n3\t1/A0\tx y\n";
        let history = TimelineHistory::parse(tli(7), text).unwrap();
        assert_eq!(history.ancestors().len(), 2);
        assert_eq!(history.timeline_of(Lsn(0x300_008F)), tli(1));
        assert_eq!(history.timeline_of(Lsn(0x300_0090)), tli(3));
        assert_eq!(history.timeline_of(Lsn(0x1_0000_00A0)), tli(7));
        assert!(history.contains(tli(3), Lsn(0x400_0000)));
        assert!(!history.contains(tli(2), Lsn(0x400_0000)));
        let (size, number) =
            (WalSegmentSize::DEFAULT, |lsn| WalSegmentSize::DEFAULT.segment_of(Lsn(lsn)));
        assert_eq!(history.timeline_of_segment(number(0x200_0000), size), tli(1));
        assert_eq!(history.timeline_of_segment(number(0x300_0000), size), tli(3));
        assert_eq!(history.timeline_of_segment(number(0x1_0000_0000), size), tli(7));
        assert_eq!(history.switch_lsn(tli(3)), Some(Lsn(0x1_0000_00A0)));
        assert_eq!(history.switch_lsn(tli(7)), None);
        let path: Vec<_> = history.path().collect();
        assert_eq!(path[1], (tli(3), Lsn(0x300_0090), Some(Lsn(0x1_0000_00A0))));
        assert_eq!(path[2], (tli(7), Lsn(0x1_0000_00A0), None));
        let again = TimelineHistory::parse(tli(7), &history.to_string()).unwrap();
        assert_eq!(again, history);
    }

    #[test]
    fn refuses_what_can_not_be() {
        for text in ["x", "1", "1\t0", "0\t0/1\t", "2\t0/1\n1\t0/2\n", "1\t0/9\n2\t0/8\n", "4\t0/1"]
        {
            let error = TimelineHistory::parse(tli(4), text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadHistory, "{text:?}");
        }
        assert!(TimelineHistory::parse(tli(1), "").unwrap().parent().is_none());
    }
}
