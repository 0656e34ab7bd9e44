//! Asks the engine about itself, beside the calls. Decides how long an answer may take and how large it may be; what is
//! asked, and what is made of it, is decided in `load` and `probe`.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, SERVER};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::forward::{EngineConnector, chain, connector};
use super::settings::{AgentSettings, BaseUrl};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes of an answer that are read. vLLM's metrics have some 100 KiB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Asks, over connections of its own, none of which is kept.
pub(crate) struct Asker {
    client: Client<EngineConnector, Full<Bytes>>,
    engine: BaseUrl,
    authorization: Option<HeaderValue>,
}

/// What the engine says.
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    /// The header `Server`; empty if there is none.
    pub(crate) server: Vec<u8>,
    pub(crate) body: Bytes,
}

/// Why the engine said nothing.
#[derive(Debug)]
pub(crate) enum Silent {
    /// It is not there; the error, for the operator.
    Gone(String),
    /// It is there and took too long: it may have much to do.
    Busy,
}

impl Asker {
    pub(crate) fn new(settings: &AgentSettings, tls: rustls::ClientConfig) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_max_idle_per_host(0)
                .build(connector(tls)),
            engine: settings.engine.clone(),
            authorization: settings.engine_authorization.clone(),
        }
    }

    /// `GET path`.
    ///
    /// # Errors
    /// [`Silent`] if no whole answer came in time.
    pub(crate) async fn get(&self, path: &str) -> Result<Said, Silent> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// [`Silent`] if no whole answer came in time.
    pub(crate) async fn post(&self, path: &str, json: Bytes) -> Result<Said, Silent> {
        self.ask(Method::POST, path, json).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Said, Silent> {
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = self.engine.uri(path);
        let headers = request.headers_mut();
        if method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        *request.method_mut() = method;
        let answer = async {
            let answer = self.client.request(request).await.map_err(|error| chain(&error))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            Ok(Said {
                status: head.status,
                server: head
                    .headers
                    .get(SERVER)
                    .map(|value| value.as_bytes().to_vec())
                    .unwrap_or_default(),
                body: body.map_err(|error| error.to_string())?.to_bytes(),
            })
        };
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(said) => said.map_err(Silent::Gone),
            Err(_) => Err(Silent::Busy),
        }
    }
}
