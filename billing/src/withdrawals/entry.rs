//! What stands in the books of withdrawals.

use serde::{Deserialize, Serialize};

use crate::chain::{Address, Position};
use crate::hash::Hash;
use crate::id::AccountId;
use crate::money::Nano;
use crate::outbox::{self, Outcome};

/// One entry of the books.
pub type Entry = outbox::Entry<What>;
/// A message of the wallet.
pub type Message = outbox::Message<Vec<Payout>>;

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A batch begins.
    Takes(Takes),
    /// The ledger knows the batch.
    Held(Held),
    /// These bytes are signed, and may be sent from now on.
    Message(Message),
    /// What became of a seqno of the wallet.
    Outcome(Outcome),
}

/// Withdrawals that are to be paid together. In the ledger the hash of this entry names the batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Takes {
    /// Which payer: a random name, so that no two batches are the same, whatever books they are in.
    pub payer: Hash,
    /// The wallet that pays.
    pub wallet: Address,
    /// Its next seqno is not less.
    pub seqno_min: u32,
    /// What is to be paid, unless it was given back just before.
    pub due: Vec<Due>,
}

/// One withdrawal that is to be paid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Due {
    /// Whose.
    pub account: AccountId,
    /// Its name within the account.
    pub id: String,
    /// To which account of the chain.
    pub payee: Address,
    /// How much.
    pub amount: Nano,
}

/// The ledger says of every withdrawal of the batch that it is in it, but for these.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    /// Those given back before, or in other hands, by their place in the batch. They are not paid.
    pub gone: Vec<usize>,
}

/// One payment of a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Payout {
    /// Which withdrawal, by its place in the batch.
    pub place: usize,
    /// The payee's last transaction when the message was signed, if there is a contract: then the payment may come back, and
    /// what became of it comes after. None for an account without a contract, which keeps it whatever happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounces_after: Option<Position>,
}
