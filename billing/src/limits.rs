//! What a key may use: requests and tokens a minute, calls at a time, a budget, models. Values and arithmetic only.
//!
//! The ledger keeps the state and checks all of it in the step that reserves. `redis/lua/limits.lua` is this file's
//! arithmetic in Redis; the suite compares the two.

use serde::{Deserialize, Serialize};

use crate::calendar::Period;
use crate::ledger::{LedgerError, check_text};
use crate::money::Nano;

/// What one counted thing weighs in a bucket. A bucket of `limit` a minute then refills by `limit` every millisecond,
/// so nothing is ever rounded.
const UNITS: u64 = 60_000;
/// Most tokens a minute that can be granted: with [`UNITS`] and [`DEBT`] below 2⁵³, where Redis' doubles are exact.
const TOKENS_PER_MIN_MAX: u64 = 10_000_000_000;
/// How many times its limit may be missing of a bucket: calls that use more than was taken for them keep the key waiting
/// for up to so many minutes.
const DEBT: u64 = 10;
/// Most models that a key can be confined to.
const MODELS_MAX: usize = 64;

/// What a key may use. `None` is without limit; 0 is nothing at all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyLimits {
    /// Calls started per minute. The limit is also what may be started at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_min: Option<u32>,
    /// Tokens per minute, prompt and completion together; at most 10¹⁰. Also what may be used at once. What calls use
    /// beyond what was expected of them keeps the key waiting, for up to ten minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_min: Option<u64>,
    /// Calls at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// Money per period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The models it may call; empty is all. The gateway sees to it, not the ledger.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
}

/// How much a key may spend, and when that starts anew. What was spent before the budget was set counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// How much, in nano.
    pub amount: Nano,
    /// How often it starts anew.
    #[serde(default)]
    pub period: Period,
}

impl KeyLimits {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the key may call `model`.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|allowed| allowed == model)
    }

    /// Whether a ledger can keep them.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] says what not: above 10¹⁰ tokens a minute, 64 models, 256 bytes of a model's name.
    pub fn check(&self) -> Result<(), LedgerError> {
        if self.tokens_per_min.is_some_and(|limit| limit > TOKENS_PER_MIN_MAX) {
            return Err(LedgerError::TooLarge("the limit of tokens per minute"));
        }
        if self.models.len() > MODELS_MAX {
            return Err(LedgerError::TooLarge("the list of models"));
        }
        self.models
            .iter()
            .try_for_each(|model| check_text(model, "the name of a model"))
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Requests per minute.
    Requests,
    /// Tokens per minute.
    Tokens,
    /// Calls at a time.
    Concurrent,
}

impl Limit {
    /// Its name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrent => "concurrent",
        }
    }
}

/// What is left of a key's limits per minute: what `x-ratelimit-*` headers say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RateState {
    /// Of requests; `None` where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Rate>,
    /// Of tokens; `None` where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Rate>,
}

/// What is left of one limit per minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// The most that can be left, and how much comes back per minute.
    pub limit: u64,
    /// What is left.
    pub remaining: u64,
    /// Milliseconds until all is back.
    pub reset_ms: u64,
}

/// How much of one limit per minute is used up: a bucket that refills evenly (GCRA, ITU-T I.371, with the limit as
/// its burst). The default is one that nobody used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bucket {
    /// In [`UNITS`]: what is missing of a full bucket at `at_ms`.
    pub(crate) used: u64,
    /// When that was so, in Unix milliseconds.
    pub(crate) at_ms: u64,
    /// When nothing was last missing.
    pub(crate) unused_ms: u64,
}

/// What a call took of a bucket when it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) count: u64,
    /// By the bucket's time.
    pub(crate) at_ms: u64,
}

impl Bucket {
    /// A bucket of which something was missing at some time, as Redis tells it.
    pub(crate) const fn new(used: u64, at_ms: u64) -> Self {
        Self {
            used,
            at_ms,
            unused_ms: 0,
        }
    }

