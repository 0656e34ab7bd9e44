//! What the embedded ledger knows of keys, and whether one may start a call: expiry, limits per minute, calls at a
//! time, budget. Limits per minute are in memory only: a start finds them unused.

use super::entry::PostEntry;
use super::state::{Hold, State, add, subtract};
use crate::calendar::Period;
use crate::id::{AccountId, KeyId};
use crate::key::{KeyChange, KeyHash, KeyRecord};
use crate::ledger::{KeyUse, Reserve, ReserveError};
use crate::limits::{Bucket, Limit, RateState, Spending, Taken, bounded};
use crate::money::Nano;

pub(super) struct KeyState {
    pub(super) record: KeyRecord,
    pub(super) spent: Nano,
    pub(super) spending: Spending,
    held: Nano,
    holds: u64,
    requests: Bucket,
    tokens: Bucket,
}

/// The buckets as they will be once the call has begun; `None` where there is no limit.
pub(super) struct Begun {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
}

impl KeyState {
    /// A key without calls.
    pub(super) fn new(record: KeyRecord, spent: Nano, spending: Spending) -> Self {
        Self {
            record,
            spent,
            spending,
            held: Nano::ZERO,
            holds: 0,
            requests: Bucket::default(),
            tokens: Bucket::default(),
        }
    }

    /// Whether the key may be used at all.
    pub(super) fn check_live(&self, now_ms: u64) -> Result<(), ReserveError> {
        if self.record.revoked_ms.is_some() {
            return Err(ReserveError::KeyRevoked);
        }
        if self.record.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            return Err(ReserveError::KeyExpired);
        }
        Ok(())
    }

    fn requests_per_min(&self) -> Option<u64> {
        self.record.limits.requests_per_min.map(u64::from)
    }

    /// What is left of the limits per minute.
    pub(super) fn rates(&self, now_ms: u64) -> RateState {
        let rate = |bucket: Bucket, limit: Option<u64>| limit.map(|limit| bucket.at(limit, now_ms).rate(limit));
        RateState {
            requests: rate(self.requests, self.requests_per_min()),
            tokens: rate(self.tokens, self.record.limits.tokens_per_min),
        }
    }

    /// Whether one more call with so many tokens is within the limits. Changes nothing yet.
    pub(super) fn take(&self, ask: &Reserve) -> Result<Begun, ReserveError> {
        let limited = |what, retry_after_ms| ReserveError::RateLimited {
            what,
            retry_after_ms,
            state: self.rates(ask.now_ms),
        };
        let take = |what, bucket: Bucket, limit: Option<u64>, count| {
            let Some(limit) = limit else { return Ok(None) };
            let now = bucket.at(limit, ask.now_ms);
            match now.wait_ms(limit, count) {
                Some(0) => Ok(Some(now.take(count))),
                wait_ms => Err(limited(what, wait_ms)),
            }
        };
        let requests = take(Limit::Requests, self.requests, self.requests_per_min(), 1)?;
        let tokens_per_min = self.record.limits.tokens_per_min;
        let tokens = take(Limit::Tokens, self.tokens, tokens_per_min, bounded(ask.tokens))?;
        let concurrent = self.record.limits.concurrent.map(u64::from);
        if concurrent.is_some_and(|most| self.holds >= most) {
            return Err(limited(Limit::Concurrent, None));
        }
        Ok(Begun { requests, tokens })
    }

    /// What the budget has left, if that is at least `quote_min`.
    pub(super) fn affords(&self, quote_min: Nano, now_ms: u64) -> Result<i64, ReserveError> {
        let Some(budget) = self.record.limits.budget else {
            return Ok(i64::MAX);
        };
        let spent = self.spending.since(budget.period, self.spent, now_ms);
        let left = budget.amount.signed().saturating_sub(spent.signed());
        let left = left.saturating_sub(self.held.signed());
        if left < quote_min.signed() {
            let resets_ms = budget.period.next_ms(now_ms);
            return Err(ReserveError::BudgetSpent { left, resets_ms });
        }
        Ok(left)
    }

    /// A call begins. Returns the tokens it took and of how many a minute, if those are limited.
    pub(super) fn begin(&mut self, begun: &Begun, ask: &Reserve, held: Nano) -> Option<(Taken, u64)> {
        self.requests = begun.requests.unwrap_or(self.requests);
        self.tokens = begun.tokens.unwrap_or(self.tokens);
        self.held = add(self.held, held);
        self.holds = self.holds.saturating_add(1);
        let taken = Taken {
            count: bounded(ask.tokens),
            at_ms: begun.tokens?.at_ms,
        };
        Some((taken, self.record.limits.tokens_per_min?))
    }

    /// A call holds nothing any more.
    pub(super) fn end(&mut self, held: Nano) {
        self.held = subtract(self.held, held);
        self.holds = self.holds.saturating_sub(1);
    }

    /// Tokens that were taken for nothing.
    pub(super) fn give_back(&mut self, tokens: Option<(Taken, u64)>) {
        if let Some((taken, _)) = tokens {
            self.tokens = self.tokens.give_back(taken);
        }
    }

    /// A call was charged. Its tokens count against the limit under which it began; those of one without a hold against
    /// today's.
    pub(super) fn post(&mut self, post: &PostEntry, hold: Option<&Hold>) {
        self.spent = add(self.spent, post.sums.cost);
        self.spending.add(post.sums.cost, post.now_ms);
        let late = || Some((Taken::default(), self.record.limits.tokens_per_min?));
        if let Some((taken, limit)) = hold.map_or_else(late, |hold| hold.tokens) {
            let used = post.sums.tokens;
            let used = bounded(used.prompt.saturating_add(used.completion));
            self.tokens = self.tokens.settle(limit, taken, used, post.now_ms);
        }
    }
}

