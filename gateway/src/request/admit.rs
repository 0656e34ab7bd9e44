//! Step 3, may they: asks the router for a plan, quotes it, and reserves the quote: one ledger
//! round trip, and one more for each attempt that a balance too small for the whole plan leaves out.
//!
//! The quote is an upper bound of what the call can cost at the dearest price its plan may use. A caller who set no
//! limit on the output gets what the balance affords, up to what the providers offer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use filature_billing::{KeyRecord, Nano, Price, RateState, Reserve, ReserveError, Reserved};
use filature_openapi::call::{CallView, Endpoint, Tier};
use filature_router::{Ask, Attempt, NoRoute, Plan, ProviderId, Rank, Unfit};

use super::auth::Caller;
use super::live::{Listed, LiveCalls};
use super::queue::{self, Waited};
use super::{Answer, Call, auth, count, meter, settle};
use crate::app::{App, Worker};
use crate::clock::now_ms;
use crate::fleet::routed::{Routed, Slot};
use crate::reject::Reject;

/// A caller without a limit of its own is let in if it affords at least this many tokens of output.
const OUTPUT_TOKENS_MIN: u32 = 16;

/// A call that may go ahead.
pub struct Admitted {
    /// Where to try.
    pub plan: Plan,
    /// What is held for it.
    pub held: Nano,
    /// The dearest price that this covers.
    pub ceiling: filature_router::Price,
    /// What is left of the key's limits per minute.
    pub limits: RateState,
    /// The most output tokens a choice may have, so that the cost stays below what is held.
    pub output_tokens_max: u32,
    /// That limit, where the engine must be told because the caller set none and affords less than is offered.
    pub told_output_tokens_max: Option<u32>,
    /// The most tokens of prompt that this covers.
    pub prompt_tokens_max: u64,
    /// The prompt, where the model's tokenizer counts it.
    pub prompt: Option<count::Prompt>,
    /// Keeps the hold renewed until the call is settled.
    pub listed: Listed,
}

/// Plans and reserves. The slot at the plan's first provider is taken until the attempt has started. `None` when the caller left while it waited for a place at a provider.
///
/// # Errors
/// Whatever the caller must be told; nothing is held then.
pub async fn admit<'a>(
    worker: &'a Worker,
    call: &Call,
    answer: &mut Answer,
) -> Result<Option<(Admitted, Slot<'a>)>, Reject> {
    let Some(Routed { mut plan, slot }) = plan(worker, call, answer).await? else {
        return Ok(None);
    };
    let expires_ms = now_ms() + worker.app.config.ledger.hold_lease_ms;
    loop {
        let quote = Quote::of(&worker.app, &plan, call);
        let most = quote.price(quote.output_tokens_max)?;
        match reserve(worker, call, &quote, most, expires_ms).await {
            Ok(Reserved { held, limits }) => {
                let told = (held < most).then(|| quote.affordable(held));
                let first = plan.attempts.first();
                let admitted = Admitted {
                    prompt_tokens_max: quote.prompt_tokens,
                    prompt: first.and_then(|first| count::Prompt::begin(&worker.app, call, first.model.as_str())),
                    ceiling: plan.dearest_price(),
                    plan,
                    held,
                    limits,
                    output_tokens_max: told.unwrap_or(quote.output_tokens_max),
                    told_output_tokens_max: told,
                    listed: LiveCalls::list(&worker.app, &call.id, &call.key.account, expires_ms),
                };
                return Ok(Some((admitted, slot)));
            }
            // A dear provider at the end of the plan must not keep a caller from those it can pay.
            Err(reject @ (Reject::InsufficientCredit { .. } | Reject::BudgetSpent { .. })) => {
                if !cheapen(worker, &mut plan, call, most)? {
                    return Err(reject);
                }
            }
            Err(reject) => return Err(reject),
        }
    }
}

/// Leaves a call only the models that its key may use. A key whose record is old is looked up only where that would leave
/// some of them out: otherwise [`confirm`] asks while the ledger reserves.
///
/// # Errors
/// [`Reject::ModelNotAllowed`] if that is none of them, [`Reject::LedgerUnavailable`] if the ledger cannot be asked.
pub async fn allow(app: &App, view: &mut CallView, mut caller: Caller) -> Result<Caller, Reject> {
    let mut models = std::iter::once(&view.model).chain(&view.fallbacks);
    if caller.stale.is_some() && !models.all(|model| caller.key.limits.allows(model)) {
        let key = auth::renewed(app, &caller.key, caller.stale.take()).await?;
        caller.key = key.unwrap_or(caller.key);
    }
    confine(view, &caller.key)?;
    Ok(caller)
}

