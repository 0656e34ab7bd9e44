//! What stands in settlement's books: entries in canonical JSON (RFC 8785), each naming the one before by its hash.

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::chain::{Address, Position};
use crate::hash::Hash;
use crate::id::ProviderId;
use crate::money::Nano;

/// One entry of the books.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The form of this entry: [`Entry::VERSION`].
    pub version: u32,
    /// Which entry, from 0 without gaps.
    pub number: u64,
    /// The hash of the entry before; none in entry 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Hash>,
    /// The number of the entry that holds the plan of this round: its own, if that is this one.
    pub round: u64,
    /// The chain's time, in Unix seconds.
    pub time: u32,
    /// What it says.
    pub what: What,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A round begins.
    Plan(Plan),
    /// These bytes are signed, and may be sent from now on.
    Message(Message),
    /// What became of a seqno of the wallet.
    Outcome(Outcome),
    /// The anchor is in the contract.
    Anchored(Anchored),
}

/// A message of the wallet that may be sent, any number of times.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// The wallet's seqno it is good for. Of all messages of one seqno the chain takes one at most.
    pub seqno: u32,
    /// Until when it is good, in Unix seconds of the chain.
    pub valid_until: u32,
    /// The wallet's last transaction when it was signed: what became of it comes after.
    pub after: Position,
    /// Its normalised hash.
    pub hash: Hash,
    /// The bag of cells, in base64.
    pub boc: String,
    /// What it orders.
    pub order: Order,
}

/// What a message orders the wallet to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// To tell the contract the plan's anchor. With the contract's last transaction when it was signed.
    Anchor(Position),
    /// To pay.
    Pay(Vec<Payout>),
    /// To object to contests that ask for what was paid.
    Object(Objections),
}

/// Contests that are objected to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Objections {
    /// The contract's last transaction when the message was signed.
    pub after: Position,
    /// Which contests.
    pub contests: Vec<Objection>,
}

/// A contest that is objected to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Objection {
    /// Whose.
    pub provider: ProviderId,
    /// Until when that can be done, in Unix seconds: with the provider, this names the contest.
    pub deadline: u32,
}

/// One payment of a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Payout {
    /// Whose earnings.
    pub provider: ProviderId,
    /// To which account.
    pub payee: Address,
    /// How much.
    pub amount: Nano,
    /// The payee's last transaction when the message was signed, if there is a contract: then the payment may come back, and
    /// what became of it comes after. None for an account without a contract, which keeps it whatever happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounces_after: Option<Position>,
}

/// What became of a seqno of the wallet, found by the hash of the transaction's message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Which seqno.
    pub seqno: u32,
    /// What the chain took.
    pub taken: Taken,
}

/// What the chain took for a seqno.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// A message of these books.
    Ours {
        /// Its normalised hash.
        hash: Hash,
        /// The wallet's transaction.
        at: Position,
        /// What became of each payment, in their order.
        payments: Vec<Fate>,
    },
    /// Another message: none of these books' for this seqno will ever be taken.
    Foreign,
}

/// What became of one payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It was sent to an account that keeps it: the message's logical time.
    Sent(u64),
    /// It reached its payee: the payee's transaction.
    Reached(Position),
    /// The payee sent it back: the payee's transaction.
    Returned(Position),
    /// The wallet could not afford it.
    Skipped,
}

/// The anchor is in the contract, and what it had paid by then to planned providers is known: from now on nothing that is
/// planned can be claimed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Anchored {
    /// The contract's last transaction in the answer that this was read from.
    pub at: Position,
    /// Providers whom the contract has paid something else by now than the plan says.
    pub claimed: Vec<ClaimedNow>,
}

/// What the contract has paid to a provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClaimedNow {
    /// Who.
    pub provider: ProviderId,
    /// How much since epoch 0.
    pub claimed: Nano,
}

impl Entry {
    /// The form that this program writes.
    pub const VERSION: u32 = 1;

    /// The entry's bytes.
    ///
    /// # Errors
    /// None that an entry could cause: all its numbers are exact in JSON but for logical times, which are not above 2⁵³ for
    /// a century to come.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_jcs::to_vec(self)
    }
}
