//! From our options and the environment to the clients of `object_store`.

use std::fs;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{HttpConnector, ReqwestConnector};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{
    BackoffConfig, Certificate, ClientOptions, HeaderMap, HeaderValue, ObjectStore, RetryConfig,
};

use super::errors::Classifier;
use super::requests::Requests;
use crate::options::{flag, seconds};
use crate::{Error, ErrorKind, Result, Scheme, StoreUrl};

/// Time for one request, its content included: 64 MiB at 220 KiB/s.
const TIMEOUT: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Repeats use the credentials and the signature of the first attempt, which services take for 15
/// minutes at most: `object_store` advises to stay below 5.
const RETRY_TIMEOUT: Duration = Duration::from_secs(180);
const MAX_RETRIES: usize = 6;

/// The location for messages: of the options only the endpoint, without which the bucket says little.
pub(super) fn location(url: &StoreUrl, scheme: Scheme, bucket: &str, prefix: &str) -> String {
    let mut location = format!("{scheme}://{bucket}");
    if !prefix.is_empty() {
        location = format!("{location}/{prefix}");
    }
    if let Some(endpoint) = url.option("endpoint") {
        location = format!("{location} at {endpoint}");
    }
    location
}

pub(super) fn client(
    url: &StoreUrl,
    scheme: Scheme,
    bucket: &str,
    classifier: &Classifier,
) -> Result<Arc<dyn ObjectStore>> {
    let built: object_store::Result<Arc<dyn ObjectStore>> = match scheme {
        Scheme::S3 => s3(url, bucket)?.build().map(|client| Arc::new(client) as _),
        Scheme::Gcs => gcs(url, bucket)?.build().map(|client| Arc::new(client) as _),
        Scheme::Azure => azure(url, bucket)?.build().map(|client| Arc::new(client) as _),
        Scheme::File | Scheme::Memory => {
            return Err(Error::new(ErrorKind::Other, "not a cloud"));
        }
    };
    built.map_err(|e| unusable(e, classifier))
}

fn unusable(e: object_store::Error, classifier: &Classifier) -> Error {
    Error::new(ErrorKind::InvalidOption, "the options do not make a working client")
        .with_remedy(
            "correct the options, or the variables of the environment that stand in for them",
        )
        .with_source(classifier.error(e))
}

/// A client of S3 that deletes many objects by one request; none where there is no such thing.
pub(super) fn bulk_client(
    url: &StoreUrl,
    scheme: Scheme,
    bucket: &str,
) -> Option<Arc<dyn ObjectStore>> {
    if scheme != Scheme::S3 {
        return None;
    }
    let client = s3(url, bucket).ok()?.with_disable_bulk_delete(false).build().ok()?;
    Some(Arc::new(client))
}

/// A client of S3 whose creations are locked until then, which is a time by RFC 3339.
pub(super) fn locking_client(
    url: &StoreUrl,
    bucket: &str,
    until: &str,
    classifier: &Classifier,
) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = s3(url, bucket)?;
    // S3 wants a checksum along with a lock, and others of its protocol this header as well.
    let checksum = url.option("checksum").unwrap_or("sha256");
    let headers = [
        ("x-amz-object-lock-mode", lock_mode(url)),
        ("x-amz-object-lock-retain-until-date", until),
        ("x-amz-sdk-checksum-algorithm", &checksum.to_ascii_uppercase()),
    ];
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).map_err(|e| {
            Error::new(ErrorKind::Other, "the lock makes no header of a request").with_source(e)
        })?;
        map.insert(name, value);
    }
    let endpoint = endpoint(&builder);
    let options = client_options(url, endpoint.as_deref(), ca_file(url).as_deref())?;
    builder = builder
        .with_config(AmazonS3ConfigKey::Checksum, checksum)
        .with_client_options(options.with_default_headers(map));
    builder.build().map(|client| Arc::new(client) as _).map_err(|e| unusable(e, classifier))
}

/// The mode of locks, as S3 names it.
pub(super) fn lock_mode(url: &StoreUrl) -> &'static str {
    match url.option("lock_mode") {
        Some("governance") => "GOVERNANCE",
        _ => "COMPLIANCE",
    }
}

/// What requests of S3 are made with that `object_store` does not know.
pub(super) fn s3_requests(
    url: &StoreUrl,
    bucket: &str,
    classifier: &Classifier,
) -> Result<Requests> {
    use AmazonS3ConfigKey as Key;
    let builder = s3(url, bucket)?;
    let endpoint = endpoint(&builder);
    let is = |key| builder.get_config_value(&key).is_some_and(|value| flag(&value) == Some(true));
    let region = builder.get_config_value(&Key::Region).unwrap_or_else(|| "us-east-1".to_owned());
    // As `object_store` makes it of the same options.
    let bucket_url = match (&endpoint, is(Key::VirtualHostedStyleRequest)) {
        (Some(endpoint), true) => endpoint.trim_end_matches('/').to_owned(),
        (Some(endpoint), false) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        (None, true) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        (None, false) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
    };
    let options = client_options(url, endpoint.as_deref(), ca_file(url).as_deref())?;
    let http =
        ReqwestConnector::default().connect(&options).map_err(|e| unusable(e, classifier))?;
    let (anonymous, request_payer) = (is(Key::SkipSignature), is(Key::RequestPayer));
    let client = builder.build().map_err(|e| unusable(e, classifier))?;
    Ok(Requests {
        http,
        credentials: client.credentials().clone(),
        anonymous,
        request_payer,
        region,
        bucket_url,
        retries: retries(url),
    })
}

