use proptest::prelude::*;
use walbrook_types::{
    Lsn, ParseErrorKind, PgVersion, SegmentNumber, SystemId, TimelineId, WalFileName,
    WalSegmentSize,
};

fn size() -> impl Strategy<Value = WalSegmentSize> {
    (20u32..=30).prop_map(|bits| WalSegmentSize::new(1 << bits).unwrap())
}

fn timeline() -> impl Strategy<Value = TimelineId> {
    (1..=u32::MAX).prop_map(|number| TimelineId::new(number).unwrap())
}

#[test]
fn lsns_are_written_as_pg_lsn_writes_them() {
    assert_eq!(Lsn(0x16_B374_D848).to_string(), "16/B374D848");
    assert_eq!(Lsn(0).to_string(), "0/0");
    // Newer tools print the low half with leading zeros; pg_lsn takes small letters too.
    assert_eq!("0/0147a910".parse(), Ok(Lsn(0x147_A910)));
    assert_eq!("FFFFFFFF/FFFFFFFF".parse(), Ok(Lsn(u64::MAX)));
    for bad in [
        "",
        "0",
        "/",
        "0/",
        "/0",
        "0/0/0",
        " 0/0",
        "0/0 ",
        "-1/0",
        "+1/0",
        "123456789/0",
        "0/g",
        "0x1/0",
    ] {
        let error = bad.parse::<Lsn>().unwrap_err();
        assert_eq!(error.kind(), ParseErrorKind::Lsn, "{bad:?}");
        assert!(error.to_string().contains("LSN"), "{error}");
    }
}

#[test]
fn arithmetic_saturates() {
    assert_eq!(Lsn(u64::MAX) + 1, Lsn(u64::MAX));
    assert_eq!(Lsn(1) - 2, Lsn(0));
    assert_eq!(Lsn(5).bytes_since(Lsn(7)), 0);
    assert_eq!(SegmentNumber(u64::MAX).next(), SegmentNumber(u64::MAX));
    assert_eq!(SegmentNumber(u64::MAX).end(WalSegmentSize::DEFAULT), Lsn(u64::MAX));
}

#[test]
fn segment_sizes_are_those_of_show() {
    for (text, bytes) in
        [("16MB", 16 << 20), ("1GB", 1 << 30), ("1MB", 1 << 20), ("512MB", 512 << 20)]
    {
        let size: WalSegmentSize = text.parse().unwrap();
        assert_eq!(size.bytes(), bytes);
        assert_eq!(size.to_string(), text);
    }
    assert_eq!("1024MB".parse(), "1GB".parse::<WalSegmentSize>());
    assert_eq!("16777216".parse(), Ok(WalSegmentSize::DEFAULT));
    assert_eq!("16384kB".parse(), Ok(WalSegmentSize::DEFAULT));
    for bad in [
        "",
        "MB",
        "3MB",
        "2GB",
        "0",
        "16mb",
        "16 MB",
        "16MBMB",
        "99999999999999999999GB",
        "18446744073709551615GB",
    ] {
        assert!(bad.parse::<WalSegmentSize>().is_err(), "{bad:?}");
    }
}

#[test]
fn versions_are_those_of_show() {
    for (text, num) in [
        ("17.5", 170_005),
        ("15.18 (Debian 15.18-0+deb12u1)", 150_018),
        ("19beta3", 190_000),
        ("18devel", 180_000),
    ] {
        assert_eq!(text.parse::<PgVersion>().map(PgVersion::num), Ok(num), "{text}");
    }
    let version = PgVersion::from_num(150_018).unwrap();
    assert_eq!((version.major(), version.minor(), version.to_string().as_str()), (15, 18, "15.18"));
    for bad in ["", " ", "x", "9.6.24", ".5", "17.x", "17.", "99999999999", "17.10000"] {
        assert!(bad.parse::<PgVersion>().is_err(), "{bad:?}");
    }
    assert_eq!(PgVersion::from_num(90_624), None);
}

