//! Contests: a payee says that it received less than a leaf says was pushed to it. How one stands, and the message that opens it.

use serde::Serialize;

use super::claim::ProvenLeaf;
use super::leaf::ProviderTag;
use super::order::ENTRY_FEE;
use crate::chain::{Address, CellError, Chain, ChainError, Payment, Value};
use crate::money::{Nano, Overflow};

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
