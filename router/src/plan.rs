//! The answer: where to try, in which order, how long to wait.

use std::time::Duration;

use smallvec::SmallVec;

use crate::ask::Ask;
use crate::names::{ModelId, ProviderId, Quantization};
use crate::offer::Price;
use crate::policy::{ATTEMPTS_MAX, Policy, Strategy};
use crate::route::eligible::Standing;
use crate::route::short_list::Candidate;
use crate::seat::breaker::BreakerState;
use crate::time::{Time, clamped_seconds};

/// A first token is given up on after this many times its expected time. Source: ROUTING, "Stall".
const FIRST_TOKEN_PATIENCE: f64 = 6.0;

/// A gap is given up on after this many times its expected length. Source: ROUTING, "Stall".
const GAP_PATIENCE: f64 = 20.0;

/// Nobody hedges earlier: a second attempt has to be sent and to be worked through as well. Chosen
/// here: about a round trip.
const HEDGE_AFTER_MIN_S: f64 = 0.05;

/// Where to try a call, in order. Never empty; no provider is named twice for one model.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The attempts, best first.
    pub attempts: SmallVec<[Attempt; ATTEMPTS_MAX]>,
    /// When a streamed call has no first token after this long, `attempts[1]` may be started beside
    /// `attempts[0]`, whoever is first being kept. `None`: never.
    pub hedge_after: Option<Duration>,
}

impl Plan {
    pub(crate) fn of(policy: &Policy, ask: &Ask<'_>, candidates: &[Candidate<'_>], now: Time) -> Self {
        Self {
            attempts: candidates
                .iter()
                .map(|candidate| Attempt::new(policy, candidate, ask))
                .collect(),
            hedge_after: hedge_after(policy, candidates, now),
        }
    }

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
    /// Which model: the asked one, or one of the call's fallbacks.
    pub model: ModelId,
    /// How the provider stores the model's weights, as it states it.
    pub quantization: Option<Quantization>,
    /// Prompt tokens less those this provider has seen before: the figure for the events.
    pub prefill_tokens: u32,
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
    fn new(policy: &Policy, candidate: &Candidate<'_>, ask: &Ask<'_>) -> Self {
        let (seat, forecast) = (candidate.seat, &candidate.forecast);
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
            model: seat.offer.model.clone(),
            quantization: seat.offer.quantization.clone(),
            prefill_tokens: candidate.prefill_tokens,
            price: seat.offer.price,
            first_token_deadline: first_token_deadline(policy, candidate),
            gap_deadline: clamped_seconds(GAP_PATIENCE * forecast.gap_s, gap_min, policy.deadline_max),
            answer_deadline: clamped_seconds(answer_s, first_token_min, policy.deadline_max),
            output_tokens_max,
        }
    }
}

/// A second attempt is worth its price when the first is later than 19 in 20 of its kind, and the
/// second is ready and expected to be no slower than that itself. Where the first is a probe, of a
/// provider that is new or failed before, the second starts when its own first token would have come:
/// whoever happens to be the probe does not pay for it.
fn hedge_after(policy: &Policy, candidates: &[Candidate<'_>], now: Time) -> Option<Duration> {
    let [first, second, ..] = candidates else { return None };
    let late_s = first
        .seat
        .seen
        .tail
        .late_s(first.forecast.first_token_s)
        .max(HEDGE_AFTER_MIN_S);
    let seen = &first.seat.seen;
    let is_probe = seen.breaker.state(now) != BreakerState::Closed || seen.latency.is_newcomer(now);
    let after_s = if is_probe {
        late_s.min(second.forecast.first_token_s.max(HEDGE_AFTER_MIN_S))
    } else {
        late_s
    };
    let is_sensible = policy.strategy == Strategy::Filature
        && second.standing == Standing::Ready
        && second.seat.offer.model == first.seat.offer.model
        && (is_probe || second.forecast.first_token_s <= late_s);
    let after = clamped_seconds(after_s, Duration::ZERO, policy.deadline_max);
    (is_sensible && after < first_token_deadline(policy, first)).then_some(after)
}

fn first_token_deadline(policy: &Policy, candidate: &Candidate<'_>) -> Duration {
    let seconds = FIRST_TOKEN_PATIENCE * candidate.forecast.first_token_worst_s;
    clamped_seconds(seconds, policy.first_token_deadline_min, policy.deadline_max)
}
