//! What engines send, as recorded or as their sources write it, and what is billed for it.
//!
//! Every stream goes the way it goes in a call: bytes through the event decoder, chunks through `openapi` into the meter
//! and the gathered texts, then the rule. Each engine's own forms are in `engines`; what no honest engine sends is in
//! `hostile`.

mod engines;
mod hostile;

use std::sync::Arc;

use bytes::Bytes;
use filature_billing::{Price, Tokens};
use filature_openapi::answer::parse_answer;
use filature_openapi::call::{CallView, Endpoint, parse_call};
use filature_openapi::chunk::parse_chunk;
use filature_openapi::sse::{self, EventDecoder};

use super::output::OutputText;
use super::prompt::PromptText;
use super::samples;
use crate::request::count::Count;
use crate::request::meter::{Meter, Terms};
use crate::request::size::prompt_bound;

/// The text every engine is made to write: ten tokens, and four more may have left no trace.
const DOG: &str = "The quick brown fox jumps over the lazy dog.";
/// The most that is billed for it: 10 + 4 + 5 % + 16.
const DOG_MOST: u64 = 31;
/// The request: three tokens; its template may add 72, but 51 is the bound by bytes, which the hold is made for.
const CHAT: &str = r#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"hello world"}]}"#;
const CHAT_TOKENS: u64 = 3;
const CHAT_MOST: u64 = 51;
/// The same as a completion: two tokens.
const TEXT: &str = r#"{"model":"m","max_tokens":50,"prompt":"hello world"}"#;

/// Prompt, cached prompt, completion, reasoning.
type Bill = [u64; 4];

/// One call and what its engine sent.
struct Case {
    endpoint: Endpoint,
    body: &'static str,
    meter: Meter,
}

impl Case {
    fn new(endpoint: Endpoint, body: &'static str) -> Self {
        let view = parse_call(endpoint, body.as_bytes()).expect("a good body");
        Self {
            endpoint,
            body,
            meter: Meter {
                text: Some(Box::new(OutputText::new(view.n))),
                ..Meter::default()
            },
        }
    }

    fn view(&self) -> CallView {
        parse_call(self.endpoint, self.body.as_bytes()).expect("a good body")
    }

    fn stream(mut self, bytes: &str) -> Self {
        let mut decoder = EventDecoder::new(1 << 20);
        decoder.push(Bytes::copy_from_slice(bytes.as_bytes()));
        while let Some(event) = decoder.next_event().expect("events") {
            let Some(data) = event.data.filter(|data| data.as_ref() != sse::DONE) else {
                continue;
            };
            let view = parse_chunk(&data).unwrap_or_else(|bad| panic!("{bad}: {data:?}"));
            self.meter.event(&view, &data);
        }
        self
    }

    fn answer(mut self, body: &str) -> Self {
        let view = parse_answer(self.endpoint, body.as_bytes()).expect("an answer");
        let text = OutputText::whole(view.choices, Bytes::copy_from_slice(body.as_bytes())).opened();
        self.meter = Meter {
            text: Some(Box::new(text)),
            ..Meter::whole(&view)
        };
        self
    }

    /// What is billed where reasoning costs as much as everything else.
    fn billed(&self) -> Tokens {
        let tokenizer = samples::o200k();
        let view = self.view();
        let prompt = PromptText {
            endpoint: self.endpoint,
            body: Bytes::from_static(self.body.as_bytes()),
        };
        let text = self.meter.text.as_ref().expect("gathered");
        let count = Count {
            tokenizer: Arc::new(samples::new_o200k()),
            prompt: Some(prompt.count(tokenizer, &|| true).expect("counts")),
            output: text.count(tokenizer, &|| true).expect("counts"),
        };
        let terms = Terms {
            prompt: true,
            prompt_tokens_max: prompt_bound(&view),
            output_tokens_max: view.output_tokens_max.expect("set"),
            price: &Price::default(),
            count: Some(&count),
        };
        self.meter.bill(&view, &terms).billed
    }

    #[track_caller]
    fn check(&self, expected: Bill) {
        let tokens = self.billed();
        let found = [tokens.prompt, tokens.cached_prompt, tokens.completion, tokens.reasoning];
        assert_eq!(found, expected, "claimed {:?}", self.meter.claim);
    }
}

fn chat() -> Case {
    Case::new(Endpoint::ChatCompletions, CHAT)
}

/// A stream whose events wrap `payloads`, ended by `[DONE]`.
fn events(payloads: &[&str]) -> String {
    let mut stream: String = payloads.iter().map(|data| format!("data: {data}\n\n")).collect();
    stream.push_str("data: [DONE]\n\n");
    stream
}

/// [`DOG`] in plain chunks of a few letters each, then `last`.
fn dog_then(last: &[&str]) -> String {
    let chunk = |text: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#);
    let chunks: Vec<String> = DOG
        .split_inclusive(' ')
        .map(chunk)
        .chain(last.iter().map(|last| (*last).to_owned()))
        .collect();
    events(&chunks.iter().map(String::as_str).collect::<Vec<_>>())
}
