//! Step 7, the rescue: finds a provider that goes on where another broke off in the middle of a stream.
//!
//! The next provider gets the call with the text so far and what is left of its limit, and the caller sees one stream.
//! That is sound only for plain text (`CallView::can_continue`), by a provider of the same model and quantisation; what
//! else breaks ends in an error. What is changed in the continuation's chunks is in [`super::frames`].

use std::sync::Arc;
use std::time::Duration;

use filature_openapi::call::Endpoint;
use filature_provider_sdk::is_continuable;
use filature_router::{Attempt, Capabilities, End, NoRoute, Try};

use super::admit::{self, Admitted};
use super::attempt::{Failure, Watched, continuation, renames};
use super::cosigned::Answer;
use super::dispatch::{Served, Tried};
use super::frames::{Cut, Out};
use super::queue::{self, Waited};
use super::relay::Stream;
use super::{Call, size};
use crate::app::Worker;
use crate::fleet::provider::Provider;
use crate::fleet::routed::{Routed, Slot};
use crate::reject::Reject;

/// Attempts at going on that one call may make: a model that breaks at every provider must not go through all of them.
const ATTEMPTS_MAX: usize = 8;
/// A provider that has taken up the stream.
pub struct Resumed<'a> {
    /// Who.
    pub provider: Arc<Provider>,
    /// Its attempt.
    pub watch: Watched<'a>,
    /// What is still to come.
    pub body: Answer,
    /// What came so far, for the caller.
    pub held: Out,
    /// Bytes of text that the caller had before.
    pub from_byte: u64,
}

/// How a rescue ended.
pub enum Rescue<'a> {
    /// Somebody goes on.
    Resumed(Box<Resumed<'a>>),
    /// Nothing was left to say: the answer had reached its limit, and the caller has been told so.
    AtLength,
    /// The caller left meanwhile.
    CallerLeft,
    /// It cannot be continued soundly, or nobody can.
    Nobody,
}

/// Finds a provider that goes on with `stream`, which `broken` was the last to carry.
pub async fn resume<'a>(
    worker: &'a Worker,
    call: &'a Call,
    admitted: &Admitted,
    stream: &mut Stream,
    broken: &Served,
    tried: &mut Tried,
) -> Rescue<'a> {
    let Some(cut) = stream.frames.cut().filter(|_| worker.app.config.routing.rescue) else {
        return Rescue::Nobody;
    };
    // What passed, and never what the one that broke off claims: the next one's bill depends on it.
    let delivered = broken.meter.carried_tokens + broken.meter.passed_tokens(&call.view);
    let left = u64::from(admitted.output_tokens_max).saturating_sub(delivered);
    let Some(left) = u32::try_from(left).ok().filter(|left| *left > 0) else {
        let mut out = Out::new();
        stream.frames.end_at_length(&mut out);
        stream.finish(out).await;
        return Rescue::AtLength;
    };
    let cut = if cut.text.is_empty() || is_continuable(&cut.text) {
        cut
    } else {
        cut.from_nothing(delivered)
    };
    let rest = Rest { cut, left, delivered };
    let caller = stream.caller.clone();
    let gone = async {
        match &caller {
            Some(caller) => caller.closed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        found = search(worker, call, admitted, &broken.attempt, &rest, stream, tried) => found,
        () = gone => Rescue::CallerLeft,
        () = worker.app.stop.cutting.cancelled() => Rescue::Nobody,
    }
}

/// What is still to be said.
struct Rest {
    cut: Cut,
    /// Tokens left of the call's limit.
    left: u32,
    /// Tokens delivered.
    delivered: u64,
}

impl Rest {
    /// The limit that an engine is told: what it has to say again counts there.
    fn told(&self) -> u32 {
        let again = u32::try_from(self.cut.overlap_tokens).unwrap_or(u32::MAX);
        self.left.saturating_add(again)
    }
}

