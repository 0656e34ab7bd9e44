//! One attempt: sends the call to one provider and waits for a first sign that it answers.
//!
//! Says what the sign is, or what is wrong; what to try next is [`super::dispatch`]'s matter. The router learns of every
//! attempt here, when it starts, when its first token comes and how it ends.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use axum::response::Response;
use bytes::Bytes;
use filature_openapi::answer::{BadAnswer, parse_answer};
use filature_openapi::edit::Edits;
use filature_openapi::error::ErrorEnvelope;
use filature_router::{Attempt, End, Event, Try};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use tracing::Span;

use super::cosigned::{Answer, Unchecked};
use super::frames::{Cut, Frames, Out};
use super::meter::{Meter, Told};
use super::{Call, count, upstream};
use crate::app::Worker;
use crate::fleet::provider::Provider;
use crate::reject::Reject;
use crate::telemetry::trace;

/// The most pieces of a stream that are kept back until its first token: a role, some comments.
const HELD_PIECES_MAX: usize = 1024;
/// The largest error body of an engine that is passed on.
const ENGINE_ERROR_BYTES_MAX: usize = 64 * 1024;

/// A first sign of an answer.
pub enum First {
    /// All of it.
    Whole {
        /// The answer's body.
        body: Bytes,
        /// What it holds.
        meter: Meter,
        /// Why it ended, in the engine's word.
        finish_reason: Option<Box<str>>,
        /// What came beside it.
        unchecked: Option<Box<Unchecked>>,
    },
    /// A stream, up to its first token.
    Stream {
        /// What is still to come.
        body: Answer,
        /// How far it has come.
        frames: Box<Frames>,
        /// What came so far, for the caller.
        held: Out,
    },
}

/// Why an attempt gave no answer.
#[derive(Debug)]
pub enum Failure {
    /// The provider is full or draining.
    Refused,
    /// It failed, and how.
    Failed(String),
    /// Nothing came in time.
    TimedOut,
    /// The engine finds fault with the request itself.
    Caller(Reject),
}

/// An attempt the router knows of; whoever holds it must say how it ended.
pub struct Watched<'a> {
    worker: &'a Worker,
    /// The call it is an attempt at.
    pub call: &'a Call,
    /// The provider, and what the router says of it.
    pub attempt: Attempt,
    /// Which attempt of the call it is, from 1.
    pub number: usize,
    started: Instant,
    first_token: OnceLock<Instant>,
    ended: OnceLock<()>,
    /// Its span; disabled where no traces are exported.
    pub span: Span,
}

impl<'a> Watched<'a> {
    /// Tells the router that the `number`-th attempt starts.
    pub fn start(worker: &'a Worker, call: &'a Call, attempt: Attempt, number: usize, kind: Try) -> Self {
        let app = &worker.app;
        app.metrics.attempt_started(kind);
        let event = Event::Started {
            provider: attempt.provider.clone(),
            model: attempt.model.clone(),
            prompt_tokens: attempt.prefill_tokens,
            kind,
        };
        app.fleet.tell(event, app.clock.now());
        if !call.view.stream {
            let event = Event::Unstreamed {
                provider: attempt.provider.clone(),
                model: attempt.model.clone(),
                prompt_tokens: attempt.prefill_tokens,
            };
            app.fleet.tell(event, app.clock.now());
        }
        let span = trace::attempt_span(&call.span, attempt.provider.as_str(), number);
        Self {
            worker,
            call,
            attempt,
            number,
            started: Instant::now(),
            first_token: OnceLock::new(),
            ended: OnceLock::new(),
            span,
        }
    }

    /// The first token of a stream is here.
    pub fn first_token(&self) {
        let _ = self.first_token.set(Instant::now());
        self.tell(Event::FirstToken {
            provider: self.attempt.provider.clone(),
            model: self.attempt.model.clone(),
            prompt_tokens: self.attempt.prefill_tokens,
            after: self.started.elapsed(),
        });
    }

