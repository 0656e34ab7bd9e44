//! What the contract is told beside anchors, claims and contests: by its operator, owner and arbiter, by payees, and by
//! providers who stake (`billing/contracts/README.md`, "Operations").

use super::contract::store_coins;
use super::leaf::{ProviderTag, operation};
use super::standing::Standing;
use crate::chain::{Address, Body, CellBuilder, CellError, Payment};
use crate::hash::Hash;
use crate::money::{Nano, Overflow};

/// What an order carries, above the 0.02 TON that the contract asks for: 0.03 TON. What fees leave of it comes back.
pub(super) const ORDER_VALUE: Nano = Nano::saturating(30_000_000);
/// What the contract keeps of a message with a stake or a bond: 0.02 TON.
pub(super) const ENTRY_FEE: Nano = Nano::saturating(20_000_000);

/// An order to the contract. Whoever may not give it has it refused, and pays for that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ContractOrder {
    /// A contest of this provider is wrong: the arbiter is to decide.
    Object(ProviderTag),
    /// Takes a contest back.
    DropContest(ProviderTag),
    /// Ends a contest after its deadline: the payee is paid.
    CloseContest(ProviderTag),
    /// Decides a contest to which was objected.
    RuleContest {
        /// Whose.
        provider: ProviderTag,
        /// What the payee gets. With nothing its bond is forfeit.
        amount: Nano,
    },
    /// Takes money out that nobody is owed.
    Draw {
        /// How much.
        amount: Nano,
        /// Where it goes; for the operator only its own wallet.
        to: Address,
    },
    /// Stakes for a provider, or adds to a stake.
    Stake {
        /// For which provider.
        provider: ProviderTag,
        /// How much.
        amount: Nano,
    },
    /// Starts the delay after which so much of a stake can be withdrawn.
    Unstake(Nano),
    /// Takes back what of a stake may go.
    Withdraw,
    /// Disputes a slash of the sender's stake.
    Dispute,
    /// Ends a slash of this wallet's stake after its deadline.
    CloseSlash(Address),
    /// Decides a disputed slash.
    RuleSlash {
        /// Whose stake.
        wallet: Address,
        /// What it loses.
        amount: Nano,
    },
    /// Proposes to take a stake away.
    Slash {
        /// Whose stake.
        wallet: Address,
        /// How much.
        amount: Nano,
        /// The hash of a document that says why.
        reason: Hash,
    },
    /// Takes a slash back.
    DropSlash(Address),
    /// Names the wallet that anchors and pays.
    SetOperator(Address),
    /// What the operator may draw on a UTC day.
    SetDrawLimit(Nano),
    /// Stops claims, the operator's draws, and the end of cases.
    Pause {
        /// For how long.
        seconds: u32,
    },
    /// Ends a pause.
    Resume,
    /// Proposes the next owner; nobody takes a proposal back.
    ProposeOwner(Option<Address>),
    /// Makes the sender owner, if it is proposed.
    AcceptOwner,
    /// Proposes the next arbiter, who rules after a delay; nobody takes a proposal back.
    ProposeArbiter(Option<Address>),
}

/// Who may give an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Giver {
    /// Anybody; or whoever has the stake or contest that it is about.
    Anybody,
    /// The operator, and the owner.
    Operator,
    /// The owner.
    Owner,
    /// Who is proposed as the next owner.
    NextOwner,
    /// The arbiter who rules now.
    Arbiter,
}

