//! Passes a call to the engine and its answer back. Decides which headers cross and where the engine is; bodies stream
//! through untouched, both ways, but for those that go on from another engine (`go_on`), and dropping the future (or
//! the answer's body) drops the engine's connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, SERVER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::digest::Heard;
use super::presence::Presence;
use super::settings::AgentSettings;

/// The calls an agent forwards: OpenAI's paths.
const PATHS: [&str; 3] = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"];

/// How long the engine may take to accept a connection. It stands beside the agent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept. uvicorn (vLLM, SGLang) and cpp-httplib (llama.cpp) close theirs after 5 s;
/// below that, no call is sent into a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The most header lines an engine's answer may have.
const ANSWER_HEADERS_MAX: usize = 64;
/// The most bytes of an engine's answer read at once; also bounds its header.
const READ_BYTES_MAX: usize = 64 * 1024;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What of the engine's answer goes up the tunnel, besides the body.
const ANSWER_HEADERS: [HeaderName; 5] = [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, RETRY_AFTER, REQUEST_ID];

/// The connector to an engine, plain or over TLS.
pub(crate) type EngineConnector = HttpsConnector<HttpConnector>;

/// The body of a call: the gateway's own as it comes, or one the agent had to change.
pub(crate) type CallBody = Either<Heard, Full<Bytes>>;

/// The engine beside the agent.
pub(crate) struct Engine {
    client: Client<EngineConnector, CallBody>,
    targets: [Uri; PATHS.len()],
    authorization: Option<HeaderValue>,
    presence: Arc<Presence>,
}

/// The engine gave no answer.
#[derive(Debug)]
pub(crate) struct EngineUnreachable;

impl Engine {
    pub(crate) fn new(settings: &AgentSettings, tls: rustls::ClientConfig, presence: Arc<Presence>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(settings.calls_max() as usize)
            .http1_max_headers(ANSWER_HEADERS_MAX)
            .http1_max_buf_size(READ_BYTES_MAX)
            .build(connector(tls));
        Self {
            client,
            targets: PATHS.map(|path| settings.engine.uri(path)),
            authorization: settings.engine_authorization.clone(),
            presence,
        }
    }

    /// The engine's address for `path`, if that is a call the agent forwards.
    pub(crate) fn target(&self, path: &str) -> Option<&Uri> {
        PATHS
            .iter()
            .position(|known| *known == path)
            .map(|at| &self.targets[at])
    }

    /// Sends `request` to `target` and returns the head of the engine's answer with its body still to come.
    ///
    /// # Errors
    /// [`EngineUnreachable`] if no answer came: not connected, or the connection broke before a status line.
    pub(crate) async fn forward(
        &self,
        request: Request<CallBody>,
        target: Uri,
    ) -> Result<Response<Incoming>, EngineUnreachable> {
        let (mut head, body) = request.into_parts();
        head.uri = target;
        head.version = http::Version::HTTP_11;
        head.headers = self.call_headers(head.headers);
        let mut call = Request::from_parts(head, body);
        let connection = capture_connection(&mut call);
        match self.client.request(call).await {
            Ok(mut answer) => {
                if closes_silently(answer.headers())
                    && let Some(connection) = connection.connection_metadata().as_ref()
                {
                    connection.poison();
                }
                self.presence.answered();
                *answer.headers_mut() = answer_headers(std::mem::take(answer.headers_mut()));
                *answer.version_mut() = http::Version::HTTP_2;
                Ok(answer)
            }
            Err(error) => {
                self.presence.lost(&chain(&error));
                Err(EngineUnreachable)
            }
        }
    }

    /// Only what an engine has a use for crosses: what a gateway or a caller's client adds beside that stays here.
    fn call_headers(&self, from: HeaderMap) -> HeaderMap {
        let mut to = HeaderMap::with_capacity(8);
        let mut crosses = false;
        for (name, value) in from {
            // A repeated header comes with its name once, and `None` for the values after the first.
            if let Some(name) = name {
                crosses = name == CONTENT_TYPE
                    || name == ACCEPT
                    || name == TRACEPARENT
                    || name == TRACESTATE
                    || name.as_str().starts_with("filature-");
                if crosses {
                    to.insert(name, value);
                }
            } else if crosses {
                tracing::debug!("a repeated header is passed on with its first value only");
            }
        }
        if let Some(authorization) = &self.authorization {
            to.insert(AUTHORIZATION, authorization.clone());
        }
        to
    }
}

/// Whether this engine closes a connection after an answer without saying so: llama.cpp does after every stream. The
/// next call sent into such a connection would be lost, so it is not used again.
fn closes_silently(answer: &HeaderMap) -> bool {
    answer
        .get(SERVER)
        .is_some_and(|server| server.as_bytes().starts_with(b"llama.cpp"))
}

/// A connector that does not hold small writes back, and gives up on an engine that does not accept.
pub(crate) fn connector(tls: rustls::ClientConfig) -> EngineConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.enforce_http(false);
    HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp)
}

fn answer_headers(mut from: HeaderMap) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(ANSWER_HEADERS.len());
    for name in ANSWER_HEADERS {
        if let Some(value) = from.remove(&name) {
            to.insert(name, value);
        }
    }
    to
}

/// An error with its causes: hyper's own text stops at "client error (Connect)".
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
