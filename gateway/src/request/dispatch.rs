//! Step 4, where: finds a provider that answers (`search`) and sees its answer through to the end.
//!
//! [`super::relay`] carries the answer, and where it breaks [`super::resume`] finds somebody to go on.

mod search;

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use filature_billing::CallOutcome;
use filature_router::{Attempt, End, ProviderId};
use smallvec::SmallVec;

use search::{Answered, Found};

use super::admit::Admitted;
use super::attempt::{First, Watched};
use super::cosigned::Unchecked;
use super::hashes::Given;
use super::meter::Meter;
use super::relay::{self, Stopped, Stream};
use super::resume::{self, Rescue, Resumed};
use super::{Answer, Call, size};
use crate::app::Worker;
use crate::fleet::provider::Provider;
use crate::fleet::routed::Slot;

/// What one provider delivered.
pub struct Served {
    /// Who.
    pub provider: Arc<Provider>,
    /// At what price.
    pub attempt: Attempt,
    /// How much passed.
    pub meter: Meter,
    /// Bytes of the answer's text that others had delivered before.
    pub from_byte: u64,
    /// What it may have signed about it, if its answer came to its end.
    pub unchecked: Option<Box<Unchecked>>,
}

/// How a call went, for the bill.
pub struct Outcome {
    /// Who served it, in order; several where one went on from another; empty where nobody did.
    pub parts: SmallVec<[Served; 1]>,
    /// How it ended.
    pub end: CallOutcome,
    /// Why the answer ended, in the engine's word.
    pub finish_reason: Option<Box<str>>,
    /// From the call's start to its first token, or to the whole answer.
    pub first_token: Duration,
    /// Why it failed: a fixed word.
    pub error: Option<&'static str>,
    /// What the caller was given of it.
    pub given: Given,
}

impl Outcome {
    /// Nobody delivered anything.
    #[must_use]
    pub fn nothing(error: &'static str) -> Self {
        Self {
            parts: SmallVec::new(),
            end: CallOutcome::Cancelled,
            finish_reason: None,
            first_token: Duration::ZERO,
            error: Some(error),
            given: Given::Nothing,
        }
    }
}

/// The attempts a call has made so far.
#[derive(Default)]
pub struct Tried {
    /// How many.
    pub count: usize,
    /// Providers that failed at it, and are not asked again. One that merely lost a race is not among them.
    pub failed: SmallVec<[ProviderId; 4]>,
}

impl Tried {
    /// Counts one more attempt and returns its number, from 1.
    pub fn start(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    /// A provider failed.
    pub fn fail(&mut self, provider: &ProviderId) {
        if !self.failed.contains(provider) {
            self.failed.push(provider.clone());
        }
    }
}

/// Serves an admitted call: returns who served it, after the last byte.
pub async fn dispatch<'a>(
    worker: &'a Worker,
    call: &'a Call,
    admitted: &'a Admitted,
    slot: Slot<'a>,
    answer: Answer,
) -> Outcome {
    let (found, tried, answer) = search::search(worker, call, admitted, slot, answer).await;
    match found {
        Found::Answered(answered) => serve(worker, call, admitted, *answered, tried, answer).await,
        Found::Nobody(reject) => {
            let error = reject.label();
            let _ = answer.send(Err(reject));
            Outcome::nothing(error)
        }
        Found::CallerLeft => Outcome::nothing("cancelled"),
    }
}

