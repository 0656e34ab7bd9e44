//! The knobs a caller sets on a simulated engine in the request field `sim`.
//!
//! Decides what the knobs are called and which engine they speak to; what each of them does to an answer is in
//! `answer` and `stream`. Real engines do not know the field, so that a knob that works proves that a gateway passes
//! unknown fields through.

use std::time::Duration;

use serde::Deserialize;
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
    /// An answer that is not streamed breaks before its head at 0 and in the middle of its body otherwise.
    #[serde(default)]
    pub at: u32,
    /// Names of the engines it happens on; every engine when absent or empty.
    #[serde(default)]
    pub engines: Vec<String>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
    /// The fault, if it is meant for the engine of this name.
    #[must_use]
    pub fn fault_on(&self, engine: &str) -> Option<&Fault> {
        self.fault
            .as_ref()
            .filter(|fault| fault.engines.is_empty() || fault.engines.iter().any(|name| name == engine))
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
            status: None,
            ms: None,
            bytes: None,
            usage: None,
        }
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
