//! A key as it should be, in the plainest words: what the random histories hold both ledgers against.

use filature_billing::{
    Budget, KeyLimits, KeyUse, Limit, Nano, Period, Rate, RateState, Reserve, ReserveError, Reserved, UsageRecord,
};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::world::nano;

pub const DAY_MS: u64 = 86_400_000;
const MINUTE_MS: i128 = 60_000;

/// A key's limits and what is used of them.
#[derive(Clone, Debug, Default)]
pub struct KeyModel {
    pub limits: KeyLimits,
    pub requests: Model,
    pub tokens: Model,
    /// When, and how much.
    spent: Vec<(u64, u64)>,
}

/// How many things are missing of a full bucket, times 60,000, when that was so, and when nothing was last missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Model {
    missing: i128,
    at_ms: u64,
    unused_ms: u64,
}

/// Tokens taken by a call, when, and of how many a minute.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub count: u64,
    at_ms: u64,
    limit: u64,
}

impl Model {
    fn now(&mut self, limit: u64, now_ms: u64) {
        let back = i128::from(now_ms - self.at_ms) * i128::from(limit);
        self.missing = (self.missing.min(most(limit)) - back).max(0);
        self.at_ms = now_ms;
        if self.missing == 0 {
            self.unused_ms = now_ms;
        }
    }

    /// What came back by itself in between does not come back twice.
    pub fn give_back(&mut self, count: u64, taken: Taken) {
        if taken.at_ms >= self.unused_ms {
            self.missing = (self.missing - i128::from(count) * MINUTE_MS).max(0);
        }
    }

    fn take(&mut self, count: u64) {
        self.missing += i128::from(count) * MINUTE_MS;
    }

    /// Milliseconds to wait, or none that would help.
    fn wait(self, limit: u64, count: u64) -> Option<u64> {
        if count > limit {
            return None;
        }
        let above = self.missing - i128::from(limit - count) * MINUTE_MS;
        Some(ceil(above.max(0), limit))
    }

    fn rate(self, limit: u64) -> Rate {
        Rate {
            limit,
            remaining: ((i128::from(limit) * MINUTE_MS - self.missing).max(0) / MINUTE_MS) as u64,
            reset_ms: ceil(self.missing, limit),
        }
    }
}

/// The most that is ever missing: ten minutes' worth.
fn most(limit: u64) -> i128 {
    10 * i128::from(limit) * MINUTE_MS
}

fn ceil(number: i128, by: u64) -> u64 {
    ((number + i128::from(by) - 1) / i128::from(by)) as u64
}

impl KeyModel {
    /// What a reserve must answer. The key's calls hold `held`, and the account has `available`.
    pub fn reserve(&mut self, ask: &Reserve, held: i64, holds: u64, available: i64) -> Result<Reserved, ReserveError> {
        let (requests, tokens) = (self.limits.requests_per_min.map(u64::from), self.limits.tokens_per_min);
        let (mut of_requests, mut of_tokens) = (self.requests, self.tokens);
        requests.inspect(|&limit| of_requests.now(limit, ask.now_ms));
        tokens.inspect(|&limit| of_tokens.now(limit, ask.now_ms));
        let state = |of_requests: Model, of_tokens: Model| RateState {
            requests: requests.map(|limit| of_requests.rate(limit)),
            tokens: tokens.map(|limit| of_tokens.rate(limit)),
        };
        let limited = |what, retry_after_ms| {
            let state = state(of_requests, of_tokens);
            Err(ReserveError::RateLimited {
                what,
                retry_after_ms,
                state,
            })
        };
        if let Some(wait_ms) = requests
            .map(|limit| of_requests.wait(limit, 1))
            .filter(|wait| *wait != Some(0))
        {
            return limited(Limit::Requests, wait_ms);
        }
        if let Some(wait_ms) = tokens
            .map(|limit| of_tokens.wait(limit, ask.tokens))
            .filter(|wait| *wait != Some(0))
        {
            return limited(Limit::Tokens, wait_ms);
        }
        if self.limits.concurrent.is_some_and(|most| holds >= u64::from(most)) {
            return limited(Limit::Concurrent, None);
        }
        let left = self.left(held, ask.now_ms);
        if let Some((left, resets_ms)) = left.filter(|(left, _)| *left < ask.quote_min.signed()) {
            return Err(ReserveError::BudgetSpent { left, resets_ms });
        }
        if available < ask.quote_min.signed() {
            return Err(ReserveError::Insufficient { available });
        }
        let affordable = left.map_or(available, |(left, _)| left.min(available));
        requests.inspect(|_| of_requests.take(1));
        tokens.inspect(|_| of_tokens.take(ask.tokens));
        (self.requests, self.tokens) = (of_requests, of_tokens);
        Ok(Reserved {
            held: nano(ask.quote.signed().min(affordable).cast_unsigned()),
            limits: state(of_requests, of_tokens),
        })
    }

