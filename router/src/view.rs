//! What others may read of the fleet: for `/v1/models`, metrics and tests.

use std::time::Duration;

use crate::names::{ModelId, ProviderId, Quantization};
use crate::offer::Price;
use crate::seat::Seat;
use crate::seat::breaker::BreakerState;
use crate::sets::{Capabilities, Endpoints, Precisions};
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
    /// Those, those about to start, and what the provider claims to have from elsewhere.
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
    /// By how much its price is multiplied when it is compared: above 1 for whoever claims more tokens
    /// than pass, 1.95 at most.
    pub dearness: f64,
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
            dearness: seen.claims.dearness(seen.served, now),
            first_token: seconds(seen.latency.first_token_s(seen.waiting.tokens(), 0)),
            gap: seconds(seen.latency.gap_s(load)),
            first_tokens_seen: seen.latency.first_tokens(),
        }
    }
}

/// A provider of a model, for those who choose among them.
#[derive(Clone, PartialEq, Debug)]
pub struct EndpointView {
    /// What is known of it now.
    pub seat: SeatView,
    /// How it stores the model's weights, as it states it.
    pub quantization: Option<Quantization>,
    /// The class of that: one bit.
    pub precision: Precisions,
    /// What it can do beyond plain text.
    pub can: Capabilities,
    /// Where it serves the model.
    pub endpoints: Endpoints,
    /// Calls it says it can serve at once.
    pub concurrency_max: u32,
    /// Prompt and completion tokens together that fit one call.
    pub context_tokens_max: u32,
    /// Completion tokens that one call may ask for.
    pub output_tokens_max: u32,
    /// How it did over the last 5 minutes, 30 minutes and day.
    pub windows: [WindowView; 3],
}

/// How a provider did with a model over a stretch of time.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct WindowView {
    /// Attempts served or failed. Those cancelled or refused tell nothing.
    pub attempts: u64,
    /// Attempts it refused because it was full.
    pub refused: u64,
    /// Share of the attempts that were served, 0 to 1; `None` without attempts.
    pub uptime: Option<f64>,
    /// Seconds to the first token.
    pub first_token_s: Option<Quantiles>,
    /// Completion tokens per second after the first.
    pub tokens_per_s: Option<Quantiles>,
}

/// Quantiles of a figure: half, three in four, nine in ten and all but one in a hundred of the
/// measurements are better than this, be it less time or more tokens. Source: `OpenRouter`, "How
/// Percentiles Work".
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// Of three in four.
    pub p75: f64,
    /// Of nine in ten.
    pub p90: f64,
    /// Of all but one in a hundred.
    pub p99: f64,
}

impl EndpointView {
    pub(crate) fn of(seat: &Seat, now: Time) -> Self {
        let offer = &seat.offer;
        Self {
            seat: SeatView::of(seat, now),
            quantization: offer.quantization.clone(),
            precision: offer.precision,
            can: offer.can,
            endpoints: offer.endpoints,
            concurrency_max: offer.concurrency_max,
            context_tokens_max: offer.context_tokens_max,
            output_tokens_max: offer.output_tokens_max,
            windows: match &seat.seen.history {
                Some(history) => history.windows(now),
                None => [WindowView::default(); 3],
            },
        }
    }
}
