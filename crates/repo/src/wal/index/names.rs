//! The names of runs and notes, which are all that they consist of.

use walbrook_types::{SegmentNumber, TimelineId, WalSegmentSize};

use crate::wal::WalRange;

/// A run's: timeline, first and last segment and what they take, in hexadecimal of fixed width.
pub(super) fn run(run: &WalRange) -> String {
    let WalRange { timeline, first, last, stored_bytes } = run;
    format!("{:08X}-{:016X}-{:016X}-{stored_bytes:016X}", timeline.get(), first.0, last.0)
}

/// A note's: timeline, first and last segment.
pub(super) fn note(timeline: TimelineId, range: (SegmentNumber, SegmentNumber)) -> String {
    format!("{:08X}-{:016X}-{:016X}", timeline.get(), range.0.0, range.1.0)
}

/// The run that a path tells; none for what has no such name.
pub(super) fn parse_run(path: &str, size: WalSegmentSize) -> Option<WalRange> {
    let name = path.rsplit('/').next()?;
    let (rest, bytes) = name.rsplit_once('-')?;
    let (timeline, (first, last)) = parse_note(rest, size)?;
    let found = WalRange { timeline, first, last, stored_bytes: number(bytes)? };
    // An object is hardly larger than its segment.
    let sound = found.stored_bytes / found.segments() <= 2 * size.bytes();
    (sound && run(&found) == name).then_some(found)
}

/// The segments that a path says to be removed; none for what has no such name.
pub(super) fn parse_note(
    path: &str,
    size: WalSegmentSize,
) -> Option<(TimelineId, (SegmentNumber, SegmentNumber))> {
    let name = path.rsplit('/').next()?;
    let mut parts = name.split('-');
    let timeline = TimelineId::new(u32::try_from(number(parts.next()?)?).ok()?)?;
    let range = (SegmentNumber(number(parts.next()?)?), SegmentNumber(number(parts.next()?)?));
    // No server gets to where positions have more than 60 bits, and sums have room.
    let sound = range.0 <= range.1 && range.1.0 < (1 << 60) / size.bytes();
    (sound && note(timeline, range) == name).then_some((timeline, range))
}

fn number(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: WalSegmentSize = WalSegmentSize::DEFAULT;

    proptest! {
        #[test]
        fn names_round_trip_and_sort(
            timeline in 1..u32::MAX,
            first in 0..1u64 << 35,
            len in 0..1u64 << 30,
            each in 0..2u64 << 24,
        ) {
            let timeline = TimelineId::new(timeline).expect("not 0");
            let range = (SegmentNumber(first), SegmentNumber(first + len));
            let stored_bytes = each * (len + 1);
            let found = WalRange { timeline, first: range.0, last: range.1, stored_bytes };
            prop_assert_eq!(parse_run(&format!("a/b/{}", run(&found)), SIZE), Some(found));
            prop_assert_eq!(parse_note(&note(timeline, range), SIZE), Some((timeline, range)));
            let behind = note(timeline, (range.0.next(), range.1.next()));
            prop_assert!(note(timeline, range) < behind);
        }

        #[test]
        fn any_name_is_read_without_a_panic(name in "[0-9A-Fa-f+-]{0,70}") {
            let _ = (parse_run(&name, SIZE), parse_note(&name, SIZE));
        }
    }

    #[test]
    fn what_has_another_form_is_passed_over() {
        let good = "00000001-0000000000000001-00000000000000FF-0000000000001000";
        assert!(parse_run(good, SIZE).is_some());
        for bad in [
            &good[..43],
            "00000000-0000000000000001-00000000000000FF-0000000000001000",
            "00000001-0000000000000100-00000000000000FF-0000000000001000",
            "00000001-0000000000000001-00000000000000ff-0000000000001000",
            "00000001-0000000000000001-FFFFFFFFFFFFFFFF-0000000000001000",
            "00000001-0000000000000001-00000000000000FF-FFFFFFFFFFFFFFFF",
            "1-1-2-3",
            "",
        ] {
            assert_eq!(parse_run(bad, SIZE), None, "{bad}");
        }
    }
}
