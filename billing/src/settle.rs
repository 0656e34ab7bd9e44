//! Settlement: pays providers on TON what the epochs say they earned, each nano once, and anchors the roots.
//!
//! A round plans what is owed after an epoch, anchors it, notes what was claimed until then, and pays the rest in batches.
//! Everything is written down before it is done, in books beside the epochs (entries that are only ever created), so that
//! whoever comes next goes on from there: another process, or several at once.
//!
//! What makes it exactly once is the wallet's seqno: of all messages signed for one seqno the chain takes one at most. A
//! seqno is settled only when the wallet is past it, by looking up which message it was; until then the same bytes are sent
//! again, and after their time others for the *same* seqno. So no endpoint that lags, or loses what it was told, makes anybody be
//! paid twice. One that invents a whole history can: what it says is not proved.
//!
//! [`decide()`] says what is next, without I/O; [`Settler`] does it. How often, under which lease, and where payout addresses
//! come from is for the gateway.

mod books;
mod claim;
mod contest;
mod contract;
mod decide;
mod entry;
mod leaf;
mod order;
mod payees;
mod plan;
mod read;
mod report;
mod stake;
mod standing;
mod step;

pub use self::books::{BadEntry, Books, Round, Stage};
pub use self::claim::{BadLeaf, ProvenLeaf, transfer_link};
pub use self::contest::{Contest, contest_of};
use self::contract::ANCHOR_VALUE;
pub use self::contract::{
    Anchor, ContractMoney, ContractState, OpenContest, Parties, Terms, claimed_of, contract_money, last_anchor,
};
pub use self::decide::{Rules, Step, View, Waiting, decide};
pub use self::entry::{
    Anchored, ClaimedNow, Entry, Fate, Message, Objection, Objections, Order, Outcome, Payout, Taken, What,
};
pub use self::leaf::{Leaf, LeafProof, Payables, ProviderTag};
pub use self::order::{ContractOrder, Giver};
pub use self::payees::{Named, Payees, PayoutNames, note_payout, payout_names};
pub use self::plan::{Basis, Before, Plan, PlanError, Returned, Row};
use self::read::read_on;
pub use self::read::{last_plans, read_books, read_plan};
pub use self::report::{Ordered, OrderedState, Owed, OwedList, WhyOwed, owed, payments};
pub use self::stake::{Slash, Stake, stake_of};
pub use self::standing::{KeptAnchor, RESERVE, Stakes, Standing};
pub use self::step::Done;

use std::sync::Arc;

use crate::chain::{Address, Chain, ChainError, Wallet, WalletError, WalletKey};
use crate::hash::Hash;
use crate::money::Nano;
use crate::objects::{EpochStore, Journal, StoreError};
use crate::outbox::{BooksError, write_entry};
use crate::verify::{Fault, TrustedKeys};

/// The name of the books in the store of epochs.
const BOOKS: &str = "settlement";

/// How settlement is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SettleSettings {
    /// The settlement contract.
    pub contract: Address,
    /// Less than this is not pushed, but waits until there is more.
    pub threshold: Nano,
    /// From one round to the next, in seconds.
    pub every_s: u32,
    /// How long a signed message is good, in seconds of the chain.
    pub valid_s: u32,
    /// An account that sent a payment back is not tried again for so long, in seconds, unless the provider names another.
    pub returned_rest_s: u32,
    /// Whether nothing is planned, signed or sent.
    pub paused: bool,
}

impl SettleSettings {
    /// With this contract: 1 TON, an hour, five minutes, a day, and not paused.
    #[must_use]
    pub const fn new(contract: Address) -> Self {
        Self {
            contract,
            threshold: Nano::saturating(1_000_000_000),
            every_s: 3_600,
            valid_s: 300,
            returned_rest_s: 86_400,
            paused: false,
        }
    }

    /// What of it [`decide()`] needs.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        Rules {
            paused: self.paused,
            every_s: self.every_s,
        }
    }
}

/// Why a step failed. Whatever it was, the next step may be tried with the same settler.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The chain gave no answer, or one that cannot be right.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Epochs or books cannot be read or written. An entry may be there all the same; the next step finds out.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The last epoch is damaged.
    #[error(transparent)]
    Epoch(#[from] Fault),
    /// The books are damaged.
    #[error(transparent)]
    Books(#[from] BadEntry),
    /// There can be no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A message cannot be built.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// Something that cannot be written or read as it should be.
    #[error("settlement: {0}")]
    Form(String),
}

impl From<BooksError> for SettleError {
    fn from(error: BooksError) -> Self {
        match error {
            BooksError::Store(error) => error.into(),
            BooksError::Bad(error) => error.into(),
            BooksError::Form(error) => Self::Form(error),
        }
    }
}

/// Why a wallet cannot settle with a contract.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    /// Nothing is deployed there.
    #[error("there is no contract at {0}")]
    Nothing(Address),
    /// Another contract.
    #[error("what is deployed at {at} is not the settlement contract of this version: its code has the hash {found}")]
    Code {
        /// Where.
        at: Address,
        /// The hash of its code.
        found: Hash,
    },
    /// It is somebody else's.
    #[error(
        "the contract at {at} takes anchors from {operator}, and the wallet's key is that of {wallet}: give the key of its \
         operator, or have its owner name this wallet"
    )]
    Operator {
        /// Where.
        at: Address,
        /// Who may anchor there.
        operator: Address,
        /// Whose key was given.
        wallet: Address,
    },
}

