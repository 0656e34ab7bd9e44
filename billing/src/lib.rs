//! Money: what a call costs, who holds it, and the proof of it.
//!
//! This crate decides amounts (prices, fees, quotes), keeps the ledger (deposits, holds, posts) and signs receipts.
//! It leaves to the gateway what was counted and when to settle, and to the router which provider is worth its price.
//!
//! What passes between it and TON is in [`chain`]; who is credited there in [`deposits`], and who is paid, and when, in
//! [`settle`] (providers) and [`withdrawals`] (callers).
//!
//! Two implementations of [`Ledger`] ship and pass one suite: [`EmbeddedLedger`] (one machine, durable on disk) and
//! [`RedisLedger`] (shared by several gateways).
// Tests may count on their fingers.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod calendar;
mod hash;
mod id;
mod money;

mod price;

mod canonical;
mod key;
mod limits;
mod record;
mod served;

mod receipt;

mod epoch;
mod merkle;
mod objects;
mod verify;

mod ledger;

mod seal;

#[cfg(feature = "ton")]
pub mod chain;
#[cfg(feature = "ton")]
pub mod deposits;
#[cfg(feature = "ton")]
mod outbox;
#[cfg(feature = "ton")]
pub mod settle;
#[cfg(feature = "ton")]
pub mod withdrawals;

mod embedded;
mod redis;

pub use calendar::{BadDay, Day, Period};
pub use embedded::{EmbeddedLedger, EmbeddedSettings, open_embedded};
pub use epoch::{Cursors, Earned, Epoch, EpochError, EpochHeader, Inclusion, Seal, Sums, Tip};
pub use hash::{Hash, Nonce, Salted};
pub use id::{AccountId, BadId, CallId, KeyId, ProviderId};
pub use key::{ApiKey, KeyChange, KeyHash, KeyRecord};
pub use ledger::{
    Account, Admission, AuditEntry, BadCursor, Cursor, Deposit, Deposited, Earnings, KeyUse, Ledger, LedgerError,
    LedgerShard, Posted, Reserve, ReserveError, Reserved, Swept, Totals, Uncredited, Usage, UsageSums, WhyUncredited,
    Withdraw, Withdrawal, WithdrawalState, WithdrawalStep, Withdrawn,
};
pub use limits::{Budget, KeyLimits, Limit, Rate, RateState};
pub use merkle::{MerkleTree, leaf_hash, root_from_path};
pub use money::{BadAmount, FeeBps, Nano, Overflow};
#[cfg(feature = "s3")]
pub use objects::S3Settings;
pub use objects::{Created, EpochStore, StoreError};
pub use price::{Price, Tokens};
pub use receipt::{BadSignature, Receipt, ReceiptError, ReceiptKey, ReceiptKeyError};
pub use record::{CallOutcome, Leg, RecordError, UsageRecord};
pub use redis::{RedisConnection, RedisLedger, RedisSettings, RedisTls, check_redis_url, open_redis};
pub use seal::{SealError, SealSettings, Sealed, Sealer, Waiting};
pub use served::{Seen, Served, ServedError};
pub use verify::{Chain, Fault, SealPath, TrustedKeys, Wrong, verify_epoch, verify_receipt, verify_seal, verify_seals};