    /// The bucket of `limit` a minute as it is at `now_ms`. Time never runs backwards in it, whoever's clock lags.
    pub(crate) fn at(self, limit: u64, now_ms: u64) -> Self {
        let back_ms = now_ms.saturating_sub(self.at_ms).min(UNITS.saturating_mul(DEBT));
        let used = self.used.min(most(limit)).saturating_sub(back_ms.saturating_mul(limit));
        let at_ms = self.at_ms.max(now_ms);
        Self {
            used,
            at_ms,
            unused_ms: if used == 0 { at_ms } else { self.unused_ms },
        }
    }

    /// Milliseconds until `count` fit; `None` if they never will, being more than the limit.
    pub(crate) fn wait_ms(self, limit: u64, count: u64) -> Option<u64> {
        if count > limit {
            return None;
        }
        let above = self.used.saturating_add(weight(count)).saturating_sub(capacity(limit));
        Some(if above == 0 { 0 } else { above.div_ceil(limit) })
    }

    /// The bucket with `count` more used.
    pub(crate) fn take(self, count: u64) -> Self {
        Self {
            used: self.used.saturating_add(weight(count)),
            ..self
        }
    }

    /// The bucket with what was taken given back, unless it has come back since: the bucket was unused in between.
    pub(crate) fn give_back(self, taken: Taken) -> Self {
        let count = if taken.at_ms < self.unused_ms { 0 } else { taken.count };
        Self {
            used: self.used.saturating_sub(weight(count)),
            ..self
        }
    }

    /// The bucket once it is known that `count` were used where others had been taken.
    pub(crate) fn settle(self, limit: u64, taken: Taken, count: u64, now_ms: u64) -> Self {
        let now = self.at(limit, now_ms);
        if count < taken.count {
            let count = taken.count.saturating_sub(count);
            return now.give_back(Taken { count, ..taken });
        }
        let used = now.used.saturating_add(weight(count.saturating_sub(taken.count)));
        Self {
            used: used.min(most(limit)),
            ..now
        }
    }

    /// What callers are told of it.
    pub(crate) fn rate(self, limit: u64) -> Rate {
        Rate {
            limit,
            remaining: capacity(limit)
                .saturating_sub(self.used)
                .checked_div(UNITS)
                .unwrap_or_default(),
            reset_ms: if limit == 0 { 0 } else { self.used.div_ceil(limit) },
        }
    }
}

fn capacity(limit: u64) -> u64 {
    limit.saturating_mul(UNITS)
}

/// The most that can be missing.
fn most(limit: u64) -> u64 {
    capacity(limit).saturating_mul(DEBT)
}

fn weight(count: u64) -> u64 {
    bounded(count).saturating_mul(UNITS)
}

/// A number of tokens as buckets count it: all above the largest limit are equally too many.
pub(crate) fn bounded(tokens: u64) -> u64 {
    tokens.min(TOKENS_PER_MIN_MAX.saturating_add(1))
}

/// What a key spent in the current day, week and month.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Spending {
    pub(crate) day: Spent,
    pub(crate) week: Spent,
    pub(crate) month: Spent,
}

/// What was spent since the period began that `start_ms` is the first moment of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) start_ms: u64,
    pub(crate) amount: Nano,
}

impl Spent {
    /// A clock that lags counts in the period that has begun for others.
    fn add(&mut self, cost: Nano, start_ms: u64) {
        if start_ms > self.start_ms {
            *self = Self {
                start_ms,
                amount: Nano::ZERO,
            };
        }
        self.amount = Nano::saturating(self.amount.get().saturating_add(cost.get()));
    }

    fn since(self, start_ms: u64) -> Nano {
        if start_ms > self.start_ms {
            Nano::ZERO
        } else {
            self.amount
        }
    }
}

impl Spending {
    pub(crate) fn add(&mut self, cost: Nano, now_ms: u64) {
        self.day.add(cost, Period::Day.start_ms(now_ms));
        self.week.add(cost, Period::Week.start_ms(now_ms));
        self.month.add(cost, Period::Month.start_ms(now_ms));
    }

