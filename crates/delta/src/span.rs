use walbrook_types::{Lsn, TimelineId};
use walbrook_wal::TimelineHistory;

use crate::{Error, ErrorKind};

/// The part of the log in which a base backup's pages may have changed: from the base's start to this
/// backup's start, along the timelines that lead here.
///
/// It begins at the base's *start*, because pages that changed while the base was taken are in it
/// as they were at some moment of that time, perhaps torn. It ends at this backup's start, because
/// what changed later is replayed, with whole pages, by whoever restores this backup.
#[derive(Debug, Clone)]
pub struct Span {
    from: Lsn,
    to: Lsn,
    parts: Vec<Part>,
}

/// The part of a [`Span`] on one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) timeline: TimelineId,
    pub(crate) from: Lsn,
    pub(crate) to: Lsn,
}

/// Where a base backup lies in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseBackupSpan {
    /// The timeline that it was taken on.
    pub timeline: TimelineId,
    /// Where it starts: the redo position of its checkpoint.
    pub start: Lsn,
    /// Where it stops: no page in it is newer.
    pub stop: Lsn,
}

impl Span {
    /// Between that base and a backup that starts at `start`, on the timeline of `history` or one of
    /// its ancestors.
    ///
    /// # Errors
    ///
    /// [`NotAnAncestor`](ErrorKind::NotAnAncestor) when pages of the base could hold what never
    /// happened on the way here: its timeline was left before it stopped, or is none of ours; or
    /// when it stops after this backup starts, as a primary's backup can for a standby that lags.
    pub fn new(base: BaseBackupSpan, start: Lsn, history: &TimelineHistory) -> Result<Self, Error> {
        let refused = |why: String| Err(Error::new(ErrorKind::NotAnAncestor, why));
        let BaseBackupSpan { timeline, start: from, stop } = base;
        if stop < from {
            return refused(format!("it starts at {from} and stops at {stop}, before that"));
        }
        if !history.contains(timeline, from) {
            let now = history.timeline();
            return refused(format!(
                "it starts at {from} on timeline {timeline}, which is not in the history of \
                 timeline {now}"
            ));
        }
        if let Some(left) = history.switch_lsn(timeline).filter(|left| *left < stop) {
            return refused(format!(
                "it stops at {stop} on timeline {timeline}, and the server left that timeline \
                 at {left}"
            ));
        }
        if stop > start {
            return refused(format!(
                "it stops at {stop}, and this backup starts before that, at {start}"
            ));
        }
        let parts = history.path().filter_map(|(timeline, begin, end)| {
            let part = Part {
                timeline,
                from: begin.max(from),
                to: end.map_or(start, |end| end.min(start)),
            };
            (part.from < part.to).then_some(part)
        });
        Ok(Self { from, to: start, parts: parts.collect() })
    }

    /// Where the base starts.
    pub fn from(&self) -> Lsn {
        self.from
    }

    /// Where this backup starts.
    pub fn to(&self) -> Lsn {
        self.to
    }

    /// The timelines on the way, each with the position at which its part of the span begins, and
    /// the one at which it ends. None when both backups start at the same position.
    pub fn timelines(&self) -> impl Iterator<Item = (TimelineId, Lsn, Lsn)> + '_ {
        self.parts.iter().map(|part| (part.timeline, part.from, part.to))
    }
}

/// Which parts of a [`Span`] are known.
#[derive(Debug, Clone)]
pub(crate) struct Coverage {
    parts: Vec<(Part, Vec<(Lsn, Lsn)>)>,
}

impl Coverage {
    pub(crate) fn new(span: &Span) -> Self {
        Self { parts: span.parts.iter().map(|part| (*part, Vec::new())).collect() }
    }

    /// Notes that all of `[from, to)` of that timeline is known.
    pub(crate) fn add(&mut self, timeline: TimelineId, from: Lsn, to: Lsn) {
        for (part, known) in &mut self.parts {
            let (from, to) = (from.max(part.from), to.min(part.to));
            if part.timeline == timeline && from < to {
                known.push((from, to));
            }
        }
    }

    /// Whether any of `[from, to)` of that timeline is in the span.
    pub(crate) fn wants(&self, timeline: TimelineId, from: Lsn, to: Lsn) -> bool {
        let mut parts = self.parts.iter().map(|(part, _)| part);
        parts.any(|part| part.timeline == timeline && from < part.to && to > part.from)
    }

