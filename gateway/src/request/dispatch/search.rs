//! Tries the plan's providers in order until one gives a first token, the second beside the first where that one is late.
//! Until then a caller sees nothing of what fails.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use filature_router::{Attempt, End, Try};

use super::Tried;
use crate::app::Worker;
use crate::fleet::provider::Provider;
use crate::fleet::routed::Slot;
use crate::reject::Reject;
use crate::request::admit::{self, Admitted};
use crate::request::attempt::{Failure, First, Watched, first};
use crate::request::{Answer, Call};

/// The pause between two passes over a plan whose providers were all full; it doubles each time.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);
const REFUSED_PAUSE_MAX: Duration = Duration::from_millis(500);

/// What came of the search.
pub(super) enum Found<'a> {
    /// A provider's answer has begun.
    Answered(Box<Answered<'a>>),
    /// Nobody answers: what the caller is told.
    Nobody(Reject),
    /// The caller left meanwhile.
    CallerLeft,
}

/// A provider's answer that has begun.
pub(super) struct Answered<'a> {
    pub(super) provider: Arc<Provider>,
    pub(super) watch: Watched<'a>,
    pub(super) first: First,
}

/// Finds a provider that answers: in the plan, or among those the fleet has come to know since.
pub(super) async fn search<'a>(
    worker: &'a Worker,
    call: &'a Call,
    admitted: &'a Admitted,
    slot: Slot<'a>,
    answer: Answer,
) -> (Found<'a>, Tried, Answer) {
    let mut search = Search {
        worker,
        call,
        admitted,
        slot: Some(slot),
        answer,
        tried: Tried::default(),
        last: None,
        objection: None,
    };
    let hedge_after = admitted.plan.hedge_after.filter(|_| call.view.stream);
    let mut found = search.pass(&admitted.plan.attempts, hedge_after).await;
    // A plan made when most were full is short, and the fleet may know others by now.
    while let Found::Nobody(Reject::ProvidersFailed { .. } | Reject::ProvidersTimedOut { .. }) = found {
        let tried_before = search.tried.count;
        let gone = search.answer.closed();
        let further = admit::further(worker, call, admitted, &search.tried.failed, gone).await;
        let Some(further) = further else { break };
        search.slot = Some(further.slot);
        found = search.pass(&further.plan.attempts, None).await;
        if search.tried.count == tried_before {
            break; // The budget of retries is spent, or those named have just left.
        }
    }
    (found, search.tried, search.answer)
}

/// One attempt under way.
struct Runner<'a> {
    provider: Arc<Provider>,
    watch: Watched<'a>,
}

impl<'a> Runner<'a> {
    /// Runs up to the first sign of an answer. Dropped, it is cancelled at the provider.
    async fn run(self, told: Option<u32>) -> (Self, Result<First, Failure>) {
        let first = first(&self.watch, &self.provider, told).await;
        (self, first)
    }
}

/// The search for a provider that answers.
struct Search<'a> {
    worker: &'a Worker,
    call: &'a Call,
    admitted: &'a Admitted,
    /// Taken at the first provider of the plan, until an attempt has started.
    slot: Option<Slot<'a>>,
    answer: Answer,
    tried: Tried,
    last: Option<Reject>,
    /// The first provider that found fault with the request itself, and with what.
    objection: Option<(Reject, Watched<'a>)>,
}