    /// What is left of the budget, and when it starts anew.
    fn left(&self, held: i64, now_ms: u64) -> Option<(i64, Option<u64>)> {
        let Budget { amount, period } = self.limits.budget?;
        Some((
            amount.signed() - self.since(period, now_ms).signed() - held,
            period.next_ms(now_ms),
        ))
    }

    fn since(&self, period: Period, now_ms: u64) -> Nano {
        let start_ms = period.start_ms(now_ms);
        let own = self.spent.iter().filter(|(at_ms, _)| *at_ms >= start_ms);
        nano(own.map(|(_, cost)| cost).sum())
    }

    /// What a call that has just begun took.
    pub fn taken(&self, count: u64) -> Option<Taken> {
        let limit = self.limits.tokens_per_min?;
        let at_ms = self.tokens.at_ms;
        Some(Taken { count, at_ms, limit })
    }

    /// What a call without a hold took.
    pub fn late(&self) -> Option<Taken> {
        let limit = self.limits.tokens_per_min?;
        let (count, at_ms) = (0, 0);
        Some(Taken { count, at_ms, limit })
    }

    pub fn post(&mut self, record: &UsageRecord, taken: Option<Taken>, now_ms: u64) {
        self.spent.push((now_ms, record.cost.get()));
        if let Some(taken) = taken {
            self.tokens.now(taken.limit, now_ms);
            let used = record.billed.prompt + record.billed.completion;
            match used.checked_sub(taken.count) {
                Some(more) => self.tokens.missing += i128::from(more) * MINUTE_MS,
                None => self.tokens.give_back(taken.count - used, taken),
            }
            self.tokens.missing = self.tokens.missing.min(most(taken.limit));
        }
    }

    pub fn used(&self, held: i64, holds: u64, now_ms: u64) -> KeyUse {
        let rate = |mut bucket: Model, limit: Option<u64>| {
            limit.map(|limit| {
                bucket.now(limit, now_ms);
                bucket.rate(limit)
            })
        };
        KeyUse {
            spent: self.since(Period::Never, now_ms),
            spent_day: self.since(Period::Day, now_ms),
            spent_week: self.since(Period::Week, now_ms),
            spent_month: self.since(Period::Month, now_ms),
            held: nano(held.cast_unsigned()),
            holds,
            limits: RateState {
                requests: rate(self.requests, self.limits.requests_per_min.map(u64::from)),
                tokens: rate(self.tokens, self.limits.tokens_per_min),
            },
        }
    }
}

/// Some limits, each of them in every third key or so.
pub fn random_limits(rng: &mut StdRng) -> KeyLimits {
    let periods = [Period::Never, Period::Day, Period::Week, Period::Month];
    let mut budget = Budget {
        amount: nano(rng.random_range(0..60_000)),
        period: periods[rng.random_range(0..periods.len())],
    };
    if budget.period == Period::Never {
        budget.amount = nano(rng.random_range(0..2_000_000));
    }
    KeyLimits {
        requests_per_min: rng.random_bool(0.3).then(|| rng.random_range(1..40)),
        tokens_per_min: rng.random_bool(0.3).then(|| rng.random_range(1..12_000)),
        concurrent: rng.random_bool(0.3).then(|| rng.random_range(1..8)),
        budget: rng.random_bool(0.4).then_some(budget),
        models: vec![],
    }
}
