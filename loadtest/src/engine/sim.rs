//! The knobs a caller sets on a simulated engine in the request field `sim`.
//!
//! Decides what the knobs are called and which engine they speak to; what each of them does to an answer is in
//! `answer` and `stream`. Real engines do not know the field, so that a knob that works proves that a gateway passes
//! unknown fields through.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The field `sim` of a request. Every field is optional; unknown fields are refused so that a typo in a test shows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sim {
    /// Length of the answer in tokens, per choice. `max_tokens` still cuts it.
    pub tokens: Option<u32>,
    /// Milliseconds until the first token.
    pub ttft_ms: Option<f64>,
    /// Milliseconds between two tokens.
    pub itl_ms: Option<f64>,
    /// Put the received body, path and headers into the answer (or its first chunk) as `sim_echo`.
    pub echo: bool,
    /// Tokens of reasoning (`reasoning_content`) sent before the answer proper and counted as completion tokens.
    pub reasoning: u32,
    /// What the engine claims as `usage.prompt_tokens_details.cached_tokens`.
    pub cached_tokens: Option<u64>,
    /// Let a quarter of the tokens be white space or end in it, as in code and lists.
    pub spaces: bool,
    /// Whether white space around the text so far is stripped before a chat is continued; as the engine is set when absent.
    pub trim: Option<bool>,
    /// What goes wrong.
    pub fault: Option<Fault>,
}

/// One way to go wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which one.
    pub kind: FaultKind,
    /// Number of the stream's event (counted from 0, the role chunk is the first) at which it happens; 0 when absent.
    /// An answer that is not streamed breaks as far into its body as the event is into the stream, in the middle at 0;
    /// [`FaultKind::Reset`] and [`FaultKind::Close`] break it before its head at 0.
    #[serde(default)]
    pub at: u32,
    /// Names of the engines it happens on; every engine when absent or empty.
    #[serde(default)]
    pub engines: Vec<String>,
    /// The attempts it happens on, as the header `filature-attempt` numbers them; every request when absent or empty.
    #[serde(default)]
    pub attempts: Vec<u32>,
    /// The status to answer with, where the kind is an answer of its own.
    pub status: Option<u16>,
    /// Milliseconds per gap for [`FaultKind::SlowDown`]; 1,000 when absent.
    pub ms: Option<f64>,
    /// Length of the line for [`FaultKind::GiantLine`]; 32 MiB when absent.
    pub bytes: Option<u64>,
    /// The JSON that stands as `usage` for [`FaultKind::BadUsage`].
    pub usage: Option<Box<RawValue>>,
}

/// The ways an engine goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Status 500 with an error in OpenAI's form.
    #[serde(rename = "http_500")]
    Http500,
    /// Status 429 with `Retry-After: 1`.
    #[serde(rename = "http_429")]
    Http429,
    /// Status 400 with an error in OpenAI's form.
    #[serde(rename = "http_400")]
    Http400,
    /// The connection is reset (TCP RST).
    Reset,
    /// The connection is closed (TCP FIN) before the answer is whole, as a process that ends does.
    Close,
    /// Head and `at` events are sent, then nothing more, and the connection stays open.
    Stall,
    /// Nothing is sent, not even a head, and the connection stays open.
    Hang,
    /// Status 200 with a page of HTML.
    Html,
    /// Bytes that are neither JSON nor UTF-8 in place of the answer or of one event.
    Garbage,
    /// The answer or event stops in its middle, and the body ends as if that were all.
    HalfFrame,
    /// The answer or event is an error object under status 200.
    OkWithError,
    /// The answer or one more event is one line of many MiB.
    GiantLine,
    /// Status 200 with no body.
    Empty,
    /// The answer is whole but claims no usage.
    NoUsage,
    /// The answer is whole but claims impossible usage.
    BadUsage,
    /// The stream ends cleanly between two events, without a finish reason, usage or `[DONE]`. An answer that is not
    /// streamed is cut off: fewer bytes than `Content-Length` promised.
    Truncate,
    /// From event `at` on every gap takes `ms`. An answer that is not streamed takes `ms` longer.
    SlowDown,
}

impl Sim {
    /// The fault, if it is meant for the engine of this name and for this attempt.
    #[must_use]
    pub fn fault_on(&self, engine: &str, attempt: Option<u32>) -> Option<&Fault> {
        self.fault.as_ref().filter(|fault| fault.is_meant_for(engine, attempt))
    }
}

impl Fault {
    /// A fault of this kind with everything else as when absent.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            at: 0,
            engines: Vec::new(),
            attempts: Vec::new(),
            status: None,
            ms: None,
            bytes: None,
            usage: None,
        }
    }

    /// Whether it happens on the engine of this name, in the attempt with this number.
    #[must_use]
    pub fn is_meant_for(&self, engine: &str, attempt: Option<u32>) -> bool {
        let here = self.engines.is_empty() || self.engines.iter().any(|name| name == engine);
        let now = self.attempts.is_empty() || attempt.is_some_and(|attempt| self.attempts.contains(&attempt));
        here && now
    }

    /// How much is sent of an answer in one piece before it breaks, when its stream would have `tokens` tokens.
    #[must_use]
    pub fn bytes_sent(&self, bytes_in_all: usize, tokens: u64) -> usize {
        if self.at == 0 {
            return bytes_in_all / 2;
        }
        // Beside the tokens a stream has a role, a finish reason, usage and `[DONE]`.
        let events = usize::try_from(tokens.saturating_add(4)).unwrap_or(usize::MAX);
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        (bytes_in_all.saturating_mul(at) / events).min(bytes_in_all.saturating_sub(1))
    }

    /// The gap of [`FaultKind::SlowDown`].
    #[must_use]
    pub fn gap(&self) -> Duration {
        duration_ms(self.ms.unwrap_or(1_000.0))
    }

    /// The length of [`FaultKind::GiantLine`].
    #[must_use]
    pub fn line_bytes(&self) -> u64 {
        self.bytes.unwrap_or(32 << 20)
    }
}

/// Milliseconds as a duration; negative, absurd and not-a-number mean none.
#[must_use]
pub fn duration_ms(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or(Duration::ZERO)
}
