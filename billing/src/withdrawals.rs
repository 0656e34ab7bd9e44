//! Withdrawals: pays on TON what callers take back of their credit, each once.
//!
//! The ledger says what is asked for; books beside the epochs say what is done about it, in entries that are only ever
//! created. A payer takes withdrawals from the ledger into a batch, and then each says in the ledger in whose hands it is:
//! nobody can give it back or take it into another batch. What was given back just before stays out. The batch is paid by one
//! message of the wallet, and what became of each payment is told to the ledger.
//!
//! The wallet's seqno pays once: of all messages signed for it the chain takes one at most. The books decide who signs, if
//! several payers work at once. The ledger is told every entry in order, and keeps how far; each step of it is refused if it
//! comes too late. So whatever is killed, repeated or lost, nothing is paid twice and nothing given back that was paid.
//!
//! [`decide()`] says what is next, without I/O; [`Payer`] does it. How often, and under which lease, is for the gateway.

mod books;
mod decide;
mod entry;
mod step;
mod take;
mod tell;

pub use self::books::{Batch, Books};
pub use self::decide::{PAYMENT_FEE_MAX, Step, View, Waiting, decide};
pub use self::entry::{Due, Entry, Held, Message, Payout, Takes, What};
pub use self::step::Done;
pub use crate::outbox::{BadEntry, Fate, Outcome, Taken};

use std::sync::Arc;

use rand::CryptoRng;

use crate::chain::{Address, Chain, ChainError, Wallet, WalletError, WalletKey};
use crate::hash::Hash;
use crate::id::AccountId;
use crate::ledger::{Ledger, LedgerError};
use crate::objects::{EpochStore, Journal, StoreError};
use crate::outbox::{BooksError, write_entry};

/// The name of the books in the store of epochs.
const BOOKS: &str = "withdrawals";

/// How withdrawals are paid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PayerSettings {
    /// The settlement contract, if there is one: nothing is paid from its operator's wallet.
    pub contract: Option<Address>,
    /// Further accounts of the operator's own: what is to be sent there, to the contract or the wallet is given back.
    pub own: Vec<Address>,
    /// How long a signed message is good, in seconds of the chain.
    pub valid_s: u32,
    /// Whether nothing is taken, signed or sent. What was sent is followed.
    pub paused: bool,
}

impl Default for PayerSettings {
    /// No contract and no own accounts but the wallet, five minutes, and not paused.
    fn default() -> Self {
        Self {
            contract: None,
            own: Vec::new(),
            valid_s: 300,
            paused: false,
        }
    }
}

/// Why a step failed. Whatever it was, the next step may be tried with the same payer.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    /// The chain gave no answer, or one that cannot be right.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The books cannot be read or written. An entry may be there all the same; the next step finds out.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The books are damaged.
    #[error(transparent)]
    Books(#[from] BadEntry),
    /// The ledger did not take a step.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A message cannot be built.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// Something that cannot be written or read as it should be.
    #[error("withdrawals: {0}")]
    Form(String),
    /// The ledger was told of other books.
    #[error(
        "the books of withdrawals are not those that the ledger was told of (entry {0}): nobody is paid. Bring them back; if \
         they are lost for good, pay from a new wallet"
    )]
    OtherBooks(String),
    /// The ledger has lost a withdrawal, or is another.
    #[error(
        "the ledger does not know the withdrawal {id} of {account}, which is in the books of withdrawals: it has lost what it \
         had, or is another; nobody is paid"
    )]
    OtherLedger {
        /// Whose.
        account: AccountId,
        /// Which.
        id: String,
    },
}

impl From<BooksError> for PayError {
    fn from(error: BooksError) -> Self {
        match error {
            BooksError::Store(error) => error.into(),
            BooksError::Bad(error) => error.into(),
            BooksError::Form(error) => Self::Form(error),
        }
    }
}

/// Pays the withdrawals of one ledger from one wallet, with books in one store.
pub struct Payer {
    chain: Arc<dyn Chain>,
    ledger: Arc<dyn Ledger>,
    journal: Journal,
    wallet: Wallet,
    key: Arc<WalletKey>,
    settings: PayerSettings,
    /// Which payer this is.
    name: Hash,
    /// As far as the ledger was told; `None` until they were read, and again when a step failed.
    books: Option<Books>,
}

impl Payer {
    /// A payer from `wallet`, whose key is `key`. The wallet may be the one that deposits arrive at; it must not be the one
    /// that settles. `rng` tells it from all other payers.
    pub fn new(
        chain: Arc<dyn Chain>,
        ledger: Arc<dyn Ledger>,
        epochs: EpochStore,
        wallet: Wallet,
        key: Arc<WalletKey>,
        settings: PayerSettings,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let mut name = [0; 32];
        rng.fill_bytes(&mut name);
        Self {
            name: Hash::from_bytes(name),
            chain,
            ledger,
            journal: Journal::new(epochs, BOOKS),
            wallet,
            key,
            settings,
            books: None,
        }
    }

    /// The wallet that pays.
    #[must_use]
    pub const fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// The bookmark's name in the ledger. A wallet of its own for each, so that a new one can pay when books are lost: what
    /// they held is never taken again, whoever pays.
    fn reader(&self) -> String {
        format!("{BOOKS}:{}", self.wallet.address())
    }

    /// Pauses payment, or lets it go on.
    pub const fn pause(&mut self, paused: bool) {
        self.settings.paused = paused;
    }

    /// Forgets what it has read: to be called when others may have paid meanwhile for long.
    pub fn forget(&mut self) {
        self.books = None;
    }

    /// Steps until it has to wait, for the chain or for something else. Says what for.
    ///
    /// # Errors
    /// [`PayError`]
    pub async fn pay(&mut self, now_ms: u64) -> Result<Done, PayError> {
        loop {
            let done = self.step(now_ms).await?;
            if matches!(done, Done::Waits(_) | Done::Sent { .. }) {
                return Ok(done);
            }
        }
    }

    /// The books, up to the last entry in the store, all of it told to the ledger.
    ///
    /// # Errors
    /// [`PayError`]
    pub async fn books(&mut self, now_ms: u64) -> Result<&Books, PayError> {
        let books = self.read_books(now_ms).await?;
        Ok(self.books.insert(books))
    }

    /// Writes the next entry down, durably; it is read, and told to the ledger, in the next step. False if somebody else has
    /// written another one first.
    async fn write(&self, books: &Books, what: What, time: u32) -> Result<bool, PayError> {
        let entry = books.entry(what, time);
        let follows = |entry, hash| books.clone().apply(entry, hash).map(drop);
        Ok(write_entry(&self.journal, entry, follows).await?)
    }
}