fn endpoint(builder: &AmazonS3Builder) -> Option<String> {
    builder
        .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint))
}

fn ca_file(url: &StoreUrl) -> Option<String> {
    url.option("ca_file").map(str::to_owned).or_else(|| std::env::var("AWS_CA_BUNDLE").ok())
}

fn s3(url: &StoreUrl, bucket: &str) -> Result<AmazonS3Builder> {
    use AmazonS3ConfigKey as Key;
    let credentials = [Key::AccessKeyId, Key::SecretAccessKey, Key::Token, Key::SkipSignature];
    let own = given(url, &["access_key_id", "secret_access_key", "session_token", "anonymous"]);
    let mut builder = AmazonS3Builder::new();
    for (key, value) in environment::<Key>("AWS_") {
        // Keys of the environment do not mix with those of options: a session token belongs to one.
        let skip = own && credentials.contains(&key)
            || matches!(key, Key::Client(_) | Key::ConditionalPut | Key::Bucket);
        if !skip {
            builder = builder.with_config(key, value);
        }
    }
    let direct = [
        // Not Key::Endpoint, over which AWS_ENDPOINT_URL_S3 would win.
        ("endpoint", Key::S3Endpoint),
        ("region", Key::Region),
        ("access_key_id", Key::AccessKeyId),
        ("secret_access_key", Key::SecretAccessKey),
        ("session_token", Key::Token),
        ("role_arn", Key::RoleArn),
        ("web_identity_token_file", Key::WebIdentityTokenFile),
        ("checksum", Key::Checksum),
    ];
    for (name, key) in direct {
        if let Some(value) = url.option(name) {
            builder = builder.with_config(key, value);
        }
    }
    let flags = [
        ("anonymous", Key::SkipSignature),
        ("virtual_hosted", Key::VirtualHostedStyleRequest),
        ("unsigned_payload", Key::UnsignedPayload),
        ("request_payer", Key::RequestPayer),
    ];
    for (name, key) in flags {
        if let Some(value) = url.option(name).and_then(flag) {
            builder = builder.with_config(key, value.to_string());
        }
    }
    if let Some(path_style) = url.option("path_style").and_then(flag) {
        if url.option("virtual_hosted").and_then(flag) == Some(path_style) {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                "path_style and virtual_hosted contradict each other",
            ));
        }
        builder = builder.with_virtual_hosted_style_request(!path_style);
    }
    builder = server_side_encryption(url, builder)?;
    let (endpoint, ca_file) = (endpoint(&builder), ca_file(url));
    Ok(builder
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // One object is deleted by its own request, which every service knows, unlike deletion in bulk:
        // that has a client of its own.
        .with_disable_bulk_delete(true)
        .with_client_options(client_options(url, endpoint.as_deref(), ca_file.as_deref())?)
        .with_retry(retries(url)))
}

fn server_side_encryption(url: &StoreUrl, builder: AmazonS3Builder) -> Result<AmazonS3Builder> {
    let key = url.option("sse_kms_key_id").unwrap_or_default();
    let builder = match url.option("sse") {
        None if key.is_empty() => builder,
        Some("AES256") if key.is_empty() => {
            builder.with_config(config_key("aws_server_side_encryption")?, "AES256")
        }
        Some("aws:kms") => builder.with_sse_kms_encryption(key),
        Some("aws:kms:dsse") => builder.with_dsse_kms_encryption(key),
        _ => {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                "sse_kms_key_id is for sse=aws:kms or sse=aws:kms:dsse",
            ));
        }
    };
    match url.option("sse_bucket_key").and_then(flag) {
        Some(enabled) => Ok(builder.with_bucket_key(enabled)),
        None => Ok(builder),
    }
}

fn config_key(name: &str) -> Result<AmazonS3ConfigKey> {
    name.parse().map_err(|e| {
        Error::new(ErrorKind::Other, "a key that object_store should know").with_source(e)
    })
}

