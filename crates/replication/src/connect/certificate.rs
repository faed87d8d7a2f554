//! The few fields of an X.509 certificate that rustls does not hand out (RFC 5280, section 4.1).

use aws_lc_rs::digest;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const EXPLICIT_0: u8 = 0xa0;
const EXPLICIT_3: u8 = 0xa3;

/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// id-ce-subjectAltName, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// pkcs-1, 1.2.840.113549.1.1.
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
/// ecdsa-with-SHA1, 1.2.840.10045.4.1.
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
/// ecdsa-with-SHA2, 1.2.840.10045.4.3.
const ECDSA_SHA2: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3];
/// The NIST hash algorithms, 2.16.840.1.101.3.4.2.
const NIST_HASH: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];

/// What a connection needs to know of a certificate besides what webpki verifies.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    der: &'a [u8],
    signature_algorithm: Reader<'a>,
    /// Unix seconds.
    not_before: i64,
    not_after: i64,
    common_names: Vec<String>,
    has_subject_alt_name: bool,
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut certificate = Reader(der).expect(SEQUENCE)?;
        let mut tbs = certificate.expect(SEQUENCE)?;
        let signature_algorithm = certificate.expect(SEQUENCE)?;
        tbs.optional(EXPLICIT_0);
        tbs.any()?; // the serial number
        tbs.expect(SEQUENCE)?; // the signature algorithm again
        tbs.expect(SEQUENCE)?; // the issuer
        let mut validity = tbs.expect(SEQUENCE)?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject = tbs.expect(SEQUENCE)?;
        tbs.expect(SEQUENCE)?; // the public key
        let mut has_subject_alt_name = false;
        while let Some((tag, mut content)) = tbs.any() {
            if tag == EXPLICIT_3 {
                let mut extensions = content.expect(SEQUENCE)?;
                while let Some(mut extension) = extensions.expect(SEQUENCE) {
                    has_subject_alt_name |= extension.expect(OBJECT_ID)?.0 == SUBJECT_ALT_NAME;
                }
            }
        }
        let common_names = common_names(subject);
        Some(Self {
            der,
            signature_algorithm,
            not_before,
            not_after,
            common_names,
            has_subject_alt_name,
        })
    }

    pub(super) fn is_valid_at(&self, unix_seconds: u64) -> bool {
        i64::try_from(unix_seconds)
            .is_ok_and(|now| (self.not_before..=self.not_after).contains(&now))
    }

    /// Whether a certificate without any subject alternative name is for `host` by its common
    /// name: libpq's fallback, without which certificates made after the manual's example would
    /// never verify.
    pub(super) fn common_name_matches(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        !self.has_subject_alt_name
            && self.common_names.iter().any(|name| {
                let name = name.to_ascii_lowercase();
                // A wildcard stands for exactly one label, and for the first only.
                match name.strip_prefix("*.") {
                    Some(domain) => {
                        host.parse::<std::net::IpAddr>().is_err()
                            && host
                                .split_once('.')
                                .is_some_and(|(label, rest)| !label.is_empty() && rest == domain)
                    }
                    None => name == host,
                }
            })
    }

    /// The `tls-server-end-point` channel binding (RFC 5929, section 4.1): the certificate's
    /// digest by the hash function of its signature, or SHA-256 in place of MD5 and SHA-1.
    pub(super) fn end_point_digest(&self) -> Option<Vec<u8>> {
        let mut algorithm = self.signature_algorithm;
        let oid = algorithm.expect(OBJECT_ID)?.0;
        let hash = if let Some(&[last]) = oid.strip_prefix(PKCS1) {
            match last {
                4 | 5 | 11 => &digest::SHA256,
                12 => &digest::SHA384,
                13 => &digest::SHA512,
                // RSASSA-PSS names its hash in the parameters; without, it is SHA-1.
                10 => pss_hash(algorithm).unwrap_or(&digest::SHA256),
                _ => return None,
            }
        } else if oid == ECDSA_SHA1 {
            &digest::SHA256
        } else if let Some(&[last]) = oid.strip_prefix(ECDSA_SHA2) {
            match last {
                2 => &digest::SHA256,
                3 => &digest::SHA384,
                4 => &digest::SHA512,
                _ => return None,
            }
        } else {
            return None;
        };
        Some(digest::digest(hash, self.der).as_ref().to_vec())
    }
}

