//! Sends metrics and traces to a collector: OTLP over HTTP, protobuf bodies.
//!
//! The SDK exports from threads of its own, outside of any runtime; the client here brings a small one along.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::metrics::PeriodicReader;
use tokio::runtime::Runtime;

use crate::config::TelemetrySettings;

/// Time one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer of a collector that is read, in bytes; it says at most what it refused.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Where exports go.
pub(super) struct Collector {
    url: String,
    headers: HashMap<String, String>,
    every: Duration,
    client: Arc<dyn HttpClient>,
}

impl Collector {
    pub(super) fn new(url: &str, settings: &TelemetrySettings) -> anyhow::Result<Self> {
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            headers: headers(settings.otlp_headers.as_deref().unwrap_or_default())
                .context("otlp_headers cannot be read")?,
            every: Duration::from_millis(settings.otlp_every_ms),
            client: Arc::new(ThreadClient::new()?),
        })
    }

    /// A reader that sends metrics every so often.
    pub(super) fn metrics(&self) -> anyhow::Result<PeriodicReader<MetricExporter>> {
        let exporter = MetricExporter::builder()
            .with_http()
            .with_shared_http_client(Arc::clone(&self.client))
            .with_headers(self.headers.clone())
            .with_endpoint(format!("{}/v1/metrics", self.url))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        Ok(PeriodicReader::builder(exporter).with_interval(self.every).build())
    }

    /// An exporter of spans.
    pub(super) fn spans(&self) -> anyhow::Result<SpanExporter> {
        Ok(SpanExporter::builder()
            .with_http()
            .with_shared_http_client(Arc::clone(&self.client))
            .with_headers(self.headers.clone())
            .with_endpoint(format!("{}/v1/traces", self.url))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_TIMEOUT)
            .build()?)
    }
}

/// `name=value` pairs separated by commas; `None` if that is not what they are.
pub(crate) fn headers(text: &str) -> Option<HashMap<String, String>> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            http::HeaderName::from_bytes(name.as_bytes()).ok()?;
            http::HeaderValue::from_str(value).ok()?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// An HTTP client for threads without a runtime: each request blocks its thread.
struct ThreadClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// `None` only while dropping.
    runtime: Option<Runtime>,
}

impl ThreadClient {
    fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .context("no TLS for the collector")?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            runtime: Some(runtime),
        })
    }
}

#[async_trait]
impl HttpClient for ThreadClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let runtime = self.runtime.as_ref().ok_or("the client is stopping")?;
        runtime.block_on(async {
            let exchange = async {
                let (head, body) = self.client.request(request.map(Full::new)).await?.into_parts();
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(head, body))
            };
            tokio::time::timeout(EXPORT_TIMEOUT, exchange).await?
        })
    }
}

impl fmt::Debug for ThreadClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadClient")
    }
}

impl Drop for ThreadClient {
    /// A runtime may not be dropped by waiting for it inside of another.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
