//! Policies as text, and as TOML and JSON.

use proptest::prelude::*;
use walbrook_retention::{Count, ErrorKind, Policy, WalRule};

#[test]
fn text_reads_back() {
    let text = "keep-last=7 window=7d hourly=24 daily=14 weekly=8 monthly=12 yearly=all \
                min-redundancy=2 wal=newest:3 hold-annotations=hold+audit max-silence=2mo";
    let policy: Policy = text.parse().unwrap();
    assert_eq!(policy.to_string(), text);
    assert_eq!(policy.yearly, Count::ALL);
    assert_eq!(policy.wal, Some(WalRule::Newest(3)));
    assert_eq!(
        " daily=14,\n weekly=8 ".parse::<Policy>().unwrap().to_string(),
        "daily=14 weekly=8"
    );
    assert!("".parse::<Policy>().unwrap().is_empty());
    assert!("min-redundancy=3 daily=0".parse::<Policy>().unwrap().is_empty());
}

#[test]
fn nonsense_is_refused() {
    for (text, word) in [
        ("dayly=7", "no rule \"dayly\""),
        ("daily", "not a rule"),
        ("daily=-1", "not a number"),
        ("daily=", "not a number"),
        ("daily=1 daily=2", "twice"),
        ("window=7", "not a length of time"),
        ("window=0d", "longer than nothing"),
        ("wal=some", "not one of"),
        ("wal=newest:0", "not one of"),
        ("wal=newest:", "not one of"),
    ] {
        let error = text.parse::<Policy>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Policy);
        assert!(error.to_string().contains(word), "{text}: {error}");
    }
    let now = crate::support::at("2026-11-22T00:00");
    let inventory = crate::support::series(std::slice::from_ref(&now));
    let policy = "window=19998y".parse().unwrap();
    let error = walbrook_retention::plan(&inventory, &policy, &now).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Time);
    assert_eq!(error.to_string(), "19998y leads out of the calendar: choose a shorter time");
}

#[cfg(feature = "serde")]
#[test]
fn a_table_of_toml() {
    let policy: Policy = toml::from_str(
        "keep-last = 7\nwindow = \"7d\"\ndaily = 14\nyearly = \"all\"\nmin-redundancy = 2\n\
         wal = \"standalone\"\n",
    )
    .unwrap();
    assert_eq!(
        policy.to_string(),
        "keep-last=7 window=7d daily=14 yearly=all min-redundancy=2 wal=standalone"
    );
    for wrong in ["dayly = 7", "daily = -1", "daily = 1.5", "window = 7", "wal = \"x\""] {
        assert!(toml::from_str::<Policy>(wrong).is_err(), "{wrong}");
    }
    let json = serde_json::to_string(&policy).unwrap();
    assert_eq!(
        json,
        r#"{"keep-last":7,"window":"7d","daily":14,"yearly":"all","min-redundancy":2,"wal":"standalone"}"#
    );
    assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
}

/// A plan as data: what a script reads.
#[cfg(feature = "serde")]
#[test]
fn a_plan_as_json() {
    use crate::support::{at, run, series};
    let inventory = series(&["2026-11-01T02:00", "2026-11-02T02:00"].map(at));
    let plan =
        serde_json::to_value(run(&inventory, "keep-last=1", &at("2026-11-03T02:00"))).unwrap();
    assert_eq!(plan["backups"][0]["action"], "keep");
    assert_eq!(plan["backups"][0]["reasons"][0]["kind"], "last");
    assert_eq!(plan["backups"][1]["reasons"][0]["kind"], "beyond-last");
    assert_eq!(plan["backups"][1]["restorable"], "yes");
    assert_eq!(plan["wal"][0]["reasons"][0]["kind"], "before-backups");
    assert_eq!(plan["wal"][0]["range"]["start"], "0/1000000");
    let text = serde_json::to_string(&inventory).unwrap();
    assert_eq!(serde_json::from_str::<walbrook_retention::Inventory>(&text).unwrap(), inventory);
}

proptest! {
    #[test]
    fn any_text_is_a_policy_or_an_error(text in "\\PC{0,60}") {
        if let Ok(policy) = text.parse::<Policy>() {
            prop_assert_eq!(policy.to_string().parse::<Policy>().unwrap(), policy);
        }
    }

    #[test]
    fn any_policy_reads_back(
        counts in any::<[u32; 7]>(), days in 1i64..9999, wal in 0u32..4,
    ) {
        let [keep_last, hourly, daily, weekly, monthly, yearly, redundancy] = counts.map(Count::new);
        let wal = match wal {
            0 => None,
            1 => Some(WalRule::All),
            2 => Some(WalRule::Standalone),
            _ => Some(WalRule::Newest(7)),
        };
        let window = Some(format!("{days}d3h").parse().unwrap());
        let policy = Policy {
            keep_last, window, hourly, daily, weekly, monthly, yearly, min_redundancy: redundancy, wal,
            ..Policy::default()
        };
        prop_assert_eq!(policy.to_string().parse::<Policy>().unwrap(), policy);
    }
}