    /// The first part that is not known.
    pub(crate) fn gap(mut self) -> Option<(TimelineId, Lsn, Lsn)> {
        for (part, known) in &mut self.parts {
            known.sort_unstable();
            let mut at = part.from;
            for (from, to) in known {
                if *from > at {
                    return Some((part.timeline, at, *from));
                }
                at = at.max(*to);
            }
            if at < part.to {
                return Some((part.timeline, at, part.to));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tli(number: u32) -> TimelineId {
        TimelineId::new(number).unwrap()
    }

    fn history() -> TimelineHistory {
        TimelineHistory::parse(tli(3), "1\t0/1000\tx\n2\t0/2000\ty\n").unwrap()
    }

    fn base(timeline: u32, start: u64, stop: u64) -> BaseBackupSpan {
        BaseBackupSpan { timeline: tli(timeline), start: Lsn(start), stop: Lsn(stop) }
    }

    #[test]
    fn a_base_is_wholly_in_the_past() {
        let refused = |base, start| {
            let error = Span::new(base, Lsn(start), &history()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotAnAncestor);
        };
        // Left before it stopped: it holds pages of a future that never came.
        refused(base(1, 0xF00, 0x1001), 0x3000);
        // On a timeline after it was left, on one before it began, and on another branch.
        refused(base(1, 0x1000, 0x1100), 0x3000);
        refused(base(2, 0xF00, 0x1800), 0x3000);
        refused(base(4, 0x100, 0x200), 0x3000);
        // Newer than this backup, and backwards.
        refused(base(3, 0x2800, 0x3001), 0x3000);
        refused(base(3, 0x2800, 0x2700), 0x3000);
        assert!(Span::new(base(1, 0xF00, 0x1000), Lsn(0x3000), &history()).is_ok());
    }

    #[test]
    fn parts_follow_the_path() {
        let span = Span::new(base(1, 0x800, 0x900), Lsn(0x2800), &history()).unwrap();
        let parts: Vec<_> = span.timelines().collect();
        let expected = [
            (tli(1), Lsn(0x800), Lsn(0x1000)),
            (tli(2), Lsn(0x1000), Lsn(0x2000)),
            (tli(3), Lsn(0x2000), Lsn(0x2800)),
        ];
        assert_eq!(parts, expected);
        let none = Span::new(base(3, 0x2800, 0x2800), Lsn(0x2800), &history()).unwrap();
        assert_eq!(none.timelines().count(), 0);
        assert!(Coverage::new(&none).gap().is_none());
    }

    #[test]
    fn another_timelines_log_covers_nothing() {
        let span = Span::new(base(1, 0x800, 0x900), Lsn(0x1800), &history()).unwrap();
        let mut coverage = Coverage::new(&span);
        assert!(coverage.wants(tli(1), Lsn(0), Lsn(0x801)));
        assert!(!coverage.wants(tli(1), Lsn(0x1000), Lsn(0x2000)));
        coverage.add(tli(1), Lsn(0), Lsn(0x9000));
        coverage.add(tli(3), Lsn(0), Lsn(0x9000));
        assert_eq!(coverage.gap(), Some((tli(2), Lsn(0x1000), Lsn(0x1800))));
    }

    proptest! {
        #[test]
        fn gaps_equal_a_model(
            from in 0x700u64..0xA00,
            to in 0x1100u64..0x2400,
            known in proptest::collection::vec((1u32..4, 0u64..0x2800, 0u64..0xC00), 0..9),
        ) {
            let span = Span::new(base(1, from, from), Lsn(to), &history()).unwrap();
            let mut coverage = Coverage::new(&span);
            for (timeline, start, len) in &known {
                coverage.add(tli(*timeline), Lsn(*start), Lsn(start + len));
            }
            let missing = (from..to).find(|at| {
                let timeline = history().timeline_of(Lsn(*at));
                !known.iter().any(|(t, start, len)| {
                    tli(*t) == timeline && (*start..start + len).contains(at)
                })
            });
            prop_assert_eq!(coverage.gap().map(|(_, start, _)| start.0), missing);
        }
    }
}
