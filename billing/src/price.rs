//! What tokens cost. Pure arithmetic: no rounding but one, upwards, at the end.

use serde::{Deserialize, Serialize};

use crate::money::{Nano, Overflow};

/// Prices are per so many tokens.
const TOKENS_PER_PRICE: u128 = 1_000_000;

/// What a provider asks: nano per million tokens of each kind, and nano per call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Price {
    /// Per million prompt tokens the engine had cached.
    pub cached_prompt: Nano,
    /// Per call, whatever its length.
    pub call: Nano,
    /// Per million completion tokens that are not reasoning.
    pub completion: Nano,
    /// Per million prompt tokens that were not cached.
    pub prompt: Nano,
    /// Per million reasoning tokens.
    pub reasoning: Nano,
}

/// Tokens of one call, or of one provider's share of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tokens {
    /// The part of `prompt` the engine had cached.
    pub cached_prompt: u64,
    /// All completion tokens, reasoning too.
    pub completion: u64,
    /// All prompt tokens, cached ones too.
    pub prompt: u64,
    /// The part of `completion` that is reasoning.
    pub reasoning: u64,
}

impl Price {
    /// What `tokens` cost: Σ tokens × price, divided once, rounded up once, plus the price of the call.
    ///
    /// A part larger than its whole counts as the whole, so an absurd claim cannot make anything negative.
    ///
    /// # Errors
    /// [`Overflow`] above [`Nano::MAX`].
    pub fn cost(&self, tokens: &Tokens) -> Result<Nano, Overflow> {
        let cached_prompt = tokens.cached_prompt.min(tokens.prompt);
        let reasoning = tokens.reasoning.min(tokens.completion);
        let parts = [
            (tokens.prompt.saturating_sub(cached_prompt), self.prompt),
            (cached_prompt, self.cached_prompt),
            (tokens.completion.saturating_sub(reasoning), self.completion),
            (reasoning, self.reasoning),
        ];
        let millionths = parts.iter().try_fold(0_u128, |sum, &(count, price)| {
            sum.checked_add(u128::from(count).checked_mul(u128::from(price.get()))?)
        });
        let nano = millionths.ok_or(Overflow)?.div_ceil(TOKENS_PER_PRICE);
        Nano::new(u64::try_from(nano).map_err(|_| Overflow)?)?.plus(self.call)
    }

    /// An upper bound of what `prompt` and `completion` tokens cost, however they turn out to be cached or reasoning.
    ///
    /// # Errors
    /// [`Overflow`] above [`Nano::MAX`].
    pub fn cost_at_most(&self, prompt: u64, completion: u64) -> Result<Nano, Overflow> {
        let worst = Self {
            prompt: self.prompt.max(self.cached_prompt),
            completion: self.completion.max(self.reasoning),
            ..*self
        };
        worst.cost(&Tokens {
            prompt,
            completion,
            ..Tokens::default()
        })
    }
}

impl Tokens {
    /// Both together, kind by kind; saturating.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(other.prompt),
            cached_prompt: self.cached_prompt.saturating_add(other.cached_prompt),
            completion: self.completion.saturating_add(other.completion),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }

    /// The largest count of any kind.
    pub(crate) fn largest(&self) -> u64 {
        self.prompt
            .max(self.cached_prompt)
            .max(self.completion)
            .max(self.reasoning)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(prompt: u64, cached_prompt: u64, completion: u64, reasoning: u64, call: u64) -> Price {
        let nano = |n| Nano::new(n).expect("small");
        Price {
            prompt: nano(prompt),
            cached_prompt: nano(cached_prompt),
            completion: nano(completion),
            reasoning: nano(reasoning),
            call: nano(call),
        }
    }

    fn tokens(prompt: u64, cached_prompt: u64, completion: u64, reasoning: u64) -> Tokens {
        Tokens {
            prompt,
            cached_prompt,
            completion,
            reasoning,
        }
    }

    fn check(price: Price, tokens: Tokens, nano: u64) {
        assert_eq!(price.cost(&tokens).map(Nano::get), Ok(nano));
    }

    #[test]
    fn the_sum_is_rounded_up_once() {
        check(price(1, 0, 1, 0, 0), tokens(1, 0, 1, 0), 1);
        check(price(500_000, 0, 500_000, 0, 0), tokens(1, 0, 1, 0), 1);
        check(price(1_000_001, 0, 0, 0, 0), tokens(1, 0, 0, 0), 2);
        check(price(0, 0, 0, 0, 0), tokens(1_000_000, 0, 9, 0), 0);
    }

    #[test]
    fn parts_are_priced_as_parts() {
        check(
            price(10_000_000, 1_000_000, 20_000_000, 40_000_000, 7),
            tokens(10, 4, 6, 2),
            60 + 4 + 80 + 80 + 7,
        );
    }

    #[test]
    fn a_part_larger_than_its_whole_counts_as_the_whole() {
        check(
            price(10_000_000, 1_000_000, 10_000_000, 30_000_000, 0),
            tokens(3, 9, 2, u64::MAX),
            3 + 60,
        );
    }

    #[test]
    fn what_does_not_fit_is_an_overflow() {
        let max = Nano::MAX.get();
        assert_eq!(price(max, 0, 0, 0, 0).cost(&tokens(u64::MAX, 0, 0, 0)), Err(Overflow));
        assert_eq!(price(0, 0, 0, 0, max).cost(&Tokens::default()), Ok(Nano::MAX));
        assert_eq!(price(1, 0, 0, 0, max).cost(&tokens(1, 0, 0, 0)), Err(Overflow));
    }

    proptest! {
        #[test]
        fn a_quote_bounds_every_cost_under_it(
            p in proptest::array::uniform5(0..1_u64 << 40),
            prompt in 0..200_000_u64, cached in 0..300_000_u64, completion in 0..200_000_u64, reasoning in 0..300_000_u64,
        ) {
            let price = price(p[0], p[1], p[2], p[3], p[4]);
            let cost = price.cost(&tokens(prompt, cached, completion, reasoning)).expect("fits");
            prop_assert!(cost <= price.cost_at_most(prompt, completion).expect("fits"));
        }

        #[test]
        fn splitting_a_call_never_makes_it_cheaper(prompt in 0..1_u64 << 40, a in 0..100_000_u64, b in 0..100_000_u64) {
            let price = price(prompt, 0, 0, 0, 0);
            let whole = price.cost(&tokens(a + b, 0, 0, 0)).expect("fits");
            let parts = price.cost(&tokens(a, 0, 0, 0)).expect("fits").plus(price.cost(&tokens(b, 0, 0, 0)).expect("fits"));
            prop_assert!(parts.expect("fits") >= whole);
        }
    }
}