fn confine(view: &mut CallView, key: &KeyRecord) -> Result<(), Reject> {
    if view.confine(|model| key.limits.allows(model)) {
        Ok(())
    } else {
        Err(Reject::ModelNotAllowed(view.model.to_string()))
    }
}

/// Confines a call that was let in to what is known of its key by now.
///
/// # Errors
/// [`Reject::ModelNotAllowed`] if none of its models, or none that the plan has, is allowed any more.
pub fn confirm(call: &mut Call, admitted: &mut Admitted, key: Option<Arc<KeyRecord>>) -> Result<(), Reject> {
    let Some(key) = key else { return Ok(()) };
    confine(&mut call.view, &key)?;
    let attempts = &mut admitted.plan.attempts;
    attempts.retain(|attempt| key.limits.allows(attempt.model.as_str()));
    if attempts.is_empty() {
        return Err(Reject::ModelNotAllowed(call.view.model.to_string()));
    }
    Ok(())
}

/// Reserves `most`, or what the balance affords where the caller set no limit. One round trip.
async fn reserve(worker: &Worker, call: &Call, quote: &Quote, most: Nano, expires_ms: u64) -> Result<Reserved, Reject> {
    let app = &worker.app;
    let least = match call.view.output_tokens_max {
        Some(_) => most,
        None => quote.price(OUTPUT_TOKENS_MIN.min(quote.output_tokens_max))?,
    };
    let reserve = Reserve {
        call: call.id,
        account: call.key.account.clone(),
        key: call.key.id.clone(),
        quote: most,
        quote_min: least,
        tokens: tokens(app, call, quote),
        now_ms: now_ms(),
        expires_ms,
    };
    let began = Instant::now();
    let reserved = app.ledger.reserve(&reserve).await;
    let failed = matches!(reserved, Err(ReserveError::Unavailable(_)));
    app.metrics.ledger_step("reserve", began.elapsed(), failed);
    reserved.map_err(|error| refused(error, least))
}

/// What the call is expected to use of its key's tokens per minute: the post puts it right.
fn tokens(app: &App, call: &Call, quote: &Quote) -> u64 {
    let output = match call.view.output_tokens_max {
        Some(_) => quote.output_tokens_max,
        None => app
            .lengths
            .expected(&call.key.id, &call.view.model)
            .min(quote.output_tokens_max),
    };
    u64::from(meter::prompt_estimate(&call.view)) + u64::from(output) * quote.choices
}

