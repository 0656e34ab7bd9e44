//! Draws what the providers of a simulated fleet are like. Same seed and number, same provider, on every machine.

use std::f64::consts::TAU;
use std::time::Duration;

use filature_provider_sdk::OfferPrice;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

/// Medians of the fleet, and how far from them providers lie.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// Median time to the first token, in milliseconds.
    pub ttft_ms: f64,
    /// Median time between two tokens, in milliseconds.
    pub itl_ms: f64,
    /// Median price of prompt tokens, in nano per million.
    pub price_prompt: f64,
    /// Standard deviation of the logarithm of each of them. 0 makes all providers alike.
    pub sigma: f64,
}

impl Default for Spread {
    /// A first token after 80 ms, 80 tokens a second, 0.05 of the coin per million prompt tokens, and a factor of about
    /// 1.6 either way for most providers.
    fn default() -> Self {
        Self {
            ttft_ms: 80.0,
            itl_ms: 12.5,
            price_prompt: 50_000_000.0,
            sigma: 0.5,
        }
    }
}

/// What one provider is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traits {
    /// Time to the first token.
    pub ttft: Duration,
    /// Time between two tokens.
    pub itl: Duration,
    /// What it asks.
    pub price: OfferPrice,
}

impl Traits {
    /// The same at `factor` times the price.
    pub(super) fn at_price(mut self, factor: f64) -> Self {
        let price = &mut self.price;
        for each in [
            &mut price.prompt,
            &mut price.cached_prompt,
            &mut price.completion,
            &mut price.reasoning,
            &mut price.call,
        ] {
            *each = scaled(*each, factor);
        }
        self
    }
}

/// Draws provider number `number` of the fleet with this seed.
///
/// Latency and price are log-normal, as real ones roughly are: a few providers are very slow or very dear. Fast ones
/// tend to ask for more, so that neither price nor speed alone decides.
#[must_use]
pub fn draw(spread: &Spread, seed: u64, number: u64) -> Traits {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number));
    let mut factor = |sigma: f64| (sigma * spread.sigma * normal(&mut rng)).exp();
    let (slowness, queueing, greed) = (factor(0.8), factor(0.8), factor(0.6));
    let prompt = spread.price_prompt * greed / slowness.sqrt();
    Traits {
        ttft: Duration::from_secs_f64(spread.ttft_ms * slowness * queueing / 1_000.0),
        itl: Duration::from_secs_f64(spread.itl_ms * slowness / 1_000.0),
        price: OfferPrice {
            prompt: nano(prompt),
            cached_prompt: nano(prompt / 4.0),
            completion: nano(prompt * 4.0),
            reasoning: nano(prompt * 4.0),
            call: 0,
        },
    }
}

/// A standard normal number (Box and Muller, 1958).
fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
    let (radius, angle): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "prices are positive and far below 2^53"
)]
fn scaled(price: u64, factor: f64) -> u64 {
    (price as f64 * factor).round() as u64
}

/// Rounded to whole thousands, so that people can read the prices.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "prices are positive and far below 2^53"
)]
fn nano(price: f64) -> u64 {
    (price / 1_000.0).round() as u64 * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_a_function_of_seed_and_number() {
        let spread = Spread::default();
        assert_eq!(draw(&spread, 7, 3), draw(&spread, 7, 3));
        assert_ne!(draw(&spread, 7, 3), draw(&spread, 7, 4));
        assert_ne!(draw(&spread, 7, 3), draw(&spread, 8, 3));
    }

    #[test]
    fn half_the_fleet_lies_on_either_side_of_the_median() {
        let spread = Spread::default();
        let slow = (0..1_000)
            .filter(|n| draw(&spread, 1, *n).itl.as_secs_f64() * 1_000.0 > spread.itl_ms)
            .count();
        assert!((450..550).contains(&slow), "{slow} of 1,000");
    }

    #[test]
    fn no_spread_makes_all_providers_alike() {
        let spread = Spread {
            sigma: 0.0,
            ..Spread::default()
        };
        assert_eq!(draw(&spread, 1, 1), draw(&spread, 2, 9));
        assert_eq!(draw(&spread, 1, 1).price.prompt, 50_000_000);
    }
}
