//! What a seat would cost a call, in money and time: the one figure that seats are compared by.

use crate::ask::Ask;
use crate::preferences::Sort;
use crate::seat::Seat;
use crate::time::Time;

/// What a second of reading along weighs against a second of waiting for the first token: callers
/// read while the rest comes. ROUTING began with .35. Found by the simulation (loadtest, `simulate`,
/// tuning seeds): with it, haste in reading outbid both price and waiting.
const READING_WEIGHT: f64 = 0.1;

/// How much worse each second makes the seconds of waiting for a first token: t seconds count as
/// t·(1 + IMPATIENCE·t). Long prompts go where they are prefilled fast, short ones where it is cheap.
/// Found as above.
const IMPATIENCE: f64 = 4.0;

/// What a seat at its limit adds to the time, in times of it; a half-full one adds a quarter of that.
/// ROUTING began with 1 and the cube. Found as above: it keeps the room that bursts need.
const CROWDING: f64 = 5.0;

/// What a recent failure adds to the time, as a share of it. Source: ROUTING, "Score".
const ERROR_WEIGHT: f64 = 0.5;

/// The least λ, nanoTON per second, at which the market is judged for callers who sort by speed:
/// they would pay, but not anything. Chosen here: fifty times the gateway's default.
const HASTE_NANO_PER_SECOND: f64 = 1e6;

/// What a second counts among equal prices, nanoTON: always less than one.
const TIE_NANO_PER_SECOND: f64 = 1e-4;

/// What is expected of a seat for one call, seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Forecast {
    pub(crate) first_token_s: f64,
    pub(crate) gap_s: f64,
    /// Seconds to the first token, as bad as it may be: for deadlines.
    pub(crate) first_token_worst_s: f64,
}

/// What to expect of `seat` for a call with `prefill_tokens` to work through.
pub(crate) fn forecast(seat: &Seat, prefill_tokens: u32, now: Time) -> Forecast {
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
        first_token_s: seen.latency.first_token_s(ahead, prefill_tokens) + late_s,
        gap_s,
        first_token_worst_s: seen.latency.first_token_worst_s(ahead, prefill_tokens),
    }
}

/// What a seat is compared by.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Score {
    /// J: expected nanoTON, with the time at the caller's exchange rate. At least one.
    pub(crate) expected: f64,
    /// What the caller sorts by, J by default, with the random factor. Never negative, never NaN.
    pub(crate) rank: f64,
}

/// How `seat` compares for `ask`; `jitter` is the random factor. Lower is better.
pub(crate) fn score(seat: &Seat, ask: &Ask<'_>, forecast: &Forecast, jitter: f64, now: Time) -> Score {
    let completion = ask.completion_expected();
    let reading_s = READING_WEIGHT * f64::from(completion) * forecast.gap_s;
    let errors = 1.0 + ERROR_WEIGHT * seat.seen.errors.weight(now);
    let fill = seat.load(now) / f64::from(seat.limit().max(1));
    let crowding = 1.0 + CROWDING * fill * fill;
    let strain = errors * crowding;
    let waiting_s = forecast.first_token_s * (1.0 + IMPATIENCE * forecast.first_token_s);
    let time_s = (waiting_s + reading_s) * errors;
    let cost = cost_nano(seat, ask, now);
    // At least one nano, so that free providers differ by their random factor too.
    let expected = |exchange: f64| (cost + exchange * time_s).max(1.0);
    let exchange = ask.nano_per_second();
    match ask.preferences.and_then(|wishes| wishes.sort) {
        None => {
            // Room left for a burst is worth something here, but no part of what the market asks.
            let roomy = (cost + exchange * time_s * crowding).max(1.0);
            Score {
                expected: expected(exchange),
                rank: roomy * jitter,
            }
        }
        Some(Sort::Price) => Score {
            expected: expected(exchange),
            rank: cost * errors + TIE_NANO_PER_SECOND * time_s * jitter,
        },
        Some(Sort::Throughput) => Score {
            expected: expected(exchange.max(HASTE_NANO_PER_SECOND)),
            rank: forecast.gap_s * strain * jitter,
        },
        Some(Sort::Latency) => Score {
            expected: expected(exchange.max(HASTE_NANO_PER_SECOND)),
            rank: forecast.first_token_s * strain * jitter,
        },
    }
}

/// Expected nanoTON of `ask` on `seat`: J without the time. Whoever claims more tokens than pass is as
/// much dearer.
#[expect(
    clippy::cast_precision_loss,
    reason = "money leaves the integers here, to be compared only"
)]
pub(crate) fn cost_nano(seat: &Seat, ask: &Ask<'_>, now: Time) -> f64 {
    let price = &seat.offer.price;
    let dearness = seat.seen.claims.dearness(seat.seen.served, now);
    price.cost_nano(ask.prompt_tokens, ask.completion_expected()) as f64 * dearness
}
