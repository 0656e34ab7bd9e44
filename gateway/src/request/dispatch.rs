//! Step 4, where: tries the plan's providers in order until one gives a first token.
//!
//! Until then a caller sees nothing of what fails. From then on the answer is this provider's, and [`super::relay`]
//! carries it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::response::Response;
use bytes::Bytes;
use filature_billing::CallOutcome;
use filature_openapi::answer::{BadAnswer, parse_answer};
use filature_openapi::edit::Edits;
use filature_openapi::error::ErrorEnvelope;
use filature_router::{Attempt, End, Event};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tracing::Span;

use super::admit::Admitted;
use super::frames::{Frames, Out};
use super::meter::Meter;
use super::{Answer, Call, relay, upstream};
use crate::app::Worker;
use crate::fleet::provider::Provider;
use crate::reject::Reject;
use crate::telemetry::trace;

/// The pause between two passes over a plan whose providers were all full; it doubles each time.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);
const REFUSED_PAUSE_MAX: Duration = Duration::from_millis(500);
/// The largest error body of an engine that is passed on.
const ENGINE_ERROR_BYTES_MAX: usize = 64 * 1024;

/// What one provider delivered.
pub struct Served {
    /// Who.
    pub provider: Arc<Provider>,
    /// At what price.
    pub attempt: Attempt,
    /// How it ended.
    pub end: CallOutcome,
    /// How much passed.
    pub meter: Meter,
    /// Why the answer ended, in the engine's word.
    pub finish_reason: Option<Box<str>>,
    /// From the call's start to its first token, or to the whole answer.
    pub first_token: Duration,
}

/// How a call went, for the bill.
pub struct Outcome {
    /// Who served it, if anybody did.
    pub served: Option<Served>,
    /// Why nobody did: a fixed word.
    pub error: Option<&'static str>,
}

/// A first sign of an answer.
enum First {
    /// All of it.
    Whole {
        body: Bytes,
        meter: Meter,
        finish_reason: Option<Box<str>>,
    },
    /// A stream, up to its first token.
    Stream {
        body: Incoming,
        frames: Box<Frames>,
        held: Out,
    },
}

/// Why an attempt gave no answer.
#[derive(Debug)]
enum Failure {
    /// The provider is full or draining.
    Refused,
    /// It failed, and how.
    Failed(String),
    /// Nothing came in time.
    TimedOut,
    /// The engine finds fault with the request itself.
    Caller(Reject),
}

/// Serves an admitted call: returns who served it, after the last byte.
pub async fn dispatch(worker: &Worker, call: &Call, admitted: &Admitted, mut answer: Answer) -> Outcome {
    let mut failures = Failures::default();
    let mut pause = REFUSED_PAUSE;
    loop {
        match round(worker, call, admitted, &mut failures, &mut answer).await {
            Round::Answered(answered) => return serve(worker, call, *answered, answer).await,
            Round::Over(None) => {
                return Outcome {
                    served: None,
                    error: Some("cancelled"),
                };
            }
            Round::Over(Some(reject)) => {
                let error = Some(reject.label());
                let _ = answer.send(Err(reject));
                return Outcome { served: None, error };
            }
            Round::Refused => {}
        }
        // A provider may count a call that has just ended here as running a moment longer.
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(REFUSED_PAUSE_MAX),
            () = answer.closed() => return Outcome { served: None, error: Some("cancelled") },
        }
    }
}

/// What came of one pass over the plan.
enum Round<'a> {
    /// A provider gave a first token.
    Answered(Box<Answered<'a>>),
    /// Nobody will: what the caller is told, unless it has left.
    Over(Option<Reject>),
    /// Everybody was full, and there is time to ask again.
    Refused,
}

/// A provider's answer that has begun.
struct Answered<'a> {
    provider: Arc<Provider>,
    watch: Watched<'a>,
    first: First,
}

/// Tries every provider of the plan once.
async fn round<'a>(
    worker: &'a Worker,
    call: &'a Call,
    admitted: &'a Admitted,
    failures: &mut Failures,
    answer: &mut Answer,
) -> Round<'a> {
    let app = &worker.app;
    let tried_before = failures.tried;
    for attempt in &admitted.plan.attempts {
        let Some(provider) = app.fleet.provider(&attempt.provider) else {
            continue;
        };
        failures.tried += 1;
        let watch = Watched::start(worker, call, attempt, failures.tried);
        let first = tokio::select! {
            first = first(worker, call, admitted, attempt, &provider, &watch.span, failures.tried) => first,
            () = answer.closed() => {
                watch.ended(End::Cancelled, "cancelled");
                return Round::Over(None);
            }
            () = app.stop.cutting.cancelled() => {
                watch.ended(End::Cancelled, "cancelled");
                return Round::Over(Some(Reject::Overloaded("This gateway is stopping.")));
            }
        };
        match first {
            Ok(first) => return Round::Answered(Box::new(Answered { provider, watch, first })),
            Err(Failure::Caller(reject)) => {
                watch.ended(End::Cancelled, "caller_error");
                return Round::Over(Some(reject));
            }
            Err(failure) => failures.note(&watch, failure),
        }
    }
    let patience = Duration::from_millis(app.config.routing.queue_wait_ms);
    let is_waiting = failures.tried > tried_before && call.started.elapsed() < patience;
    match failures.last {
        Some(Reject::ProvidersFull { .. }) if is_waiting => Round::Refused,
        _ => Round::Over(Some(failures.reject())),
    }
}

