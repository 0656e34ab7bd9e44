//! What a provider sells, as far as routing needs to know it. Signatures and payout addresses
//! belong to `provider-sdk`.

use crate::names::{ModelId, Quantization};
use crate::sets::{Capabilities, Endpoints, Precisions};

/// What a provider takes: nanoTON per million tokens, and nanoTON per call.
///
/// Billing owns the exact sum; the router only compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Price {
    /// NanoTON per million prompt tokens.
    pub prompt: u64,
    /// NanoTON per million prompt tokens that the engine had cached.
    pub cached_prompt: u64,
    /// NanoTON per million completion tokens.
    pub completion: u64,
    /// NanoTON per million reasoning tokens.
    pub reasoning: u64,
    /// NanoTON per call.
    pub call: u64,
}

impl Price {
    /// Expected nanoTON for a call of this size, rounded up once, saturating.
    ///
    /// The provider itself claims how many tokens were cached or reasoning, so each token counts at
    /// the dearer of its two prices: nothing absurd hides behind a low prompt or completion price.
    #[must_use]
    pub fn cost_nano(&self, prompt_tokens: u32, completion_tokens: u32) -> u64 {
        let (prompt, completion) = (self.prompt.max(self.cached_prompt), self.completion.max(self.reasoning));
        let per_million =
            u128::from(prompt_tokens) * u128::from(prompt) + u128::from(completion_tokens) * u128::from(completion);
        // The common case fits u64, where the division is several times cheaper.
        let tokens = match u64::try_from(per_million) {
            Ok(small) => small.div_ceil(1_000_000),
            Err(_) => u64::try_from(per_million.div_ceil(1_000_000)).unwrap_or(u64::MAX),
        };
        tokens.saturating_add(self.call)
    }

    /// The dearer of the two, field by field: an upper bound for a call that either may serve.
    #[must_use]
    pub fn dearest(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.max(other.prompt),
            cached_prompt: self.cached_prompt.max(other.cached_prompt),
            completion: self.completion.max(other.completion),
            reasoning: self.reasoning.max(other.reasoning),
            call: self.call.max(other.call),
        }
    }
}

/// One model of a provider's offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedModel {
    /// The public model id.
    pub model: ModelId,
    /// What the provider takes for it.
    pub price: Price,
    /// Calls it says it can serve at once; zero means none.
    pub concurrency_max: u32,
    /// Prompt and completion tokens together that fit one call.
    pub context_tokens_max: u32,
    /// Completion tokens that one call may ask for.
    pub output_tokens_max: u32,
    /// What it can do beyond plain text.
    pub can: Capabilities,
    /// Where it serves the model.
    pub endpoints: Endpoints,
    /// How its weights are stored, as the provider states it.
    pub quantization: Option<Quantization>,
    /// The class of that: one bit; none counts as [`Precisions::UNKNOWN`].
    pub precision: Precisions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_rounded_up_once_and_saturates() {
        let price = Price {
            prompt: 1,
            completion: 2,
            call: 10,
            ..Price::default()
        };
        assert_eq!(price.cost_nano(1, 1), 11, "3 millionths round up to one");
        assert_eq!(price.cost_nano(1_000_000, 1_000_000), 13);
        assert_eq!(price.cost_nano(0, 0), 10);
        let absurd = Price {
            prompt: u64::MAX,
            completion: u64::MAX,
            call: 1,
            ..Price::default()
        };
        assert_eq!(absurd.cost_nano(u32::MAX, u32::MAX), u64::MAX);
    }

    #[test]
    fn the_dearest_price_bounds_each_field() {
        let a = Price {
            prompt: 5,
            completion: 1,
            ..Price::default()
        };
        let b = Price {
            prompt: 1,
            completion: 7,
            call: 2,
            ..Price::default()
        };
        let both = a.dearest(b);
        assert_eq!((both.prompt, both.completion, both.call), (5, 7, 2));
    }
}
