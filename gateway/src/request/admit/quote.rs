//! What a call can cost at the dearest price its plan may use, and a plan cut to what its caller can pay.

use filature_billing::{Nano, Price};
use filature_openapi::call::Endpoint;
use filature_router::{Attempt, Plan};

use super::plan::ask;
use crate::app::{App, Worker};
use crate::reject::Reject;
use crate::request::{Call, count, settle, size};

/// What bounds a call's cost.
pub(super) struct Quote {
    price: Price,
    pub(super) prompt_tokens: u64,
    pub(super) output_tokens_max: u32,
    pub(super) choices: u64,
}

impl Quote {
    pub(super) fn of(app: &App, plan: &Plan, call: &Call) -> Self {
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
            choices: u64::from(size::choices(&call.view)),
        }
    }

    /// The cost with `output_tokens` for every choice.
    pub(super) fn price(&self, output_tokens: u32) -> Result<Nano, Reject> {
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
    pub(super) fn affordable(&self, held: Nano) -> u32 {
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

/// Takes attempts out of a plan, the dearest first, until it costs less than `most`; false if no other would.
pub(super) fn cheapen(worker: &Worker, plan: &mut Plan, call: &Call, most: Nano) -> Result<bool, Reject> {
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
