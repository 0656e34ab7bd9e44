//! Step 5, the first byte: sends a call to one provider and returns the head of its answer.
//!
//! Two ways lead to a provider: its public address, or the tunnel it holds open. Both carry the same request.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use filature_openapi::call::{Continuation, Endpoint, ForEngine};
use filature_openapi::edit::Segments;
use filature_provider_sdk::tunnel::{ATTEMPT_HEADER, CALL_HEADER, CONTINUE_HEADER};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::attempt::Watched;
use super::cosigned::{self, Answer};
use crate::app::{DirectClient, Worker};
use crate::config::Config;
use crate::fleet::provider::{Provider, Reach};
use crate::telemetry::trace;

/// A request body in pieces that are never joined: slices of the caller's body with the gateway's changes between.
#[derive(Debug)]
pub struct EngineBody {
    segments: smallvec::IntoIter<[Bytes; 7]>,
    left: u64,
}

impl From<Segments> for EngineBody {
    fn from(segments: Segments) -> Self {
        Self {
            left: segments.len() as u64,
            segments: segments.into_iter(),
        }
    }
}

impl EngineBody {
    /// A request without a body.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            segments: smallvec::SmallVec::new().into_iter(),
            left: 0,
        }
    }

    /// A body in one piece.
    #[must_use]
    pub fn one(bytes: Bytes) -> Self {
        let left = bytes.len() as u64;
        Self {
            segments: smallvec::smallvec![bytes].into_iter(),
            left,
        }
    }
}

impl Body for EngineBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.segments.next().map(|segment| {
            self.left -= segment.len() as u64;
            Ok(Frame::data(segment))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Why no head came.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The connection could not be made or broke.
    #[error("the provider could not be reached: {0}")]
    Unreachable(String),
    /// The provider's tunnel is closed.
    #[error("the provider's tunnel is closed")]
    TunnelClosed,
}

/// The pooled client of one worker for providers with a public address.
#[must_use]
pub fn direct_client(config: &Config) -> DirectClient {
    let upstream = &config.upstream;
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(Duration::from_millis(upstream.connect_timeout_ms)));
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    let tls = HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(60))
        .pool_max_idle_per_host(upstream.idle_connections_max)
        .build(tls)
}

/// Sends the call to `provider` and waits for the head of the answer. `continues` is the text another provider wrote, which
/// this one is to go on from.
///
/// Dropping the future, or the body of the response, cancels the call at the provider.
///
/// # Errors
/// [`OpenError`] when no head came; deadlines are the caller's matter.
pub async fn open(
    watch: &Watched<'_>,
    worker: &Worker,
    provider: &Provider,
    told_output_tokens_max: Option<u32>,
    continues: Option<&str>,
) -> Result<Response<Answer>, OpenError> {
    let call = watch.call;
    let model = watch.attempt.model.as_str();
    let engine_model = provider.model(model).and_then(|offer| offer.engine_model.as_deref());
    let members = match &provider.reach {
        Reach::Direct(direct) if call.view.endpoint == Endpoint::ChatCompletions => direct.dialect.continue_members(),
        _ => "",
    };
    let body = call.view.body_for_engine(
        &call.body,
        ForEngine {
            model: engine_model.unwrap_or(model),
            output_tokens_max: told_output_tokens_max,
            // An empty text is where the answer starts: nothing to go on from.
            continuation: continues
                .filter(|text| !text.is_empty())
                .map(|text| Continuation { text, members }),
        },
    );
    let is_continued = continues.is_some_and(|text| !text.is_empty());
    let salt = cosigned::salt(&worker.app, call, provider);
    // A few counts of references: the pieces are shared, not copied.
    let sent = salt.map(|_| body.clone()).unwrap_or_default();
    let response = match &provider.reach {
        Reach::Direct(direct) => {
            let mut request = request(watch, direct.uri(call.view.endpoint), body, is_continued);
            if let Some(authorization) = &direct.authorization {
                request.headers_mut().insert(AUTHORIZATION, authorization.clone());
            }
            worker
                .direct
                .request(request)
                .await
                .map_err(|error| OpenError::Unreachable(chain(&error)))?
        }
        Reach::Tunnel(tunnel) => {
            let mut request = request(watch, tunnel.uri(call.view.endpoint), body, is_continued);
            cosigned::ask(salt, request.headers_mut());
            tunnel.send(request).await?
        }
    };
    Ok(response.map(|body| Answer::new(body, salt, sent)))
}

fn request(watch: &Watched<'_>, uri: Uri, body: Segments, is_continued: bool) -> Request<EngineBody> {
    let call = watch.call;
    let mut request = Request::new(EngineBody::from(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = uri;
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CALL_HEADER, call.id_header.clone());
    headers.insert(ATTEMPT_HEADER, HeaderValue::from(watch.number));
    if is_continued {
        headers.insert(CONTINUE_HEADER, HeaderValue::from_static("1"));
    }
    trace::inject(&watch.span, &call.headers, &mut headers);
    *request.headers_mut() = headers;
    request
}

/// An error and its causes in one line: hyper's own text names only the outermost.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