/// Settles the epochs of one store from one wallet through one contract.
pub struct Settler {
    chain: Arc<dyn Chain>,
    epochs: EpochStore,
    journal: Journal,
    /// The gateway's keys, which seal epochs.
    keys: TrustedKeys,
    wallet: Wallet,
    key: Arc<WalletKey>,
    settings: SettleSettings,
    /// `None` until they were read, and again when a step failed.
    books: Option<Books>,
    /// How the chain stood at the last step.
    seen: Option<View>,
}

impl Settler {
    /// A settler of epochs sealed with one of `keys`, who pays from `wallet`, whose key is `key`.
    #[must_use]
    pub fn new(
        chain: Arc<dyn Chain>,
        epochs: EpochStore,
        keys: TrustedKeys,
        wallet: Wallet,
        key: Arc<WalletKey>,
        settings: SettleSettings,
    ) -> Self {
        Self {
            chain,
            journal: Journal::new(epochs.clone(), BOOKS),
            epochs,
            keys,
            wallet,
            key,
            settings,
            books: None,
            seen: None,
        }
    }

    /// The wallet that pays.
    #[must_use]
    pub const fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// How the chain stood at the last step that was done.
    #[must_use]
    pub const fn seen(&self) -> Option<&View> {
        self.seen.as_ref()
    }

    /// The books as they stood then.
    #[must_use]
    pub const fn known(&self) -> Option<&Books> {
        self.books.as_ref()
    }

    /// Contests that settlement has to object to and has not, with their deadlines: whoever waits for it too long loses.
    #[must_use]
    pub fn unanswered(&self) -> Vec<Objection> {
        match (&self.books, &self.seen) {
            (Some(books), Some(view)) => decide::unanswered(books, view),
            _ => Vec::new(),
        }
    }

    /// Whether the settings' contract is one that this wallet settles with.
    ///
    /// # Errors
    /// What any question to the chain fails with.
    pub async fn check(&self) -> Result<Result<(), Unfit>, ChainError> {
        let account = self.chain.account(self.settings.contract).await?;
        let at = account.address;
        let Some(contract) = ContractState::read(&account)? else {
            return Ok(Err(match account.code_hash {
                Some(found) => Unfit::Code { at, found },
                None => Unfit::Nothing(at),
            }));
        };
        let (operator, wallet) = (contract.operator, self.wallet.address());
        Ok(if operator == wallet {
            Ok(())
        } else {
            Err(Unfit::Operator { at, operator, wallet })
        })
    }

    /// Pauses settlement, or lets it go on.
    pub const fn pause(&mut self, paused: bool) {
        self.settings.paused = paused;
    }

    /// Steps until it has to wait, for the chain or for something else. Says what for.
    ///
    /// # Errors
    /// [`SettleError`]
    pub async fn settle(&mut self, payees: &Payees) -> Result<Done, SettleError> {
        loop {
            let done = self.step(payees).await?;
            if matches!(done, Done::Waits(_) | Done::Sent { .. }) {
                return Ok(done);
            }
        }
    }

    /// The books, up to the last entry in the store.
    ///
    /// # Errors
    /// [`SettleError::Store`], [`SettleError::Books`]
    pub async fn books(&mut self) -> Result<&Books, SettleError> {
        let books = self.read_books().await?;
        Ok(self.books.insert(books))
    }

    /// Reads what others wrote since.
    async fn read_books(&mut self) -> Result<Books, SettleError> {
        let known = self.books.take();
        read_on(&self.journal, known).await
    }

    /// Writes the next entry down, durably. False if somebody else has written another one first; then nothing was changed.
    async fn append(&self, books: &mut Books, what: What, time: u32) -> Result<bool, SettleError> {
        let mut after = books.clone();
        let written = write_entry(&self.journal, books.entry(what, time), |entry, hash| {
            after.apply(entry, hash)
        });
        let written = written.await?;
        if written {
            *books = after;
        }
        Ok(written)
    }
}
