//! What is fixed about a simulated engine when it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::sim::Fault;

/// The settings of an engine. Callers override speed, length and fault per call through the field `sim`.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The name `sim.fault.engines` knows it by; `system_fingerprint` of its answers is `sim-NAME`.
    pub name: String,
    /// The models it serves. Any other is answered with 404.
    pub models: Vec<String>,
    /// Tokens per answer.
    pub tokens: u32,
    /// Time to the first token.
    pub ttft: Duration,
    /// Time between two tokens.
    pub itl: Duration,
    /// How many calls run at the same time; more wait their turn. `None` for no limit.
    pub concurrency_max: Option<usize>,
    /// The API key it wants, if any.
    pub api_key: Option<String>,
    /// A fault of every call that brings none of its own.
    pub fault: Option<Fault>,
    /// Strips white space around the text so far before it continues a chat, as chat templates of Llama 3's kind do.
    pub trim: bool,
    /// Says in `/metrics` that nothing runs and nothing waits, whatever is true.
    pub claims_idle: bool,
}

impl Default for EngineSettings {
    /// One model, `sim-small`, that says 32 tokens at once, on a free port of this machine.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            name: "sim".to_owned(),
            models: vec!["sim-small".to_owned()],
            tokens: 32,
            ttft: Duration::ZERO,
            itl: Duration::ZERO,
            concurrency_max: None,
            api_key: None,
            fault: None,
            trim: false,
            claims_idle: false,
        }
    }
}
