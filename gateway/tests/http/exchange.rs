//! Sends requests as bytes and writes down the whole answers, with what differs from run to run replaced by its name.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::Gateway;

const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Longer bodies are written down by their length only.
const SHOWN_BYTES_MAX: usize = 6_000;
/// What follows `gen-0` in the id of a call: 25 of its 26 characters.
const ID_REST_BYTES: usize = 25;
/// Headers whose value differs from run to run.
const VARIABLE_HEADERS: &[&str] = &["content-length", "date", "x-request-id", "x-generation-id"];
/// Fields whose value differs from run to run.
const VARIABLE_FIELDS: &[&str] = &[
    "id",
    "created",
    "created_at",
    "label",
    "latency",
    "generation_time",
    "call",
    "account",
    "key",
    "created_ms",
    "ended_ms",
    "first_token_ms",
    "gateway",
    "signature",
    "nonce",
    "nonce_hash",
    "request_hash",
    "response_hash",
];

/// What was asked and answered, as text.
pub struct Exchanges<'a> {
    gateway: std::marker::PhantomData<&'a Gateway>,
    port: u16,
    key: String,
    text: String,
}

/// One answer, taken apart.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }
}

impl<'a> Exchanges<'a> {
    pub fn new(gateway: &'a Gateway) -> Self {
        Self {
            gateway: std::marker::PhantomData,
            port: gateway.port,
            key: gateway.key.clone(),
            text: String::new(),
        }
    }

    /// From now on with this key; empty for none.
    pub fn with_key(&mut self, key: &str) {
        key.clone_into(&mut self.key);
    }

    /// GETs a path and writes the exchange down.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.exchange(&format!("GET {path}"), "", b"").await
    }

    /// Asks another port from now on.
    pub fn at_port(&mut self, port: u16) {
        self.port = port;
    }

    /// POSTs a body and writes the exchange down.
    pub async fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.exchange(&format!("POST {path}"), "", body.as_ref()).await
    }

    /// Sends any method with any headers (whole lines) and writes the exchange down.
    pub async fn exchange(&mut self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let mut head = format!("{line} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n{headers}");
        if !self.key.is_empty() {
            let _ = write!(head, "authorization: Bearer {}\r\n", self.key);
        }
        if !body.is_empty() && !headers.contains("content-length") {
            let _ = write!(
                head,
                "content-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            );
        }
        head.push_str("\r\n");
        let answer = self.send(&[head.as_bytes(), body].concat()).await;
        self.write(line, body, &answer);
        answer
    }

    /// Everything so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    async fn send(&self, request: &[u8]) -> Answer {
        let sent = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
                .await
                .expect("a connection");
            stream.write_all(request).await.expect("sent");
            let mut bytes = Vec::new();
            // A gateway that refuses a body unread closes with a reset; what it said came before.
            let _ = stream.read_to_end(&mut bytes).await;
            bytes
        };
        let bytes = tokio::time::timeout(ANSWER_MAX, sent).await.expect("an answer in time");
        parse(&bytes)
    }

    fn write(&mut self, line: &str, body: &[u8], answer: &Answer) {
        let _ = write!(self.text, "> {}", without_id(line));
        if !body.is_empty() {
            let body = String::from_utf8_lossy(body);
            let shown = if body.len() > 600 {
                format!("({} bytes)", body.len())
            } else {
                body.into_owned()
            };
            let _ = write!(
                self.text,
                "\n> {}",
                shown.escape_debug().to_string().replace("\\\"", "\"")
            );
        }
        let _ = writeln!(self.text, "\n< {}", answer.status);
        for (name, value) in &answer.headers {
            let value = if VARIABLE_HEADERS.contains(&name.as_str()) {
                "…"
            } else {
                value
            };
            let _ = writeln!(self.text, "< {name}: {value}");
        }
        let _ = writeln!(self.text, "{}\n", shown_body(answer));
    }
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a whole head");
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: Vec<_> = headers
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut body = bytes[end + 4..].to_vec();
    if headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked")
    {
        body = unchunked(&body);
    }
    Answer { status, headers, body }
}

/// A body in HTTP/1.1's chunks put together. Fails if its end is missing.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest
            .windows(2)
            .position(|window| window == b"\r\n")
            .expect("a chunk's length");
        let length = std::str::from_utf8(&rest[..end]).expect("digits");
        let length = usize::from_str_radix(length, 16).expect("a number");
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 2 + length + 2..];
    }
}

fn shown_body(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    if text.len() > SHOWN_BYTES_MAX {
        return "(long)".to_owned();
    }
    if answer.header("content-type").starts_with("text/event-stream") {
        let lines = text.lines().filter(|line| !line.is_empty());
        return lines.map(|line| stable_line(line) + "\n").collect();
    }
    match serde_json::from_str(&text) {
        Ok(body) => serde_json::to_string_pretty(&stable(body)).expect("JSON"),
        Err(_) => text.into_owned(),
    }
}

fn stable_line(line: &str) -> String {
    match line.strip_prefix("data: ").map(serde_json::from_str) {
        Some(Ok(chunk)) => format!("data: {}", stable(chunk)),
        _ => line.to_owned(),
    }
}

/// The same JSON with the values that differ from run to run replaced.
fn stable(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| {
                    let varies = VARIABLE_FIELDS.contains(&name.as_str()) && !is_lasting(&name, &value);
                    let value = if varies {
                        Value::String(format!("[{name}]"))
                    } else {
                        stable(value)
                    };
                    (name, value)
                })
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(stable).collect(),
        Value::String(text) => Value::String(without_id(&text)),
        other => other,
    }
}

/// Models keep their ids, prices of a call are no calls, and nothing is nothing.
fn is_lasting(name: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with("sim-"),
        Value::Number(_) => name == "call",
        other => other.is_null(),
    }
}

/// A text without the id of the call that this run made.
fn without_id(text: &str) -> String {
    match text.split_once("gen-0") {
        Some((before, rest)) if rest.len() >= ID_REST_BYTES => format!("{before}[id]{}", &rest[ID_REST_BYTES..]),
        _ => text.to_owned(),
    }
}