    /// Since the first token; nothing for an answer in one piece.
    pub fn since_first_token(&self) -> Duration {
        self.first_token.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Tells the router how it ended. Only the first word counts.
    pub fn ended(&self, end: End, outcome: &'static str) {
        if self.ended.set(()).is_err() {
            return;
        }
        let metrics = &self.worker.app.metrics;
        metrics.attempt(self.attempt.provider.as_str(), outcome);
        trace::attempt_ended(&self.span, outcome, !matches!(end, End::Served { .. } | End::Cancelled));
        self.tell(Event::Ended {
            provider: self.attempt.provider.clone(),
            model: self.attempt.model.clone(),
            prompt_tokens: self.attempt.prefill_tokens,
            first_token_seen: self.first_token.get().is_some(),
            end,
        });
    }

    /// The provider has answered a prompt of `tokens`, its answer included: its cache may know it now.
    pub fn saw(&self, tokens: u32) {
        if let Some(prefix) = self.call.prefix {
            self.tell(Event::Saw {
                provider: self.attempt.provider.clone(),
                model: self.attempt.model.clone(),
                prefix,
                tokens,
            });
        }
    }

    fn tell(&self, event: Event) {
        let app = &self.worker.app;
        app.fleet.tell(event, app.clock.now());
    }
}

impl Drop for Watched<'_> {
    /// An attempt that was dropped without a word lost a race, or its call is gone; it must not count as running for ever.
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() { "lost" } else { "cancelled" };
        self.ended(End::Cancelled, outcome);
    }
}

/// One attempt at the whole call, up to its first token or its whole answer.
pub async fn first(
    watch: &Watched<'_>,
    provider: &Provider,
    told_output_tokens_max: Option<u32>,
) -> Result<First, Failure> {
    let (worker, call, attempt) = (watch.worker, watch.call, &watch.attempt);
    let limits = &worker.app.config.upstream;
    let deadline = if call.view.stream {
        first_token_deadline(watch)
    } else {
        attempt
            .answer_deadline
            .min(Duration::from_millis(limits.call_timeout_ms))
    };
    let told = told_output_tokens_max.map(|told| told.min(attempt.output_tokens_max));
    let opened = async {
        let response = open(watch, provider, told, None).await?;
        if !call.view.stream {
            return whole(watch, provider, response).await;
        }
        let renamed = renames(provider, attempt);
        let model = attempt.model.as_str();
        let frames = Frames::new(
            &call.view,
            model,
            renamed,
            count::prompt_tokens_max(&worker.app, call, [model]),
            limits.event_bytes_max,
        );
        let mut frames = Box::new(frames.counted(count::gatherer(&worker.app, call, model)));
        let (body, held) = until_first_token(&mut frames, limits.event_bytes_max, response.into_body()).await?;
        Ok(First::Stream { body, frames, held })
    };
    tokio::time::timeout(deadline, opened)
        .await
        .unwrap_or(Err(Failure::TimedOut))
}

/// One attempt to go on from `cut`, up to the continuation's first token: what is still to come, and what came so far.
pub async fn continuation(
    watch: &Watched<'_>,
    provider: &Provider,
    told_output_tokens_max: u32,
    cut: &Cut,
    frames: &mut Frames,
) -> Result<(Answer, Out), Failure> {
    let bytes_max = watch.worker.app.config.upstream.event_bytes_max;
    let opened = async {
        let response = open(watch, provider, Some(told_output_tokens_max), Some(cut.text.as_str())).await?;
        until_first_token(frames, bytes_max, response.into_body()).await
    };
    tokio::time::timeout(first_token_deadline(watch), opened)
        .await
        .unwrap_or(Err(Failure::TimedOut))
}

fn first_token_deadline(watch: &Watched<'_>) -> Duration {
    let longest = watch.worker.app.config.upstream.first_token_timeout_ms;
    watch.attempt.first_token_deadline.min(Duration::from_millis(longest))
}

/// Sends the call and waits for a head that promises an answer.
async fn open(
    watch: &Watched<'_>,
    provider: &Provider,
    told: Option<u32>,
    continues: Option<&str>,
) -> Result<Response<Answer>, Failure> {
    let response = upstream::open(watch, watch.worker, provider, told, continues)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    match response.status() {
        StatusCode::OK => Ok(response),
        status => Err(refusal(status, response.into_body()).await),
    }
}

