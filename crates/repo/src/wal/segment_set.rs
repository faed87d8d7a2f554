//! Sets of WAL segments of one timeline, as ranges.

use walbrook_types::SegmentNumber;

/// Segments of one timeline: ranges that ascend and do not touch, however many segments are in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentSet(Vec<(u64, u64)>);

impl SegmentSet {
    /// The segments of ranges in any order, each from its first to its last; one that ends before it
    /// begins has none.
    pub fn new(ranges: impl IntoIterator<Item = (SegmentNumber, SegmentNumber)>) -> Self {
        let ranges = ranges.into_iter().map(|(first, last)| (first.0, last.0));
        let mut ranges: Vec<_> = ranges.filter(|(first, last)| first <= last).collect();
        ranges.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn segments(&self) -> u64 {
        let lengths = self.0.iter().map(|(first, last)| (last - first).saturating_add(1));
        lengths.fold(0, u64::saturating_add)
    }

    /// Whether this segment is among them.
    pub fn contains(&self, segment: SegmentNumber) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= segment.0);
        behind > 0 && segment.0 <= self.0[behind - 1].1
    }

    /// The ranges, the first and the last segment of each.
    pub fn ranges(
        &self,
    ) -> impl DoubleEndedIterator<Item = (SegmentNumber, SegmentNumber)> + ExactSizeIterator + '_
    {
        self.0.iter().map(|(first, last)| (SegmentNumber(*first), SegmentNumber(*last)))
    }

    /// The segments that are in either.
    pub fn or(&self, other: &Self) -> Self {
        Self::new(self.ranges().chain(other.ranges()))
    }

    /// The segments that are in both.
    pub fn and(&self, other: &Self) -> Self {
        let (mut both, mut mine, mut others) = (Vec::new(), 0, 0);
        while let (Some(a), Some(b)) = (self.0.get(mine), other.0.get(others)) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                both.push((first, last));
            }
            match a.1 < b.1 {
                true => mine += 1,
                false => others += 1,
            }
        }
        Self(both)
    }

    /// The segments that are not in the other.
    pub fn without(&self, other: &Self) -> Self {
        self.and(&other.rest())
    }

    /// All that there can be, but these.
    pub fn rest(&self) -> Self {
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        let mut at = Some(0);
        for (first, last) in &self.0 {
            if let Some(at) = at.filter(|at| at < first) {
                rest.push((at, first - 1));
            }
            at = last.checked_add(1);
        }
        rest.extend(at.map(|at| (at, u64::MAX)));
        Self(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(ranges: &[(u64, u64)]) -> SegmentSet {
        let last = |(first, len): &(u64, u64)| SegmentNumber(first + len);
        SegmentSet::new(ranges.iter().map(|range| (SegmentNumber(range.0), last(range))))
    }

    fn segments(set: &SegmentSet) -> BTreeSet<u64> {
        let mut last = None;
        for (first, end) in set.ranges() {
            assert!(last.is_none_or(|last| first.0 > last + 1) && first <= end, "{set:?}");
            last = Some(end.0);
        }
        set.ranges().flat_map(|(first, last)| first.0..=last.0).collect()
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
            let (one, other) = (set(&a), set(&b));
            prop_assert_eq!(segments(&one), naive(&a));
            prop_assert_eq!(one.segments(), naive(&a).len() as u64);
            prop_assert_eq!(segments(&one.or(&other)), &naive(&a) | &naive(&b));
            prop_assert_eq!(one.rest().rest(), one.clone());
            let and = one.and(&other).ranges().flat_map(|(a, b)| a.0..=b.0).collect::<BTreeSet<_>>();
            prop_assert_eq!(and, &naive(&a) & &naive(&b));
            let without = one.without(&other);
            prop_assert_eq!(segments(&without), &naive(&a) - &naive(&b));
            for n in 0..80 {
                prop_assert_eq!(one.contains(SegmentNumber(n)), naive(&a).contains(&n));
            }
        }
    }
}
