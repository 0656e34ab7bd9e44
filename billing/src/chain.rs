//! The chain: what happened on TON, and the messages that are sent to it.
//!
//! Decides what an address, an amount, a message and a transaction are, and what counts as an answer of the chain. Who is
//! credited and who is paid is for the books that read it.
//!
//! Two implementations of [`Chain`] ship and pass one suite: [`Toncenter`] (HTTP, several endpoints) and [`Devnet`] (a
//! chain in this process, on the real virtual machine and the real fee rules). [`Quorum`] is several of them, believed where
//! they agree.

mod account;
mod address;
mod amount;
mod cell;
mod message;
mod quorum;
mod transaction;
mod value;

mod wallet;

mod devnet;
mod toncenter;

#[cfg(test)]
mod suite;

pub use tycho_types::cell::{Cell, CellBuilder};
pub use tycho_types::error::Error as CellError;
pub use tycho_types::models::StateInit;

pub use account::{AccountState, AccountStatus};
pub use address::{Address, BadAddress, Network, WrittenAddress};
pub use amount::Coins;
pub use cell::{BadCell, cell_hash, read_cell, write_cell};
pub use devnet::{Devnet, DevnetError, DevnetSettings, DevnetTime, Faults, Lie, Replay, Sent, serve_devnet};
pub use message::{BadComment, Body, COMMENT_BYTES_MAX, Transfer, external_hash};
pub use quorum::Quorum;
pub use toncenter::{BadEndpoint, Endpoint, Toncenter, ToncenterSettings};
pub use transaction::{Incoming, Transaction};
pub use value::Value;
pub use wallet::{BATCH_MAX, FEE_MAX, Payment, Signed, Unsigned, Wallet, WalletError, WalletKey, WalletKeyError};

use crate::hash::Hash;

/// Most transactions in one answer. One that pays 254 takes some 300 kB of JSON.
pub const PAGE_MAX: usize = 32;
/// Longest external message, in bytes: the chain's own bound (configuration parameter 43).
pub const EXTERNAL_BYTES_MAX: usize = 65_535;

/// Where an account's history has been read to: logical time and hash of the last transaction that is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The transaction's logical time.
    pub lt: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Position {
    /// Before the first transaction.
    pub const START: Self = Self {
        lt: 0,
        hash: Hash::from_bytes([0; 32]),
    };
}

/// The newest masterchain block an answer could be based on: how far behind the world it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The block's number.
    pub seqno: u32,
    /// When it was made, in Unix seconds.
    pub time: u32,
}

/// Why the chain gave no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChainError {
    /// The contract, or the node for it, said no. The same again is of use only if the account has changed.
    #[error("the chain refused: {reason}")]
    Refused {
        /// The contract's exit code, where it got as far as running.
        exit_code: Option<i32>,
        /// The node's words.
        reason: String,
    },
    /// No answer. Whatever was sent may have arrived: ask again, or send the same bytes again.
    #[error("the chain cannot be reached: {0}")]
    Unavailable(String),
    /// An answer that cannot be true or cannot be read. Nothing of it was used; another endpoint may do better.
    #[error("the chain's answer cannot be right: {0}")]
    Damaged(String),
}

impl ChainError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}

/// What settlement needs of TON. One inclusion in a masterchain block is final.
#[async_trait::async_trait]
pub trait Chain: Send + Sync {
    /// The head that answers are as of, at the earliest.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`] or [`ChainError::Damaged`].
    async fn head(&self) -> Result<Head, ChainError>;

    /// Sends an external message (a bag of cells) and tells its normalised hash ([`external_hash`]).
    ///
    /// That it was taken says nothing: only a transaction does. The same bytes may be sent again, here or elsewhere.
    ///
    /// # Errors
    /// [`ChainError::Refused`] if the account would not take it as it stands; [`ChainError::Unavailable`] leaves open
    /// whether it arrived.
    async fn send(&self, message: &[u8]) -> Result<Hash, ChainError>;

    /// How an account stands.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`] or [`ChainError::Damaged`].
    async fn account(&self, address: Address) -> Result<AccountState, ChainError>;

    /// Transactions of `address` after `after`, oldest first, `limit` at most (and never more than [`PAGE_MAX`]). Each
    /// follows the one before it and the first follows `after`, so none is missing. Empty: there is none yet.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`], or [`ChainError::Damaged`] where one is missing or they contradict each other.
    async fn transactions(
        &self,
        address: Address,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Transaction>, ChainError>;

    /// Runs a get-method of the contract at `address` and gives its stack, the first value first.
    ///
    /// # Errors
    /// [`ChainError::Refused`] with the exit code if the method fails or there is no contract.
    async fn get(&self, address: Address, method: &str, stack: &[Value]) -> Result<Vec<Value>, ChainError>;
}