/// Reads an unstreamed answer and makes sure that it is one.
async fn whole(watch: &Watched<'_>, provider: &Provider, response: Response<Answer>) -> Result<First, Failure> {
    let bytes_max = watch.worker.app.config.upstream.answer_bytes_max;
    let mut answer = response.into_body();
    let body = Limited::new(&mut answer, bytes_max).collect().await;
    let body = body
        .map_err(|error| Failure::Failed(format!("the answer broke off: {error}")))?
        .to_bytes();
    let view = parse_answer(watch.call.view.endpoint, &body).map_err(|bad| Failure::Failed(describe(&bad)))?;
    let model = watch.attempt.model.as_str();
    let text = count::whole(&watch.worker.app, watch.call, model, &body);
    let meter = Meter {
        text,
        ..Meter::whole(&view)
    };
    let mut edits = Edits::default();
    if renames(provider, &watch.attempt)
        && let Some(span) = view.model.clone()
    {
        let name = serde_json::to_vec(model).unwrap_or_default();
        edits.replace(span, Bytes::from(name));
    }
    let told = Told::of(
        &watch.call.view,
        count::prompt_tokens_max(&watch.worker.app, watch.call, [model]),
    );
    if let (true, Some(span)) = (meter.is_absurd(&told), view.usage_at.clone()) {
        edits.replace(span, meter.told_usage(&told).json());
    }
    let body = edits.apply(&body).into_bytes();
    Ok(First::Whole {
        body,
        meter,
        finish_reason: view.finish_reason,
        unchecked: answer.unchecked(),
    })
}

/// Reads a stream up to its first token.
async fn until_first_token(
    frames: &mut Frames,
    event_bytes_max: usize,
    mut body: Answer,
) -> Result<(Answer, Out), Failure> {
    let mut held = Out::new();
    let mut held_bytes = 0;
    while !frames.begun {
        // A provider may send single bytes by the thousand; others on this thread get their turn all the same.
        tokio::task::consume_budget().await;
        match body.frame().await {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                let before = held.len();
                frames
                    .push(data, &mut held)
                    .map_err(|fault| Failure::Failed(fault.to_string()))?;
                held_bytes += held[before..].iter().map(Bytes::len).sum::<usize>();
                if held_bytes > event_bytes_max || held.len() > HELD_PIECES_MAX {
                    return Err(Failure::Failed("much was said before the first token".to_owned()));
                }
            }
            Some(Err(error)) => return Err(Failure::Failed(upstream::chain(&error))),
            None => return Err(Failure::Failed("the stream ended before its first token".to_owned())),
        }
    }
    Ok((body, held))
}

/// Whether the provider's engine calls the model by another name than its callers.
pub fn renames(provider: &Provider, attempt: &Attempt) -> bool {
    provider
        .model(attempt.model.as_str())
        .is_some_and(|offer| offer.engine_model.is_some())
}

/// What a status other than 200 means.
async fn refusal(status: StatusCode, body: Answer) -> Failure {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Failure::Refused,
        // The request itself is at fault, says this provider; whether to believe it is the dispatcher's matter.
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            let read = Limited::new(body, ENGINE_ERROR_BYTES_MAX).collect().await;
            match read
                .ok()
                .and_then(|body| serde_json::from_slice::<ErrorEnvelope>(&body.to_bytes()).ok())
            {
                Some(envelope) => Failure::Caller(Reject::Engine {
                    status,
                    envelope: Box::new(envelope),
                }),
                None => Failure::Failed(format!("{status} without an error in OpenAI's form")),
            }
        }
        _ => Failure::Failed(format!("status {status}")),
    }
}

/// What is wrong with an answer, without a word of it: it may quote the prompt, and this goes to the log.
fn describe(bad: &BadAnswer) -> String {
    let what = match bad {
        BadAnswer::NotJson(_) => "the answer is no JSON",
        BadAnswer::NotAnAnswer(_) => "the answer lacks what an answer has",
        BadAnswer::Error { .. } => "200 with an error",
    };
    what.to_owned()
}
