//! One caller's side of one call: what is asked, what comes, and how it ended in the caller's eyes.

mod answer;
mod client;
mod script;
mod slow;

use std::time::{Duration, Instant};

use filature_billing::CallId;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::json;

pub use client::Client;
pub use script::Scripts;
pub use slow::SlowReader;

use crate::load::Progress;
use crate::stack::MODEL;

/// A call that has not ended after this long is taken to hang for ever: a defect, whatever was killed.
const CALL_MAX: Duration = Duration::from_secs(45);

/// When a caller hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It stays to the end.
    Never,
    /// After so many events of a stream.
    AfterEvents(u32),
    /// After this long, whatever has come.
    After(Duration),
}

/// One call to make.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which of the prompts of [`Scripts`].
    pub prompt: usize,
    /// Tokens of the answer.
    pub tokens: u32,
    /// Milliseconds to the first token, and between two.
    pub ttft_ms: u64,
    pub itl_ms: u64,
    pub stream: bool,
    pub include_usage: bool,
    /// Whether the caller says how long the answer may become.
    pub limited: bool,
    pub leave: Leave,
}

impl Ask {
    /// A call as drawn from `rng`: short and long, streamed and not, one in eight left before its end.
    pub fn draw(rng: &mut StdRng) -> Self {
        let stream = rng.random_bool(0.6);
        let leave = match rng.random_range(0..8) {
            0 if stream && rng.random() => Leave::AfterEvents(rng.random_range(1..20)),
            0 => Leave::After(Duration::from_millis(rng.random_range(1..250))),
            _ => Leave::Never,
        };
        Self {
            prompt: rng.random_range(0..script::PROMPTS),
            tokens: rng.random_range(8..=script::TOKENS_MAX),
            ttft_ms: rng.random_range(1..60),
            itl_ms: rng.random_range(4..14),
            stream,
            include_usage: rng.random(),
            limited: rng.random_bool(0.7),
            leave,
        }
    }

    /// As [`Ask::draw`], but the caller stays to the end: whatever is charged has a name.
    pub fn draw_patient(rng: &mut StdRng) -> Self {
        Self {
            leave: Leave::Never,
            ..Self::draw(rng)
        }
    }

    /// The request's body.
    pub fn body(&self) -> String {
        let mut body = json!({
            "model": MODEL,
            "messages": [{ "role": "user", "content": script::prompt(self.prompt) }],
            "sim": { "tokens": self.tokens, "ttft_ms": self.ttft_ms, "itl_ms": self.itl_ms },
        });
        if self.stream {
            body["stream"] = json!(true);
            if self.include_usage {
                body["stream_options"] = json!({ "include_usage": true });
            }
        }
        if self.limited {
            body["max_tokens"] = json!(self.tokens + 8);
        }
        body.to_string()
    }
}

/// The code of the error chunk of a stream whose provider broke off.
pub const PROVIDER_ERROR: &str = "provider_error";
/// The same where the gateway itself cut the call.
pub const GATEWAY_CUT: &str = "gateway_cut";

/// How a call ended in its caller's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The whole answer, and the right one.
    Complete,
    /// The caller hung up.
    Left,
    /// A stream that told of its break: an error chunk with this code, then `[DONE]`.
    Broken { code: String },
    /// An error in OpenAI's form instead of an answer.
    Refused { status: u16, code: String },
    /// The connection to the gateway could not be made or broke.
    CutOff(String),
    /// What must never happen: a silent truncation, a wrong answer, an end that is none.
    Wrong(String),
}

/// One call as its caller lived it.
#[derive(Debug, Clone)]
pub struct Report {
    pub ask: Ask,
    pub began: Instant,
    pub ended: Instant,
    /// The call's id, if the answer's head came.
    pub id: Option<String>,
    /// Tokens of the answer that came: exact for streams, all or nothing otherwise.
    pub tokens: u32,
    pub ending: Ending,
}

impl Report {
    /// The call's name in the ledger, if its caller learnt it.
    pub fn call(&self) -> Option<CallId> {
        let id = self.id.as_deref()?;
        Some(CallId::parse(id).unwrap_or_else(|bad| panic!("{id} is no call's id: {bad}")))
    }
}

/// Makes one call and tells how it went.
pub async fn call(client: &Client, scripts: &Scripts, ask: Ask, progress: &Progress) -> Report {
    let began = Instant::now();
    let mut seen = answer::Seen::default();
    let patience = match ask.leave {
        Leave::After(patience) => patience,
        _ => CALL_MAX,
    };
    let lived = tokio::time::timeout(patience, answer::live(client, scripts, &ask, progress, &mut seen)).await;
    let ending = match lived {
        Ok(ending) => ending,
        Err(_) if ask.leave == Leave::After(patience) => Ending::Left,
        Err(_) => Ending::Wrong(format!("the call did not end in {CALL_MAX:?}")),
    };
    progress.note();
    Report {
        ask,
        began,
        ended: Instant::now(),
        id: seen.id,
        tokens: seen.tokens,
        ending,
    }
}
