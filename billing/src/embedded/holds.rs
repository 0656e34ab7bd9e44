//! What calls do to balances: reserve, post, void, renew, sweep. A post reaches memory in two steps, around its way to
//! disk.

use super::entry::PostEntry;
use super::state::{Hold, State, add, assert_conserved, shift, subtract};
use crate::id::{AccountId, CallId};
use crate::ledger::{LedgerError, Reserve, ReserveError, Reserved, Swept, other_key};
use crate::money::Nano;
use crate::record::UsageRecord;

/// Holds given back under one lock: some tens of microseconds.
const SWEEP_BATCH: usize = 256;

impl State {
    pub(super) fn reserve(&mut self, ask: &Reserve) -> Result<Reserved, ReserveError> {
        let account = self
            .accounts
            .get_mut(&ask.account)
            .ok_or(ReserveError::UnknownAccount)?;
        let key = self.keys.get_mut(&ask.key);
        let key = key
            .filter(|key| key.record.account == ask.account)
            .ok_or(ReserveError::UnknownKey)?;
        key.check_live(ask.now_ms)?;
        if let Some(hold) = self.holds.get(&ask.call) {
            let limits = key.rates(ask.now_ms);
            return hold.of(ask).map(|held| Reserved { held, limits });
        }
        let begun = key.take(ask)?;
        let quote_min = ask.quote_min.min(ask.quote);
        let left = key.affords(quote_min, ask.now_ms)?;
        let available = account.available;
        if available < quote_min.signed() {
            return Err(ReserveError::Insufficient { available });
        }
        let held = ask.quote.min(affordable(left)).min(affordable(available));
        // Every reason to refuse has been looked at.
        let tokens = key.begin(&begun, ask, held);
        let limits = key.rates(ask.now_ms);
        shift(
            &mut account.available,
            &mut self.totals.available,
            held.signed().saturating_neg(),
        );
        account.held = add(account.held, held);
        self.totals.held = add(self.totals.held, held);
        self.totals.holds = self.totals.holds.saturating_add(1);
        let hold = Hold {
            account: ask.account.clone(),
            key: ask.key.clone(),
            tokens,
            amount: held,
            expires_ms: ask.expires_ms,
            posts: 0,
        };
        self.holds.insert(ask.call, hold);
        self.expiry.insert((ask.expires_ms, ask.call));
        assert_conserved(account, &self.totals);
        Ok(Reserved { held, limits })
    }

    /// The call's hold, if it is this account's.
    fn hold_mut(&mut self, account: &AccountId, call: &CallId) -> Option<&mut Hold> {
        self.holds.get_mut(call).filter(|hold| hold.account == *account)
    }

    /// Before a record goes to disk: from here on its hold is neither voided nor swept.
    pub(super) fn begin_post(&mut self, record: &UsageRecord) -> Result<(), LedgerError> {
        let (account, call, cost) = (&record.account, &record.call, record.cost);
        if !self.accounts.contains_key(account) {
            return Err(LedgerError::UnknownAccount(account.clone()));
        }
        let Some(hold) = self.hold_mut(account, call) else {
            return Ok(());
        };
        if hold.key != record.key {
            return Err(other_key(call));
        }
        if cost > hold.amount {
            return Err(LedgerError::CostAboveHold {
                cost,
                held: hold.amount,
            });
        }
        hold.posts = hold.posts.saturating_add(1);
        let at = (hold.expires_ms, *call);
        self.expiry.remove(&at);
        Ok(())
    }

    /// After a record did not get to disk: its hold is as before.
    pub(super) fn abandon_post(&mut self, account: &AccountId, call: &CallId) {
        let Some(hold) = self.hold_mut(account, call) else {
            return;
        };
        hold.posts = hold.posts.saturating_sub(1);
        if hold.posts == 0 {
            let at = (hold.expires_ms, *call);
            self.expiry.insert(at);
        }
    }

