//! Which options each kind of store takes, and what their values look like.
//!
//! The tables are strict: a key that is not in them is an error that names its neighbours, so that
//! `regoin=…` never goes unnoticed.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::{Error, ErrorKind, Result};

/// A kind of store, as the scheme of its URL names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `file:`, or a plain absolute path: a directory.
    File,
    /// `memory:`: the memory of this process.
    Memory,
    /// `s3:`: Amazon S3 and what speaks its protocol.
    S3,
    /// `gs:`: Google Cloud Storage.
    Gcs,
    /// `az:`: Azure Blob Storage.
    Azure,
}

impl Scheme {
    /// The options that stores of this kind take.
    pub fn options(self) -> &'static [OptionInfo] {
        match self {
            Self::File | Self::Memory => &[],
            Self::S3 => S3,
            Self::Gcs => GCS,
            Self::Azure => AZURE,
        }
    }

    /// Finds an option and checks its value.
    pub(crate) fn check(self, key: &str, value: &str) -> Result<&'static OptionInfo> {
        let Some(option) = self.options().iter().find(|option| option.name == key) else {
            return Err(self.unknown(key));
        };
        match option.shape.fault(value) {
            None => Ok(option),
            // The value itself stays out of the message: it may be a secret in the wrong place.
            Some(expected) => Err(Error::new(
                ErrorKind::InvalidOption,
                format!("the option {key} of {self} stores must be {expected}"),
            )),
        }
    }

    fn unknown(self, key: &str) -> Error {
        let shown: String = key.chars().take(40).collect();
        let message = format!("{self} stores have no option {shown:?}");
        let error = Error::new(ErrorKind::UnknownOption, message);
        let options = self.options();
        let plain: String = key.to_ascii_lowercase().chars().take(40).collect();
        let nearest = options.iter().min_by_key(|option| distance(&plain, option.name));
        let near = nearest.filter(|option| distance(&plain, option.name) <= 3);
        let names: Vec<_> = options.iter().map(|option| option.name).collect();
        match near {
            _ if options.is_empty() => error.with_remedy("they take no options"),
            Some(near) => error.with_remedy(format!(
                "did you mean {}? There are: {}",
                near.name,
                names.join(", ")
            )),
            None => error.with_remedy(format!("there are: {}", names.join(", "))),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Memory => "memory",
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        })
    }
}

/// An option of a kind of store.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct OptionInfo {
    /// The key, as in `?key=value` and `--repo-option key=value`.
    pub name: &'static str,
    /// What it is for, in one line.
    pub help: &'static str,
    /// Whether its value must not be seen.
    pub secret: bool,
    shape: Shape,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    Flag,
    Count,
    Seconds,
    /// An HTTP URL without credentials.
    Endpoint,
    /// A moment, by RFC 3339.
    Time,
    OneOf(&'static [&'static str]),
}

impl Shape {
    /// What the value should have been, unless it is that.
    fn fault(self, value: &str) -> Option<String> {
        let (good, expected) = match self {
            Self::Text => (!value.trim().is_empty(), "not empty"),
            Self::Flag => (flag(value).is_some(), "true or false"),
            Self::Count => (value.parse::<u16>().is_ok(), "a number from 0 to 65535"),
            Self::Seconds => (seconds(value).is_some(), "a number of seconds from 1 to 86400"),
            Self::Endpoint => (
                url::Url::parse(value).is_ok_and(|url| {
                    matches!(url.scheme(), "http" | "https")
                        && url.username().is_empty()
                        && url.password().is_none()
                }),
                "a URL such as http://127.0.0.1:9000, without user and password",
            ),
            Self::Time => (
                time(value).is_some(),
                "a time with a zone such as 2026-11-22T14:00:00Z or 2026-11-22T15:00:00+01:00",
            ),
            Self::OneOf(values) => {
                return (!values.contains(&value)).then(|| format!("one of {}", values.join(", ")));
            }
        };
        (!good).then(|| expected.to_owned())
    }
}

