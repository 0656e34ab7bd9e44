//! What is billed: the smaller of what is claimed and what the gateway saw pass, with a tolerance.
//!
//! Pure. A claim can only ever lower a bill or be cut to what passed:
//! - one above what passed is cut to [`Measure::most`], however absurd it is;
//! - a missing one (or one that is no number, or negative, which `openapi` reads as missing) is replaced by what was
//!   counted, without tolerance and without anything unseen: silence never pays better than honesty;
//! - a part is never larger than its whole, and a claim of a part that nobody can check (cached, or hidden reasoning) never
//!   makes a token dearer.
//!
//! **Hidden reasoning.** Tokens of reasoning that the provider did not show cannot be counted, so they are not paid for:
//! a claim of completion tokens is cut to what was shown like any other. A provider that hides reasoning has to put it
//! into its price for the tokens it shows.

use filature_billing::{Price, Tokens};
use filature_openapi::usage::UsageClaim;

use super::Counted;

/// How far a claim may lie above a count and still be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tolerance {
    /// In percent of the count: a model may write a text in other tokens than its tokenizer reads it in.
    pub percent: u32,
    /// In tokens, on top.
    pub tokens: u32,
}

impl Tolerance {
    /// The tokens that are tolerated above `counted`; the percentage rounded up.
    #[must_use]
    pub fn above(self, counted: u64) -> u64 {
        let share = (u128::from(counted) * u128::from(self.percent)).div_ceil(100);
        u64::try_from(share)
            .unwrap_or(u64::MAX)
            .saturating_add(self.tokens.into())
    }
}

/// What passed of one kind, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measure {
    /// What is billed where nothing is claimed.
    pub tokens: u64,
    /// The most that is billed, whatever is claimed.
    pub most: u64,
}

impl Measure {
    /// By the model's tokenizer.
    #[must_use]
    pub fn counted(counted: Counted, tolerance: Tolerance) -> Self {
        let seen = counted.tokens.saturating_add(counted.unseen_max);
        Self {
            tokens: counted.tokens,
            most: seen.saturating_add(tolerance.above(counted.tokens)),
        }
    }

    /// By bytes and events: an estimate and an upper bound.
    #[must_use]
    pub fn bounded(estimate: u64, most: u64) -> Self {
        Self { tokens: estimate, most }.within(most)
    }

    /// The same, cut to what the call's hold was made for: the limit the caller set, or a bound by bytes.
    #[must_use]
    pub fn within(self, most: u64) -> Self {
        Self {
            tokens: self.tokens.min(most),
            most: self.most.min(most),
        }
    }

    /// What is billed for this kind.
    #[must_use]
    pub fn billed(self, claimed: Option<u64>) -> u64 {
        claimed.unwrap_or(self.tokens).min(self.most)
    }
}

/// What passed of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measures {
    /// The prompt; all zero where the provider forfeits it.
    pub prompt: Measure,
    /// The answer, reasoning too.
    pub completion: Measure,
    /// The reasoning that was shown; `None` where it cannot be told from the rest.
    pub reasoning: Option<Measure>,
}

