//! What a seat would cost a call, in money and time: the one figure that seats are compared by.

use crate::ask::Ask;
use crate::seat::Seat;
use crate::time::Time;

/// What a second of reading along weighs against a second of waiting for the first token: callers
/// read while the rest comes. Source: ROUTING, "Score".
const READING_WEIGHT: f64 = 0.35;

/// What a recent failure adds to the time, as a share of it. Source: ROUTING, "Score".
const ERROR_WEIGHT: f64 = 0.5;

/// What is expected of a seat for one call, seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Forecast {
    pub(crate) first_token_s: f64,
    pub(crate) gap_s: f64,
    /// Seconds to the first token, as bad as it may be: for deadlines.
    pub(crate) first_token_worst_s: f64,
}

/// What to expect of `seat` for `ask`.
pub(crate) fn forecast(seat: &Seat, ask: &Ask<'_>, now: Time) -> Forecast {
    let seen = &seat.seen;
    let late_s = seen.waiting.oldest().map_or(0.0, |call| {
        let waited_s = now.saturating_since(call.started).as_secs_f64();
        let expected_s = seen.latency.first_token_s(call.tokens_ahead, call.prompt_tokens);
        (waited_s - expected_s).max(0.0)
    });
    let ahead = seen.waiting.tokens();
    let gap_s = seen.latency.gap_s(seat.load(now));
    Forecast {
        // What is late already will be at least as late for the next: a stall loses traffic before
        // its deadline has passed.
        first_token_s: seen.latency.first_token_s(ahead, ask.prompt_tokens) + late_s,
        gap_s,
        first_token_worst_s: seen.latency.first_token_worst_s(ahead, ask.prompt_tokens),
    }
}

/// J: expected nanoTON of `ask` on `seat`, with its time at the caller's exchange rate. Lower is
/// better; never negative, never NaN.
pub(crate) fn score(seat: &Seat, ask: &Ask<'_>, forecast: &Forecast, now: Time) -> f64 {
    let completion = ask.completion_expected();
    let reading_s = READING_WEIGHT * f64::from(completion) * forecast.gap_s;
    let errors = 1.0 + ERROR_WEIGHT * seat.seen.errors.weight(now);
    let fill = seat.load(now) / f64::from(seat.limit().max(1));
    let crowding = 1.0 + fill * fill * fill;
    let time_s = (forecast.first_token_s + reading_s) * errors * crowding;
    cost_nano(seat, ask) + ask.nano_per_second() * time_s
}

/// Expected nanoTON of `ask` on `seat`: J without the time.
#[expect(
    clippy::cast_precision_loss,
    reason = "money leaves the integers here, to be compared only"
)]
pub(crate) fn cost_nano(seat: &Seat, ask: &Ask<'_>) -> f64 {
    let price = &seat.offer.price;
    price.cost_nano(ask.prompt_tokens, ask.completion_expected()) as f64
}
