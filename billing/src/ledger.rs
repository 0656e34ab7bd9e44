//! The ledger's seam: the steps money can take, in words that both implementations share.
//!
//! Per account, always: available + held + spent = deposited − withdrawn. Over all: spent = earned + fees. `available`
//! falls below zero only when a post comes after its hold was swept. Time is an argument, in Unix milliseconds.

mod books;
mod history;
mod steps;
mod uncredited;
mod withdrawals;

use std::time::Duration;

use async_trait::async_trait;

pub use self::books::{Account, Admission, Earnings, KeyUse, Totals};
pub(crate) use self::history::{AUDIT_READ_MAX, OTHER_MODEL, RECORDS_MAX, USAGE_ROWS_MAX, days};
pub use self::history::{AuditEntry, BadCursor, Cursor, LedgerShard, Usage, UsageSums};
pub use self::steps::{Deposit, Deposited, LedgerError, Posted, Reserve, ReserveError, Reserved, Swept};
pub(crate) use self::uncredited::{UNCREDITED_MAX, UNCREDITED_OF_MAX, UNCREDITED_READ_MAX};
pub use self::uncredited::{Uncredited, WhyUncredited};
pub(crate) use self::withdrawals::{TRANSFERS_READ_MAX, WITHDRAWALS_OPEN_MAX};
pub use self::withdrawals::{Withdraw, Withdrawal, WithdrawalState, WithdrawalStep, Withdrawn};
use crate::calendar::Day;
use crate::id::{AccountId, CallId, KeyId, ProviderId};
use crate::key::{KeyChange, KeyHash, KeyRecord};
use crate::money::Nano;
use crate::record::UsageRecord;