/// What is told when every attempt has failed.
#[derive(Default)]
struct Failures {
    tried: usize,
    last: Option<Reject>,
}

impl Failures {
    fn note(&mut self, watch: &Watched<'_>, failure: Failure) {
        let attempts = self.tried;
        let provider = &watch.attempt.provider;
        match failure {
            Failure::Refused => {
                watch.ended(End::Refused, "refused");
                self.last.get_or_insert(Reject::ProvidersFull {
                    retry_after: Duration::from_secs(1),
                });
            }
            Failure::TimedOut => {
                tracing::info!(call = %watch.call.id, %provider, "no first token in time");
                watch.ended(End::FailedEarly, "timed_out");
                self.last = Some(Reject::ProvidersTimedOut { attempts });
            }
            Failure::Failed(why) => {
                tracing::info!(call = %watch.call.id, %provider, why, "an attempt failed before its first token");
                watch.ended(End::FailedEarly, "failed");
                self.last = Some(Reject::ProvidersFailed { attempts });
            }
            Failure::Caller(_) => {}
        }
    }

    fn reject(&mut self) -> Reject {
        self.last
            .take()
            .unwrap_or_else(|| Reject::NoProvider("The providers of this model have just left.".to_owned()))
    }
}

/// An attempt the router knows of; whoever holds it must say how it ended.
struct Watched<'a> {
    worker: &'a Worker,
    call: &'a Call,
    attempt: &'a Attempt,
    prompt_tokens: u32,
    started: Instant,
    first_token: OnceLock<Instant>,
    ended: OnceLock<()>,
    span: Span,
}

impl<'a> Watched<'a> {
    fn start(worker: &'a Worker, call: &'a Call, attempt: &'a Attempt, number: usize) -> Self {
        let prompt_tokens = super::meter::prompt_estimate(&call.view);
        let event = Event::Started {
            provider: attempt.provider.clone(),
            model: call.view.model.as_ref().into(),
            prompt_tokens,
        };
        worker.app.fleet.tell(event, worker.app.clock.now());
        let span = trace::attempt_span(&call.span, attempt.provider.as_str(), number);
        Self {
            worker,
            call,
            attempt,
            prompt_tokens,
            started: Instant::now(),
            first_token: OnceLock::new(),
            ended: OnceLock::new(),
            span,
        }
    }

    /// The first token of a stream is here.
    fn first_token(&self) {
        let _ = self.first_token.set(Instant::now());
        let event = Event::FirstToken {
            provider: self.attempt.provider.clone(),
            model: self.call.view.model.as_ref().into(),
            prompt_tokens: self.prompt_tokens,
            after: self.started.elapsed(),
        };
        self.worker.app.fleet.tell(event, self.worker.app.clock.now());
    }

    /// Since the first token; nothing for an answer in one piece.
    fn since_first_token(&self) -> Duration {
        self.first_token.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    fn ended(&self, end: End, outcome: &'static str) {
        if self.ended.set(()).is_err() {
            return;
        }
        let app = &self.worker.app;
        app.metrics.attempt(self.attempt.provider.as_str(), outcome);
        trace::attempt_ended(&self.span, outcome, !matches!(end, End::Served { .. } | End::Cancelled));
        let event = Event::Ended {
            provider: self.attempt.provider.clone(),
            model: self.call.view.model.as_ref().into(),
            prompt_tokens: self.prompt_tokens,
            first_token_seen: self.first_token.get().is_some(),
            end,
        };
        app.fleet.tell(event, app.clock.now());
    }
}

impl Drop for Watched<'_> {
    /// An attempt that was dropped without a word, by a panic, must not count as running for ever.
    fn drop(&mut self) {
        self.ended(End::Cancelled, "lost");
    }
}

/// Carries the answer that has begun to its end.
async fn serve(worker: &Worker, call: &Call, answered: Answered<'_>, answer: Answer) -> Outcome {
    let Answered { provider, watch, first } = answered;
    let first_token = call.started.elapsed();
    let (end, meter, finish_reason) = match first {
        First::Whole {
            body,
            meter,
            finish_reason,
        } => {
            let sent = answer.send(Ok(whole_response(call, &provider, body)));
            // The answer was produced; a caller that leaves in this very moment has it all the same.
            drop(sent);
            (CallOutcome::Completed, meter, finish_reason)
        }
        First::Stream { body, frames, held } => {
            watch.first_token();
            let (response, caller) = relay::response(call, &provider);
            let end = if answer.send(Ok(response)).is_ok() {
                relay::pump(worker, call, watch.attempt, body, frames, held, caller).await
            } else {
                (CallOutcome::Cancelled, frames)
            };
            (end.0, end.1.meter, end.1.finish_reason)
        }
    };
    let tokens = meter.completion_tokens(call.view.endpoint);
    let (router_end, word) = match end {
        CallOutcome::Completed => {
            let after_first_token = watch.since_first_token();
            (
                End::Served {
                    completion_tokens: tokens,
                    after_first_token,
                },
                "served",
            )
        }
        CallOutcome::Cancelled => (End::Cancelled, "cancelled"),
        CallOutcome::Broken => (End::Broke, "broke"),
    };
    watch.ended(router_end, word);
    let attempt = watch.attempt.clone();
    let error = (end == CallOutcome::Broken).then_some("provider_broke");
    Outcome {
        served: Some(Served {
            provider,
            attempt,
            end,
            meter,
            finish_reason,
            first_token,
        }),
        error,
    }
}