impl<'a> Search<'a> {
    /// Tries the providers in order, again and again while all of them are full and there is time.
    async fn pass(&mut self, attempts: &[Attempt], hedge_after: Option<Duration>) -> Found<'a> {
        let mut pause = REFUSED_PAUSE;
        loop {
            if let Some(found) = self.round(attempts, hedge_after).await {
                return found;
            }
            // A provider may count a call that has just ended here as running a moment longer.
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(REFUSED_PAUSE_MAX),
                () = self.answer.closed() => return Found::CallerLeft,
            }
        }
    }

    /// Tries every provider once. `None` when all were full and there is time to ask again, be it that the budget of
    /// retries allows none right now.
    async fn round(&mut self, attempts: &[Attempt], mut hedge_after: Option<Duration>) -> Option<Found<'a>> {
        let app = &self.worker.app;
        let mut left = attempts.iter();
        while let Some(lead) = self.start_next(&mut left, None) {
            let found = self.race(lead, &mut left, hedge_after.take()).await;
            if found.is_some() {
                return found;
            }
        }
        if let Some(reject) = self.objected(End::Cancelled, "caller_error") {
            return Some(Found::Nobody(reject));
        }
        let patience = Duration::from_millis(app.config.routing.queue_wait_ms);
        let is_here = |attempt: &Attempt| app.fleet.provider(&attempt.provider).is_some();
        let is_waiting = self.call.started.elapsed() < patience && attempts.iter().any(is_here);
        match self.last {
            Some(Reject::ProvidersFull { .. }) if is_waiting => None,
            _ => Some(Found::Nobody(self.reject())),
        }
    }

    /// Starts the next attempt whose provider is still here, if the budget for its kind allows another.
    fn start_next<'b>(
        &mut self,
        attempts: &mut impl Iterator<Item = &'b Attempt>,
        kind: Option<Try>,
    ) -> Option<Runner<'a>> {
        let app = &self.worker.app;
        let (attempt, provider) =
            attempts.find_map(|attempt| Some((attempt, app.fleet.provider(&attempt.provider)?)))?;
        let kind = kind.unwrap_or(if self.tried.count == 0 { Try::First } else { Try::Retry });
        if kind != Try::First && !app.fleet.permit(kind, app.clock.now()) {
            return None;
        }
        let number = self.tried.start();
        let watch = Watched::start(self.worker, self.call, attempt.clone(), number, kind);
        self.slot = None;
        Some(Runner { provider, watch })
    }

    /// Runs `lead`, and the next attempt beside it once `hedge_after` has passed without a first token. `None` when
    /// whoever ran has failed.
    async fn race<'b>(
        &mut self,
        lead: Runner<'a>,
        attempts: &mut impl Iterator<Item = &'b Attempt>,
        hedge_after: Option<Duration>,
    ) -> Option<Found<'a>> {
        let told = self.admitted.told_output_tokens_max;
        let cutting = self.worker.app.stop.cutting.clone();
        let mut lead = pin!(lead.run(told));
        let (mut lead_runs, mut may_hedge) = (true, hedge_after.is_some());
        let mut rival: Option<Pin<Box<_>>> = None;
        let mut late = pin!(tokio::time::sleep(hedge_after.unwrap_or_default()));
        while lead_runs || rival.is_some() {
            let (runner, sign) = tokio::select! {
                ended = lead.as_mut(), if lead_runs => {
                    lead_runs = false;
                    ended
                }
                ended = async { rival.as_mut().expect("checked below").await }, if rival.is_some() => {
                    rival = None;
                    ended
                }
                () = late.as_mut(), if may_hedge => {
                    may_hedge = false;
                    rival = self.start_next(attempts, Some(Try::Hedge)).map(|runner| Box::pin(runner.run(told)));
                    continue;
                }
                () = self.answer.closed() => return Some(Found::CallerLeft),
                () = cutting.cancelled() => {
                    return Some(Found::Nobody(Reject::Overloaded("This gateway is stopping.")));
                }
            };
            match sign {
                Ok(first) => {
                    self.objected(End::FailedEarly, "objected");
                    let Runner { provider, watch } = runner;
                    return Some(Found::Answered(Box::new(Answered { provider, watch, first })));
                }
                Err(failure) => {
                    may_hedge = false;
                    if let Some(reject) = self.failed(runner.watch, failure) {
                        return Some(Found::Nobody(reject));
                    }
                }
            }
        }
        None
    }

    /// Takes note of a failed attempt. Two providers that object to the request itself settle it: the second's objection.
    fn failed(&mut self, watch: Watched<'a>, failure: Failure) -> Option<Reject> {
        let attempts = self.tried.count;
        let provider = &watch.attempt.provider;
        self.tried.fail(provider);
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
            Failure::Caller(reject) => {
                // One provider's word is not enough: it could turn every call of a model away and be asked first again.
                if self.objected(End::Cancelled, "caller_error").is_some() {
                    watch.ended(End::Cancelled, "caller_error");
                    return Some(reject);
                }
                self.objection = Some((reject, watch));
            }
        }
        None
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