async fn search<'a>(
    worker: &'a Worker,
    call: &'a Call,
    admitted: &Admitted,
    last: &Attempt,
    rest: &Rest,
    stream: &mut Stream,
    tried: &mut Tried,
) -> Rescue<'a> {
    let app = &worker.app;
    while tried.count < ATTEMPTS_MAX {
        let Some(Routed { plan, slot }) = plan(worker, call, admitted, last, rest, tried).await else {
            return Rescue::Nobody;
        };
        let mut slot = Some(slot);
        for attempt in plan.attempts.into_iter().take(ATTEMPTS_MAX - tried.count) {
            if !app.fleet.permit(Try::Rescue, app.clock.now()) {
                tracing::warn!(call = %call.id, "a stream is given up: the budget of retries is spent");
                return Rescue::Nobody;
            }
            if let Some(resumed) = take_up(worker, call, attempt, slot.take(), rest, stream, tried).await {
                return Rescue::Resumed(Box::new(resumed));
            }
        }
    }
    Rescue::Nobody
}

/// Who may go on: anyone not tried, of the same model and quantisation, at no more than is held for.
async fn plan<'a>(
    worker: &'a Worker,
    call: &Call,
    admitted: &Admitted,
    last: &Attempt,
    rest: &Rest,
    tried: &Tried,
) -> Option<Routed<'a>> {
    let app = &worker.app;
    let mut ask = admit::ask(worker, call);
    ask.model = last.model.as_str();
    ask.fallbacks = &[];
    ask.excluded = &tried.failed;
    ask.ceiling = Some(admitted.ceiling);
    ask.quantization = Some(last.quantization.as_ref().map_or("", |label| label.as_str()));
    ask.prompt_tokens =
        size::prompt_estimate(&call.view).saturating_add(u32::try_from(rest.delivered).unwrap_or(u32::MAX));
    ask.completion_tokens_min = 1;
    ask.completion_tokens_max = rest.told();
    // A completion's prompt is text already; a chat needs an engine that leaves the last message open.
    if call.view.endpoint == Endpoint::ChatCompletions {
        ask.needs = ask.needs.with(Capabilities::CONTINUE);
    }
    match app.fleet.route_at_once(&ask, app.clock) {
        Ok(routed) => Some(routed),
        Err(NoRoute::Full { retry_after }) => {
            let full = Reject::ProvidersFull { retry_after };
            let wait_max = Duration::from_millis(app.config.routing.queue_wait_ms);
            match queue::wait(worker, &ask, queue::ADMITTED, wait_max, full, std::future::pending()).await {
                Waited::Routed(routed) => Some(*routed),
                Waited::Over(_) | Waited::Gone => None,
            }
        }
        Err(why) => {
            tracing::info!(call = %call.id, %why, "a broken stream cannot be continued");
            None
        }
    }
}

/// Asks one provider to go on.
async fn take_up<'a>(
    worker: &'a Worker,
    call: &'a Call,
    attempt: Attempt,
    slot: Option<Slot<'a>>,
    rest: &Rest,
    stream: &mut Stream,
    tried: &mut Tried,
) -> Option<Resumed<'a>> {
    let number = tried.start();
    let Some(provider) = worker.app.fleet.provider(&attempt.provider) else {
        // It has left since the plan was made.
        tried.fail(&attempt.provider);
        return None;
    };
    let told = rest.told().min(attempt.output_tokens_max);
    let renamed = renames(&provider, &attempt);
    stream
        .frames
        .take_up(&rest.cut, provider.id.as_str(), renamed, rest.delivered);
    let watch = Watched::start(worker, call, attempt, number, Try::Rescue);
    drop(slot);
    match continuation(&watch, &provider, told, &rest.cut, &mut stream.frames).await {
        Ok((body, held)) => {
            watch.first_token();
            tracing::info!(call = %call.id, provider = %provider.id, "a broken stream goes on");
            Some(Resumed {
                from_byte: rest.cut.at_byte(),
                provider,
                watch,
                body,
                held,
            })
        }
        Err(failure) => {
            tried.fail(&provider.id);
            let (end, outcome) = match failure {
                Failure::Refused => (End::Refused, "refused"),
                Failure::TimedOut => (End::FailedEarly, "timed_out"),
                Failure::Failed(why) => {
                    tracing::info!(call = %call.id, provider = %provider.id, why, "a provider does not go on");
                    (End::FailedEarly, "failed")
                }
                // What it objects to is the gateway's own addition.
                Failure::Caller(_) => (End::Cancelled, "objected"),
            };
            watch.ended(end, outcome);
            None
        }
    }
}