/// One attempt, up to its first token or its whole answer.
async fn first(
    worker: &Worker,
    call: &Call,
    admitted: &Admitted,
    attempt: &Attempt,
    provider: &Provider,
    span: &Span,
    number: usize,
) -> Result<First, Failure> {
    let limits = &worker.app.config.upstream;
    let deadline = if call.view.stream {
        attempt
            .first_token_deadline
            .min(Duration::from_millis(limits.first_token_timeout_ms))
    } else {
        attempt
            .answer_deadline
            .min(Duration::from_millis(limits.call_timeout_ms))
    };
    let told = admitted
        .told_output_tokens_max
        .map(|told| told.min(attempt.output_tokens_max));
    let opened = async {
        let response = upstream::open(worker, provider, call, span, number, told)
            .await
            .map_err(|error| Failure::Failed(error.to_string()))?;
        match response.status() {
            StatusCode::OK if call.view.stream => first_of_stream(worker, call, provider, response).await,
            StatusCode::OK => whole(worker, call, provider, response).await,
            status => Err(refusal(status, response.into_body()).await),
        }
    };
    tokio::time::timeout(deadline, opened)
        .await
        .unwrap_or(Err(Failure::TimedOut))
}

/// Reads an unstreamed answer and makes sure that it is one.
async fn whole(
    worker: &Worker,
    call: &Call,
    provider: &Provider,
    response: Response<Incoming>,
) -> Result<First, Failure> {
    let bytes_max = worker.app.config.upstream.answer_bytes_max;
    let body = Limited::new(response.into_body(), bytes_max).collect().await;
    let body = body
        .map_err(|error| Failure::Failed(format!("the answer broke off: {error}")))?
        .to_bytes();
    let view = parse_answer(call.view.endpoint, &body).map_err(|bad| Failure::Failed(describe(&bad)))?;
    let meter = Meter::whole(&view);
    let mut edits = Edits::default();
    if renames(provider, call)
        && let Some(span) = view.model.clone()
    {
        let name = serde_json::to_vec(&call.view.model).unwrap_or_default();
        edits.replace(span, Bytes::from(name));
    }
    let body = edits.apply(&body).into_bytes();
    Ok(First::Whole {
        body,
        meter,
        finish_reason: view.finish_reason,
    })
}

/// Reads a stream up to its first token.
async fn first_of_stream(
    worker: &Worker,
    call: &Call,
    provider: &Provider,
    response: Response<Incoming>,
) -> Result<First, Failure> {
    let event_bytes_max = worker.app.config.upstream.event_bytes_max;
    let mut frames = Box::new(Frames::new(&call.view, renames(provider, call), event_bytes_max));
    let mut body = response.into_body();
    let mut held = Out::new();
    while !frames.begun {
        match body.frame().await {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                frames
                    .push(data, &mut held)
                    .map_err(|fault| Failure::Failed(fault.to_string()))?;
                if held.iter().map(Bytes::len).sum::<usize>() > event_bytes_max {
                    return Err(Failure::Failed("much was said before the first token".to_owned()));
                }
            }
            Some(Err(error)) => return Err(Failure::Failed(upstream::chain(&error))),
            None => return Err(Failure::Failed("the stream ended before its first token".to_owned())),
        }
    }
    Ok(First::Stream { body, frames, held })
}

fn renames(provider: &Provider, call: &Call) -> bool {
    provider
        .model(&call.view.model)
        .is_some_and(|offer| offer.engine_model.is_some())
}

/// What a status other than 200 means.
async fn refusal(status: StatusCode, body: Incoming) -> Failure {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Failure::Refused,
        // The request itself is at fault, so the next provider would find the same.
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            let read = Limited::new(body, ENGINE_ERROR_BYTES_MAX).collect().await;
            match read
                .ok()
                .and_then(|body| serde_json::from_slice::<ErrorEnvelope>(&body.to_bytes()).ok())
            {
                Some(envelope) => Failure::Caller(Reject::Engine { status, envelope }),
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

fn whole_response(call: &Call, provider: &Provider, body: Bytes) -> Response {
    let mut response = Response::new(axum::body::Body::from(body));
    relay::head(&mut response, call, provider, "application/json");
    response
}
