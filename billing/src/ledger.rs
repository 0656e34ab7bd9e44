//! The ledger's seam: the steps money can take, in words that both implementations share.
//!
//! Per account, always: available + held + spent = deposited. Over all: spent = earned + fees. `available` falls below
//! zero only when a post comes after its hold was swept. Time is an argument, in Unix milliseconds.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::id::{AccountId, CallId, KeyId, ProviderId};
use crate::key::{KeyHash, KeyRecord};
use crate::money::Nano;
use crate::record::{RecordError, UsageRecord};

/// Keeps balances, holds, keys and usage records.
///
/// Every step is atomic. A step that failed with [`LedgerError::Unavailable`] may have happened all the same (its
/// answer may be what was lost): post, void and deposit may then simply be repeated, and a hold nobody owns expires.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Moves money from available to held, if the key may spend and the account affords it: the quote, or all that is
    /// available where that is at least `quote_min`.
    ///
    /// # Errors
    /// [`ReserveError`] says why not. Nothing is held then, except perhaps after [`ReserveError::Unavailable`].
    async fn reserve(&self, reserve: &Reserve) -> Result<Reserved, ReserveError>;

    /// Charges a call: moves its hold to spent and gives the rest back, credits providers and operator, and keeps the
    /// record. Returns once that is durable. A call is charged once, however often it is posted. If its hold was swept
    /// meanwhile, it is charged from what is available, below zero if it must be.
    ///
    /// # Errors
    /// [`LedgerError::Record`] if the record does not add up, [`LedgerError::CostAboveHold`] if its live hold is
    /// smaller than its cost, and what any step may fail with. The hold stands as before.
    async fn post(&self, record: &UsageRecord, now_ms: u64) -> Result<Posted, LedgerError>;

    /// Gives a hold back and says how much it was: nothing if there is none (voided before, posted or swept).
    ///
    /// # Errors
    /// What any step may fail with.
    async fn void(&self, account: &AccountId, call: &CallId) -> Result<Nano, LedgerError>;

    /// Lets a hold live until `expires_ms`. False if there is none any more.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn renew(&self, account: &AccountId, call: &CallId, expires_ms: u64) -> Result<bool, LedgerError>;

    /// Gives back every hold that expired at or before `now_ms`.
    ///
    /// # Errors
    /// What any step may fail with. Some holds may have been given back by then.
    async fn sweep(&self, now_ms: u64) -> Result<Swept, LedgerError>;

    /// Adds money to an account, once per account and deposit id. Returns once that is durable.
    ///
    /// # Errors
    /// [`LedgerError::UnknownAccount`], [`LedgerError::TooLarge`], and what any step may fail with.
    async fn deposit(&self, deposit: &Deposit) -> Result<Deposited, LedgerError>;

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
    /// [`LedgerError::TooLarge`] for a name above 256 bytes, and what any step may fail with.
    async fn create_key(&self, key: &KeyRecord, hash: &KeyHash) -> Result<(), LedgerError>;

    /// The key with this hash, revoked and expired ones too.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, LedgerError>;

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

    /// What was posted with a key so far. `None` if the account has no such key.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn key_spent(&self, account: &AccountId, key: &KeyId) -> Result<Option<Nano>, LedgerError>;

    /// The record of a posted call, readable as soon as its post has returned.
    ///
    /// # Errors
    /// What any step may fail with.
    async fn record(&self, account: &AccountId, call: &CallId) -> Result<Option<UsageRecord>, LedgerError>;

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

/// What is asked of [`Ledger::reserve`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reserve {
    /// Which call: a new id for each.
    pub call: CallId,
    /// Who pays.
    pub account: AccountId,
    /// The key it is made with: one of the account's.
    pub key: KeyId,
    /// The upper bound of the cost.
    pub quote: Nano,
    /// The least that makes the call worth starting; equal to `quote` where less will not do.
    pub quote_min: Nano,
    /// The time now.
    pub now_ms: u64,
    /// When the hold may be swept, unless renewed.
    pub expires_ms: u64,
}

/// A hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// How much is held: the most the call may cost. Between `quote_min` and `quote`.
    pub held: Nano,
}

