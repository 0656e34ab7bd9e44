//! What stands in settlement's books.

use serde::{Deserialize, Serialize};

use super::ANCHOR_VALUE;
use super::order::ORDER_VALUE;
use super::plan::Plan;
use crate::chain::{Address, Position};
use crate::id::ProviderId;
use crate::money::Nano;
use crate::outbox::{self, Ordered};

pub use crate::outbox::{Fate, Outcome, Taken};

/// One entry of settlement's books.
pub type Entry = outbox::Entry<What>;
/// A message of the settling wallet.
pub type Message = outbox::Message<Order>;

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

impl Order {
    /// The payments, in their order.
    pub(super) fn payments(&self, contract: Address) -> Vec<Ordered> {
        match self {
            Self::Anchor(after) => vec![Ordered {
                to: contract,
                amount: ANCHOR_VALUE,
                bounces_after: Some(*after),
                must_run: true,
            }],
            Self::Pay(payouts) => {
                let payouts = payouts.iter().map(|payout| Ordered {
                    to: payout.payee,
                    amount: payout.amount,
                    bounces_after: payout.bounces_after,
                    must_run: false,
                });
                payouts.collect()
            }
            Self::Object(objections) => {
                let one = Ordered {
                    to: contract,
                    amount: ORDER_VALUE,
                    bounces_after: Some(objections.after),
                    must_run: true,
                };
                vec![one; objections.contests.len()]
            }
        }
    }
}
