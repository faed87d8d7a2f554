//! Sealed documents: JSON objects that carry the digest of their own text.
//!
//! `{"body":` TEXT `,"blake3":"` DIGEST `"}` and a line feed, where DIGEST is of TEXT. The whole is
//! JSON, for other programs to read, and no byte of it can change unnoticed.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use walbrook_store::Payload;

use crate::{Digest, Error, ErrorKind, Result};

const PREFIX: &[u8] = b"{\"body\":";
const BEFORE_DIGEST: &[u8] = b",\"blake3\":\"";
const SUFFIX: &[u8] = b"\"}\n";

/// Every document begins with these two, so that a reader knows what it has and can say so when
/// it is too new.
#[derive(serde::Deserialize)]
struct Preamble {
    format: String,
    version: u32,
}

/// A kind of document.
pub(crate) trait Document: Serialize + DeserializeOwned {
    /// The value of its `format` member.
    const FORMAT: &'static str;
    /// The newest `version` that this code reads.
    const VERSION: u32;
}

/// A document's body with its preamble, for writing.
#[derive(serde::Serialize)]
struct Body<'a, T> {
    format: &'static str,
    version: u32,
    #[serde(flatten)]
    content: &'a T,
}

/// The text of a document, for what has a digest of its own around it.
pub(crate) fn to_text<T: Document>(content: &T) -> Result<Vec<u8>> {
    let body = Body { format: T::FORMAT, version: T::VERSION, content };
    serde_json::to_vec(&body).map_err(|e| {
        Error::new(ErrorKind::Invalid, format!("a {} document can't be written", T::FORMAT))
            .with_source(e)
    })
}

pub(crate) fn seal<T: Document>(content: &T) -> Result<Payload> {
    let text = to_text(content)?;
    let digest = Digest::of(&text).to_string();
    let parts = [PREFIX, &text, BEFORE_DIGEST, digest.as_bytes(), SUFFIX];
    Ok(Payload::from(parts.concat()))
}

pub(crate) fn open<T: Document>(object: &str, bytes: &Bytes) -> Result<T> {
    let text = unseal(bytes)
        .ok_or_else(|| Error::corrupt(object, "its text does not match its digest"))?;
    from_text(object, text)
}

/// Reads a document's text, whose digest was checked.
pub(crate) fn from_text<T: Document>(object: &str, text: &[u8]) -> Result<T> {
    let damaged = |what: &str| Error::corrupt(object, what);
    let preamble: Preamble =
        serde_json::from_slice(text).map_err(|e| damaged("it is no document").with_source(e))?;
    if preamble.format != T::FORMAT {
        return Err(damaged(&format!(
            "it is a {} document where a {} belongs",
            preamble.format,
            T::FORMAT
        )));
    }
    if preamble.version > T::VERSION {
        return Err(Error::too_new(object, format_args!("format version {}", preamble.version)));
    }
    serde_json::from_slice(text)
        .map_err(|e| damaged("a member of it is missing or wrong").with_source(e))
}

fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (rest, digest) = rest.split_at_checked(rest.len().checked_sub(2 * Digest::LEN)?)?;
    let text = rest.strip_suffix(BEFORE_DIGEST)?;
    let digest: Digest = std::str::from_utf8(digest).ok()?.parse().ok()?;
    (Digest::of(text) == digest).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Sample {
        name: String,
        number: u64,
    }

    impl Document for Sample {
        const FORMAT: &'static str = "walbrook-sample";
        const VERSION: u32 = 2;
    }

    fn sealed(sample: &Sample) -> Vec<u8> {
        seal(sample).expect("seals").iter().flat_map(|part| part.to_vec()).collect()
    }

    #[test]
    fn round_trip_and_every_flipped_bit() {
        let sample = Sample { name: "a \"name\"".to_owned(), number: 7 };
        let bytes = sealed(&sample);
        assert_eq!(open::<Sample>("x", &Bytes::from(bytes.clone())).expect("opens"), sample);
        serde_json::from_slice::<serde_json::Value>(&bytes).expect("the whole is JSON");
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[position] ^= 1 << bit;
                let error = open::<Sample>("the/object", &Bytes::from(damaged));
                let error = error.expect_err("notices").to_string();
                assert!(error.contains("the/object"), "{error}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_a_document(
            text in ".{0,80}",
            name in ".{0,9}",
            number in any::<u64>(),
        ) {
            prop_assert!(open::<Sample>("x", &Bytes::from(text.clone())).is_err());
            let digest = Digest::of(text.as_bytes()).to_string();
            let whole = [PREFIX, text.as_bytes(), BEFORE_DIGEST, digest.as_bytes(), SUFFIX];
            prop_assert!(open::<Sample>("x", &Bytes::from(whole.concat())).is_err());
            let sample = Sample { name, number };
            let back = open::<Sample>("x", &Bytes::from(sealed(&sample)));
            prop_assert_eq!(back.expect("opens"), sample);
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let text = br#"{"format":"walbrook-sample","version":3,"colour":"red"}"#;
        let digest = Digest::of(text).to_string();
        let bytes = [PREFIX, text, BEFORE_DIGEST, digest.as_bytes(), SUFFIX].concat();
        let error = open::<Sample>("x", &Bytes::from(bytes)).expect_err("too new");
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    }
}