/// Takes attempts out of a plan, the dearest first, until it costs less than `most`; false if no other would.
fn cheapen(worker: &Worker, plan: &mut Plan, call: &Call, most: Nano) -> Result<bool, Reject> {
    while plan.attempts.len() > 1 {
        drop_dearest(worker, plan, call);
        let quote = Quote::of(&worker.app, plan, call);
        if quote.price(quote.output_tokens_max)? < most {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes the attempt out of a plan that is expected to cost the most.
fn drop_dearest(worker: &Worker, plan: &mut Plan, call: &Call) {
    let ask = ask(worker, call);
    let cost = |attempt: &Attempt| {
        attempt
            .price
            .cost_nano(ask.prompt_tokens, ask.completion_tokens_expected)
    };
    let attempts = plan.attempts.iter().enumerate();
    if let Some((at, _)) = attempts.max_by_key(|(_, attempt)| cost(attempt)) {
        plan.attempts.remove(at);
    }
}

/// A plan, waiting a bounded time in a bounded queue while every provider is full, or away for a moment.
async fn plan<'a>(worker: &'a Worker, call: &Call, answer: &mut Answer) -> Result<Option<Routed<'a>>, Reject> {
    let app = &worker.app;
    let ask = ask(worker, call);
    let full = match app.fleet.route(&ask, || rank_of(worker, call), app.clock) {
        Ok(routed) => return Ok(Some(routed)),
        Err(NoRoute::Full { retry_after }) => Reject::ProvidersFull { retry_after },
        // Its providers may be dialling in again this very moment.
        Err(NoRoute::UnknownModel) if app.fleet.has_known(&call.view.model) => absent(&call.view.model),
        // A gateway that has just started knows no model until its providers have dialled in.
        Err(NoRoute::UnknownModel) if app.fleet.is_empty() => return Err(absent(&call.view.model)),
        Err(NoRoute::UnknownModel) => return Err(Reject::UnknownModel(call.view.model.to_string())),
        Err(NoRoute::NoneEligible { reason }) => return Err(unfit(reason)),
    };
    can_pay(worker, call).await?;
    let rank = rank_of(worker, call);
    let _in_line = app.live.in_line(&call.key.account);
    let wait_max = Duration::from_millis(app.config.routing.queue_wait_ms).saturating_sub(call.started.elapsed());
    match queue::wait(worker, &ask, rank, wait_max, full, answer.closed()).await {
        Waited::Routed(routed) => Ok(Some(*routed)),
        Waited::Over(reject) => Err(reject),
        Waited::Gone => Ok(None),
    }
}

/// How much the call matters among those that wait. The caller's word for it counts upwards only with a key the operator
/// has named.
fn rank_of(worker: &Worker, call: &Call) -> Rank {
    let may_be_first = || {
        let keys = &worker.app.config.routing.priority_keys;
        keys.iter().any(|key| key == call.key.id.as_str())
    };
    let tier = match call.view.tier {
        Tier::Flex => 0,
        Tier::Priority if may_be_first() => 2,
        Tier::Default | Tier::Priority => 1,
    };
    Rank {
        tier,
        share: worker.app.live.share(&call.key.account),
    }
}

/// Whether a call may wait at all: places in the queue are not for those who cannot pay in the end.
async fn can_pay(worker: &Worker, call: &Call) -> Result<(), Reject> {
    let account = worker.app.ledger.account(&call.key.account).await;
    match account.map_err(Reject::ledger)? {
        Some(account) if account.available > 0 => Ok(()),
        account => Err(Reject::InsufficientCredit {
            needed_nano: 1,
            available_nano: account.map_or(0, |account| account.available),
        }),
    }
}

/// Providers other than `failed` that ask no more than what is held covers, waiting for one in front of all calls that were
/// not let in yet; none where there is nobody, or `gone` resolves first.
pub async fn further<'a>(
    worker: &'a Worker,
    call: &Call,
    admitted: &Admitted,
    failed: &[ProviderId],
    gone: impl Future<Output = ()>,
) -> Option<Routed<'a>> {
    let app = &worker.app;
    let left = app.config.routing.attempts_max.saturating_sub(failed.len());
    let ask = Ask {
        excluded: failed,
        ceiling: Some(admitted.ceiling),
        ..ask(worker, call)
    };
    if left == 0 {
        return None;
    }
    let mut routed = match app.fleet.route_at_once(&ask, app.clock) {
        Ok(routed) => routed,
        Err(NoRoute::Full { retry_after }) => {
            let full = Reject::ProvidersFull { retry_after };
            let wait_max = Duration::from_millis(app.config.routing.queue_wait_ms);
            match queue::wait(worker, &ask, queue::ADMITTED, wait_max, full, gone).await {
                Waited::Routed(routed) => *routed,
                Waited::Over(_) | Waited::Gone => return None,
            }
        }
        Err(_) => return None,
    };
    routed.plan.attempts.truncate(left);
    Some(routed)
}

/// What the call asks of the router.
pub fn ask<'a>(worker: &Worker, call: &'a Call) -> Ask<'a> {
    let view = &call.view;
    let app = &worker.app;
    let output_min = match view.endpoint {
        Endpoint::Embeddings => 0,
        _ => view.output_tokens_max.unwrap_or(1),
    };
    let mut needs = crate::fleet::router_needs(view.needs);
    if view.provider.as_ref().is_some_and(|wishes| wishes.require_parameters) {
        needs = needs.with(crate::fleet::router_parameters(view.parameters));
    }
    Ask {
        model: &view.model,
        fallbacks: &view.fallbacks,
        endpoint: crate::fleet::router_endpoint(view.endpoint),
        needs,
        prompt_tokens: meter::prompt_estimate(view),
        completion_tokens_min: output_min,
        completion_tokens_max: view.output_tokens_max.unwrap_or(u32::MAX),
        completion_tokens_expected: app.lengths.expected(&call.key.id, &view.model),
        exchange: app.config.routing.exchange_nano_per_second as f64,
        preferences: call.preferences.as_deref(),
        prefix: call.prefix,
        ..Ask::PLAIN
    }
}

