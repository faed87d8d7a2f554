//! Sets of WAL segments, as ranges.

use std::collections::BTreeMap;

use walbrook_types::{SegmentNumber, SystemId, TimelineId, WalSegmentSize};

use crate::expiry::mark::WalSpan;

type Line = (SystemId, TimelineId);

/// Segments of several timelines: of each, ranges that ascend and do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spans(BTreeMap<Line, Vec<(u64, u64)>>);

impl Spans {
    /// The segments of these; what is of a system without a size here is left out.
    pub(crate) fn new<'a>(
        spans: impl IntoIterator<Item = &'a WalSpan>,
        sizes: &BTreeMap<SystemId, WalSegmentSize>,
    ) -> Self {
        let mut lines: BTreeMap<Line, Vec<(u64, u64)>> = BTreeMap::new();
        for span in spans {
            let size = sizes.get(&span.system_identifier);
            let Some((first, last)) = size.and_then(|size| span.numbers(*size)) else { continue };
            if first <= last {
                let line = (span.system_identifier, span.timeline());
                lines.entry(line).or_default().push((first.0, last.0));
            }
        }
        for ranges in lines.values_mut() {
            ranges.sort_unstable();
            let mut joined: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
            for (first, last) in ranges.drain(..) {
                match joined.last_mut() {
                    Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                    _ => joined.push((first, last)),
                }
            }
            *ranges = joined;
        }
        Self(lines)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The segments that are in both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        self.combine(other, |range, others| {
            let both = others.iter().map(|o| (range.0.max(o.0), range.1.min(o.1)));
            both.filter(|(first, last)| first <= last).collect()
        })
    }

    /// The segments that are not in the other.
    pub(crate) fn without(&self, other: &Self) -> Self {
        self.combine(other, |(first, last), others| {
            let mut rest = Vec::new();
            let mut at = first;
            for (from, to) in others.iter().filter(|o| o.1 >= first && o.0 <= last) {
                if at < *from {
                    rest.push((at, from - 1));
                }
                at = to.saturating_add(1);
            }
            if at <= last {
                rest.push((at, last));
            }
            rest
        })
    }

    /// The segments but those of `system` from `first` on.
    pub(crate) fn before(&self, system: SystemId, first: SegmentNumber) -> Self {
        let lines = self.0.iter().filter_map(|(line, ranges)| {
            if line.0 != system {
                return Some((*line, ranges.clone()));
            }
            let ranges = ranges.iter().filter(|range| range.0 < first.0);
            let cut: Vec<_> = ranges.map(|range| (range.0, range.1.min(first.0 - 1))).collect();
            (!cut.is_empty()).then_some((*line, cut))
        });
        Self(lines.collect())
    }

    fn combine(
        &self,
        other: &Self,
        of: impl Fn((u64, u64), &[(u64, u64)]) -> Vec<(u64, u64)>,
    ) -> Self {
        let lines = self.0.iter().filter_map(|(line, ranges)| {
            let others = other.0.get(line).map_or(&[][..], Vec::as_slice);
            let found: Vec<_> = ranges.iter().flat_map(|range| of(*range, others)).collect();
            (!found.is_empty()).then_some((*line, found))
        });
        Self(lines.collect())
    }

    /// Each range.
    pub(crate) fn ranges(
        &self,
    ) -> impl Iterator<Item = (SystemId, TimelineId, SegmentNumber, SegmentNumber)> + '_ {
        self.0.iter().flat_map(|((system, timeline), ranges)| {
            ranges.iter().map(|(first, last)| {
                (*system, *timeline, SegmentNumber(*first), SegmentNumber(*last))
            })
        })
    }

    /// As a mark has them.
    pub(crate) fn to_wal(&self, sizes: &BTreeMap<SystemId, WalSegmentSize>) -> Vec<WalSpan> {
        let span = |(system, timeline, first, last)| {
            Some(WalSpan::new(system, timeline, (first, last), *sizes.get(&system)?))
        };
        self.ranges().filter_map(span).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const SYSTEM: SystemId = SystemId(7);

    fn spans(ranges: &[(u64, u64)]) -> Spans {
        let size = WalSegmentSize::DEFAULT;
        let span = |(first, len): &(u64, u64)| {
            let numbers = (SegmentNumber(*first), SegmentNumber(first + len));
            WalSpan::new(SYSTEM, TimelineId::FIRST, numbers, size)
        };
        let spans: Vec<_> = ranges.iter().map(span).collect();
        Spans::new(&spans, &BTreeMap::from([(SYSTEM, size)]))
    }

    fn segments(spans: &Spans) -> BTreeSet<u64> {
        let mut last = None;
        for (_, _, first, end) in spans.ranges() {
            assert!(last.is_none_or(|last| first.0 > last) && first <= end, "{spans:?}");
            last = Some(end.0);
        }
        spans.ranges().flat_map(|(_, _, first, last)| first.0..=last.0).collect()
    }

    proptest! {
        #[test]
        fn ranges_are_sets(
            a in proptest::collection::vec((0..60u64, 0..12u64), 0..6),
            b in proptest::collection::vec((0..60u64, 0..12u64), 0..6),
        ) {
            let naive = |ranges: &[(u64, u64)]| -> BTreeSet<u64> {
                ranges.iter().flat_map(|(first, len)| *first..=first + len).collect()
            };
            let (one, other) = (spans(&a), spans(&b));
            prop_assert_eq!(segments(&one), naive(&a));
            prop_assert_eq!(segments(&one.and(&other)), &naive(&a) & &naive(&b));
            prop_assert_eq!(segments(&one.without(&other)), &naive(&a) - &naive(&b));
            for at in 0..75 {
                let before: BTreeSet<u64> = naive(&a).into_iter().filter(|n| *n < at).collect();
                prop_assert_eq!(segments(&one.before(SYSTEM, SegmentNumber(at))), before);
                prop_assert_eq!(&one.before(SystemId(8), SegmentNumber(at)), &one);
            }
        }
    }
}
