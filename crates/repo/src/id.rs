use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::{Error, ErrorKind, Result};

/// The identifier of a backup: the UTC time at which it began, and a random part that keeps two
/// backups of the same second apart: `20261122T034512Z-1f3a9c04`.
///
/// Identifiers sort by time. They are names, not clocks: what a backup can restore to is told by
/// its record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(String);

const TIME_LEN: usize = 16;

impl BackupId {
    /// Its length in bytes.
    pub(crate) const LEN: usize = TIME_LEN + 1 + 8;

    /// A new one, for a backup that begins at `time`.
    pub fn generate(time: Timestamp) -> Self {
        let time = time.strftime("%Y%m%dT%H%M%SZ");
        Self(format!("{time}-{:08x}", random() as u32))
    }

    /// The second in which it began: these parts of identifiers sort like the times.
    pub(crate) fn time(&self) -> &str {
        &self.0[..TIME_LEN]
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Unpredictable enough to tell two writers apart: the standard library seeds each hasher from
/// the operating system's random source.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BackupId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let valid = text.len() == Self::LEN
            && text.bytes().enumerate().all(|(i, b)| match i {
                8 => b == b'T',
                15 => b == b'Z',
                TIME_LEN => b == b'-',
                0..TIME_LEN => b.is_ascii_digit(),
                _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
            });
        if valid {
            return Ok(Self(text.to_owned()));
        }
        let message = format!("{text:?} is not a backup id such as 20261122T034512Z-1f3a9c04");
        Err(Error::new(ErrorKind::Invalid, message))
    }
}

impl serde::Serialize for BackupId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for BackupId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_reads_back() {
        let id = BackupId::generate(Timestamp::from_second(1_795_000_000).expect("in range"));
        assert!(id.as_str().starts_with("20261118T"), "{id}");
        assert_eq!(id.as_str().parse::<BackupId>().expect("parses"), id);
        for wrong in ["", "latest", "../../etc", "20261122T034512Z-1F3A9C04"] {
            assert!(wrong.parse::<BackupId>().is_err(), "{wrong}");
        }
    }
}