fn gcs(url: &StoreUrl, bucket: &str) -> Result<GoogleCloudStorageBuilder> {
    use GoogleConfigKey as Key;
    let direct = [
        ("service_account_file", Key::ServiceAccount),
        ("service_account_key", Key::ServiceAccountKey),
        ("application_credentials", Key::ApplicationCredentials),
        ("bearer_token", Key::BearerToken),
    ];
    let own = url.option("anonymous").is_some() || given(url, &direct.map(|(name, _)| name));
    let mut builder = GoogleCloudStorageBuilder::new();
    for (key, value) in environment::<Key>("GOOGLE_") {
        let credential = key == Key::SkipSignature || direct.iter().any(|(_, known)| key == *known);
        if !(own && credential || matches!(key, Key::Client(_) | Key::Bucket)) {
            builder = builder.with_config(key, value);
        }
    }
    for (name, key) in direct {
        if let Some(value) = url.option(name) {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(endpoint) = url.option("endpoint") {
        builder = builder.with_config(Key::BaseUrl, endpoint);
    }
    if let Some(anonymous) = url.option("anonymous").and_then(flag) {
        builder = builder.with_skip_signature(anonymous);
    }
    let endpoint = builder.get_config_value(&Key::BaseUrl);
    Ok(builder
        .with_bucket_name(bucket)
        .with_client_options(client_options(url, endpoint.as_deref(), url.option("ca_file"))?)
        .with_retry(retries(url)))
}

fn azure(url: &StoreUrl, container: &str) -> Result<MicrosoftAzureBuilder> {
    use AzureConfigKey as Key;
    let credentials = [
        ("access_key", Key::AccessKey),
        ("sas_token", Key::SasKey),
        ("bearer_token", Key::Token),
        ("client_id", Key::ClientId),
        ("client_secret", Key::ClientSecret),
        ("tenant_id", Key::AuthorityId),
        ("federated_token_file", Key::FederatedTokenFile),
        ("msi_endpoint", Key::MsiEndpoint),
    ];
    let flags = [("use_azure_cli", Key::UseAzureCli), ("anonymous", Key::SkipSignature)];
    let own =
        given(url, &credentials.map(|(name, _)| name)) || given(url, &flags.map(|(name, _)| name));
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in environment::<Key>("AZURE_") {
        let credential = credentials.iter().chain(&flags).any(|(_, known)| key == *known);
        if !(own && credential || matches!(key, Key::Client(_) | Key::ContainerName)) {
            builder = builder.with_config(key, value);
        }
    }
    for (name, key) in credentials {
        if let Some(value) = url.option(name) {
            builder = builder.with_config(key, value);
        }
    }
    for (name, key) in flags.into_iter().chain([("use_emulator", Key::UseEmulator)]) {
        if let Some(value) = url.option(name).and_then(flag) {
            builder = builder.with_config(key, value.to_string());
        }
    }
    let others = [
        ("account", Key::AccountName),
        ("authority_host", Key::AuthorityHost),
        ("endpoint", Key::Endpoint),
    ];
    for (name, key) in others {
        if let Some(value) = url.option(name) {
            builder = builder.with_config(key, value);
        }
    }
    let emulated = url.option("use_emulator").and_then(flag) == Some(true);
    let endpoint = builder.get_config_value(&Key::Endpoint);
    let endpoint = endpoint.as_deref().or(emulated.then_some("http://127.0.0.1"));
    Ok(builder
        .with_container_name(container)
        .with_client_options(client_options(url, endpoint, url.option("ca_file"))?)
        .with_retry(retries(url)))
}

fn given(url: &StoreUrl, names: &[&str]) -> bool {
    names.iter().any(|name| url.option(name).is_some())
}

/// The variables of the environment that `object_store` knows for a cloud.
fn environment<K: FromStr>(prefix: &str) -> Vec<(K, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.to_str().filter(|name| name.starts_with(prefix))?;
            Some((name.to_ascii_lowercase().parse().ok()?, value.into_string().ok()?))
        })
        .collect()
}

fn client_options(
    url: &StoreUrl,
    endpoint: Option<&str>,
    ca_file: Option<&str>,
) -> Result<ClientOptions> {
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let allow_http = url.option("allow_http").and_then(flag).unwrap_or(plain);
    let mut options = ClientOptions::new()
        .with_user_agent(object_store::HeaderValue::from_static(concat!(
            "walbrook/",
            env!("CARGO_PKG_VERSION")
        )))
        .with_allow_http(allow_http)
        .with_timeout(url.option("timeout").and_then(seconds).unwrap_or(TIMEOUT))
        .with_connect_timeout(
            url.option("connect_timeout").and_then(seconds).unwrap_or(CONNECT_TIMEOUT),
        );
    if let Some(proxy) = url.option("proxy_url") {
        options = options.with_proxy_url(proxy);
    }
    if let Some(file) = ca_file {
        let unusable = || {
            Error::new(
                ErrorKind::InvalidOption,
                format!("the file {file:?} of certificate authorities can't be used"),
            )
            .with_remedy("name a readable file of certificates in PEM form by the option ca_file")
        };
        let pem = fs::read(file).map_err(|e| unusable().with_source(e))?;
        let certificates =
            Certificate::from_pem_bundle(&pem).map_err(|e| unusable().with_source(e))?;
        if certificates.is_empty() {
            return Err(unusable());
        }
        for certificate in certificates {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

fn retries(url: &StoreUrl) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(15),
            base: 2.0,
        },
        max_retries: url.option("max_retries").and_then(|n| n.parse().ok()).unwrap_or(MAX_RETRIES),
        retry_timeout: url.option("retry_timeout").and_then(seconds).unwrap_or(RETRY_TIMEOUT),
    }
}
