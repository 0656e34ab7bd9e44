//! HTTP as a caller speaks it: connections kept and reused, nothing retried.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Time a look at the gateway may take before it counts as no answer.
const GET_MAX: Duration = Duration::from_secs(10);

/// A client of one server. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    origin: String,
    key: String,
}

impl Client {
    pub fn new(origin: &str, key: &str) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new())
            .retry_canceled_requests(false)
            .build(tcp);
        Self {
            pool,
            origin: origin.to_owned(),
            key: key.to_owned(),
        }
    }

    /// The server's URL without a path.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The same call as bytes on a connection of its own, for readers that do not behave as HTTP clients do.
    pub fn raw_post(&self, path: &str, body: &str) -> (SocketAddr, String) {
        let (_, authority) = self.origin.split_once("//").expect("an origin");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {}\r\n",
            self.key
        );
        let length = format!(
            "content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        (authority.parse().expect("an address"), [&head, &length, body].concat())
    }

    /// Sends a call and returns the head of its answer, or what went wrong with the connection.
    pub async fn post(&self, path: &str, body: String) -> Result<Response<Incoming>, String> {
        let request = self.request(Method::POST, path, Bytes::from(body));
        self.pool.request(request).await.map_err(|error| chain(&error))
    }

    /// The answer at `path` if it is a good one: JSON, or a text as a JSON string.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let answered = async {
            let request = self.request(Method::GET, path, Bytes::new());
            let response = self
                .pool
                .request(request)
                .await
                .ok()
                .filter(|response| response.status().is_success())?;
            let body = response.into_body().collect().await.ok()?.to_bytes();
            let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
            Some(serde_json::from_slice(&body).unwrap_or_else(|_| text()))
        };
        tokio::time::timeout(GET_MAX, answered).await.ok().flatten()
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.origin));
        let request = request
            .header(AUTHORIZATION, format!("Bearer {}", self.key))
            .header(CONTENT_TYPE, "application/json");
        request.body(Full::new(body)).expect("a request of plain letters")
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