impl ContractOrder {
    /// Its number and its name.
    const fn operation(&self) -> (u32, &'static str) {
        match self {
            Self::Object(_) => (0xf11a_0002, "object"),
            Self::Draw { .. } => (0xf11a_0003, "draw"),
            Self::DropContest(_) => (0xf11a_0012, "drop_contest"),
            Self::CloseContest(_) => (0xf11a_0013, "close_contest"),
            Self::Stake { .. } => (0xf11a_0020, "stake"),
            Self::Unstake(_) => (0xf11a_0021, "unstake"),
            Self::Withdraw => (0xf11a_0022, "withdraw"),
            Self::Dispute => (0xf11a_0023, "dispute"),
            Self::CloseSlash(_) => (0xf11a_0024, "close_slash"),
            Self::RuleContest { .. } => (0xf11a_0030, "rule_contest"),
            Self::RuleSlash { .. } => (0xf11a_0031, "rule_slash"),
            Self::Slash { .. } => (0xf11a_0040, "slash"),
            Self::DropSlash(_) => (0xf11a_0041, "drop_slash"),
            Self::SetOperator(_) => (0xf11a_0042, "set_operator"),
            Self::SetDrawLimit(_) => (0xf11a_0043, "set_draw_limit"),
            Self::Pause { .. } => (0xf11a_0044, "pause"),
            Self::Resume => (0xf11a_0045, "resume"),
            Self::ProposeOwner(_) => (0xf11a_0046, "propose_owner"),
            Self::ProposeArbiter(_) => (0xf11a_0047, "propose_arbiter"),
            Self::AcceptOwner => (0xf11a_0048, "accept_owner"),
        }
    }

    /// Its name in the contract's table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.operation().1
    }

    /// Who may give it.
    #[must_use]
    pub const fn giver(&self) -> Giver {
        match self {
            Self::Object(_) | Self::Draw { .. } => Giver::Operator,
            Self::RuleContest { .. } | Self::RuleSlash { .. } => Giver::Arbiter,
            Self::Slash { .. }
            | Self::DropSlash(_)
            | Self::SetOperator(_)
            | Self::SetDrawLimit(_)
            | Self::Pause { .. }
            | Self::Resume
            | Self::ProposeOwner(_)
            | Self::ProposeArbiter(_) => Giver::Owner,
            Self::AcceptOwner => Giver::NextOwner,
            Self::DropContest(_)
            | Self::CloseContest(_)
            | Self::Stake { .. }
            | Self::Unstake(_)
            | Self::Withdraw
            | Self::Dispute
            | Self::CloseSlash(_) => Giver::Anybody,
        }
    }

    /// The message. The `query` number comes back in the answer.
    ///
    /// # Errors
    /// [`CellError`] for a stake above all money.
    pub fn payment(&self, contract: Address, query: u64) -> Result<Payment, CellError> {
        let value = match self {
            Self::Stake { amount, .. } => amount.plus(ENTRY_FEE).map_err(|Overflow| CellError::IntOverflow)?,
            _ => ORDER_VALUE,
        };
        Ok(Payment {
            bounce: true,
            body: self.body(query)?,
            ..Payment::new(contract, value)
        })
    }

    fn body(&self, query: u64) -> Result<Body, CellError> {
        let mut body = operation(self.operation().0, query)?;
        match self {
            Self::Object(provider)
            | Self::DropContest(provider)
            | Self::CloseContest(provider)
            | Self::Stake { provider, .. } => store_tag(&mut body, provider)?,
            Self::RuleContest { provider, amount } => {
                store_tag(&mut body, provider)?;
                store_coins(&mut body, *amount)?;
            }
            Self::Draw { amount, to } => {
                store_coins(&mut body, *amount)?;
                to.store(&mut body)?;
            }
            Self::Unstake(amount) | Self::SetDrawLimit(amount) => store_coins(&mut body, *amount)?,
            Self::Withdraw | Self::Dispute | Self::Resume | Self::AcceptOwner => {}
            Self::CloseSlash(wallet) | Self::DropSlash(wallet) => body.store_raw(wallet.id(), 256)?,
            Self::RuleSlash { wallet, amount } => {
                body.store_raw(wallet.id(), 256)?;
                store_coins(&mut body, *amount)?;
            }
            Self::Slash { wallet, amount, reason } => {
                body.store_raw(wallet.id(), 256)?;
                store_coins(&mut body, *amount)?;
                body.store_raw(reason.as_bytes(), 256)?;
            }
            Self::SetOperator(wallet) => wallet.store(&mut body)?,
            Self::Pause { seconds } => body.store_u32(*seconds)?,
            // No address is two zero bits.
            Self::ProposeOwner(None) | Self::ProposeArbiter(None) => body.store_zeros(2)?,
            Self::ProposeOwner(Some(next)) | Self::ProposeArbiter(Some(next)) => next.store(&mut body)?,
        }
        Ok(Body::new(body.build()?))
    }
}

