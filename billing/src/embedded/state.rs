//! What the embedded ledger keeps in memory: accounts, keys, holds and the sums over them. No I/O, no clock, no lock.
//!
//! Deposits, withdrawals, posts and keys arrive here only after they are on disk (`writer` sees to that). What calls do is
//! in `holds`, what keys may do in `keys`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::keys::KeyState;
use super::leases::Leases;
use super::store::Durable;
use crate::id::{AccountId, CallId, KeyId, ProviderId};
use crate::key::KeyHash;
use crate::ledger::{Account, Earnings, LedgerError, Reserve, ReserveError, Totals};
use crate::limits::Taken;
use crate::money::Nano;

/// Balances, holds and keys.
pub(super) struct State {
    pub(super) accounts: HashMap<AccountId, Account>,
    pub(super) keys: HashMap<KeyId, KeyState>,
    pub(super) hashes: HashMap<KeyHash, KeyId>,
    pub(super) holds: HashMap<CallId, Hold>,
    /// The holds by expiry, except those that are being posted.
    pub(super) expiry: BTreeSet<(u64, CallId)>,
    pub(super) earnings: BTreeMap<ProviderId, Earned>,
    pub(super) totals: Totals,
    pub(super) leases: Leases,
}

/// Money set aside for a call.
pub(super) struct Hold {
    pub(super) account: AccountId,
    pub(super) key: KeyId,
    /// The tokens that were taken from the key's limit, and the limit, if there was one.
    pub(super) tokens: Option<(Taken, u64)>,
    pub(super) amount: Nano,
    pub(super) expires_ms: u64,
    /// Posts of this call on their way to disk. While there are any, the hold is theirs: no void, no sweep.
    pub(super) posts: u32,
}

impl Hold {
    /// What it holds, if it is what `ask` would have got.
    pub(super) fn of(&self, ask: &Reserve) -> Result<Nano, ReserveError> {
        let fits = self.amount >= ask.quote_min.min(ask.quote) && self.amount <= ask.quote;
        let is_its = self.account == ask.account && self.key == ask.key && fits;
        is_its.then_some(self.amount).ok_or(ReserveError::AlreadyReserved)
    }
}

/// What a provider has earned, and the fees taken from it.
#[derive(Clone, Copy, Default)]
pub(super) struct Earned {
    pub(super) fee: Nano,
    pub(super) earned: Nano,
}

/// The sum of what is bounded elsewhere: the writer refuses whatever would exceed it before it reaches the disk.
pub(super) fn add(amount: Nano, more: Nano) -> Nano {
    amount
        .plus(more)
        .expect("the writer bounds the totals, and no part exceeds its total")
}

/// What is left of what is held or withdrawn.
pub(super) fn subtract(amount: Nano, less: Nano) -> Nano {
    amount.minus(less).expect("what goes is part of what is there")
}

/// `available` with `change` added: both are within ±2⁵³ times the number of accounts.
pub(super) fn shift(available: &mut i64, total: &mut i128, change: i64) {
    *available = available
        .checked_add(change)
        .expect("balances are bounded by the totals");
    *total = total
        .checked_add(i128::from(change))
        .expect("the sum of balances fits 128 bits");
}

impl State {
    /// The state after a start: what was on disk, and no holds.
    pub(super) fn new(durable: Durable) -> Result<Self, LedgerError> {
        let Durable {
            accounts,
            keys,
            earnings,
        } = durable;
        let mut totals = Totals::default();
        let damaged = |_| LedgerError::Damaged("the sums are too large".into());
        for account in &accounts {
            totals.deposited = totals.deposited.plus(account.deposited).map_err(damaged)?;
            totals.withdrawn = totals.withdrawn.plus(account.withdrawn).map_err(damaged)?;
            totals.available = totals.available.saturating_add(i128::from(account.available));
            totals.spent = totals.spent.plus(account.spent).map_err(damaged)?;
        }
        for (_, earned) in &earnings {
            totals.fees = totals.fees.plus(earned.fee).map_err(damaged)?;
            totals.earned = totals.earned.plus(earned.earned).map_err(damaged)?;
        }
        if !totals.are_conserved() {
            return Err(LedgerError::Damaged(format!("the sums do not add up: {totals:?}")));
        }
        Ok(Self {
            accounts: accounts
                .into_iter()
                .map(|account| (account.id.clone(), account))
                .collect(),
            hashes: keys.iter().map(|(hash, key)| (*hash, key.record.id.clone())).collect(),
            keys: keys.into_iter().map(|(_, key)| (key.record.id.clone(), key)).collect(),
            leases: Leases::default(),
            holds: HashMap::new(),
            expiry: BTreeSet::new(),
            earnings: earnings.into_iter().collect(),
            totals,
        })
    }

