use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use walbrook_types::{Lsn, TimelineId, WalSegmentSize};
use walbrook_wal::{
    Decoder, PageHeader, Parts, Record, SegmentHeader, SegmentScanner, TimelineHistory,
    scan_segment,
};

use crate::server::each;

/// As many records as come, and whether an error ended them. Goes on after errors to the end, so
/// that resynchronising is tried too.
fn read(
    start: Lsn,
    size: WalSegmentSize,
    pieces: impl Iterator<Item = Bytes>,
) -> (Vec<Record>, bool) {
    let mut decoder = Decoder::new(start, size);
    let (mut records, mut failed) = (Vec::new(), false);
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next() {
                Ok(Some(record)) => {
                    if !failed {
                        records.push(record.clone());
                    }
                    let _ = (record.xact(), record.xlog());
                    if let Ok(parts) = record.parts() {
                        let _ = parts.blocks().count();
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    failed = true;
                    decoder.resync();
                }
            }
        }
    }
    (records, failed || decoder.end().is_some_and(|end| end.incomplete.is_some()))
}

#[test]
fn any_split_gives_the_same_records() {
    each(&[1], |wal| {
        let bytes = Bytes::from(wal.read()).slice(..2 << 20);
        let (whole, failed) = read(wal.start(), wal.size, std::iter::once(bytes.clone()));
        assert!(!failed && whole.len() > 1000);
        let sizes = proptest::collection::vec(1usize..60_000, 1..50);
        let mut runner = TestRunner::new(Config::with_cases(12));
        runner
            .run(&sizes, |sizes| {
                let mut rest = bytes.clone();
                let pieces = sizes.iter().cycle().map_while(|size| {
                    (!rest.is_empty()).then(|| rest.split_to((*size).min(rest.len())))
                });
                let (records, failed) = read(wal.start(), wal.size, pieces);
                prop_assert!(!failed);
                prop_assert!(records == whole);
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn any_changed_byte_is_found_or_without_effect() {
    each(&[1], |wal| {
        let bytes = wal.read();
        let bytes = &bytes[..1 << 20];
        let once = |bytes: Vec<u8>| read(wal.start(), wal.size, std::iter::once(bytes.into()));
        let (whole, _) = once(bytes.to_vec());
        let last_end = whole.last().unwrap().end_lsn;
        let used = (last_end.0 - wal.start().0) as usize;
        let mut runner = TestRunner::new(Config::with_cases(40));
        runner
            .run(&(0..used.min(bytes.len()), 1u8..=255), |(at, flip)| {
                let mut changed = bytes.to_vec();
                changed[at] ^= flip;
                let (records, failed) = once(changed.clone());
                // What comes before an error is right; and without an error all is.
                prop_assert!(whole.starts_with(&records), "byte {at} changed a record");
                if !failed && records.len() < whole.len() {
                    // A length or a page header made zero or older is an end, not an error: the
                    // log just is shorter. Nothing but these fields may do that.
                    let cut = records.last().map_or(wal.start(), |r| r.end_lsn);
                    let near = wal.start().0 + at as u64;
                    prop_assert!(near >= cut.0 && near < cut.0 + 8192 + 24, "byte {at}, {cut}");
                }
                let _ = scan_segment(&changed[..1 << 20], true);
                let _ = scan_segment(&changed[..1 << 20], false);
                Ok(())
            })
            .unwrap();
    });
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        let _ = PageHeader::parse(&bytes);
        let _ = SegmentHeader::parse(&bytes);
        if let Ok(parts) = Parts::parse(&bytes) {
            prop_assert!(parts.blocks().count() <= 33);
        }
        let text = String::from_utf8_lossy(&bytes);
        let _ = TimelineHistory::parse(TimelineId::FIRST, &text);
        let mut scanner = SegmentScanner::new(true);
        let _ = scanner.feed(&bytes);
        let _ = scanner.finish();
        read(Lsn(0), WalSegmentSize::DEFAULT, std::iter::once(bytes.into()));
    }

    #[test]
    fn record_like_bytes_do_not_either(
        flags in any::<u8>(), id in 0u8..40, more in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut record = vec![0; 24];
        record.extend([id, flags]);
        record.extend(more);
        if let Ok(parts) = Parts::parse(&record) {
            let blocks: usize =
                parts.blocks().map(|b| b.data.len() + b.image.map_or(0, |i| i.bytes.len())).sum();
            prop_assert!(blocks + parts.main_data().len() <= record.len() - 24);
        }
    }

    #[test]
    fn histories_survive_printing(
        steps in proptest::collection::vec((1u32..5, 0u64..1 << 40, "[a-z]{0,20}"), 0..8),
    ) {
        let (mut timeline, mut lsn, mut text) = (0, 0, String::new());
        for (step, bytes, reason) in &steps {
            timeline += step;
            lsn += bytes;
            text += &format!("{timeline}\t{}\t{reason}\n", Lsn(lsn));
        }
        let last = TimelineId::new(timeline + 1).unwrap();
        let history = TimelineHistory::parse(last, &text).unwrap();
        prop_assert_eq!(history.to_string(), text);
        for (timeline, begin, end) in history.path() {
            if end.is_none_or(|end| begin < end) {
                prop_assert_eq!(history.timeline_of(begin), timeline);
            }
        }
    }
}