impl State {
    pub(super) fn add_key(&mut self, record: &KeyRecord, hash: &KeyHash) {
        self.hashes.insert(*hash, record.id.clone());
        let key = KeyState::new(record.clone(), Nano::ZERO, Spending::default());
        self.keys.insert(record.id.clone(), key);
    }

    pub(super) fn revoke(&mut self, key: &KeyId, revoked_ms: u64) {
        if let Some(key) = self.keys.get_mut(key) {
            key.record.revoked_ms.get_or_insert(revoked_ms);
        }
    }

    pub(super) fn update_key(&mut self, key: &KeyId, change: &KeyChange) {
        if let Some(key) = self.keys.get_mut(key) {
            change.apply(&mut key.record);
        }
    }

    pub(super) fn key(&self, id: &KeyId) -> Option<KeyRecord> {
        self.keys.get(id).map(|key| key.record.clone())
    }

    pub(super) fn key_by_hash(&self, hash: &KeyHash) -> Option<KeyRecord> {
        self.hashes.get(hash).and_then(|id| self.key(id))
    }

    pub(super) fn keys(&self, account: Option<&AccountId>) -> Vec<KeyRecord> {
        let records = self.keys.values().map(|key| &key.record);
        let mut keys: Vec<_> = records
            .filter(|key| account.is_none_or(|id| key.account == *id))
            .cloned()
            .collect();
        keys.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        keys
    }

    pub(super) fn key_spent(&self, account: &AccountId, key: &KeyId) -> Option<Nano> {
        let key = self.keys.get(key).filter(|key| key.record.account == *account);
        key.map(|key| key.spent)
    }

    pub(super) fn key_use(&self, account: &AccountId, key: &KeyId, now_ms: u64) -> Option<KeyUse> {
        let key = self.keys.get(key).filter(|key| key.record.account == *account)?;
        let since = |period| key.spending.since(period, key.spent, now_ms);
        Some(KeyUse {
            spent: key.spent,
            spent_day: since(Period::Day),
            spent_week: since(Period::Week),
            spent_month: since(Period::Month),
            held: key.held,
            holds: key.holds,
            limits: key.rates(now_ms),
        })
    }
}
