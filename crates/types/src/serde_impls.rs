//! Serde in PostgreSQL's text forms: an LSN is `"16/B374D848"`, a timeline a number, a system
//! identifier a string (JSON numbers lose digits past 2^53).

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Lsn, PgTimestamp, PgVersion, SystemId, TimelineId, WalFileName, WalSegmentSize};

fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer)
            }
        }
    )*};
}

macro_rules! as_number {
    ($($type:ty, $number:ty, $get:expr, $new:expr, $what:literal);*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let get: fn($type) -> $number = $get;
                get(*self).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = <$number>::deserialize(deserializer)?;
                let new: fn($number) -> Option<$type> = $new;
                new(number).ok_or_else(|| de::Error::custom(concat!("not ", $what)))
            }
        }
    )*};
}

as_text!(Lsn, PgTimestamp, SystemId, WalFileName);
as_number!(
    TimelineId, u32, TimelineId::get, TimelineId::new, "a timeline ID";
    PgVersion, u32, PgVersion::num, PgVersion::from_num, "a server_version_num";
    WalSegmentSize, u64, WalSegmentSize::bytes, WalSegmentSize::new, "a WAL segment size"
);