/// A value of a flag.
pub(crate) fn flag(value: &str) -> Option<bool> {
    match value {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A value in seconds.
pub(crate) fn seconds(value: &str) -> Option<Duration> {
    let seconds = value.parse().ok().filter(|seconds| (1..=86_400).contains(seconds))?;
    Some(Duration::from_secs(seconds))
}

/// A moment.
pub(crate) fn time(value: &str) -> Option<SystemTime> {
    // A + that nobody escaped in a URL's query is a space there.
    let value = value.trim().replace(' ', "+");
    value.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}

const fn option(name: &'static str, shape: Shape, help: &'static str) -> OptionInfo {
    OptionInfo { name, help, secret: false, shape }
}

const fn secret(name: &'static str, help: &'static str) -> OptionInfo {
    OptionInfo { name, help, secret: true, shape: Shape::Text }
}

/// Those that all three clouds take. Rust has no way to splice them into the tables as consts, hence a macro.
macro_rules! with_common {
    ($($own:expr),* $(,)?) => {
        &[
            $($own,)*
            option("allow_http", Shape::Flag, "allow plain HTTP; implied by an endpoint that begins with http:"),
            option("ca_file", Shape::Text, "PEM file of certificate authorities to trust as well"),
            secret("proxy_url", "HTTP proxy, with credentials if it needs them"),
            option("connect_timeout", Shape::Seconds, "seconds to wait for a connection (10)"),
            option("timeout", Shape::Seconds, "seconds that one request may take, its content included (300)"),
            option("retry_timeout", Shape::Seconds, "seconds after which a request is not repeated any more (180)"),
            option("max_retries", Shape::Count, "how often a request is repeated (6)"),
        ]
    };
}

const S3: &[OptionInfo] = with_common![
    option("endpoint", Shape::Endpoint, "URL of the service, for others than Amazon's"),
    option("region", Shape::Text, "region of the bucket (us-east-1)"),
    option("access_key_id", Shape::Text, "access key"),
    secret("secret_access_key", "secret of the access key"),
    secret("session_token", "token of temporary credentials"),
    option("role_arn", Shape::Text, "role to take on with web_identity_token_file"),
    option("web_identity_token_file", Shape::Text, "file with a web identity token"),
    option("anonymous", Shape::Flag, "send no credentials"),
    option("virtual_hosted", Shape::Flag, "put the bucket into the host name (false)"),
    option(
        "path_style",
        Shape::Flag,
        "put the bucket into the path: the opposite of virtual_hosted (true)"
    ),
    option("unsigned_payload", Shape::Flag, "do not sign the content, for speed over TLS"),
    option(
        "checksum",
        Shape::OneOf(&["sha256", "crc64nvme"]),
        "checksum sent along, which the service verifies"
    ),
    option(
        "sse",
        Shape::OneOf(&["AES256", "aws:kms", "aws:kms:dsse"]),
        "encryption by the service"
    ),
    option("sse_kms_key_id", Shape::Text, "key for aws:kms"),
    option("sse_bucket_key", Shape::Flag, "use the bucket's key with aws:kms"),
    option("request_payer", Shape::Flag, "agree to pay for requests"),
    option(
        "lock_mode",
        Shape::OneOf(&["compliance", "governance"]),
        "who can take away locks of objects: nobody, or those with a right to (compliance)"
    ),
    option(
        "as_of",
        Shape::Time,
        "read the versions of objects that there were at this time, and change nothing"
    ),
    option(
        "undelete",
        Shape::Flag,
        "with as_of: also what had been deleted by then, if it is left"
    ),
];

const GCS: &[OptionInfo] = with_common![
    option("endpoint", Shape::Endpoint, "URL of the service, for emulators"),
    option("service_account_file", Shape::Text, "JSON file of a service account"),
    secret("service_account_key", "content of that file"),
    option("application_credentials", Shape::Text, "JSON file of application default credentials"),
    secret("bearer_token", "OAuth access token"),
    option("anonymous", Shape::Flag, "send no credentials; for reading only"),
];

const AZURE: &[OptionInfo] = with_common![
    option("account", Shape::Text, "name of the storage account"),
    secret("access_key", "key of the storage account, in base64"),
    secret("sas_token", "shared access signature: a query string"),
    secret("bearer_token", "OAuth access token"),
    option(
        "endpoint",
        Shape::Endpoint,
        "URL of the service including the account, for other clouds"
    ),
    option("client_id", Shape::Text, "id of an application or managed identity"),
    secret("client_secret", "secret of the application"),
    option("tenant_id", Shape::Text, "directory of the application"),
    option("authority_host", Shape::Endpoint, "URL that gives tokens, for other clouds"),
    option("federated_token_file", Shape::Text, "file with a token of workload identity"),
    option("msi_endpoint", Shape::Endpoint, "URL of managed identity"),
    option("use_azure_cli", Shape::Flag, "take credentials from the Azure command line"),
    option("use_emulator", Shape::Flag, "talk to Azurite on this host"),
    option("anonymous", Shape::Flag, "send no credentials"),
];

/// The number of characters to insert, remove or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_names_its_neighbour() {
        let e = Scheme::S3.check("regoin", "x").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::UnknownOption);
        assert!(e.to_string().contains("did you mean region?"), "{e}");
        let e = Scheme::Azure.check("zzzzzzzzzzz", "x").unwrap_err();
        assert!(e.to_string().contains("there are: account, "), "{e}");
        let e = Scheme::File.check("fsync", "off").unwrap_err();
        assert!(e.to_string().contains("they take no options"), "{e}");
    }

    #[test]
    fn values_are_checked_and_never_shown() {
        for (key, value) in [
            ("timeout", "0"),
            ("timeout", "5m"),
            ("max_retries", "-1"),
            ("anonymous", "maybe"),
            ("endpoint", "127.0.0.1:9000"),
            ("endpoint", "http://user:hunter2@127.0.0.1"),
            ("sse", "rot13"),
            ("secret_access_key", " "),
        ] {
            let e = Scheme::S3.check(key, value).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidOption, "{key}={value}");
            assert!(!e.to_string().contains("hunter2"));
        }
        assert!(Scheme::S3.check("secret_access_key", "x").unwrap().secret);
    }

    #[test]
    fn no_key_is_listed_twice() {
        for scheme in [Scheme::S3, Scheme::Gcs, Scheme::Azure] {
            let mut names: Vec<_> = scheme.options().iter().map(|option| option.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        }
    }
}
