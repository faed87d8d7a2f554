//! Requests of S3 that `object_store` does not know: signed by its signer, sent by its HTTP client.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequest};
use object_store::{HeaderMap, HeaderValue, Result, RetryConfig};

const STORE: &str = "S3";

/// Makes requests to one bucket.
pub(super) struct Requests {
    pub(super) http: HttpClient,
    pub(super) credentials: AwsCredentialProvider,
    pub(super) anonymous: bool,
    pub(super) request_payer: bool,
    pub(super) region: String,
    /// The bucket, without a slash at the end.
    pub(super) bucket_url: String,
    pub(super) retries: RetryConfig,
}

/// What a service said to a request that it did.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A request to be made as often as it takes: it must be one that may be repeated.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    pub(super) method: &'static str,
    /// The object; empty for the bucket.
    pub(super) key: &'a str,
    pub(super) query: &'a [(&'static str, &'a str)],
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) body: Bytes,
}

impl Requests {
    /// Makes a request, again while the trouble may pass.
    pub(super) async fn send(&self, wanted: &Wanted<'_>) -> Result<Answer> {
        let begun = Instant::now();
        let mut pause = self.retries.backoff.init_backoff;
        let mut repeated = 0;
        loop {
            let (error, passing) = match self.try_send(wanted).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let patient = begun.elapsed() < self.retries.retry_timeout;
            if !passing || repeated >= self.retries.max_retries || !patient {
                return Err(error);
            }
            repeated += 1;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.retries.backoff.max_backoff).max(Duration::from_millis(1));
        }
    }

    /// The error comes with whether it may pass.
    async fn try_send(&self, wanted: &Wanted<'_>) -> Result<Answer, (object_store::Error, bool)> {
        let request = self.request(wanted).await.map_err(|e| (e, false))?;
        let http = |e| (generic(Box::new(e)), true);
        let (parts, body) = self.http.execute(request).await.map_err(http)?.into_parts();
        let body = body.bytes().await.map_err(http)?;
        let status = parts.status.as_u16();
        if parts.status.is_success() {
            return Ok(Answer { headers: parts.headers, body });
        }
        let said = String::from_utf8_lossy(&body);
        let text = format!("Server returned non-2xx status code: {status}: {said}");
        let error = match status {
            404 => object_store::Error::NotFound { path: wanted.key.into(), source: text.into() },
            _ => generic(text.into()),
        };
        Err((error, matches!(status, 408 | 425 | 429 | 500..)))
    }

    async fn request(&self, wanted: &Wanted<'_>) -> Result<HttpRequest> {
        let mut url = self.bucket_url.clone();
        if !wanted.key.is_empty() {
            url = format!("{url}/{}", wanted.key);
        }
        let mut url: url::Url = url.parse().map_err(|e| generic(Box::new(e)))?;
        if !wanted.query.is_empty() {
            url.query_pairs_mut().extend_pairs(wanted.query);
        }
        let mut request = HttpRequest::new(wanted.body.clone().into());
        *request.method_mut() = wanted.method.parse().map_err(|e| generic(Box::new(e)))?;
        *request.uri_mut() = url.as_str().parse().map_err(|e| generic(Box::new(e)))?;
        for (name, value) in wanted.headers {
            let value = HeaderValue::from_str(value).map_err(|e| generic(Box::new(e)))?;
            request.headers_mut().insert(*name, value);
        }
        if !self.anonymous {
            let credential = self.credentials.get_credential().await?;
            AwsAuthorizer::new(&credential, "s3", &self.region)
                .with_request_payer(self.request_payer)
                .try_authorize(&mut request, None)?;
        }
        Ok(request)
    }
}

pub(super) fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: STORE, source }
}

/// Shows no credentials.
impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("bucket_url", &self.bucket_url).finish_non_exhaustive()
    }
}
