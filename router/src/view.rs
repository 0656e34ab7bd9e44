//! What others may read of the fleet: for `/v1/models`, metrics and tests.

use std::time::Duration;

use crate::breaker::BreakerState;
use crate::offer::{Capabilities, Endpoints, ModelId, Price, ProviderId};
use crate::seat::Seat;
use crate::time::{Time, clamped_seconds};

/// A model over all providers that offer it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelView {
    /// Providers that offer it.
    pub providers: u32,
    /// The lowest price: of the provider with the cheapest prompt and completion together.
    pub cheapest: Price,
    /// The largest context any of them has, in tokens.
    pub context_tokens_max: u32,
    /// The most completion tokens any of them allows a call.
    pub output_tokens_max: u32,
    /// What at least one of them can do.
    pub can: Capabilities,
    /// Where at least one of them serves it.
    pub endpoints: Endpoints,
}

impl ModelView {
    pub(crate) fn of(seats: &[Seat]) -> Option<Self> {
        let (first, rest) = seats.split_first()?;
        let mut view = Self {
            providers: u32::try_from(seats.len()).unwrap_or(u32::MAX),
            cheapest: first.offer.price,
            context_tokens_max: first.offer.context_tokens_max,
            output_tokens_max: first.offer.output_tokens_max,
            can: first.offer.can,
            endpoints: first.offer.endpoints,
        };
        let height = |price: &Price| (price.prompt.saturating_add(price.completion), price.call);
        for Seat { offer, .. } in rest {
            if height(&offer.price) < height(&view.cheapest) {
                view.cheapest = offer.price;
            }
            view.context_tokens_max = view.context_tokens_max.max(offer.context_tokens_max);
            view.output_tokens_max = view.output_tokens_max.max(offer.output_tokens_max);
            view.can = view.can.with(offer.can);
            view.endpoints = view.endpoints.with(offer.endpoints);
        }
        Some(view)
    }
}

/// What is known of one provider with one model at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct SeatView {
    /// Who.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// What it takes.
    pub price: Price,
    /// Attempts this router sent it that have not ended.
    pub in_flight: u32,
    /// Those, and what the provider claims to have from elsewhere.
    pub load: f64,
    /// Attempts at once that it gets gladly.
    pub limit: u32,
    /// What its breaker lets through.
    pub breaker: BreakerState,
    /// Whether it said it was full a moment ago.
    pub is_backing_off: bool,
    /// Whether it takes no new calls.
    pub is_draining: bool,
    /// Failures that still count, each fading with a time constant of 60 s.
    pub errors: f64,
    /// Expected time to the first token of a prompt of no length.
    pub first_token: Duration,
    /// Expected time between tokens for one more stream.
    pub gap: Duration,
    /// First tokens the estimates rest on.
    pub first_tokens_seen: u32,
}

impl SeatView {
    pub(crate) fn of(seat: &Seat, now: Time) -> Self {
        let seconds = |s| clamped_seconds(s, Duration::ZERO, Duration::from_secs(3600));
        let seen = &seat.seen;
        let load = seat.load(now);
        Self {
            provider: seat.provider.clone(),
            model: seat.offer.model.clone(),
            price: seat.offer.price,
            in_flight: seen.in_flight,
            load,
            limit: seat.limit(),
            breaker: seen.breaker.state(now),
            is_backing_off: seen.backoff.is_active(now),
            is_draining: seat.draining,
            errors: seen.errors.weight(now),
            first_token: seconds(seen.latency.first_token_s(seen.waiting.tokens(), 0)),
            gap: seconds(seen.latency.gap_s(load)),
            first_tokens_seen: seen.latency.first_tokens(),
        }
    }
}