fn pss_hash(mut algorithm: Reader<'_>) -> Option<&'static digest::Algorithm> {
    let mut parameters = algorithm.expect(SEQUENCE)?;
    let oid = parameters.expect(EXPLICIT_0)?.expect(SEQUENCE)?.expect(OBJECT_ID)?.0;
    match oid.strip_prefix(NIST_HASH)? {
        [1] => Some(&digest::SHA256),
        [2] => Some(&digest::SHA384),
        [3] => Some(&digest::SHA512),
        _ => None,
    }
}

fn common_names(mut subject: Reader<'_>) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(mut set) = subject.expect(SET) {
        while let Some(mut attribute) = set.expect(SEQUENCE) {
            let is_name = attribute.expect(OBJECT_ID).is_some_and(|oid| oid.0 == COMMON_NAME);
            // UTF8String, PrintableString and so on: only text without NUL is worth comparing.
            if let (true, Some((_, value))) = (is_name, attribute.any()) {
                names
                    .extend(String::from_utf8(value.0.to_vec()).ok().filter(|n| !n.contains('\0')));
            }
        }
    }
    names
}

/// A run of DER elements.
#[derive(Debug, Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag and content.
    fn any(&mut self) -> Option<(u8, Reader<'a>)> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, Reader(content)))
    }

    fn expect(&mut self, tag: u8) -> Option<Reader<'a>> {
        if self.0.first() != Some(&tag) {
            return None;
        }
        self.any().map(|(_, content)| content)
    }

    fn optional(&mut self, tag: u8) {
        self.expect(tag);
    }

    /// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, as Unix seconds.
    fn time(&mut self) -> Option<i64> {
        let (tag, content) = self.any()?;
        let digits = std::str::from_utf8(content.0).ok()?.strip_suffix('Z')?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match tag {
            UTC_TIME => {
                let year: i64 = digits.get(..2)?.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, digits.get(2..)?)
            }
            GENERALIZED_TIME => (digits.get(..4)?.parse().ok()?, digits.get(4..)?),
            _ => return None,
        };
        let two = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
        let (month, day) = (two(0)?, two(2)?);
        let seconds = two(4)? * 3600 + two(6)? * 60 + two(8)?;
        Some(days_since_1970(year, month, day) * 86_400 + seconds)
    }
}

/// Days in the proleptic Gregorian calendar, counted in years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(days_since_1970(2024, 2, 29), 19_782);
        let time = |tag, text: &str| {
            let mut der = vec![tag, text.len() as u8];
            der.extend(text.bytes());
            Reader(&der).time()
        };
        assert_eq!(time(UTC_TIME, "700101000001Z"), Some(1));
        assert_eq!(time(GENERALIZED_TIME, "20000301000000Z"), Some(11_017 * 86_400));
        assert_eq!(time(UTC_TIME, "49123123595Z"), None);
    }

    #[test]
    fn common_names_match_as_in_libpq() {
        let certificate = |name: &str, san| Certificate {
            der: &[],
            signature_algorithm: Reader(&[]),
            not_before: 0,
            not_after: 0,
            common_names: vec![name.to_owned()],
            has_subject_alt_name: san,
        };
        for (name, host, expected) in [
            ("db1.example.com", "DB1.example.com", true),
            ("*.example.com", "db1.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("*.0.0.1", "10.0.0.1", false),
            ("db2", "db1", false),
        ] {
            assert_eq!(
                certificate(name, false).common_name_matches(host),
                expected,
                "{name} {host}"
            );
            assert!(!certificate(name, true).common_name_matches(host));
        }
    }

    #[test]
    fn garbage_is_none() {
        assert!(Certificate::parse(&[]).is_none());
        assert!(Certificate::parse(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).is_none());
        assert!(Certificate::parse(&[0x30; 64]).is_none());
    }
}
