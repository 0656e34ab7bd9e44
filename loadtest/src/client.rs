//! The client that load and benchmark call with: one call, watched event by event, and every way it can fail told apart.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use filature_openapi::sse::{DONE, EventDecoder};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Longer events end a call: no honest engine sends them.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// A client of one OpenAI-compatible server. Keeps its connections. Clones share them.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base_url: String,
    authorization: Option<HeaderValue>,
}

/// Why a call counts as failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Failure {
    /// No connection, or it broke before the head of the answer.
    #[error("no answer")]
    NoAnswer,
    /// A status other than 200.
    #[error("status {0}")]
    Status(u16),
    /// The body broke off.
    #[error("broken body")]
    BrokenBody,
    /// The stream ended without `[DONE]`.
    #[error("stream without [DONE]")]
    NotDone,
    /// An error object under status 200, whole or in the stream.
    #[error("error in the answer")]
    ErrorInside,
    /// It was due but not sent, because too many calls were open.
    #[error("not sent: too many open")]
    NotSent,
    /// It took longer than allowed.
    #[error("timeout")]
    Timeout,
}

/// Something seen while a call runs.
#[derive(Debug)]
pub enum Seen {
    /// An event of a stream other than `[DONE]`.
    Event(Bytes),
    /// The whole body of an answer that is not streamed.
    Answer(Bytes),
}

impl Client {
    /// A client of the server whose API begins at `base_url` (`http://host:port/v1`), with an API key.
    ///
    /// # Errors
    /// When the URL is none or the key cannot stand in a header.
    pub fn new(base_url: &str, api_key: Option<&str>) -> anyhow::Result<Self> {
        let base_url = base_url.trim_end_matches('/').to_owned();
        let uri: Uri = base_url.parse()?;
        anyhow::ensure!(uri.host().is_some(), "{base_url} is not a URL with a host");
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new()).build(connector);
        let authorization = api_key
            .map(|key| HeaderValue::from_str(&format!("Bearer {key}")))
            .transpose()?;
        Ok(Self {
            pool,
            base_url,
            authorization,
        })
    }

    /// GETs a path below the base URL and reads the body.
    ///
    /// # Errors
    /// When there is no answer, or none with status 200.
    pub async fn get(&self, path: &str) -> Result<Bytes, Failure> {
        let answer = self.send(Method::GET, path, Bytes::new()).await?;
        read(answer).await
    }

    /// Makes one call and tells `on` what comes, and when it came.
    ///
    /// # Errors
    /// When the call did not end well; what was told before stays told.
    pub async fn call(
        &self,
        path: &str,
        body: Bytes,
        stream: bool,
        mut on: impl FnMut(Instant, Seen),
    ) -> Result<(), Failure> {
        let answer = self.send(Method::POST, path, body).await?;
        if !stream {
            let bytes = read(answer).await?;
            if bytes.starts_with(br#"{"error""#) {
                return Err(Failure::ErrorInside);
            }
            on(Instant::now(), Seen::Answer(bytes));
            return Ok(());
        }
        let mut body = answer;
        let (mut decoder, mut done, mut error) = (EventDecoder::new(EVENT_BYTES_MAX), false, false);
        while let Some(frame) = body.frame().await {
            let now = Instant::now();
            let Ok(chunk) = frame.map_err(|_| Failure::BrokenBody)?.into_data() else {
                continue;
            };
            decoder.push(chunk);
            while let Some(event) = decoder.next_event().map_err(|_| Failure::BrokenBody)? {
                match event.data {
                    Some(data) if data == DONE => done = true,
                    Some(data) => {
                        error |= data.starts_with(br#"{"error""#);
                        on(now, Seen::Event(data));
                    }
                    None => {}
                }
            }
        }
        match (error, done) {
            (true, _) => Err(Failure::ErrorInside),
            (false, false) => Err(Failure::NotDone),
            (false, true) => Ok(()),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.base_url)
            .parse()
            .map_err(|_| Failure::NoAnswer)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(key) = &self.authorization {
            headers.insert(AUTHORIZATION, key.clone());
        }
        let response = self.pool.request(request).await.map_err(|error| {
            tracing::debug!(?error, "no answer");
            Failure::NoAnswer
        })?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => {
                // Read to the end, so that the connection can be used again.
                let _ = read(response.into_body()).await;
                Err(Failure::Status(status.as_u16()))
            }
        }
    }
}

async fn read(mut body: Incoming) -> Result<Bytes, Failure> {
    let mut first: Option<Bytes> = None;
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|_| Failure::BrokenBody)?.into_data() else {
            continue;
        };
        match &first {
            None => first = Some(chunk),
            Some(_) => more.extend_from_slice(&chunk),
        }
    }
    let first = first.unwrap_or_default();
    Ok(if more.is_empty() {
        first
    } else {
        [first.as_ref(), more.as_ref()].concat().into()
    })
}
