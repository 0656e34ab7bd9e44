//! The answer: where to try, in which order, how long to wait.

use std::time::Duration;

use smallvec::SmallVec;

use crate::ask::Ask;
use crate::offer::{Price, ProviderId};
use crate::policy::{ATTEMPTS_MAX, Policy};
use crate::score::Forecast;
use crate::seat::Seat;
use crate::time::clamped_seconds;

/// A first token is given up on after this many times its expected time. Source: ROUTING, "Stall".
const FIRST_TOKEN_PATIENCE: f64 = 6.0;

/// A gap is given up on after this many times its expected length. Source: ROUTING, "Stall".
const GAP_PATIENCE: f64 = 20.0;

/// Where to try a call, in order. Never empty; the providers are distinct.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The attempts, best first.
    pub attempts: SmallVec<[Attempt; ATTEMPTS_MAX]>,
}

impl Plan {
    /// The dearest price of the attempts, field by field: what the call's quote must cover.
    #[must_use]
    pub fn dearest_price(&self) -> Price {
        self.attempts
            .iter()
            .fold(Price::default(), |dearest, attempt| dearest.dearest(attempt.price))
    }
}

/// One try at one provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Who.
    pub provider: ProviderId,
    /// Its price when the plan was made; an offer that changes meanwhile does not touch the call.
    pub price: Price,
    /// How long after the start the first token of a stream may take.
    pub first_token_deadline: Duration,
    /// How long a stream may be silent between tokens.
    pub gap_deadline: Duration,
    /// How long after the start an answer that comes whole may take.
    pub answer_deadline: Duration,
    /// Completion tokens this provider allows this call.
    pub output_tokens_max: u32,
}

impl Attempt {
    pub(crate) fn new(policy: &Policy, seat: &Seat, ask: &Ask<'_>, forecast: &Forecast) -> Self {
        let room = seat.offer.context_tokens_max.saturating_sub(ask.prompt_tokens);
        let output_tokens_max = ask.completion_tokens_max.min(seat.offer.output_tokens_max).min(room);
        let first_token_s = FIRST_TOKEN_PATIENCE * forecast.first_token_worst_s;
        // Little is known of the gaps of a provider that has not finished a stream yet: it gets
        // the patience a first token gets.
        let gap_min = if seat.seen.latency.gap_is_known() {
            policy.gap_deadline_min
        } else {
            policy.gap_deadline_min.max(policy.first_token_deadline_min)
        };
        let answer_s = first_token_s + FIRST_TOKEN_PATIENCE * f64::from(output_tokens_max) * forecast.gap_s;
        let first_token_min = policy.first_token_deadline_min;
        Self {
            provider: seat.provider.clone(),
            price: seat.offer.price,
            first_token_deadline: clamped_seconds(first_token_s, first_token_min, policy.deadline_max),
            gap_deadline: clamped_seconds(GAP_PATIENCE * forecast.gap_s, gap_min, policy.deadline_max),
            answer_deadline: clamped_seconds(answer_s, first_token_min, policy.deadline_max),
            output_tokens_max,
        }
    }
}
