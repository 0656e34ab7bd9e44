//! One request to one endpoint, over the workspace's own HTTP client.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::StatusCode;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use std::time::Duration;

use super::endpoint::{BadEndpoint, Endpoint};
use crate::chain::ChainError;

/// Longest answer, in bytes: a page of transactions that pay 254 each takes a third of it.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Characters of an endpoint's words that are kept.
const REASON_CHARS_MAX: usize = 300;
/// A connection that is not made by then is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// What is asked, of whichever endpoint.
pub(super) struct Request {
    /// The method's name and the question behind it.
    method: String,
    body: Option<String>,
}

impl Request {
    pub(super) fn get(method: &str, parameters: &[(&str, String)]) -> Self {
        let start = format!("{method}?");
        let end = start.len();
        let mut query = form_urlencoded::Serializer::for_suffix(start, end);
        query.extend_pairs(parameters);
        Self {
            method: query.finish(),
            body: None,
        }
    }

    pub(super) fn post(method: &str, body: &serde_json::Value) -> Self {
        Self {
            method: method.to_owned(),
            body: Some(body.to_string()),
        }
    }
}

/// The client all endpoints share.
#[derive(Debug)]
pub(super) struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Http {
    pub(super) fn new() -> Result<Self, BadEndpoint> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| BadEndpoint::Tls(error.to_string()))?;
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(https.https_or_http().enable_http1().wrap_connector(tcp));
        Ok(Self(client))
    }

    /// The body of a successful answer.
    pub(super) async fn ask(&self, endpoint: &Endpoint, request: &Request) -> Result<Bytes, ChainError> {
        let unavailable =
            |error: &dyn std::error::Error| ChainError::Unavailable(format!("{endpoint}: {}", why(error)));
        let mut asked = hyper::Request::builder()
            .method(if request.body.is_some() { "POST" } else { "GET" })
            .uri(endpoint.url(&request.method))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = endpoint.key() {
            asked = asked.header("x-api-key", key);
        }
        let body = request.body.clone().unwrap_or_default();
        let asked = asked.body(Full::from(body)).map_err(|error| unavailable(&error))?;
        let (head, body) = self
            .0
            .request(asked)
            .await
            .map_err(|error| unavailable(&error))?
            .into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body
            .map_err(|error| ChainError::Damaged(format!("{endpoint}: {error}")))?
            .to_bytes();
        if head.status.is_success() {
            return Ok(body);
        }
        Err(failure(endpoint, head.status, &body))
    }
}

/// An error with what caused it: hyper's own says little.
fn why(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[derive(Deserialize)]
struct Failure {
    error: String,
}

/// What an answer without success means.
fn failure(endpoint: &Endpoint, status: StatusCode, body: &[u8]) -> ChainError {
    let said = serde_json::from_slice::<Failure>(body)
        .map(|failure| failure.error)
        .unwrap_or_default();
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let reason: String = said.chars().take(REASON_CHARS_MAX).map(plain).collect();
    let by_the_chain = ["not accepted", "cannot apply external message", "duplicate message"];
    let by_the_chain = by_the_chain.iter().any(|words| said.contains(words));
    if by_the_chain || status == StatusCode::BAD_REQUEST || status == StatusCode::UNPROCESSABLE_ENTITY {
        let exit_code = exit_code(&said);
        return ChainError::Refused { exit_code, reason };
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            ChainError::Unavailable(format!("{endpoint} refuses the API key ({status}): {reason}"))
        }
        _ => ChainError::Unavailable(format!("{endpoint} answered {status}: {reason}")),
    }
}

/// The contract's exit code among a node's words, such as `exitcode=133, steps=20` or `exit code 133`.
fn exit_code(words: &str) -> Option<i32> {
    let (_, rest) = words
        .split_once("exitcode=")
        .or_else(|| words.split_once("exit code "))?;
    let end = rest
        .char_indices()
        .find(|(place, c)| !(c.is_ascii_digit() || (*place == 0 && *c == '-')));
    let (code, _) = rest.split_at_checked(end.map_or(rest.len(), |(place, _)| place))?;
    code.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, said: &str, wanted: &str) {
        let endpoint = Endpoint::parse("https://a.b", None).expect("an endpoint");
        let status = StatusCode::from_u16(status).expect("a status");
        let failed = failure(&endpoint, status, said.as_bytes());
        assert_eq!(format!("{failed:?}"), wanted);
    }

    #[test]
    fn failures_are_told_apart() {
        check(
            500,
            r#"{"error":"LITE_SERVER_UNKNOWN: cannot apply external message to current state : External message was not accepted\nCannot run message on account: inbound external message rejected by transaction A:\nexitcode=133, steps=20, gas_used=0"}"#,
            "Refused { exit_code: Some(133), reason: \"LITE_SERVER_UNKNOWN: cannot apply external message to current state \
             : External message was not accepted Cannot run message on account: inbound external message rejected by \
             transaction A: exitcode=133, steps=20, gas_used=0\" }",
        );
        check(422, r#"{"error":"no"}"#, r#"Refused { exit_code: None, reason: "no" }"#);
        check(
            429,
            r#"{"ok":false,"error":"Ratelimit exceeded","code":429}"#,
            r#"Unavailable("https://a.b answered 429 Too Many Requests: Ratelimit exceeded")"#,
        );
        check(
            403,
            "<html>",
            r#"Unavailable("https://a.b refuses the API key (403 Forbidden): ")"#,
        );
        check(200, "", r#"Unavailable("https://a.b answered 200 OK: ")"#);
    }

    #[test]
    fn an_exit_code_is_found_among_words() {
        for (words, code) in [
            ("exitcode=-14, steps", Some(-14)),
            ("terminating vm with exit code 133", Some(133)),
            ("exitcode=", None),
            ("exitcode=99999999999", None),
            ("exitcode=é", None),
            ("", None),
        ] {
            assert_eq!(exit_code(words), code, "{words}");
        }
    }

    #[test]
    fn a_question_is_written_into_the_url() {
        let request = Request::get("accountStates", &[("address", "0:ab".into()), ("x", "a b&c".into())]);
        assert_eq!(request.method, "accountStates?address=0%3Aab&x=a+b%26c");
        assert_eq!(Request::get("masterchainInfo", &[]).method, "masterchainInfo?");
    }
}