/// What bounds a call's cost.
struct Quote {
    price: Price,
    prompt_tokens: u64,
    output_tokens_max: u32,
    choices: u64,
}

impl Quote {
    fn of(app: &App, plan: &Plan, call: &Call) -> Self {
        let offered = plan
            .attempts
            .iter()
            .map(|attempt| attempt.output_tokens_max)
            .max()
            .unwrap_or(0);
        let output_tokens_max = match (call.view.endpoint, call.view.output_tokens_max) {
            (Endpoint::Embeddings, _) => 0,
            (_, Some(asked)) => asked.min(offered),
            (_, None) => offered,
        };
        let models = plan.attempts.iter().map(|attempt| attempt.model.as_str());
        Self {
            price: settle::price(&plan.dearest_price()),
            prompt_tokens: count::prompt_tokens_max(app, call, models),
            output_tokens_max,
            choices: u64::from(meter::choices(&call.view)),
        }
    }

    /// The cost with `output_tokens` for every choice.
    fn price(&self, output_tokens: u32) -> Result<Nano, Reject> {
        let completion = u64::from(output_tokens) * self.choices;
        self.price
            .cost_at_most(self.prompt_tokens, completion)
            .map_err(|_overflow| Reject::BadRequest {
                message: "This call could cost more than the ledger can count. Lower max_tokens or n.".to_owned(),
                param: Some("max_tokens".to_owned()),
                code: None,
            })
    }

    /// The most output tokens a choice may have at a cost of at most `held`.
    fn affordable(&self, held: Nano) -> u32 {
        let (mut fits, mut exceeds) = (0, self.output_tokens_max);
        while fits + 1 < exceeds {
            let middle = fits + (exceeds - fits) / 2;
            if self.price(middle).is_ok_and(|cost| cost <= held) {
                fits = middle;
            } else {
                exceeds = middle;
            }
        }
        fits
    }
}

fn absent(model: &str) -> Reject {
    Reject::NoProvider(format!(
        "No provider of the model `{model}` is connected now. Try again shortly."
    ))
}

/// No provider's offer fits the call: the caller's to mend where its sizes or its wishes are at fault.
pub fn unfit(reason: Unfit) -> Reject {
    let message = format!("No provider of this model fits the call: {reason}.");
    let too_large = |param: &str, code| Reject::BadRequest {
        message: message.clone(),
        param: Some(param.to_owned()),
        code: Some(code),
    };
    match reason {
        Unfit::Output => too_large("max_tokens", "max_tokens_exceeded"),
        Unfit::Context => too_large("messages", "context_length_exceeded"),
        Unfit::Draining | Unfit::Excluded | Unfit::Ceiling | Unfit::Quantization => Reject::NoProvider(message),
        Unfit::Endpoint
        | Unfit::Capability
        | Unfit::Only
        | Unfit::Ignore
        | Unfit::Order
        | Unfit::Private
        | Unfit::Precision
        | Unfit::MaxPrice => Reject::NoFittingProvider(message),
    }
}

fn refused(error: ReserveError, needed: Nano) -> Reject {
    match error {
        ReserveError::Insufficient { available } => Reject::InsufficientCredit {
            needed_nano: needed.get(),
            available_nano: available,
        },
        ReserveError::RateLimited {
            what,
            retry_after_ms,
            state,
        } => Reject::RateLimited {
            what: what.as_str(),
            retry_after: retry_after_ms.map(Duration::from_millis),
            state,
        },
        ReserveError::BudgetSpent { resets_ms, .. } => Reject::BudgetSpent {
            resets_in: resets_ms.map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms()))),
        },
        ReserveError::KeyRevoked => Reject::Unauthorized(auth::REVOKED),
        ReserveError::KeyExpired => Reject::Unauthorized(auth::EXPIRED),
        ReserveError::UnknownAccount | ReserveError::UnknownKey => {
            Reject::Unauthorized("This API key belongs to no account.")
        }
        ReserveError::AlreadyReserved => {
            tracing::error!("a call id was used twice");
            Reject::Internal
        }
        ReserveError::Unavailable(error) => {
            tracing::warn!(%error, "a quote could not be reserved");
            Reject::LedgerUnavailable
        }
    }
}
