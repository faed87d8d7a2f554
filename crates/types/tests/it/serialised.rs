use walbrook_types::{
    Lsn, PgTimestamp, PgVersion, SystemId, TimelineId, WalFileName, WalSegmentSize,
};

#[test]
fn json_is_as_documented() {
    fn both<T>(value: T, json: &str)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
        assert_eq!(serde_json::from_str::<T>(json).unwrap(), value);
    }
    both(Lsn(0x16_B374_D848), "\"16/B374D848\"");
    both(SystemId(u64::MAX), "\"18446744073709551615\"");
    both(PgTimestamp(0), "\"2000-01-01T00:00:00.000000Z\"");
    both(TimelineId::FIRST, "1");
    both(PgVersion::from_num(170_005).unwrap(), "170005");
    both(WalSegmentSize::DEFAULT, "16777216");
    both("00000001.history".parse::<WalFileName>().unwrap(), "\"00000001.history\"");
    assert!(serde_json::from_str::<TimelineId>("0").is_err());
    assert!(serde_json::from_str::<Lsn>("5").is_err());
    assert!(serde_json::from_str::<WalSegmentSize>("3").is_err());
}