#[test]
fn numbers_are_plain() {
    for bad in ["", "0", "-1", "+1", "1 ", "4294967296", "x"] {
        assert!(bad.parse::<TimelineId>().is_err(), "{bad:?}");
    }
    for bad in ["", "-1", "+1", "18446744073709551616"] {
        assert!(bad.parse::<SystemId>().is_err(), "{bad:?}");
    }
    assert_eq!("18446744073709551615".parse(), Ok(SystemId(u64::MAX)));
}

#[test]
fn names_that_postgres_would_not_write_are_refused() {
    for good in [
        "00000001000000020000000A",
        "00000001000000020000000A.partial",
        "00000001000000020000000A.00000028.backup",
        "0000000A.history",
    ] {
        assert_eq!(good.parse::<WalFileName>().unwrap().to_string(), good);
    }
    for bad in [
        "",
        "00000001000000020000000",
        "00000001000000020000000a",
        "00000000000000020000000A",
        "00000001000000020000000A0",
        "00000001000000020000000A.Partial",
        "00000001000000020000000A.28.backup",
        "00000001000000020000000A.00000028.backup.old",
        "00000000.history",
        "1.history",
        "é0000001000000020000000",
        "archive_status",
    ] {
        assert!(bad.parse::<WalFileName>().is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn lsns_survive_printing(lsn in any::<u64>()) {
        prop_assert_eq!(Lsn(lsn).to_string().parse(), Ok(Lsn(lsn)));
    }

    #[test]
    fn a_segment_holds_its_positions(lsn in any::<u64>(), size in size()) {
        let lsn = Lsn(lsn);
        let number = size.segment_of(lsn);
        let start = number.start(size);
        prop_assert!(start <= lsn && lsn.bytes_since(start) < size.bytes());
        prop_assert_eq!(start + size.offset_of(lsn), lsn);
        prop_assert_eq!(number.next().start(size), number.end(size));
        // The end of a segment still needs that segment and no more.
        prop_assert_eq!(size.segment_before(number.end(size) - u64::from(number.end(size).0 == u64::MAX)), number);
    }

    #[test]
    fn names_tell_their_segments(lsn in any::<u64>(), size in size(), timeline in timeline()) {
        let name = WalFileName::containing(timeline, Lsn(lsn), size);
        prop_assert_eq!(name.segment_number(size), Some(size.segment_of(Lsn(lsn))));
        prop_assert_eq!(name.timeline(), timeline);
        prop_assert_eq!(name.to_string().len(), 24);
        prop_assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn names_sort_as_positions_do(a in any::<u64>(), b in any::<u64>(), size in size()) {
        let name = |lsn| WalFileName::containing(TimelineId::FIRST, Lsn(lsn), size);
        let order = size.segment_of(Lsn(a)).cmp(&size.segment_of(Lsn(b)));
        prop_assert_eq!(name(a).cmp(&name(b)), order);
        prop_assert_eq!(name(a).to_string().cmp(&name(b).to_string()), order);
    }

    #[test]
    fn other_names_survive_printing(
        timeline in timeline(), log in any::<u32>(), segment in any::<u32>(), offset in any::<u32>(),
    ) {
        for name in [
            WalFileName::Partial { timeline, log, segment },
            WalFileName::BackupHistory { timeline, log, segment, offset },
            WalFileName::TimelineHistory { timeline },
        ] {
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn what_parses_prints_alike(text in "\\PC{0,60}|[0-9A-F]{24}(\\.[a-z0-9A-F.]{0,20})?") {
        if let Ok(name) = text.parse::<WalFileName>() {
            prop_assert_eq!(name.to_string(), text.clone());
        }
        let _ = text.parse::<Lsn>();
        let _ = text.parse::<PgVersion>();
        let _ = text.parse::<WalSegmentSize>();
        let _ = text.parse::<SystemId>();
        let _ = text.parse::<TimelineId>();
    }

    #[test]
    fn messages_are_short(text in "\\PC{0,2000}") {
        if let Err(error) = text.parse::<Lsn>() {
            // Escapes make a character ten characters at the most.
            prop_assert!(error.to_string().chars().count() < 1000);
        }
    }
}