    /// What counts against a budget of this period; `ever` is all that the key spent.
    pub(crate) fn since(&self, period: Period, ever: Nano, now_ms: u64) -> Nano {
        let spent = match period {
            Period::Never => return ever,
            Period::Day => self.day,
            Period::Week => self.week,
            Period::Month => self.month,
        };
        spent.since(period.start_ms(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Bucket {
        fn fits(self, limit: u64, count: u64) -> bool {
            self.wait_ms(limit, count) == Some(0)
        }
    }

    #[test]
    fn a_bucket_refills_evenly_and_no_further() {
        let full = Bucket::default().at(60, 1_000);
        let used = (0..60).fold(full, |bucket, _| {
            assert!(bucket.fits(60, 1));
            bucket.take(1)
        });
        assert_eq!(used.wait_ms(60, 1), Some(1_000));
        assert_eq!(
            used.rate(60),
            Rate {
                limit: 60,
                remaining: 0,
                reset_ms: 60_000
            }
        );
        assert!(!used.at(60, 1_999).fits(60, 1));
        assert!(used.at(60, 2_000).fits(60, 1));
        assert_eq!(
            used.at(60, 61_000).rate(60),
            Rate {
                limit: 60,
                remaining: 60,
                reset_ms: 0
            }
        );
        assert_eq!(used.at(60, u64::MAX).rate(60).remaining, 60);
        assert_eq!(used.at(60, 3).at_ms, 1_000, "a clock that lags");
    }

    #[test]
    fn what_exceeds_the_limit_never_fits() {
        let bucket = Bucket::default();
        assert_eq!(bucket.wait_ms(100, 101), None);
        assert_eq!(bucket.wait_ms(100, 100), Some(0));
        assert_eq!(bucket.wait_ms(0, 1), None);
        assert_eq!(bucket.wait_ms(0, 0), Some(0));
        assert_eq!(bucket.wait_ms(TOKENS_PER_MIN_MAX, u64::MAX), None);
        assert_eq!(
            bucket.rate(0),
            Rate {
                limit: 0,
                remaining: 0,
                reset_ms: 0
            }
        );
    }

    #[test]
    fn a_smaller_limit_is_felt_and_does_not_last_for_ever() {
        let used = Bucket::default().at(1_000_000, 0).take(1_000_000);
        assert_eq!(
            used.at(1, 0).rate(1),
            Rate {
                limit: 1,
                remaining: 0,
                reset_ms: 600_000
            }
        );
    }

    #[test]
    fn what_was_not_used_comes_back_and_what_was_used_beyond_is_taken() {
        let bucket = Bucket::default().at(1_000, 0).take(600);
        let taken = |count| Taken { count, at_ms: 0 };
        let check = |used, now_ms, remaining, reset_ms| {
            let rate = bucket.settle(1_000, taken(600), used, now_ms).rate(1_000);
            assert_eq!(
                (rate.remaining, rate.reset_ms),
                (remaining, reset_ms),
                "{used} at {now_ms}"
            );
        };
        check(100, 0, 900, 6_000);
        check(700, 0, 300, 42_000);
        check(0, 60_000, 1_000, 0);
        assert_eq!(bucket.give_back(taken(9_999)).rate(1_000).remaining, 1_000);
        // Beyond the limit, calls wait until it has come back, but not for ever.
        check(5_000, 0, 0, 300_000);
        check(50_000, 0, 0, 600_000);
    }

    #[test]
    fn what_came_back_by_itself_is_not_given_back_once_more() {
        let taken = Taken { count: 1_000, at_ms: 0 };
        let bucket = Bucket::default().at(1_000, 0).take(1_000);
        // A minute later another call takes all of it; what the first did not use was refilled long ago.
        let bucket = bucket.at(1_000, 60_000).take(1_000);
        assert_eq!(bucket.give_back(taken), bucket);
        assert_eq!(bucket.settle(1_000, taken, 10, 60_000), bucket);
        // In a bucket that was in use all the time, it was still missing.
        let bucket = Bucket::default().at(1_000, 0).take(1_000);
        let bucket = bucket.at(1_000, 30_000).take(500).at(1_000, 60_000).take(500);
        assert_eq!(bucket.give_back(taken).rate(1_000).remaining, 1_000);
    }

    #[test]
    fn spending_starts_anew_with_each_period() {
        let nano = |n| Nano::new(n).expect("small");
        let day = |text: &str| text.parse::<crate::calendar::Day>().expect("a day").start_ms();
        let mut spending = Spending::default();
        let check = |spending: &Spending, now: &str, found: [u64; 4]| {
            let periods = [Period::Day, Period::Week, Period::Month, Period::Never];
            assert_eq!(
                periods.map(|period| spending.since(period, nano(99), day(now)).get()),
                found,
                "{now}"
            );
        };
        spending.add(nano(10), day("2026-11-27"));
        check(&spending, "2026-11-27", [10, 10, 10, 99]);
        check(&spending, "2026-11-28", [0, 10, 10, 99]);
        spending.add(nano(5), day("2026-11-30"));
        check(&spending, "2026-11-30", [5, 5, 15, 99]);
        spending.add(nano(1), day("2026-11-29"));
        check(&spending, "2026-11-30", [6, 6, 16, 99]);
        check(&spending, "2026-12-01", [0, 6, 0, 99]);
    }

    #[test]
    fn limits_that_cannot_be_kept_are_refused() {
        let check = |limits: KeyLimits, found| assert_eq!(limits.check(), found, "{limits:?}");
        let models = |models: Vec<String>| KeyLimits {
            models,
            ..KeyLimits::default()
        };
        let tokens = |limit| KeyLimits {
            tokens_per_min: Some(limit),
            ..KeyLimits::default()
        };
        check(KeyLimits::default(), Ok(()));
        check(tokens(TOKENS_PER_MIN_MAX), Ok(()));
        let too_large =
            |limits: KeyLimits| assert!(matches!(limits.check(), Err(LedgerError::TooLarge(_))), "{limits:?}");
        too_large(tokens(TOKENS_PER_MIN_MAX + 1));
        too_large(models(vec!["m".into(); 65]));
        too_large(models(vec!["m".repeat(257)]));
        assert!(models(vec!["a".into()]).allows("a") && !models(vec!["a".into()]).allows("b"));
        assert!(KeyLimits::default().allows("b"));
    }

    proptest! {
        #[test]
        fn waiting_as_told_is_enough_and_not_too_long(
            limit in 1..=TOKENS_PER_MIN_MAX, used in 0..=TOKENS_PER_MIN_MAX, count in 0..=TOKENS_PER_MIN_MAX, now in 0..1_u64 << 45,
        ) {
            let (used, count) = (used.min(limit), count.min(limit));
            let bucket = Bucket::new(weight(used), now);
            let wait = bucket.wait_ms(limit, count).expect("within the limit");
            prop_assert!(bucket.at(limit, now + wait).fits(limit, count));
            prop_assert!(wait == 0 || !bucket.at(limit, now + wait - 1).fits(limit, count));
            prop_assert_eq!(bucket.at(limit, now + bucket.rate(limit).reset_ms).used, 0);
        }

        #[test]
        fn looking_at_a_bucket_changes_nothing(
            limit in 0..=TOKENS_PER_MIN_MAX, used in 0..1_u64 << 53, steps in prop::collection::vec(0..50_000_u64, 0..9),
        ) {
            let start = Bucket::new(used.min(most(limit)), 7);
            let mut now = 7;
            let looked_at = steps.iter().fold(start, |bucket, step| {
                now += step;
                bucket.at(limit, now)
            });
            prop_assert_eq!(looked_at, start.at(limit, now));
        }
    }
}