/// What is paid for: the rule.
///
/// `claim` is without what other providers had delivered. `price` only says which tokens are dearer: cached ones that cost
/// more than others count as others, and reasoning that does is cut to the reasoning that was shown. Elsewhere a cut would
/// raise the bill above what was claimed.
#[must_use]
pub fn billed(claim: &UsageClaim, passed: &Measures, price: &Price) -> Tokens {
    let prompt = passed.prompt.billed(claim.prompt);
    let completion = passed.completion.billed(claim.completion);
    let cached_max = if price.cached_prompt > price.prompt { 0 } else { prompt };
    let shown_max = passed
        .reasoning
        .filter(|_| price.reasoning > price.completion)
        .map_or(completion, |shown| shown.most);
    Tokens {
        prompt,
        cached_prompt: claim.cached_prompt.unwrap_or(0).min(cached_max),
        completion,
        reasoning: claim.reasoning.unwrap_or(0).min(completion).min(shown_max),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOLERANCE: Tolerance = Tolerance { percent: 5, tokens: 16 };

    fn counted(tokens: u64, unseen_max: u64) -> Measure {
        Measure::counted(Counted { tokens, unseen_max }, TOLERANCE)
    }

    fn passed() -> Measures {
        Measures {
            prompt: counted(100, 8),
            completion: counted(200, 4),
            reasoning: Some(counted(40, 0)),
        }
    }

    /// 2 nano a token, 1 if cached; reasoning and cached tokens 3 if `dearer`.
    fn price(dearer: bool) -> Price {
        let nano = |nano| filature_billing::Nano::new(nano).expect("small");
        Price {
            prompt: nano(2_000_000),
            cached_prompt: nano(if dearer { 3_000_000 } else { 1_000_000 }),
            completion: nano(2_000_000),
            reasoning: nano(if dearer { 3_000_000 } else { 2_000_000 }),
            call: nano(0),
        }
    }

    #[track_caller]
    fn check(claim: [Option<u64>; 4], dearer: bool, expected: [u64; 4]) {
        let [prompt, cached_prompt, completion, reasoning] = claim;
        let claim = UsageClaim {
            prompt,
            cached_prompt,
            completion,
            reasoning,
        };
        let tokens = billed(&claim, &passed(), &price(dearer));
        let found = [tokens.prompt, tokens.cached_prompt, tokens.completion, tokens.reasoning];
        assert_eq!(found, expected, "{claim:?}");
    }

    #[test]
    fn an_honest_claim_is_paid_as_claimed() {
        check([Some(105), Some(64), Some(202), Some(41)], false, [105, 64, 202, 41]);
    }

    #[test]
    fn a_claim_below_the_count_is_paid_as_claimed() {
        check([Some(0), None, Some(1), None], false, [0, 0, 1, 0]);
    }

    #[test]
    fn a_claim_above_is_cut_to_the_count_and_what_is_tolerated() {
        // 100 + 8 unseen + 5 + 16; 200 + 4 unseen + 10 + 16.
        check([Some(130), None, Some(231), None], false, [129, 0, 230, 0]);
        check([Some(u64::MAX); 4], false, [129, 129, 230, 230]);
    }

    #[test]
    fn a_missing_claim_is_what_was_counted_and_nothing_more() {
        check([None; 4], false, [100, 0, 200, 0]);
    }

    #[test]
    fn reasoning_is_cut_to_what_was_shown_only_where_that_lowers_the_bill() {
        check([None, None, Some(200), Some(190)], true, [100, 0, 200, 58]);
        check([None, None, Some(200), Some(190)], false, [100, 0, 200, 190]);
    }

    #[test]
    fn cached_tokens_count_only_where_they_are_cheaper() {
        check([Some(100), Some(64), Some(1), None], false, [100, 64, 1, 0]);
        check([Some(100), Some(64), Some(1), None], true, [100, 0, 1, 0]);
    }

    #[test]
    fn reasoning_that_was_hidden_is_not_paid_for() {
        check([None, None, Some(5000), Some(4800)], false, [100, 0, 230, 230]);
    }

    #[test]
    fn the_hold_bounds_what_the_tokenizer_allows() {
        let measure = counted(100, 50).within(90);
        assert_eq!((measure.billed(None), measure.billed(Some(95))), (90, 90));
        assert_eq!(Measure::bounded(25, 10).billed(None), 10);
    }

    fn any_count() -> impl Strategy<Value = u64> {
        prop_oneof![0..1000_u64, Just(u64::from(u32::MAX)), any::<u64>()]
    }

    fn any_measure() -> impl Strategy<Value = Measure> {
        (any_count(), any_count(), 0..=100_u32, any::<u32>(), any_count()).prop_map(
            |(tokens, unseen_max, percent, more, most)| {
                Measure::counted(Counted { tokens, unseen_max }, Tolerance { percent, tokens: more }).within(most)
            },
        )
    }

    proptest! {
        #[test]
        fn no_claim_moves_money_the_wrong_way(
            prompt in any_measure(), completion in any_measure(), reasoning in prop::option::of(any_measure()),
            claim in prop::array::uniform4(prop::option::of(any_count())), dearer in any::<bool>(),
        ) {
            let passed = Measures { prompt, completion, reasoning };
            let [p, cached, c, r] = claim;
            let claim = UsageClaim { prompt: p, cached_prompt: cached, completion: c, reasoning: r };
            let tokens = billed(&claim, &passed, &price(dearer));
            prop_assert!(tokens.prompt <= prompt.most && tokens.completion <= completion.most);
            prop_assert!(tokens.prompt <= p.unwrap_or(prompt.tokens));
            prop_assert!(tokens.completion <= c.unwrap_or(completion.tokens));
            let cost = price(dearer).cost(&tokens);
            let plain = Tokens { cached_prompt: 0, reasoning: 0, ..tokens };
            if !dearer && let (Ok(cost), Ok(plain)) = (cost, price(dearer).cost(&plain)) {
                prop_assert!(cost <= plain);
            }
            prop_assert!(tokens.cached_prompt <= tokens.prompt && tokens.reasoning <= tokens.completion);
            // Claiming more never pays less, and silence never pays more than claiming what was counted.
            let more = UsageClaim { completion: c.map(|c| c.saturating_add(1)), ..claim };
            prop_assert!(billed(&more, &passed, &price(dearer)).completion >= tokens.completion);
            prop_assert!(completion.billed(None) <= completion.billed(Some(completion.tokens)));
        }
    }
}
