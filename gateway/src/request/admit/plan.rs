//! Where a call could go: the router's plan, waiting in line while every provider is full, and what is said where there is
//! none.

use std::time::Duration;

use filature_openapi::call::{Endpoint, Tier};
use filature_router::{Ask, NoRoute, ProviderId, Rank, Unfit};

use super::Admitted;
use crate::app::Worker;
use crate::fleet::routed::Routed;
use crate::reject::Reject;
use crate::request::queue::{self, Waited};
use crate::request::{Answer, Call, size};

/// A plan, waiting a bounded time in a bounded queue while every provider is full, or away for a moment.
pub(super) async fn plan<'a>(
    worker: &'a Worker,
    call: &Call,
    answer: &mut Answer,
) -> Result<Option<Routed<'a>>, Reject> {
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
        prompt_tokens: size::prompt_estimate(view),
        completion_tokens_min: output_min,
        completion_tokens_max: view.output_tokens_max.unwrap_or(u32::MAX),
        completion_tokens_expected: app.lengths.expected(&call.key.id, &view.model),
        exchange: app.config.routing.exchange_nano_per_second as f64,
        preferences: call.preferences.as_deref(),
        prefix: call.prefix,
        ..Ask::PLAIN
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
