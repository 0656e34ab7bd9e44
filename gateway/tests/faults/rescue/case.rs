//! What is asked and what goes wrong.

use std::fmt;

use filature_loadtest::engine::SEPARATOR;
use serde_json::{Value, json};

use super::TOKENS;
use crate::stack::MODEL;

/// Prompts in use.
pub const PROMPTS: usize = 8;
/// Milliseconds between two tokens that a slow provider is forgiven.
const SLOW_MS: u32 = 25;
/// The same beyond all patience: it is taken for silent.
const CRAWL_MS: u32 = 20_000;

/// Which API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Chat,
    Completion,
}

impl Endpoint {
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completion => "/v1/completions",
        }
    }

    /// Events of a stream before its first token.
    const fn opening(self) -> u32 {
        match self {
            Self::Chat => 1,
            Self::Completion => 0,
        }
    }
}

/// What the rules promise of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The first provider's answer is good enough.
    Untouched,
    /// Another provider gives the whole answer.
    Retried,
    /// Another provider goes on.
    Rescued,
}

/// One call and its fault.
#[derive(Debug, Clone)]
pub struct Case {
    /// The fault's name at the engine; empty for none.
    pub kind: &'static str,
    /// Its name in the table, where that differs.
    pub name: &'static str,
    /// The event it happens at.
    pub at: u32,
    pub stream: bool,
    pub endpoint: Endpoint,
    pub prompt: usize,
    /// Whether some tokens are white space or end in it.
    pub spaces: bool,
    /// Whether the engines strip what they continue.
    pub trim: bool,
    pub tokens: u32,
    /// Whether the caller's limit is as long as the answer.
    pub is_tight: bool,
    attempts: Vec<u32>,
    ms: Option<u32>,
    more: Value,
}

impl Case {
    /// The `number`-th with this fault in its first attempt. White space and prompts go by the number.
    pub fn new(kind: &'static str, at: u32, stream: bool, endpoint: Endpoint, number: usize) -> Self {
        Self {
            kind,
            name: kind,
            at,
            stream,
            endpoint,
            prompt: number % PROMPTS,
            spaces: number.is_multiple_of(2),
            trim: number.is_multiple_of(3),
            is_tight: number % 5 < 2,
            tokens: TOKENS,
            attempts: vec![1],
            ms: None,
            more: json!({}),
        }
    }

    /// A short one without a fault.
    pub fn healthy(number: usize) -> Self {
        let endpoint = if number.is_multiple_of(2) {
            Endpoint::Chat
        } else {
            Endpoint::Completion
        };
        Self {
            tokens: 6,
            attempts: Vec::new(),
            ..Self::new("", 0, true, endpoint, number)
        }
    }

    /// With these attempts going wrong.
    pub fn on_attempts(mut self, attempts: &[u32]) -> Self {
        self.attempts = attempts.to_vec();
        self
    }

    /// With these fields of the request besides.
    pub fn with(mut self, more: Value) -> Self {
        self.more = more;
        self
    }

    fn slow(mut self, name: &'static str, ms: u32) -> Self {
        (self.name, self.ms) = (name, Some(ms));
        self
    }

    /// The request's body.
    pub fn body(&self) -> String {
        let mut sim = json!({ "tokens": self.tokens, "spaces": self.spaces, "trim": self.trim });
        if !self.kind.is_empty() {
            sim["fault"] = json!({ "kind": self.kind, "at": self.at, "attempts": self.attempts });
            if let Some(ms) = self.ms {
                sim["fault"]["ms"] = json!(ms);
            }
        }
        let mut body = json!({ "model": MODEL, "sim": sim });
        match self.endpoint {
            Endpoint::Chat => body["messages"] = json!([{ "role": "user", "content": question(self.prompt) }]),
            Endpoint::Completion => {
                let separator: String = serde_json::from_str(&format!("\"{SEPARATOR}\"")).expect("JSON");
                body["prompt"] = json!(question(self.prompt) + &separator);
            }
        }
        if self.stream {
            body["stream"] = json!(true);
            body["stream_options"] = json!({ "include_usage": true });
            if self.is_tight {
                // What is left after a break is then told exactly.
                body["max_tokens"] = json!(self.tokens);
            }
        } else {
            // An answer in one piece that stalls is waited for as long as its limit may take.
            body["max_tokens"] = json!(self.tokens + 8);
        }
        let fields = self.more.as_object().expect("fields").clone();
        body.as_object_mut().expect("an object").extend(fields);
        body.to_string()
    }