    /// After a record got to disk, or was found there: what of its hold was given back.
    pub(super) fn finish_post(&mut self, post: &PostEntry, fresh: bool) -> Nano {
        let hold = self.remove_hold(&post.account, &post.call);
        let held = hold.as_ref().map_or(Nano::ZERO, |hold| hold.amount);
        let account = self
            .accounts
            .get_mut(&post.account)
            .expect("begin_post saw it, and none is ever removed");
        let cost = if fresh { post.sums.cost } else { Nano::ZERO };
        // Without a hold this is a late post: the balance pays, below zero if it must.
        let change = held.signed().saturating_sub(cost.signed());
        shift(&mut account.available, &mut self.totals.available, change);
        account.spent = add(account.spent, cost);
        self.totals.spent = add(self.totals.spent, cost);
        if let Some(key) = self.keys.get_mut(&post.key) {
            match fresh {
                true => key.post(post, hold.as_ref()),
                false => key.give_back(hold.and_then(|hold| hold.tokens)),
            }
        }
        if fresh {
            for (provider, part) in &post.parts {
                let earned = self.earnings.entry(provider.clone()).or_default();
                earned.fee = add(earned.fee, part.fee);
                earned.earned = add(earned.earned, part.earned);
                self.totals.fees = add(self.totals.fees, part.fee);
                self.totals.earned = add(self.totals.earned, part.earned);
            }
        }
        assert_conserved(account, &self.totals);
        held.minus(cost).unwrap_or_default()
    }

    /// Takes a hold off the books; its amount is neither available nor held until the caller says which.
    fn remove_hold(&mut self, account: &AccountId, call: &CallId) -> Option<Hold> {
        self.hold_mut(account, call)?;
        let hold = self.holds.remove(call)?;
        self.expiry.remove(&(hold.expires_ms, *call));
        let account = self
            .accounts
            .get_mut(&hold.account)
            .expect("reserve saw it, and none is ever removed");
        account.held = subtract(account.held, hold.amount);
        self.totals.held = subtract(self.totals.held, hold.amount);
        self.totals.holds = self.totals.holds.saturating_sub(1);
        let key = self.keys.get_mut(&hold.key);
        key.expect("reserve saw it, and none is ever removed").end(hold.amount);
        Some(hold)
    }

    pub(super) fn void(&mut self, account: &AccountId, call: &CallId) -> Nano {
        if self.hold_mut(account, call).is_none_or(|hold| hold.posts > 0) {
            return Nano::ZERO;
        }
        let Some(hold) = self.remove_hold(account, call) else {
            return Nano::ZERO;
        };
        if let Some(key) = self.keys.get_mut(&hold.key) {
            key.give_back(hold.tokens);
        }
        let account = self.accounts.get_mut(account).expect("the hold was this account's");
        shift(&mut account.available, &mut self.totals.available, hold.amount.signed());
        assert_conserved(account, &self.totals);
        hold.amount
    }

    pub(super) fn renew(&mut self, account: &AccountId, call: &CallId, expires_ms: u64) -> bool {
        let Some(hold) = self.hold_mut(account, call) else {
            return false;
        };
        let before = std::mem::replace(&mut hold.expires_ms, expires_ms);
        if hold.posts == 0 {
            self.expiry.remove(&(before, *call));
            self.expiry.insert((expires_ms, *call));
        }
        true
    }

    /// Gives some expired holds back; true if there may be more.
    pub(super) fn sweep_batch(&mut self, now_ms: u64, swept: &mut Swept) -> bool {
        for _ in 0..SWEEP_BATCH {
            let Some(&(expires_ms, call)) = self.expiry.first() else {
                return false;
            };
            if expires_ms > now_ms {
                return false;
            }
            let Some(account) = self.holds.get(&call).map(|hold| hold.account.clone()) else {
                unreachable!("what expires is a hold");
            };
            let released = self.void(&account, &call);
            swept.holds = swept.holds.saturating_add(1);
            swept.released = add(swept.released, released);
        }
        true
    }
}

/// What can be taken of a balance.
fn affordable(available: i64) -> Nano {
    Nano::saturating(u64::try_from(available).unwrap_or_default())
}
