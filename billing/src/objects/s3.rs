//! A bucket that speaks the S3 API, over the workspace's own HTTP client: the one that `object_store` brings would add
//! a second TLS library and a second cryptography to the binary.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, RANGE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::TokioExecutor;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientConfigKey, ClientOptions, RetryConfig};

use super::{EpochStore, OBJECT_BYTES_MAX, StoreError};

/// A connection that is not made by then is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer whose head, or whose next piece, is not there by then is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer that is no object and no listing, in bytes: what a server says of a failure takes some hundred.
const SAID_BYTES_MAX: usize = 64 << 10;
/// Longest page of a listing, in bytes: a thousand names of some hundred bytes each, in XML.
const LISTING_BYTES_MAX: usize = 4 << 20;
/// Connections kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// Which bucket. What is `None` comes from the usual `AWS_…` variables, or from the machine's role.
#[derive(Clone, Default)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// What the objects' names begin with, such as `filature`; may be empty.
    pub prefix: String,
    /// The region.
    pub region: Option<String>,
    /// The server, such as `https://minio.example:9000`; Amazon's where there is none. `http://` is for this machine only,
    /// unless `allow_http` says otherwise.
    pub endpoint: Option<String>,
    /// Whether objects and signatures may cross a network in the open, as `AWS_ALLOW_HTTP` says it too.
    pub allow_http: bool,
    /// The key's id and its secret.
    pub access_key: Option<(String, String)>,
}

impl std::fmt::Debug for S3Settings {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Settings")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl EpochStore {
    /// Epochs in a bucket whose server takes `If-None-Match: *` on puts, as Amazon's does since 2024.
    ///
    /// # Errors
    /// [`StoreError::Settings`]. Whether the server answers is seen with the first step.
    pub fn s3(settings: &S3Settings) -> Result<Self, StoreError> {
        let retry = RetryConfig {
            max_retries: 3,
            retry_timeout: Duration::from_secs(60),
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&settings.bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retry)
            .with_http_connector(Connector);
        if let Some(region) = &settings.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some((id, secret)) = &settings.access_key {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        may_be_reached(&builder, settings.allow_http)?;
        let store = builder
            .build()
            .map_err(|error| StoreError::Settings(error.to_string()))?;
        Ok(Self::new(Arc::new(store), &settings.prefix))
    }
}

/// Refuses plain HTTP to other machines, whoever named the server: the settings or a variable.
fn may_be_reached(builder: &AmazonS3Builder, allow_http: bool) -> Result<(), StoreError> {
    let setting = |key| builder.get_config_value(&key).unwrap_or_default();
    if allow_http || is_yes(&setting(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp))) {
        return Ok(());
    }
    let endpoints = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint].map(setting);
    match endpoints.iter().find(|endpoint| is_open_to_others(endpoint)) {
        None => Ok(()),
        Some(endpoint) => Err(StoreError::Settings(format!(
            "{endpoint} would have receipts and signatures cross the network in the open: use https://, or set \
             AWS_ALLOW_HTTP=true where that network is yours alone"
        ))),
    }
}

/// As `object_store` reads `AWS_ALLOW_HTTP`.
fn is_yes(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y")
}

/// Whether an endpoint is plain HTTP on another machine than this. What cannot be read is; nothing at all is Amazon's.
fn is_open_to_others(endpoint: &str) -> bool {
    let Ok(uri) = endpoint.parse::<http::Uri>() else {
        return !endpoint.is_empty();
    };
    let is_tls = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    !is_tls && !is_here
}

#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: error.into(),
            })?;
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(https.https_or_http().enable_http1().wrap_connector(tcp));
        Ok(HttpClient::new(Http(client)))
    }
}

#[derive(Debug)]
struct Http(Client<HttpsConnector<TcpConnector>, HttpRequestBody>);

#[async_trait::async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (bytes_max, is_head) = (bytes_max(&request), request.method() == Method::HEAD);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.0.request(request));
        let (head, body) = answer
            .await
            .map_err(|elapsed| HttpError::new(HttpErrorKind::Timeout, elapsed))?
            .map_err(|error| HttpError::new(kind(&error), error))?
            .into_parts();
        let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if !is_head && announced.and_then(|length| length.parse().ok()) > Some(bytes_max) {
            return Err(HttpError::new(HttpErrorKind::Decode, TooLong(bytes_max)));
        }
        // The body is read at once: it is bounded, and one timeout then covers all of it.
        let whole = tokio::time::timeout(ANSWER_TIMEOUT, Limited::new(body, bytes_max).collect());
        let whole: Bytes = whole
            .await
            .map_err(|elapsed| HttpError::new(HttpErrorKind::Timeout, elapsed))?
            .map_err(|error| match error.is::<LengthLimitError>() {
                true => HttpError::new(HttpErrorKind::Decode, TooLong(bytes_max)),
                false => HttpError::new(HttpErrorKind::Interrupted, Broken(error)),
            })?
            .to_bytes();
        let whole = http_body_util::Full::new(whole).map_err(|never| match never {});
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(whole)))
    }
}

/// The server sends more than was asked for.
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {0} bytes, the most that was asked for")]
struct TooLong(usize);

/// The answer broke off.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
struct Broken(Box<dyn std::error::Error + Send + Sync>);

/// The most bytes that the answer to a request may have, before any of them is read: a part of an object is as long as was
/// asked for, and whatever else is answered is an object or shorter. What explains a failure has some room in any case.
fn bytes_max(request: &HttpRequest) -> usize {
    let range = request.headers().get(RANGE).and_then(|range| range.to_str().ok());
    let part = range.and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        Some(last.saturating_sub(first).saturating_add(1))
    });
    let is_listing = || request.uri().query().is_some_and(|query| query.contains("list-type="));
    let object = usize::try_from(OBJECT_BYTES_MAX).unwrap_or(usize::MAX);
    match part {
        Some(part) => part.clamp(SAID_BYTES_MAX, object),
        None if is_listing() => LISTING_BYTES_MAX,
        None => object,
    }
}

/// Which failures `object_store` may repeat. A put that only creates may always be repeated: if the first got through,
/// the second finds the object there, and the sealer reads what it finds.
fn kind(error: &hyper_util::client::legacy::Error) -> HttpErrorKind {
    if error.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Interrupted
    }
}
