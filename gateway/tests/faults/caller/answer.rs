//! Reads one answer as it comes and judges it: whole, broken with a word, refused, cut off, or wrong.

use filature_openapi::sse::{DONE, EventDecoder};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use super::client::chain;
use super::{Ask, Client, Ending, Leave, Scripts};
use crate::load::Progress;

/// No event of a simulated engine is longer.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// What a caller has when its call ends, in whatever way.
#[derive(Debug, Default)]
pub struct Seen {
    pub id: Option<String>,
    pub tokens: u32,
}

/// Makes the call and lives through its answer.
pub async fn live(client: &Client, scripts: &Scripts, ask: &Ask, progress: &Progress, seen: &mut Seen) -> Ending {
    let response = match client.post("/v1/chat/completions", ask.body()).await {
        Ok(response) => response,
        Err(error) => return Ending::CutOff(error),
    };
    progress.note();
    seen.id = header(response.headers(), "x-request-id");
    if response.status() != StatusCode::OK {
        return refused(response).await;
    }
    let named = header(response.headers(), "x-generation-id");
    if named.is_none() || named != seen.id {
        return Ending::Wrong(format!("the answer's ids are {named:?} and {:?}", seen.id));
    }
    if ask.stream {
        Stream::new(ask, scripts)
            .read(response.into_body(), progress, seen)
            .await
    } else {
        whole(ask, scripts, response.into_body(), seen).await
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

async fn refused(response: Response<Incoming>) -> Ending {
    let status = response.status().as_u16();
    let body = match response.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Ending::CutOff(chain(&error)),
    };
    let envelope: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (
        envelope["error"]["message"].as_str(),
        envelope["error"]["code"].as_str(),
    ) {
        (Some(_), Some(code)) => Ending::Refused {
            status,
            code: code.to_owned(),
        },
        _ => Ending::Wrong(format!("status {status} without an error in OpenAI's form: {body:?}")),
    }
}

async fn whole(ask: &Ask, scripts: &Scripts, body: Incoming, seen: &mut Seen) -> Ending {
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Ending::CutOff(chain(&error)),
    };
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let choice = &answer["choices"][0];
    let is_right = choice["message"]["content"] == scripts.text(ask.prompt, ask.tokens).as_str()
        && choice["finish_reason"] == "stop"
        && answer["usage"]["completion_tokens"] == ask.tokens;
    if !is_right {
        return Ending::Wrong(format!("not the answer to {ask:?}: {answer}"));
    }
    seen.tokens = ask.tokens;
    Ending::Complete
}

/// A stream as far as it has come.
struct Stream<'a> {
    ask: &'a Ask,
    scripts: &'a Scripts,
    decoder: EventDecoder,
    events: u32,
    text: String,
    finish: Option<String>,
    /// The code of an error chunk.
    error: Option<String>,
    usage: Option<u64>,
    done: bool,
}

impl<'a> Stream<'a> {
    fn new(ask: &'a Ask, scripts: &'a Scripts) -> Self {
        Self {
            ask,
            scripts,
            decoder: EventDecoder::new(EVENT_BYTES_MAX),
            events: 0,
            text: String::new(),
            finish: None,
            error: None,
            usage: None,
            done: false,
        }
    }

    async fn read(mut self, mut body: Incoming, progress: &Progress, seen: &mut Seen) -> Ending {
        loop {
            let cut = match body.frame().await {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    progress.note();
                    self.decoder.push(data);
                    if let Err(wrong) = self.take(seen) {
                        return Ending::Wrong(format!("{wrong}, in answer to {:?}", self.ask));
                    }
                    if matches!(self.ask.leave, Leave::AfterEvents(events) if self.events >= events && !self.done) {
                        return Ending::Left;
                    }
                    continue;
                }
                Some(Err(error)) => Some(chain(&error)),
                None => None,
            };
            return self.judge(cut);
        }
    }

    /// Takes every whole event that has come.
    fn take(&mut self, seen: &mut Seen) -> Result<(), String> {
        while let Some(event) = self.decoder.next_event().map_err(|error| error.to_string())? {
            let Some(data) = event.data else { continue };
            if self.done {
                return Err("something came after [DONE]".to_owned());
            }
            self.events += 1;
            if data == DONE {
                self.done = true;
                continue;
            }
            let chunk: Value = serde_json::from_slice(&data).map_err(|error| format!("{error}: {data:?}"))?;
            self.take_chunk(&chunk, seen)?;
        }
        Ok(())
    }

    fn take_chunk(&mut self, chunk: &Value, seen: &mut Seen) -> Result<(), String> {
        if self.finish.is_some() && chunk["choices"].as_array().is_some_and(|choices| !choices.is_empty()) {
            return Err("a choice came after the finish reason".to_owned());
        }
        let choice = &chunk["choices"][0];
        if let Some(piece) = choice["delta"]["content"].as_str().filter(|piece| !piece.is_empty()) {
            self.text.push_str(piece);
            seen.tokens += 1;
            let is_right =
                seen.tokens <= self.ask.tokens && self.text == self.scripts.text(self.ask.prompt, seen.tokens);
            if !is_right {
                return Err(format!("the wrong text came: {}", self.text));
            }
        }
        self.finish = choice["finish_reason"]
            .as_str()
            .map(str::to_owned)
            .or(self.finish.take());
        self.error = chunk["error"]["code"].as_str().map(str::to_owned).or(self.error.take());
        self.usage = chunk["usage"]["completion_tokens"].as_u64().or(self.usage.take());
        Ok(())
    }

    /// The stream is over; `cut` is what the connection broke with.
    fn judge(self, cut: Option<String>) -> Ending {
        if !self.done {
            return match cut {
                Some(error) => Ending::CutOff(error),
                None => Ending::Wrong(format!(
                    "a silent truncation after {} events of {:?}",
                    self.events, self.ask
                )),
            };
        }
        if let Some(code) = self.error {
            return match self.finish.as_deref() {
                Some("error") => Ending::Broken { code },
                other => Ending::Wrong(format!("an error chunk with the finish reason {other:?}")),
            };
        }
        let whole = self.text == self.scripts.text(self.ask.prompt, self.ask.tokens);
        let usage = self.ask.include_usage.then(|| u64::from(self.ask.tokens));
        if !whole || self.finish.as_deref() != Some("stop") || self.usage != usage {
            let told = (self.finish, self.usage);
            return Ending::Wrong(format!(
                "a made-up end {told:?} after {} events of {:?}",
                self.events, self.ask
            ));
        }
        Ending::Complete
    }
}
