//! Sets of WAL segments, as ranges.

use std::collections::BTreeMap;

use walbrook_types::{SegmentNumber, SystemId, TimelineId, WalSegmentSize};

use crate::expiry::mark::WalSpan;
use crate::wal::SegmentSet;

type Line = (SystemId, TimelineId);

/// Segments of several timelines; of each that is here, at least one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spans(BTreeMap<Line, SegmentSet>);

impl Spans {
    /// The segments of these; what is of a system without a size here is left out.
    pub(crate) fn new<'a>(
        spans: impl IntoIterator<Item = &'a WalSpan>,
        sizes: &BTreeMap<SystemId, WalSegmentSize>,
    ) -> Self {
        let mut lines: BTreeMap<Line, Vec<_>> = BTreeMap::new();
        for span in spans {
            let size = sizes.get(&span.system_identifier);
            let Some(range) = size.and_then(|size| span.numbers(*size)) else { continue };
            lines.entry((span.system_identifier, span.timeline())).or_default().push(range);
        }
        Self::of(lines.into_iter().map(|(line, ranges)| (line, SegmentSet::new(ranges))))
    }

    fn of(lines: impl Iterator<Item = (Line, SegmentSet)>) -> Self {
        Self(lines.filter(|(_, segments)| !segments.is_empty()).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The segments that are in both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let both = |line: &Line, own: &SegmentSet| Some(own.and(other.0.get(line)?));
        Self::of(self.0.iter().filter_map(|(line, own)| Some((*line, both(line, own)?))))
    }

    /// The segments that are not in the other.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let rest = |line: &Line, own: &SegmentSet| match other.0.get(line) {
            Some(other) => own.without(other),
            None => own.clone(),
        };
        Self::of(self.0.iter().map(|(line, own)| (*line, rest(line, own))))
    }

    /// The segments but those of `system` from `first` on.
    pub(crate) fn before(&self, system: SystemId, first: SegmentNumber) -> Self {
        let from = SegmentSet::new([(first, SegmentNumber(u64::MAX))]);
        let before = |(line, own): (&Line, &SegmentSet)| match line.0 == system {
            true => (*line, own.without(&from)),
            false => (*line, own.clone()),
        };
        Self::of(self.0.iter().map(before))
    }

    /// Each range.
    pub(crate) fn ranges(
        &self,
    ) -> impl Iterator<Item = (SystemId, TimelineId, SegmentNumber, SegmentNumber)> + '_ {
        self.0.iter().flat_map(|((system, timeline), segments)| {
            segments.ranges().map(|(first, last)| (*system, *timeline, first, last))
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
