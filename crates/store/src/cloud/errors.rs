//! The errors of `object_store`, told apart by what the user has to do.

use std::error::Error as StdError;
use std::fmt;

use object_store::client::{HttpError, HttpErrorKind};

use crate::{Error, ErrorKind, Scheme, StoreUrl};

/// Turns errors into ours, without the secrets it knows.
pub(crate) struct Classifier {
    scheme: Scheme,
    /// Each secret, also as it looks in a URL.
    secrets: Vec<String>,
}

impl Classifier {
    pub(crate) fn new(scheme: Scheme, url: &StoreUrl) -> Self {
        let mut secrets = Vec::new();
        for secret in url.secrets() {
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            secrets.extend([secret.trim_start_matches('?').to_owned(), encoded]);
        }
        // Short ones would tear holes into any text, and longer ones must go before their parts.
        secrets.retain(|secret| secret.len() >= 4);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { scheme, secrets }
    }

    pub(crate) fn error(&self, e: object_store::Error) -> Error {
        let text = chain(&e);
        self.classify(&e, &text).with_source(Cause(self.redact(&text)))
    }

    fn classify(&self, e: &object_store::Error, text: &str) -> Error {
        use object_store::Error as E;
        if ["NoSuchBucket", "ContainerNotFound", "specified bucket does not exist"]
            .iter()
            .any(|sign| text.contains(sign))
        {
            return Error::new(ErrorKind::StoreMissing, "there is no such bucket or container")
                .with_remedy("create it, or correct the location");
        }
        if ["missing Object Lock", "missing ObjectLock", "ObjectLockConfigurationNotFound"]
            .iter()
            .any(|sign| text.contains(sign))
        {
            return Error::new(ErrorKind::Unsupported, "the bucket has no object lock")
                .with_remedy("make a bucket with object lock enabled, or do without --lock-until");
        }
        match e {
            E::NotFound { .. } => Error::new(ErrorKind::NotFound, ""),
            E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. } => {
                Error::new(ErrorKind::AlreadyExists, "")
            }
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => self.denied(),
            E::NotSupported { .. } | E::NotImplemented { .. } => {
                Error::new(ErrorKind::Unsupported, "")
            }
            E::InvalidPath { .. } => Error::new(ErrorKind::InvalidPath, ""),
            _ => self.by_text(e, text),
        }
    }

    /// What the type of the error does not tell.
    fn by_text(&self, e: &object_store::Error, text: &str) -> Error {
        // Where the libraries look for credentials when none are configured.
        if ["169.254.169.254", "169.254.170.", "metadata.google.internal"]
            .iter()
            .any(|sign| text.contains(sign))
        {
            return Error::new(
                ErrorKind::PermissionDenied,
                "no credentials are configured, and none can be had from the machine's metadata service",
            )
            .with_remedy(self.how_to_authenticate());
        }
        match status(text) {
            Some(416) => return Error::new(ErrorKind::OutOfRange, ""),
            Some(401 | 403) => return self.denied(),
            Some(501) => {
                return Error::new(ErrorKind::Unsupported, "the service does not know this request")
                    .with_remedy("it may lack conditional creation (If-None-Match), which Walbrook can't do without");
            }
            Some(507) => {
                return Error::new(ErrorKind::StorageFull, "the service has no space left");
            }
            Some(408 | 425 | 429 | 500..) => return unavailable(),
            Some(code) => {
                return Error::new(
                    ErrorKind::Other,
                    format!("the service refuses the request with status {code}"),
                )
                .with_remedy("check the region, the endpoint and the other options");
            }
            None => {}
        }
        // One of many that a request was to delete, by its code: the request itself succeeded.
        if let Some((_, code)) = text.split_once("(code: ") {
            return match code.split(')').next().unwrap_or_default() {
                "NoSuchKey" => Error::new(ErrorKind::NotFound, ""),
                "AccessDenied" | "MethodNotAllowed" => self.denied(),
                "InternalError" | "SlowDown" | "ServiceUnavailable" => unavailable(),
                _ => Error::new(ErrorKind::Other, "the service refuses to delete it"),
            };
        }
        if text.contains("redirect without LOCATION") {
            return Error::new(ErrorKind::Other, "the service redirects to nowhere")
                .with_remedy("check the option region, which this bucket may not be in");
        }
        // Found by object_store itself in the answer.
        if text.contains("Wanted range starting at") {
            return Error::new(ErrorKind::OutOfRange, "");
        }
        if text.contains("non-partial response") {
            return Error::new(ErrorKind::Unsupported, "the service ignores ranges");
        }
        // A response that can't be decoded has most often been cut off.
        if http_kind(e).is_some_and(|kind| kind != HttpErrorKind::Unknown)
            || text.contains("error decoding response body")
        {
            return unavailable();
        }
        if text.contains("HTTP error") || text.contains("error sending request") {
            return unavailable();
        }
        Error::new(ErrorKind::Other, "")
    }

    fn denied(&self) -> Error {
        let error =
            Error::new(ErrorKind::PermissionDenied, "the service refuses these credentials");
        match self.scheme {
            Scheme::S3 => error.with_remedy(
                "check the keys and that s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket are allowed \
                 (without s3:ListBucket the service says this of every object that does not exist)",
            ),
            _ => error,
        }
    }

    fn how_to_authenticate(&self) -> &'static str {
        match self.scheme {
            Scheme::S3 => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the options access_key_id and secret_access_key"
            }
            Scheme::Gcs => "set GOOGLE_APPLICATION_CREDENTIALS, or the option service_account_file",
            _ => {
                "set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or the option access_key or sas_token"
            }
        }
    }

    /// Takes out the secrets that were given, and the signatures of signed URLs whoever gave them.
    fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret, "***");
        }
        for key in ["sig=", "Signature=", "Security-Token=", "Credential="] {
            let mut from = 0;
            while let Some(at) = text[from..].find(key) {
                let start = from + at + key.len();
                let end = text[start..]
                    .find(|c: char| {
                        c == '&' || c == '"' || c == '\'' || c == ')' || c.is_whitespace()
                    })
                    .map_or(text.len(), |end| start + end);
                text.replace_range(start..end, "***");
                from = start;
            }
        }
        text
    }
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "the service does not answer as it should")
        .with_remedy("try again later; check the network and the option endpoint")
}

