//! Contests: a payee says that it received less than a leaf says was pushed to it. How one stands, and the messages about it.

use serde::Serialize;

use super::claim::ProvenLeaf;
use super::leaf::{ProviderTag, operation};
use crate::chain::{Address, Body, CellError, Chain, ChainError, Payment, Value};
use crate::money::{Nano, Overflow};

/// Operations on a contest that is open.
const OBJECT: u32 = 0xf11a_0002;
const DROP: u32 = 0xf11a_0012;
const CLOSE: u32 = 0xf11a_0013;
/// What the contract keeps of the message that opens a contest; the rest is the bond. 0.02 TON.
const ENTRY_FEE: Nano = Nano::saturating(20_000_000);
/// What other messages about contests carry, above the 0.02 TON that the contract asks for. What fees leave comes back.
const ORDER_VALUE: Nano = Nano::saturating(50_000_000);

/// A contest that is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Contest {
    /// Who contests.
    pub payee: Address,
    /// What it is paid if nobody answers.
    pub asks: Nano,
    /// What it loses if the arbiter finds nothing due.
    pub bond: Nano,
    /// Until when it can be answered, in Unix seconds: by the operator, or by the arbiter after the operator objected.
    pub deadline: u32,
    /// Whether the operator objected.
    pub objected: bool,
}

/// What can be done with a contest that is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContestOrder {
    /// The operator or owner says that it is wrong.
    Object,
    /// The payee takes it back.
    Drop,
    /// Anybody ends it after its deadline: the payee is paid.
    Close,
}

/// Asks the contract for the contest of a provider. `None` if there is none.
///
/// # Errors
/// [`ChainError::Refused`] if there is no such contract, and what any question fails with.
pub async fn contest_of(
    chain: &dyn Chain,
    contract: Address,
    provider: &ProviderTag,
) -> Result<Option<Contest>, ChainError> {
    let stack = chain.get(contract, "contest_of", &[provider.value()]).await?;
    let flag = |place: usize| Some(stack.get(place)?.number::<i8>()? != 0);
    let nano = |place: usize| Nano::new(stack.get(place)?.number()?).ok();
    let read = || {
        if !flag(0)? {
            return Some(None);
        }
        Some(Some(Contest {
            payee: Address::basechain(*stack.get(1).and_then(Value::hash)?.as_bytes()),
            asks: nano(2)?,
            bond: nano(3)?,
            deadline: stack.get(4)?.number()?,
            objected: flag(5)?,
        }))
    };
    read().ok_or_else(|| ChainError::damaged("the contract's answer to `contest_of`"))
}

impl ContestOrder {
    /// The message.
    ///
    /// # Errors
    /// None that a tag could cause.
    pub fn payment(self, contract: Address, provider: &ProviderTag) -> Result<Payment, CellError> {
        let code = match self {
            Self::Object => OBJECT,
            Self::Drop => DROP,
            Self::Close => CLOSE,
        };
        let mut body = operation(code, 0)?;
        body.store_raw(provider.as_bytes(), 224)?;
        Ok(Payment {
            bounce: true,
            body: Body::new(body.build()?),
            ..Payment::new(contract, ORDER_VALUE)
        })
    }
}

impl ProvenLeaf {
    /// What a contest asks for if the payee says that it received so much, and the contract has paid `claimed`.
    #[must_use]
    pub fn contested(&self, received: Nano, claimed: Nano) -> Nano {
        super::plan::unpaid(self.earned, received, claimed)
    }

    /// The message by which the payee opens a contest; only its own account can send it.
    ///
    /// # Errors
    /// [`CellError`] for places that no tree has, or a bond above all money.
    pub fn contest(&self, received: Nano, bond: Nano) -> Result<Payment, CellError> {
        let value = bond.plus(ENTRY_FEE).map_err(|Overflow| CellError::IntOverflow)?;
        Ok(Payment {
            bounce: true,
            body: self.proof()?.contest(self.epoch, received, 0)?,
            ..Payment::new(self.contract, value)
        })
    }
}