/// Why nothing was reserved.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReserveError {
    /// The account does not afford `quote_min`.
    #[error("the account has {available} nano available, which is too little")]
    Insufficient {
        /// What it has, in nano; below zero after a late post.
        available: i64,
    },
    /// There is no such account.
    #[error("there is no such account")]
    UnknownAccount,
    /// The account has no such key.
    #[error("the account has no such key")]
    UnknownKey,
    /// The key was revoked.
    #[error("the key was revoked")]
    KeyRevoked,
    /// The key has expired.
    #[error("the key has expired")]
    KeyExpired,
    /// This call holds money already.
    #[error("the call holds money already")]
    AlreadyReserved,
    /// The ledger could not say.
    #[error(transparent)]
    Unavailable(#[from] LedgerError),
}

/// Why a step failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process has the embedded ledger open.
    #[error("the ledger in {0} is in use by another process")]
    InUse(String),
    /// The store did not answer in time, answered with an error, or cannot be written.
    #[error("the ledger is unavailable: {0}")]
    Unavailable(String),
    /// What is stored is not what this program wrote.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// There is no such account.
    #[error("there is no account {0}")]
    UnknownAccount(AccountId),
    /// The record does not add up.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A call must not cost more than it holds.
    #[error("the cost of {cost} is above the hold of {held}")]
    CostAboveHold {
        /// What was to be charged.
        cost: Nano,
        /// What the call holds.
        held: Nano,
    },
    /// An identifier is taken by something else.
    #[error("{0} exists already and is another")]
    Conflict(String),
    /// An amount or a text is too large.
    #[error("{0} is too large")]
    TooLarge(&'static str),
}

/// What a post did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Posted {
    /// Whether this post charged the call; false if an earlier one had.
    pub fresh: bool,
    /// What the caller pays for the call, by this post or by the earlier one.
    pub charged: Nano,
    /// What this post gave back of the hold.
    pub released: Nano,
}

/// What a sweep gave back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// How many holds.
    pub holds: u64,
    /// How much they held.
    pub released: Nano,
}

/// Money that arrived for an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deposit {
    /// What makes it once: repeated with the same id, it is not added again. At most 256 bytes.
    pub id: String,
    /// For whom.
    pub account: AccountId,
    /// How much.
    pub amount: Nano,
    /// Where it came from, for people. At most 256 bytes.
    pub note: String,
    /// The time now.
    pub now_ms: u64,
}

/// What a deposit did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deposited {
    /// Whether this deposit added the money; false if an earlier one had.
    pub fresh: bool,
    /// The account afterwards.
    pub account: Account,
}

/// An account and its balances.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Which account.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// When it was made, in Unix milliseconds.
    pub created_ms: u64,
    /// All money that ever arrived.
    pub deposited: Nano,
    /// What can be reserved, in nano; below zero only after a late post.
    pub available: i64,
    /// What running calls hold.
    pub held: Nano,
    /// What posted calls cost.
    pub spent: Nano,
}

/// What a provider has earned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Earnings {
    /// Who.
    pub provider: ProviderId,
    /// What callers paid for its part: `fee` and `earned` together.
    pub cost: Nano,
    /// The operator's part.
    pub fee: Nano,
    /// The provider's part.
    pub earned: Nano,
}

/// The sums over all accounts: `deposited = available + held + spent` and `spent = earned + fees`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// All money that ever arrived.
    pub deposited: Nano,
    /// What can be reserved, in nano.
    pub available: i128,
    /// What running calls hold.
    pub held: Nano,
    /// What posted calls cost.
    pub spent: Nano,
    /// The providers' part of it.
    pub earned: Nano,
    /// The operator's part of it.
    pub fees: Nano,
    /// How many holds there are.
    pub holds: u64,
}

impl Totals {
    /// Whether nothing appeared and nothing vanished.
    #[must_use]
    pub fn are_conserved(&self) -> bool {
        let signed = |amount: Nano| i128::from(amount.get());
        let kept = self
            .available
            .saturating_add(signed(self.held))
            .saturating_add(signed(self.spent));
        kept == signed(self.deposited) && self.earned.plus(self.fees) == Ok(self.spent)
    }
}

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
