//! What a caller heard, and whether it is one answer: one id, one role, one finish reason, one usage, one end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use filature_openapi::sse::{DONE, EventDecoder};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;

use super::case::Case;
use super::truth::text_of;
use crate::caller::Client;

/// A call that has not ended after this long is taken to hang for ever.
const CALL_MAX: Duration = Duration::from_secs(60);
/// No event of a simulated engine is longer.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Where the gateway says that one provider went on from another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Splice {
    pub at_byte: u64,
    pub provider: String,
}

/// Everything that came.
#[derive(Debug, Default)]
pub struct Heard {
    /// The gateway's name for the call.
    pub call: String,
    pub status: u16,
    pub stream: bool,
    ids: BTreeSet<String>,
    /// Text by text, as it came.
    pub pieces: Vec<String>,
    roles: usize,
    finishes: Vec<String>,
    pub usage: Option<Value>,
    usages: usize,
    errors: Vec<Value>,
    pub splices: Vec<Splice>,
    dones: usize,
    /// Something that no stream may hold.
    odd: Option<String>,
    choices: BTreeSet<u64>,
    /// The longest time between two pieces of text.
    pub pause_max: Duration,
    /// When the first piece of text came, in microseconds since 1970.
    pub first_us: Option<u64>,
    last: Option<Instant>,
}

impl Heard {
    pub fn text(&self) -> String {
        self.pieces.concat()
    }

    /// Nothing stands in the answer twice.
    pub fn one_stream(&self) -> Result<(), String> {
        if let Some(odd) = &self.odd {
            return Err(odd.clone());
        }
        if self.status != 200 {
            return Err(format!("status {}", self.status));
        }
        if self.ids.len() != 1 {
            return Err(format!("ids {:?}", self.ids));
        }
        let choices = self.choices.len();
        if self.roles > choices || self.usages > 1 || self.dones != usize::from(self.stream) {
            let counts = (self.roles, self.usages, self.dones);
            return Err(format!("roles, usages and ends: {counts:?}"));
        }
        Ok(())
    }

    /// It is there to its end.
    pub fn is_whole(&self) -> Result<(), String> {
        if !self.errors.is_empty() {
            return Err(format!("errors {:?}", self.errors));
        }
        let is_whole = self.finishes.len() == self.choices.len() && !self.finishes.iter().any(|why| why == "error");
        if !is_whole || self.usages != 1 {
            return Err(format!("finish reasons {:?}, {} usages", self.finishes, self.usages));
        }
        Ok(())
    }

    /// It broke off and says so, once, in OpenAI's form.
    pub fn is_told_broken(&self) -> Result<(), String> {
        self.one_stream()?;
        let [error] = self.errors.as_slice() else {
            return Err(format!("errors {:?}", self.errors));
        };
        let is_told = error["message"].is_string() && error["code"] == "provider_error";
        match is_told && self.finishes.last().is_some_and(|why| why == "error") {
            true => Ok(()),
            false => Err(format!("{error}, {:?}", self.finishes)),
        }
    }

    fn chunk(&mut self, chunk: &Value, came: Instant) {
        self.ids.extend(chunk["id"].as_str().map(str::to_owned));
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            self.choices.extend(choice["index"].as_u64());
            self.roles += usize::from(choice["delta"]["role"].is_string());
            if let Some(text) = text_of(choice).filter(|text| !text.is_empty()) {
                if !self.finishes.is_empty() && self.choices.len() == 1 {
                    self.odd = Some("text after the finish reason".to_owned());
                }
                self.pieces.push(text.to_owned());
                if let Some(before) = self.last.replace(came) {
                    self.pause_max = self.pause_max.max(came - before);
                } else {
                    self.first_us = Some(now_us());
                }
            }
            self.finishes
                .extend(choice["finish_reason"].as_str().map(str::to_owned));
        }
        if chunk["usage"].is_object() {
            self.usages += 1;
            self.usage = Some(chunk["usage"].clone());
        }
        if chunk["error"].is_object() {
            self.errors.push(chunk["error"].clone());
        }
        if let Some(told) = chunk.get("filature") {
            match serde_json::from_value(told["splices"].clone()) {
                Ok(splices) if self.splices.is_empty() => self.splices = splices,
                other => self.odd = Some(format!("told of splices: {other:?}")),
            }
        }
    }
}

/// Microseconds since 1970, the engines' clock.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_micros()).expect("some centuries")
}

/// Makes the call and hears all of its answer.
pub async fn hear(client: &Client, case: &Case) -> Heard {
    let mut heard = Heard {
        stream: case.stream,
        ..Heard::default()
    };
    let lived = tokio::time::timeout(CALL_MAX, listen(client, case, &mut heard)).await;
    match lived {
        Ok(Ok(())) => {}
        Ok(Err(wrong)) => heard.odd = Some(wrong),
        Err(_) => heard.odd = Some(format!("it did not end in {CALL_MAX:?}")),
    }
    heard
}

async fn listen(client: &Client, case: &Case, heard: &mut Heard) -> Result<(), String> {
    let response = client.post(case.endpoint.path(), case.body()).await?;
    let id = response.headers().get("x-request-id");
    heard.call = id.and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    heard.status = response.status().as_u16();
    if case.stream && heard.status == 200 {
        return stream(response.into_body(), heard).await;
    }
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())?;
    heard.chunk(&answer, Instant::now());
    Ok(())
}

async fn stream(mut body: Incoming, heard: &mut Heard) -> Result<(), String> {
    let mut decoder = EventDecoder::new(EVENT_BYTES_MAX);
    while let Some(frame) = body.frame().await {
        let came = Instant::now();
        let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else {
            continue;
        };
        decoder.push(data);
        while let Some(event) = decoder.next_event().map_err(|error| error.to_string())? {
            let Some(data) = event.data else { continue };
            if heard.dones > 0 {
                return Err("something came after [DONE]".to_owned());
            }
            if data == DONE {
                heard.dones += 1;
                continue;
            }
            let chunk: Value = serde_json::from_slice(&data).map_err(|error| format!("{error}: {data:?}"))?;
            heard.chunk(&chunk, came);
        }
    }
    Ok(())
}
