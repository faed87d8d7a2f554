use proptest::prelude::*;
use walbrook_types::PgTimestamp;

#[test]
fn known_moments() {
    for (text, unix) in [
        ("1970-01-01T00:00:00.000000Z", 0),
        ("2000-02-29T23:59:59.999999Z", 951_868_799_999_999),
        ("2024-12-31T00:00:00.000001Z", 1_735_603_200_000_001),
        ("1969-12-31T23:59:59.000000Z", -1_000_000),
        ("1900-03-01T00:00:00.000000Z", -2_203_891_200_000_000),
    ] {
        let time = PgTimestamp::from_unix_micros(unix);
        assert_eq!(time.to_string(), text);
        assert_eq!(text.parse(), Ok(time));
        assert_eq!(time.unix_micros(), unix);
    }
    assert_eq!(
        "2026-11-22T04:03:29.5Z".parse(),
        "2026-11-22T04:03:29.500000Z".parse::<PgTimestamp>()
    );
    assert_eq!("2026-11-22T04:03:29Z".parse(), "2026-11-22T04:03:29.0Z".parse::<PgTimestamp>());
    assert_eq!(PgTimestamp::from_unix_seconds(1).unix_micros(), 1_000_000);
}

#[test]
fn what_is_no_moment_is_refused() {
    for bad in [
        "",
        "Z",
        "2026-11-22",
        "2026-11-22T04:03:29",
        "2026-11-22 04:03:29Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1234567Z",
        "26-01-01T00:00:00Z",
        "2026-1-01T00:00:00Z",
        "999999-01-01T00:00:00Z",
    ] {
        assert!(bad.parse::<PgTimestamp>().is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn times_survive_printing(micros in any::<i64>()) {
        let time = PgTimestamp(micros);
        prop_assert_eq!(time.to_string().parse(), Ok(time));
    }

    #[test]
    fn times_of_this_age_sort_as_their_texts(
        a in 0i64..200_000_000_000_000_000, b in 0i64..200_000_000_000_000_000,
    ) {
        let text = |micros| PgTimestamp(micros).to_string();
        prop_assert_eq!(text(a).cmp(&text(b)), a.cmp(&b));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}|-?[0-9]{1,8}-[0-9]{1,3}-[0-9]{1,3}T[0-9:.]{0,20}Z") {
        if let Ok(time) = text.parse::<PgTimestamp>() {
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