/// Keeps balances, holds, keys and usage records.
///
/// Every step is atomic. A step that failed with [`LedgerError::Unavailable`] may have happened all the same (its
/// answer may be what was lost): reserve, post, void, deposit and withdraw may then simply be repeated, and a hold nobody
/// owns expires.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Moves money from available to held, if the key may spend, its limits allow the call and the account affords it:
    /// the quote, or what account and budget afford where that is at least `quote_min`.
    ///
    /// Repeated while its hold lives, as when the answer was lost, it is that hold, and uses no limit again.
    ///
    /// # Errors
    /// [`ReserveError`] says why not: the first reason of key, requests, tokens, concurrent calls, budget, balance.
    /// Nothing is held and no limit used then, except perhaps after [`ReserveError::Unavailable`].
    async fn reserve(&self, reserve: &Reserve) -> Result<Reserved, ReserveError>;

    /// Charges a call: moves its hold to spent and gives the rest back, credits providers and operator, and keeps the
    /// record. Returns once that is durable. A call is charged once, however often it is posted. If its hold was swept
    /// meanwhile, it is charged from what is available, below zero if it must be.
    ///
    /// The key's tokens per minute then count what was billed instead of what was reserved, its budget the cost of the
    /// call in the period of `now_ms`, and the usage of the day the call arrived on the whole of it.
    ///
    /// # Errors
    /// [`LedgerError::Record`] if the record does not add up, [`LedgerError::CostAboveHold`] if its live hold is
    /// smaller than its cost, [`LedgerError::Conflict`] if the hold is another key's, and what any step may fail with.
    /// The hold stands as before.
    async fn post(&self, record: &UsageRecord, now_ms: u64) -> Result<Posted, LedgerError>;

    /// Gives a hold back and says how much it was: nothing if there is none (voided before, posted or swept). The key
    /// gets its tokens back, but the request it made counts.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn void(&self, account: &AccountId, call: &CallId) -> Result<Nano, LedgerError>;

    /// Lets a hold live until `expires_ms`. False if there is none any more.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn renew(&self, account: &AccountId, call: &CallId, expires_ms: u64) -> Result<bool, LedgerError>;

    /// Gives back every hold that expired at or before `now_ms`, as a void does.
    ///
    /// # Errors
    /// What any step may fail with. Some holds may have been given back by then.
    async fn sweep(&self, now_ms: u64) -> Result<Swept, LedgerError>;

    /// Adds money to an account, once per account and deposit id. Returns once that is durable.
    ///
    /// # Errors
    /// [`LedgerError::UnknownAccount`], [`LedgerError::TooLarge`], and what any step may fail with.
    async fn deposit(&self, deposit: &Deposit) -> Result<Deposited, LedgerError>;

    /// The deposits of an account, from the oldest or from the one behind `after`: at most `max`, and at most 1,024.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn deposits(
        &self,
        account: &AccountId,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, Deposit)>, LedgerError>;

    /// Moves money from available to withdrawn, once per account and withdrawal id, to be paid out. Returns once that is
    /// durable.
    ///
    /// # Errors
    /// [`LedgerError::Insufficient`] if the account does not have so much available, [`LedgerError::Conflict`] if the id
    /// is that of another withdrawal, [`LedgerError::UnknownAccount`], [`LedgerError::TooLarge`] for texts above 256
    /// bytes and beyond 65,536 open withdrawals of a shard, and what any step may fail with.
    async fn withdraw(&self, ask: &Withdraw) -> Result<Withdrawn, LedgerError>;

    /// Notes what became of a withdrawal; what is given back becomes available again, once. Repeated, it changes nothing.
    /// `None` if there is no such withdrawal. Returns once that is durable.
    ///
    /// # Errors
    /// [`LedgerError::OutOfTurn`] if the withdrawal does not stand where the step begins, [`LedgerError::TooLarge`] for
    /// texts above 256 bytes, and what any step may fail with.
    async fn step_withdrawal(
        &self,
        account: &AccountId,
        id: &str,
        step: &WithdrawalStep,
        now_ms: u64,
    ) -> Result<Option<Withdrawal>, LedgerError>;

    /// One withdrawal.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn withdrawal(&self, account: &AccountId, id: &str) -> Result<Option<Withdrawal>, LedgerError>;

    /// The withdrawals of an account, from the oldest or from the one behind `after`: at most `max`, and at most 1,024.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn withdrawals(
        &self,
        account: &AccountId,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, Withdrawal)>, LedgerError>;

    /// A shard's withdrawals that are asked for and not sent, those asked for first first: at most `max`.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn open_withdrawals(&self, shard: LedgerShard, max: usize) -> Result<Vec<Withdrawal>, LedgerError>;

    /// Where a reader of something outside the ledger has got to, in its own words. `None` before it began.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn bookmark(&self, reader: &str) -> Result<Option<String>, LedgerError>;

    /// Moves a reader's bookmark from where it is to `to` and, in the same step, writes down the transfers in between
    /// that were credited to nobody: the oldest go beyond 100,000. False, and nothing done, if the bookmark is not at
    /// `from`. Repeated when it is at `to`, it is true and writes nothing. Returns once that is durable.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] for texts above their bounds, and what any step may fail with.
    async fn move_bookmark(
        &self,
        reader: &str,
        from: Option<&str>,
        to: &str,
        uncredited: &[Uncredited],
    ) -> Result<bool, LedgerError>;

    /// Transfers that were credited to nobody, from the oldest or from the one behind `after`: at most `max`, and at
    /// most 1,024.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn uncredited(&self, after: Option<Cursor>, max: usize) -> Result<Vec<(Cursor, Uncredited)>, LedgerError>;

    /// The last of them that named an account, the oldest first: at most 100, and perhaps none older than 90 days.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn uncredited_of(&self, account: &AccountId) -> Result<Vec<Uncredited>, LedgerError>;

    /// Makes an account; one that exists is returned as it is.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] for a name above 256 bytes, and what any step may fail with.
    async fn create_account(&self, id: &AccountId, name: &str, now_ms: u64) -> Result<Account, LedgerError>;

    /// An account's balances.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn account(&self, id: &AccountId) -> Result<Option<Account>, LedgerError>;

    /// All accounts, ordered by id.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn accounts(&self) -> Result<Vec<Account>, LedgerError>;

    /// Adds a key to an account. The same key again is no error.
    ///
    /// # Errors
    /// [`LedgerError::UnknownAccount`], [`LedgerError::Conflict`] if another key has this id or hash,
    /// [`LedgerError::TooLarge`] for a name above 256 bytes or limits that [`KeyLimits::check`](crate::KeyLimits::check)
    /// refuses, and what any step may fail with.
    async fn create_key(&self, key: &KeyRecord, hash: &KeyHash) -> Result<(), LedgerError>;

    /// The key with this hash, revoked and expired ones too.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, LedgerError>;

    /// The key with this id, revoked and expired ones too. Who names its `account` gets it in one round trip, and
    /// `None` where it is another's.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn key(&self, key: &KeyId, account: Option<&AccountId>) -> Result<Option<KeyRecord>, LedgerError>;

    /// The keys of an account, or all, ordered by id.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn keys(&self, account: Option<&AccountId>) -> Result<Vec<KeyRecord>, LedgerError>;

    /// Revokes a key: no reserve with it succeeds once this has returned. The first revocation's time stays.
    /// `None` if there is no such key.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn revoke_key(&self, key: &KeyId, now_ms: u64) -> Result<Option<KeyRecord>, LedgerError>;

    /// Changes a key: every reserve after this has returned feels it. `None` if there is no such key.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] as with [`Ledger::create_key`], and what any step may fail with.
    async fn update_key(&self, key: &KeyId, change: &KeyChange) -> Result<Option<KeyRecord>, LedgerError>;

    /// What is used of a key. `None` if the account has no such key.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn key_use(&self, account: &AccountId, key: &KeyId, now_ms: u64) -> Result<Option<KeyUse>, LedgerError>;

    /// What was posted with a key so far. `None` if the account has no such key.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn key_spent(&self, account: &AccountId, key: &KeyId) -> Result<Option<Nano>, LedgerError>;

    /// The record of a posted call, readable as soon as its post has returned and until it is trimmed.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn record(&self, account: &AccountId, call: &CallId) -> Result<Option<UsageRecord>, LedgerError>;

    /// The parts that have a stream of records each. Every ledger has the same ones for ever.
    fn shards(&self) -> Vec<LedgerShard>;

    /// The records of a shard that were not trimmed, in the order of posting, from the first or from the one behind
    /// `after`: at most `max`, and at most 4,096.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn unsealed(
        &self,
        shard: LedgerShard,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, UsageRecord)>, LedgerError>;

    /// Forgets a shard's records up to `up_to`. That a call was posted, and for how much, is remembered for as long as
    /// the ledger's settings say, so a repeated post still charges nothing.
    ///
    /// Whoever trims has put the records somewhere durable.
    ///
    /// # Errors
    /// What any step may fail with. Some records, the oldest, may be gone by then.
    async fn trim(&self, shard: LedgerShard, up_to: Cursor, now_ms: u64) -> Result<(), LedgerError>;

    /// What an account used from one day to another, both included, ordered by day, key and model.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] for more than 400 days, and what any step may fail with.
    async fn usage(&self, account: &AccountId, from: Day, to: Day) -> Result<Vec<Usage>, LedgerError>;

    /// Takes the lease `name` for `holder`, or renews it, for `ttl_ms`: true if it is `holder`'s now. With a `ttl_ms`
    /// of 0 it is given up. What only one process should do at a time is done under a lease; whoever must not be
    /// overtaken by a holder that slept through its lease needs another proof.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] for a name or holder above 256 bytes, and what any step may fail with.
    async fn lease(&self, name: &str, holder: &str, ttl_ms: u64, now_ms: u64) -> Result<bool, LedgerError>;

    /// Writes down what an operator did. Returns once that is as durable as a post. The oldest entries go when there
    /// are more than the ledger's settings allow.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] for texts above their bounds, and what any step may fail with.
    async fn audit(&self, entry: &AuditEntry) -> Result<(), LedgerError>;

    /// What operators did, from the oldest entry or from the one behind `after`: at most `max`, and at most 1,024.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn audit_log(&self, after: Option<Cursor>, max: usize) -> Result<Vec<(Cursor, AuditEntry)>, LedgerError>;

    /// Lets a provider in or keeps it out; with `None`, what was said of it is forgotten. Returns once that is as durable
    /// as a post.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] beyond 65,536 providers, and what any step may fail with.
    async fn admit(&self, provider: &ProviderId, admission: Option<Admission>) -> Result<(), LedgerError>;

    /// What operators have said of a provider.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn admission(&self, provider: &ProviderId) -> Result<Option<Admission>, LedgerError>;

    /// All that operators have said of providers, ordered by provider.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn admissions(&self) -> Result<Vec<(ProviderId, Admission)>, LedgerError>;

    /// Writes down where a provider is to be paid, in the words of whoever asks, if `from` is what stands there. False, and
    /// nothing done, if it is not. Repeated when `to` stands there, it is true. Returns once that is as durable as a post.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] for texts above 256 bytes and beyond 262,144 providers, and what any step may fail with.
    async fn name_payout(&self, provider: &ProviderId, from: Option<&str>, to: &str) -> Result<bool, LedgerError>;

    /// What stands there of each of these providers, in their order. `None` of one of whom nothing was written down.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn payout_names(&self, providers: &[ProviderId]) -> Result<Vec<Option<String>>, LedgerError>;

    /// What each provider has earned, ordered by provider.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn earnings(&self) -> Result<Vec<Earnings>, LedgerError>;

    /// The sums over all accounts.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn totals(&self) -> Result<Totals, LedgerError>;

    /// Whether the ledger can take a step now.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] says why not.
    async fn ping(&self) -> Result<(), LedgerError>;
}

/// How long a call is remembered to have been posted, unless the settings say otherwise: longer than any journal of
/// posts is replayed after.
pub(crate) const POSTED_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Entries of the audit trail, unless the settings say otherwise.
pub(crate) const AUDIT_MAX: u64 = 1_000_000;

/// Most providers that operators can have said something of.
pub(crate) const ADMISSIONS_MAX: u64 = 65_536;
/// Most providers of whom it is written down where they are paid: some 60 MB.
pub(crate) const PAYOUT_NAMES_MAX: u64 = 262_144;
/// Longest name, note or deposit id, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Refuses texts that would bloat the store.
pub(crate) fn check_text(text: &str, what: &'static str) -> Result<(), LedgerError> {
    if text.len() <= TEXT_BYTES_MAX {
        Ok(())
    } else {
        Err(LedgerError::TooLarge(what))
    }
}

/// A record names another key than the one its call was reserved with.
pub(crate) fn other_key(call: &CallId) -> LedgerError {
    LedgerError::Conflict(format!("the hold of {call}"))
}