/// Whether a refusal to create proves that there is an object. S3's 409 doesn't: it also speaks of requests under way.
pub(crate) fn certainly_exists(e: &object_store::Error) -> bool {
    let text = chain(e);
    matches!(status(&text), Some(304 | 412)) || text.contains("BlobAlreadyExists")
}

/// The HTTP status that an error's text names. `object_store` keeps the type that holds it to itself.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

fn http_kind(e: &object_store::Error) -> Option<HttpErrorKind> {
    let mut e: &(dyn StdError + 'static) = e;
    loop {
        if let Some(http) = e.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        e = e.source()?;
    }
}

/// The texts of an error and its causes, leaving out those that the one before contains.
fn chain(e: &object_store::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(e) = source {
        let cause = e.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = e.source();
    }
    // An error page of a proxy can be long.
    if text.len() > 2000 {
        let end = (0..=2000).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A cause as text: the original's `Debug` and `Display` may show what must not be seen.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Cause {}

#[cfg(test)]
mod tests {
    use super::*;

    fn classifier(url: &str) -> Classifier {
        let url: StoreUrl = url.parse().unwrap();
        Classifier::new(url.scheme(), &url)
    }

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn kinds() {
        let c = classifier("s3://b");
        let kind = |text: &str| c.error(generic(text)).kind();
        assert_eq!(
            kind("Server returned non-2xx status code: 503 Service Unavailable: x"),
            ErrorKind::Unavailable
        );
        assert_eq!(
            kind("Server returned non-2xx status code: 416 Range: x"),
            ErrorKind::OutOfRange
        );
        assert_eq!(kind("Server returned non-2xx status code: 501 x"), ErrorKind::Unsupported);
        assert_eq!(kind("Server returned non-2xx status code: 400 x"), ErrorKind::Other);
        let http = HttpError::new(HttpErrorKind::Connect, std::io::Error::other("refused"));
        let e = object_store::Error::Generic { store: "S3", source: Box::new(http) };
        assert_eq!(c.error(e).kind(), ErrorKind::Unavailable);
        let e = object_store::Error::NotFound {
            path: "x".into(),
            source: "<Code>NoSuchBucket</Code>".into(),
        };
        assert_eq!(c.error(e).kind(), ErrorKind::StoreMissing);
        let e = object_store::Error::NotFound {
            path: "x".into(),
            source: "<Code>NoSuchKey</Code>".into(),
        };
        assert_eq!(c.error(e).kind(), ErrorKind::NotFound);
    }

    #[test]
    fn secrets_are_taken_out_of_causes() {
        let c = classifier(
            "az://b?account=a&access_key=aGk%2FaGk%3D&sas_token=%3Fsv%3D1%26sig%3Dhunter2",
        );
        let e = c.error(generic(
            "GET https://a/b?sv=1&sig=hunter2 key aGk/aGk= or aGk%2FaGk%3D sig=other&x=1",
        ));
        let shown = format!("{e:?} {}", e.source().unwrap());
        for secret in ["hunter2", "aGk/aGk=", "aGk%2FaGk%3D", "other"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("x=1"), "{shown}");
    }
}