fn store_tag(body: &mut CellBuilder, provider: &ProviderTag) -> Result<(), CellError> {
    body.store_raw(provider.as_bytes(), 224)
}

impl Standing {
    /// Who rules at a time, in Unix seconds: a proposed arbiter takes the other's place without another message.
    #[must_use]
    pub fn arbiter(&self, now: u32) -> Address {
        match self.next_arbiter {
            Some((next, from)) if now >= from => next,
            _ => self.parties.arbiter,
        }
    }

    /// Whether a wallet may give such an order at a time, in Unix seconds.
    #[must_use]
    pub fn lets(&self, wallet: Address, giver: Giver, now: u32) -> bool {
        match giver {
            Giver::Anybody => true,
            Giver::Operator => wallet == self.parties.operator || wallet == self.parties.owner,
            Giver::Owner => wallet == self.parties.owner,
            Giver::NextOwner => Some(wallet) == self.next_owner,
            Giver::Arbiter => wallet == self.arbiter(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value as Json;

    use super::*;
    use crate::chain::{cell_hash, read_cell};
    use crate::id::ProviderId;

    #[test]
    fn orders_are_written_as_the_vectors_say() {
        let vectors: Json = serde_json::from_str(include_str!("../../contracts/vectors.json")).expect("JSON");
        let told = &vectors["messages"];
        let text = |name: &str| told[name].as_str().expect("a text");
        let nano = |name: &str| Nano::new(text(name).parse().expect("a number")).expect("an amount");
        let to: Address = text("address").parse().expect("an address");
        let provider = ProviderTag::of(&ProviderId::parse(text("provider")).expect("an id"));
        let amount = nano("amount");
        let reason = Hash::parse(text("reason")).expect("a hash");
        let mut orders = vec![
            ContractOrder::Object(provider),
            ContractOrder::DropContest(provider),
            ContractOrder::CloseContest(provider),
            ContractOrder::RuleContest { provider, amount },
            ContractOrder::Draw {
                amount: nano("draw_amount"),
                to,
            },
            ContractOrder::Stake { provider, amount },
            ContractOrder::Unstake(amount),
            ContractOrder::Withdraw,
            ContractOrder::Dispute,
            ContractOrder::CloseSlash(to),
            ContractOrder::RuleSlash { wallet: to, amount },
        ];
        orders.extend([
            ContractOrder::Slash {
                wallet: to,
                amount,
                reason,
            },
            ContractOrder::DropSlash(to),
            ContractOrder::SetOperator(to),
            ContractOrder::SetDrawLimit(amount),
            ContractOrder::Pause { seconds: 3_600 },
            ContractOrder::Resume,
            ContractOrder::ProposeOwner(Some(to)),
            ContractOrder::AcceptOwner,
            ContractOrder::ProposeArbiter(Some(to)),
        ]);
        let written = orders.iter().map(|order| (order.name(), order));
        let mut written: BTreeMap<_, _> = written.collect();
        written.insert("propose_no_owner", &ContractOrder::ProposeOwner(None));
        let bodies = told["bodies"].as_object().expect("bodies");
        assert_eq!(bodies.len(), written.len(), "every operation of the table");
        for (name, body) in bodies {
            let bytes = STANDARD.decode(body.as_str().expect("a text")).expect("base64");
            let expected = cell_hash(read_cell(&bytes).expect("a cell").as_ref());
            let payment = written[name.as_str()].payment(to, 7).expect("a message");
            assert_eq!(cell_hash(payment.body.cell().as_ref()), expected, "{name}");
        }
    }
}
