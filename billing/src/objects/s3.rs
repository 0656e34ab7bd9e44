//! A bucket that speaks the S3 API, over the workspace's own HTTP client: the one that `object_store` brings would add
//! a second TLS library and a second cryptography to the binary.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::TokioExecutor;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientOptions, RetryConfig};

use super::{EpochStore, StoreError};

/// A connection that is not made by then is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer whose head, or whose next piece, is not there by then is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
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
    /// The server, such as `https://minio.example:9000`; Amazon's where there is none. `http://` is taken at its word.
    pub endpoint: Option<String>,
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
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some((id, secret)) = &settings.access_key {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        let store = builder
            .build()
            .map_err(|error| StoreError::Settings(error.to_string()))?;
        Ok(Self::new(Arc::new(store), &settings.prefix))
    }
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
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.0.request(request));
        let (head, body) = answer
            .await
            .map_err(|elapsed| HttpError::new(HttpErrorKind::Timeout, elapsed))?
            .map_err(|error| HttpError::new(kind(&error), error))?
            .into_parts();
        let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
        // The body is read at once: an epoch's object is bounded, and one timeout then covers all of it.
        let whole = tokio::time::timeout(ANSWER_TIMEOUT, body.collect());
        let whole: Bytes = whole
            .await
            .map_err(|elapsed| HttpError::new(HttpErrorKind::Timeout, elapsed))??
            .to_bytes();
        let whole = http_body_util::Full::new(whole).map_err(|never| match never {});
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(whole)))
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