    /// What the rules promise.
    pub fn expected(&self) -> Expected {
        let tokens_before = self.at.saturating_sub(self.endpoint.opening());
        let is_slow = self.kind == "slow_down";
        match (self.stream, self.kind) {
            (_, "") => Expected::Untouched,
            (false, "slow_down") => Expected::Untouched,
            (false, _) => Expected::Retried,
            (true, _) if is_slow && self.name == "slow-down" => Expected::Untouched,
            (true, "http_500" | "http_429" | "html" | "empty" | "hang") => Expected::Retried,
            // A role alone is not an answer yet.
            (true, _) if tokens_before == 0 => Expected::Retried,
            (true, _) if tokens_before < self.tokens => Expected::Rescued,
            // All that the caller's limit allows is there.
            (true, _) if tokens_before == self.tokens && self.is_tight => Expected::Untouched,
            (true, _) if tokens_before == self.tokens => Expected::Rescued,
            // Tokens and finish reason are there; what follows them the gateway can say itself.
            (true, _) => Expected::Untouched,
        }
    }

    /// Whether an engine meets the fault for certain: after the finish reason it may have been left before it comes so far.
    pub fn must_happen(&self) -> bool {
        !self.kind.is_empty() && (!self.stream || self.at <= self.tokens + self.endpoint.opening())
    }

    /// Whether it breaks before the usage, and nobody else is asked for it: all that may be said has been.
    pub fn loses_usage(&self) -> bool {
        let tokens = self.tokens + self.endpoint.opening();
        let is_last = self.at == tokens + 1 || (self.at == tokens && self.is_tight);
        !self.kind.is_empty() && self.stream && is_last
    }

    /// Whether bytes that were on their way may be lost with the connection.
    pub fn loses_bytes(&self) -> bool {
        matches!(self.kind, "reset" | "close")
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = if self.stream { "stream" } else { "whole" };
        let (spaces, trim, tight) = (self.spaces, self.trim, self.is_tight);
        write!(
            f,
            "{} at {} ({:?}, {stream}, prompt {}, spaces {spaces}, trim {trim}, tight {tight})",
            self.name, self.at, self.endpoint, self.prompt
        )
    }
}

/// The text of a prompt.
pub fn question(number: usize) -> String {
    format!(
        "Question {number}: what does the worm say?{}",
        " And then?".repeat(number)
    )
}

/// Every fault at every place, streamed and not, on both endpoints.
pub fn every() -> Vec<Case> {
    let mut cases = Vec::new();
    for endpoint in [Endpoint::Chat, Endpoint::Completion] {
        // Role, tokens, finish reason, usage, [DONE].
        let events = endpoint.opening() + TOKENS + 3;
        let mut add = |kind, at, stream| cases.push(Case::new(kind, at, stream, endpoint, cases.len()));
        for at in 0..events {
            for kind in [
                "close",
                "reset",
                "stall",
                "truncate",
                "half_frame",
                "garbage",
                "ok_with_error",
            ] {
                add(kind, at, true);
            }
        }
        for at in 1..events {
            for kind in ["close", "reset", "truncate", "half_frame"] {
                add(kind, at, false);
            }
        }
        for at in [1, 20, events - 1] {
            add("stall", at, false);
        }
        for stream in [true, false] {
            for kind in ["http_500", "http_429", "html", "empty", "hang"] {
                add(kind, 0, stream);
            }
        }
        for kind in ["close", "reset", "garbage", "ok_with_error"] {
            add(kind, 0, false);
        }
        for at in endpoint.opening()..endpoint.opening() + TOKENS {
            let case = |number| Case::new("slow_down", at, true, endpoint, number);
            cases.push(case(cases.len()).slow("slow-down", SLOW_MS));
            cases.push(case(cases.len()).slow("crawl", CRAWL_MS));
        }
        let whole = Case::new("slow_down", 0, false, endpoint, cases.len());
        cases.push(whole.slow("slow-down", SLOW_MS));
    }
    cases
}

/// Fields that make a call one that cannot be continued.
pub fn unsound() -> Vec<Value> {
    let schema = json!({ "type": "object", "properties": {
        "name": { "type": "string" }, "place": { "type": "string" }, "year": { "type": "integer" } } });
    let tool = json!({ "type": "function", "function": { "name": "look", "parameters": schema } });
    vec![
        json!({ "tools": [tool], "tool_choice": "required" }),
        json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": schema } } }),
        json!({ "logprobs": true, "top_logprobs": 1 }),
        json!({ "n": 2 }),
    ]
}
