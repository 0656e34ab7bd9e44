//! Step 4, where: tries the plan's providers in order until one gives a first token.
//!
//! Until then a caller sees nothing of what fails. From then on the answer is this provider's, and [`super::relay`]
//! carries it.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use filature_billing::CallOutcome;
use filature_router::{Attempt, End};

use super::admit::Admitted;
use super::attempt::{Failure, First, Watched, first};
use super::meter::Meter;
use super::{Answer, Call, admit, relay};
use crate::app::Worker;
use crate::fleet::provider::Provider;
use crate::reject::Reject;

/// The pause between two passes over a plan whose providers were all full; it doubles each time.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);
const REFUSED_PAUSE_MAX: Duration = Duration::from_millis(500);

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

/// Serves an admitted call: returns who served it, after the last byte.
pub async fn dispatch(worker: &Worker, call: &Call, admitted: &Admitted, mut answer: Answer) -> Outcome {
    let further;
    let mut failures = Failures::default();
    let mut last = pass(
        worker,
        call,
        admitted,
        &admitted.plan.attempts,
        &mut failures,
        &mut answer,
    )
    .await;
    if let Round::Over(Some(Reject::ProvidersFailed { .. } | Reject::ProvidersTimedOut { .. })) = last {
        // The fleet may know others by now than when the plan was made.
        further = admit::further(worker, call, &admitted.plan);
        if !further.is_empty() {
            last = pass(worker, call, admitted, &further, &mut failures, &mut answer).await;
        }
    }
    match last {
        Round::Answered(answered) => serve(worker, call, *answered, answer).await,
        Round::Over(Some(reject)) => {
            let error = Some(reject.label());
            let _ = answer.send(Err(reject));
            Outcome { served: None, error }
        }
        Round::Over(None) | Round::Refused => Outcome {
            served: None,
            error: Some("cancelled"),
        },
    }
}

/// Tries the providers in order, again and again while all of them are full and there is time.
async fn pass<'a>(
    worker: &'a Worker,
    call: &'a Call,
    admitted: &'a Admitted,
    attempts: &'a [Attempt],
    failures: &mut Failures<'a>,
    answer: &mut Answer,
) -> Round<'a> {
    let mut pause = REFUSED_PAUSE;
    loop {
        let round = round(worker, call, admitted, attempts, failures, answer).await;
        if !matches!(round, Round::Refused) {
            return round;
        }
        // A provider may count a call that has just ended here as running a moment longer.
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(REFUSED_PAUSE_MAX),
            () = answer.closed() => return Round::Over(None),
        }
    }
}

/// What came of asking every provider once.
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

/// Tries every provider once.
async fn round<'a>(
    worker: &'a Worker,
    call: &'a Call,
    admitted: &'a Admitted,
    attempts: &'a [Attempt],
    failures: &mut Failures<'a>,
    answer: &mut Answer,
) -> Round<'a> {
    let app = &worker.app;
    let tried_before = failures.tried;
    for attempt in attempts {
        let Some(provider) = app.fleet.provider(&attempt.provider) else {
            continue;
        };
        failures.tried += 1;
        let watch = Watched::start(worker, call, attempt, failures.tried);
        let first = tokio::select! {
            first = first(worker, call, admitted, attempt, &provider, &watch.span, failures.tried) => first,
            () = answer.closed() => {
                failures.objected(End::Cancelled, "caller_error");
                watch.ended(End::Cancelled, "cancelled");
                return Round::Over(None);
            }
            () = app.stop.cutting.cancelled() => {
                failures.objected(End::Cancelled, "caller_error");
                watch.ended(End::Cancelled, "cancelled");
                return Round::Over(Some(Reject::Overloaded("This gateway is stopping.")));
            }
        };
        match first {
            Ok(first) => {
                failures.objected(End::FailedEarly, "objected");
                return Round::Answered(Box::new(Answered { provider, watch, first }));
            }
            Err(Failure::Caller(reject)) => {
                // One provider's word is not enough: it could turn every call of a model away and be asked first again.
                let is_second = failures.objected(End::Cancelled, "caller_error").is_some();
                failures.objection = Some((reject, watch));
                if is_second {
                    break;
                }
            }
            Err(failure) => failures.note(&watch, failure),
        }
    }
    if let Some(reject) = failures.objected(End::Cancelled, "caller_error") {
        return Round::Over(Some(reject));
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
struct Failures<'a> {
    tried: usize,
    last: Option<Reject>,
    /// The first provider that found fault with the request itself, and with what.
    objection: Option<(Reject, Watched<'a>)>,
}

impl Failures<'_> {
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

    /// Ends the attempt of the provider that objected, if one did, and gives its objection.
    fn objected(&mut self, end: End, outcome: &'static str) -> Option<Reject> {
        let (reject, watch) = self.objection.take()?;
        watch.ended(end, outcome);
        Some(reject)
    }

    fn reject(&mut self) -> Reject {
        self.last
            .take()
            .unwrap_or_else(|| Reject::NoProvider("The providers of this model have just left.".to_owned()))
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
        // An answer without a word says nothing good of its provider, and may be nobody's fault.
        CallOutcome::Completed if meter.output_bytes == 0 => (End::Cancelled, "empty"),
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

fn whole_response(call: &Call, provider: &Provider, body: Bytes) -> Response {
    let mut response = Response::new(axum::body::Body::from(body));
    relay::head(&mut response, call, provider, "application/json");
    response
}