    pub(super) fn add_account(&mut self, id: &AccountId, name: &str, created_ms: u64) {
        let (deposited, held, spent) = (Nano::ZERO, Nano::ZERO, Nano::ZERO);
        let account = Account {
            id: id.clone(),
            name: name.to_owned(),
            created_ms,
            deposited,
            withdrawn: Nano::ZERO,
            available: 0,
            held,
            spent,
        };
        self.accounts.insert(id.clone(), account);
    }

    pub(super) fn add_deposit(&mut self, account: &AccountId, amount: Nano) {
        let account = self
            .accounts
            .get_mut(account)
            .expect("the writer saw it on disk, and none is ever removed");
        account.deposited = add(account.deposited, amount);
        self.totals.deposited = add(self.totals.deposited, amount);
        shift(&mut account.available, &mut self.totals.available, amount.signed());
        assert_conserved(account, &self.totals);
    }

    /// Before a withdrawal goes to disk: from here on its amount is held.
    pub(super) fn begin_withdraw(&mut self, account: &AccountId, amount: Nano) -> Result<(), LedgerError> {
        let unknown = || LedgerError::UnknownAccount(account.clone());
        let account = self.accounts.get_mut(account).ok_or_else(unknown)?;
        let available = account.available;
        if available < amount.signed() {
            return Err(LedgerError::Insufficient { available });
        }
        shift(
            &mut account.available,
            &mut self.totals.available,
            amount.signed().saturating_neg(),
        );
        account.held = add(account.held, amount);
        self.totals.held = add(self.totals.held, amount);
        assert_conserved(account, &self.totals);
        Ok(())
    }

    /// After a withdrawal got to disk; or did not, or was there before: then its amount is available again.
    pub(super) fn finish_withdraw(&mut self, account: &AccountId, amount: Nano, fresh: bool) {
        let account = self
            .accounts
            .get_mut(account)
            .expect("begin_withdraw saw it, and none is ever removed");
        account.held = subtract(account.held, amount);
        self.totals.held = subtract(self.totals.held, amount);
        if fresh {
            account.withdrawn = add(account.withdrawn, amount);
            self.totals.withdrawn = add(self.totals.withdrawn, amount);
        } else {
            shift(&mut account.available, &mut self.totals.available, amount.signed());
        }
        assert_conserved(account, &self.totals);
    }

    /// After it is on disk that a withdrawal will not be paid.
    pub(super) fn give_back_withdrawal(&mut self, account: &AccountId, amount: Nano) {
        let account = self
            .accounts
            .get_mut(account)
            .expect("the withdrawal on disk was this account's, and none is ever removed");
        account.withdrawn = subtract(account.withdrawn, amount);
        self.totals.withdrawn = subtract(self.totals.withdrawn, amount);
        shift(&mut account.available, &mut self.totals.available, amount.signed());
        assert_conserved(account, &self.totals);
    }

    pub(super) fn account(&self, id: &AccountId) -> Option<Account> {
        self.accounts.get(id).cloned()
    }

    pub(super) fn accounts(&self) -> Vec<Account> {
        let mut accounts: Vec<_> = self.accounts.values().cloned().collect();
        accounts.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        accounts
    }

    pub(super) fn earnings(&self) -> Vec<Earnings> {
        let earnings = self
            .earnings
            .iter()
            .map(|(provider, &Earned { fee, earned })| Earnings {
                provider: provider.clone(),
                cost: add(fee, earned),
                fee,
                earned,
            });
        earnings.collect()
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }
}

/// Nothing appeared and nothing vanished: in the account that was touched, and over all.
pub(super) fn assert_conserved(account: &Account, totals: &Totals) {
    let kept = account
        .available
        .checked_add(account.held.signed())
        .and_then(|n| n.checked_add(account.spent.signed()))
        .and_then(|n| n.checked_add(account.withdrawn.signed()));
    assert_eq!(
        kept,
        Some(account.deposited.signed()),
        "account {} does not add up: {account:?}",
        account.id
    );
    assert!(totals.are_conserved(), "the ledger does not add up: {totals:?}");
}
