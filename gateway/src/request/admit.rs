//! Step 3, may they: asks the router for a plan, quotes it, and reserves the quote: one ledger
//! round trip, and one more for each attempt that a balance too small for the whole plan leaves out.
//!
//! The quote is an upper bound of what the call can cost at the dearest price its plan may use. A caller who set no
//! limit on the output gets what the balance affords, up to what the providers offer.

mod allowed;
mod plan;
mod quote;

use std::time::{Duration, Instant};

use filature_billing::{Nano, RateState, Reserve, ReserveError, Reserved};
use filature_router::Plan;

pub use self::allowed::{allow, confirm};
pub use self::plan::{ask, further, unfit};
use self::quote::{Quote, cheapen};
use super::live::{Listed, LiveCalls};
use super::{Answer, Call, auth, count, size};
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

/// Plans and reserves. The slot at the plan's first provider is taken until the attempt has started. `None` when the caller
/// left while it waited for a place at a provider.
///
/// # Errors
/// Whatever the caller must be told; nothing is held then.
pub async fn admit<'a>(
    worker: &'a Worker,
    call: &Call,
    answer: &mut Answer,
) -> Result<Option<(Admitted, Slot<'a>)>, Reject> {
    let Some(Routed { mut plan, slot }) = plan::plan(worker, call, answer).await? else {
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
    u64::from(size::prompt_estimate(&call.view)) + u64::from(output) * quote.choices
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
            Reject::LedgerUnavailable
        }
        ReserveError::Unavailable(error) => {
            tracing::warn!(%error, "a quote could not be reserved");
            Reject::LedgerUnavailable
        }
    }
}
