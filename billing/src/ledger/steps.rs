//! What the steps of money take and give: reserve, post, sweep, deposit, and the ways in which they fail.

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, CallId, KeyId};
use crate::ledger::Account;
use crate::limits::{Limit, RateState};
use crate::money::Nano;
use crate::record::RecordError;

/// What is asked of [`Ledger::reserve`](crate::Ledger::reserve).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reserve {
    /// Which call: a new id for each. Asked again, it is the same hold.
    pub call: CallId,
    /// Who pays.
    pub account: AccountId,
    /// The key it is made with: one of the account's.
    pub key: KeyId,
    /// The upper bound of the cost.
    pub quote: Nano,
    /// The least that makes the call worth starting; equal to `quote` where less will not do.
    pub quote_min: Nano,
    /// The tokens it is expected to use, prompt and completion together: what the key's limit per minute is asked for.
    /// The post settles the difference, either way.
    pub tokens: u64,
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
    /// What is left of the key's limits per minute, this call taken off.
    pub limits: RateState,
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
    /// A limit of the key is reached. Nothing of any limit was used.
    #[error("the key's limit of {} is reached", what.as_str())]
    RateLimited {
        /// Which one. Where several are: the first of requests, tokens, concurrent.
        what: Limit,
        /// Milliseconds until the call would fit if nothing else came. `None` if time alone does not help: the call has
        /// more tokens than the limit, or the key's other calls must end first.
        retry_after_ms: Option<u64>,
        /// What is left of the limits per minute.
        state: RateState,
    },
    /// The key's budget does not afford `quote_min`.
    #[error("the key has {left} nano left of its budget, which is too little")]
    BudgetSpent {
        /// What is left, in nano, with running calls' holds taken off; below zero after a late post or a smaller budget.
        left: i64,
        /// When the budget starts anew, in Unix milliseconds; `None` is never.
        resets_ms: Option<u64>,
    },
    /// The id is that of another call, which holds money: with another key, or for another quote.
    #[error("another call of this id holds money already")]
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
    /// The account does not have so much.
    #[error("the account has {available} nano available, which is too little")]
    Insufficient {
        /// What it has, in nano; below zero after a late post.
        available: i64,
    },
    /// A withdrawal does not stand where a step begins.
    #[error("the withdrawal {0}")]
    OutOfTurn(String),
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