/// Carries the answer that has begun to its end.
async fn serve(
    worker: &Worker,
    call: &Call,
    admitted: &Admitted,
    answered: Answered<'_>,
    tried: Tried,
    answer: Answer,
) -> Outcome {
    let Answered { provider, watch, first } = answered;
    let first_token = call.started.elapsed();
    let mut outcome = Outcome {
        parts: SmallVec::new(),
        end: CallOutcome::Completed,
        finish_reason: None,
        first_token,
        error: None,
        given: Given::Nothing,
    };
    match first {
        First::Whole {
            body,
            meter,
            finish_reason,
            unchecked,
        } => {
            outcome.given = Given::Whole(body.clone());
            let sent = answer.send(Ok(whole_response(call, &provider, body)));
            // The answer was produced; a caller that leaves in this very moment has it all the same.
            drop(sent);
            outcome.finish_reason = finish_reason;
            let mut served = outcome.ended(call, provider, watch, meter, 0);
            served.unchecked = unchecked;
            outcome.parts.push(served);
        }
        First::Stream { body, frames, held } => {
            watch.first_token();
            let (response, caller) = relay::response(call, &provider);
            if answer.send(Ok(response)).is_err() {
                outcome.end = CallOutcome::Cancelled;
                let served = outcome.ended(call, provider, watch, frames.meter, 0);
                outcome.parts.push(served);
                return outcome;
            }
            let stream = Stream::new(worker, call, frames, caller);
            let begun = Resumed {
                provider,
                watch,
                body,
                held,
                from_byte: 0,
            };
            carry(worker, call, admitted, stream, begun, tried, &mut outcome).await;
        }
    }
    outcome
}

/// Carries a stream to its end, from provider to provider where one breaks off.
async fn carry<'a>(
    worker: &'a Worker,
    call: &'a Call,
    admitted: &Admitted,
    mut stream: Stream,
    begun: Resumed<'a>,
    mut tried: Tried,
    outcome: &mut Outcome,
) {
    let mut part = begun;
    loop {
        let Resumed {
            provider,
            watch,
            body,
            held,
            from_byte,
        } = part;
        let stopped = stream.pump(&watch, body, held).await;
        let mut unchecked = None;
        outcome.end = match stopped {
            Stopped::Complete(beside) => {
                unchecked = beside;
                CallOutcome::Completed
            }
            Stopped::CallerLeft | Stopped::Cut => CallOutcome::Cancelled,
            Stopped::Broke => {
                // The router is told at once; the next plan is to know.
                watch.ended(End::Broke, "broke");
                tried.fail(&provider.id);
                CallOutcome::Broken
            }
        };
        // The words are counted once, with the part that wrote them.
        let text = stream.frames.meter.text.take();
        let meter = Meter {
            text,
            ..stream.frames.meter.clone()
        };
        let mut broken = outcome.ended(call, provider, watch, meter, from_byte);
        broken.unchecked = unchecked;
        if outcome.end == CallOutcome::Broken {
            match resume::resume(worker, call, admitted, &mut stream, &broken, &mut tried).await {
                Rescue::Resumed(next) => {
                    outcome.parts.push(broken);
                    part = *next;
                    continue;
                }
                Rescue::AtLength => outcome.end = CallOutcome::Completed,
                Rescue::CallerLeft => outcome.end = CallOutcome::Cancelled,
                Rescue::Nobody => {
                    stream.tell_broken().await;
                    outcome.error = Some("provider_broke");
                }
            }
        }
        outcome.parts.push(broken);
        outcome.finish_reason = stream.frames.finish_reason.take();
        outcome.given = Given::Stream(stream.given);
        return;
    }
}

impl Outcome {
    /// One provider's part is over, and ended as the call does or will: tells the router.
    fn ended(&self, call: &Call, provider: Arc<Provider>, watch: Watched<'_>, meter: Meter, from_byte: u64) -> Served {
        let tokens = meter.completion_tokens(&call.view);
        match self.end {
            // An answer without a word says nothing good of its provider, and may be nobody's fault.
            CallOutcome::Completed if meter.output_bytes == 0 && meter.carried_tokens == 0 => {
                watch.ended(End::Cancelled, "empty");
            }
            CallOutcome::Completed => {
                watch.saw(size::prompt_estimate(&call.view).saturating_add(tokens));
                let after_first_token = watch.since_first_token();
                watch.ended(
                    End::Served {
                        completion_tokens: tokens,
                        after_first_token,
                    },
                    "served",
                );
            }
            CallOutcome::Cancelled => watch.ended(End::Cancelled, "cancelled"),
            CallOutcome::Broken => watch.ended(End::Broke, "broke"),
        }
        Served {
            provider,
            attempt: watch.attempt.clone(),
            meter,
            from_byte,
            unchecked: None,
        }
    }
}

fn whole_response(call: &Call, provider: &Provider, body: Bytes) -> Response {
    let mut response = Response::new(axum::body::Body::from(body));
    relay::head(&mut response, call, provider, "application/json");
    response
}
