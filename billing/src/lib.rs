//! Money: what a call costs, who holds it, and the proof of it.
//!
//! This crate decides amounts (prices, fees, quotes), keeps the ledger (deposits, holds, posts) and signs receipts.
//! It leaves to the gateway what was counted and when to settle, and to the router which provider is worth its price.
//!
//! Two implementations of [`Ledger`] ship and pass one suite: [`EmbeddedLedger`] (one machine, durable on disk) and
//! [`RedisLedger`] (shared by several gateways).
// Tests may count on their fingers.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod id;
mod money;

mod price;

mod key;
mod record;

mod receipt;

mod ledger;

mod embedded;
mod redis;

pub use embedded::{EmbeddedLedger, EmbeddedSettings, open_embedded};
pub use id::{AccountId, BadId, CallId, KeyId, ProviderId};
pub use key::{ApiKey, KeyHash, KeyRecord};
pub use ledger::{
    Account, Deposit, Deposited, Earnings, Ledger, LedgerError, Posted, Reserve, ReserveError, Reserved, Swept, Totals,
};
pub use money::{BadAmount, FeeBps, Nano, Overflow};
pub use price::{Price, Tokens};
pub use receipt::{Receipt, ReceiptError, ReceiptKey, ReceiptKeyError};
pub use record::{CallOutcome, Leg, RecordError, UsageRecord};
pub use redis::{RedisLedger, RedisSettings, open_redis};
