//! Timeline history files: whatever the bytes, what is read holds together.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walbrook_types::TimelineId;
use walbrook_wal::TimelineHistory;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, text)) = bytes.split_first() else { return };
    let Some(timeline) = TimelineId::new(u32::from(*first)) else { return };
    let Ok(history) = TimelineHistory::parse(timeline, &String::from_utf8_lossy(text)) else {
        return;
    };
    assert_eq!(history.timeline(), timeline);
    assert!(history.ancestors().is_sorted_by_key(|ancestor| ancestor.timeline));
    for (timeline, start, end) in history.path() {
        assert!(end.is_none_or(|end| start <= end));
        if end.is_none_or(|end| start < end) {
            assert_eq!(history.timeline_of(start), timeline);
        }
    }
});
