//! The question a call puts to the router.

use crate::names::ProviderId;
use crate::offer::Price;
use crate::preferences::Preferences;
use crate::sets::{Capabilities, Endpoints};

/// What a call needs, and what its caller would pay for speed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ask<'a> {
    /// The public model id.
    pub model: &'a str,
    /// The endpoint the call came to: one bit.
    pub endpoint: Endpoints,
    /// What a provider must be able to do.
    pub needs: Capabilities,
    /// Prompt size in tokens, as well as it is known.
    pub prompt_tokens: u32,
    /// Completion tokens a provider must allow to be eligible: the caller's own limit where it set
    /// one; 1 where it did not; 0 for embeddings.
    pub completion_tokens_min: u32,
    /// Completion tokens the call may use at most (caller's limit, or what the balance affords). A
    /// provider that allows fewer gets its own limit in the plan.
    pub completion_tokens_max: u32,
    /// Completion tokens to expect, for cost and time; capped by `completion_tokens_max`.
    pub completion_tokens_expected: u32,
    /// λ: how many nanoTON one second is worth to the caller. 0 is cheapest, large is fastest.
    pub exchange: f64,
    /// Further models to try, in this order, where `model` cannot be served or fails. Source:
    /// `OpenRouter`, `models`.
    pub fallbacks: &'a [Box<str>],
    /// What the caller wishes of its providers.
    pub preferences: Option<&'a Preferences>,
    /// A hash that calls share whose prompts open alike: of the session, of `prompt_cache_key`, of
    /// the first messages.
    pub prefix: Option<u64>,
    /// Providers that are not to be named: they were tried already.
    pub excluded: &'a [ProviderId],
    /// What the call's hold covers: no field of an attempt's price may exceed it.
    pub ceiling: Option<Price>,
    /// For the rescue of a stream: only providers that state exactly this quantisation; "" means
    /// those that state none.
    pub quantization: Option<&'a str>,
}

impl Ask<'static> {
    /// A chat of no length for no model, with no wishes: what to fill in from.
    pub const PLAIN: Self = Self {
        model: "",
        endpoint: Endpoints::CHAT,
        needs: Capabilities::NONE,
        prompt_tokens: 0,
        completion_tokens_min: 1,
        completion_tokens_max: u32::MAX,
        completion_tokens_expected: 200,
        exchange: 0.0,
        fallbacks: &[],
        preferences: None,
        prefix: None,
        excluded: &[],
        ceiling: None,
        quantization: None,
    };
}

impl Ask<'_> {
    /// λ in a range arithmetic survives; what is no number counts as 0.
    pub(crate) fn nano_per_second(&self) -> f64 {
        /// A thousand million TON per second: nobody means more.
        const EXCHANGE_MAX: f64 = 1e18;
        if self.exchange.is_nan() {
            return 0.0;
        }
        self.exchange.clamp(0.0, EXCHANGE_MAX)
    }

    pub(crate) fn completion_expected(&self) -> u32 {
        self.completion_tokens_expected.min(self.completion_tokens_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_that_is_no_number_means_cheapest() {
        for (exchange, expected) in [(f64::NAN, 0.0), (-1.0, 0.0), (f64::INFINITY, 1e18), (5.0, 5.0)] {
            let ask = Ask {
                completion_tokens_max: 1,
                completion_tokens_expected: 9,
                exchange,
                ..Ask::PLAIN
            };
            assert!((ask.nano_per_second() - expected).abs() < f64::EPSILON);
            assert_eq!(ask.completion_expected(), 1);
        }
    }
}
