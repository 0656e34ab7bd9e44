//! Open-loop load: calls are sent when they are due, whether or not earlier ones have ended.
//!
//! Decides when and what is sent and what counts as a failure; the numbers are kept in `report`.

mod arrivals;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use filature_openapi::answer::parse_answer;
use filature_openapi::call::Endpoint;
use filature_openapi::chunk::parse_chunk;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Client, Failure, Seen};
use report::{Outcome, Tally};

pub use report::{Latencies, Percentiles, Report};

const CHAT: &str = "/chat/completions";

/// What load to put on a server.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    /// The model to call.
    pub model: String,
    /// Calls per second on average; they come at random (a Poisson process).
    pub rate: f64,
    /// How long calls are sent. The run takes until the last of them has ended.
    pub length: Duration,
    /// Whether answers are streamed.
    pub stream: bool,
    /// `max_tokens` of each call.
    pub tokens_max: u32,
    /// Length of the prompt's text.
    pub prompt_bytes: usize,
    /// The field `sim` of each call: knobs of simulated engines.
    pub sim: Option<Value>,
    /// What the schedule starts from, and what makes one run's prompts differ from another's.
    pub seed: u64,
    /// When a call that has not ended counts as failed.
    pub timeout: Duration,
    /// Calls open at the same time; one more is not sent and counts as failed.
    pub open_max: usize,
}

/// Puts the load on the server.
pub async fn run(client: &Client, settings: &LoadSettings) -> Report {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let begun = Instant::now();
    let mut due = arrivals::poisson(settings.rate, settings.length, settings.seed);
    let mut calls = JoinSet::new();
    let mut number = 0;
    while let Some(due) = due.recv().await {
        while calls.try_join_next().is_some() {}
        if calls.len() >= settings.open_max {
            tally.lock().not_sent();
            continue;
        }
        number += 1;
        let body = body(settings, number);
        let (client, tally) = (client.clone(), Arc::clone(&tally));
        let (stream, timeout) = (settings.stream, settings.timeout);
        calls.spawn(async move {
            let outcome = call(&client, body, stream, due, timeout).await;
            tally.lock().add(&outcome);
        });
    }
    while calls.join_next().await.is_some() {}
    let tally = std::mem::take(&mut *tally.lock());
    tally.report(settings.rate, begun.elapsed())
}

async fn call(client: &Client, body: Bytes, stream: bool, due: Instant, timeout: Duration) -> Outcome {
    let mut outcome = Outcome {
        lag: due.elapsed(),
        first: None,
        gaps: Vec::new(),
        total: Duration::ZERO,
        completion_tokens: 0,
        end: Err(Failure::Timeout),
    };
    let mut last: Option<Instant> = None;
    let watched = client.call(CHAT, body, stream, |now, seen| match seen {
        Seen::Event(data) => {
            let Ok(chunk) = parse_chunk(&data) else { return };
            outcome.completion_tokens = chunk
                .usage
                .and_then(|usage| usage.completion)
                .unwrap_or(outcome.completion_tokens);
            if !chunk.has_output {
                return;
            }
            match last.replace(now) {
                None => outcome.first = Some(now - due),
                Some(last) => outcome.gaps.push(now - last),
            }
        }
        Seen::Answer(bytes) => {
            let usage = parse_answer(Endpoint::ChatCompletions, &bytes)
                .ok()
                .and_then(|answer| answer.usage);
            outcome.completion_tokens = usage.and_then(|usage| usage.completion).unwrap_or(0);
        }
    });
    let end = tokio::time::timeout(timeout, watched)
        .await
        .unwrap_or(Err(Failure::Timeout));
    outcome.total = due.elapsed();
    outcome.end = end;
    outcome
}

/// The body of one call. Every prompt begins differently, so that no cache of prompts makes the load look light.
fn body(settings: &LoadSettings, number: u64) -> Bytes {
    let mut text = format!("call {number} of run {}: ", settings.seed);
    while text.len() < settings.prompt_bytes {
        text.push_str("one strong thread of many thin ones, ");
    }
    text.truncate(settings.prompt_bytes.max(24));
    let mut body = json!({
        "model": settings.model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": settings.tokens_max,
    });
    if settings.stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    if let Some(sim) = &settings.sim {
        body["sim"] = sim.clone();
    }
    Bytes::from(body.to_string())
}
