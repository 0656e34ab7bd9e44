//! Stakes: what a provider left with the contract, and whether the owner wants to take some of it.

use serde::Serialize;

use crate::chain::{Address, Chain, ChainError, Value};
use crate::hash::Hash;
use crate::money::Nano;

/// A wallet's stake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Stake {
    /// What stays.
    pub staked: Nano,
    /// What is on its way back.
    pub leaving: Nano,
    /// When that may go, in Unix seconds; 0 if nothing leaves.
    pub leaves_at: u32,
    /// What the owner wants to take.
    pub slash: Option<Slash>,
}

/// A slash that is not decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Slash {
    /// How much.
    pub amount: Nano,
    /// The hash of a document that says why.
    pub reason: Hash,
    /// Until when the provider may dispute it, or the arbiter rule on it, in Unix seconds.
    pub deadline: u32,
    /// Whether the provider disputes it.
    pub disputed: bool,
}

/// Asks the contract for a wallet's stake. `None` if there is none.
///
/// # Errors
/// [`ChainError::Refused`] if there is no such contract, and what any question fails with.
pub async fn stake_of(chain: &dyn Chain, contract: Address, wallet: Address) -> Result<Option<Stake>, ChainError> {
    let whose = [Value::from(Hash::from_bytes(*wallet.id()))];
    let (stake, slash) = futures_util::try_join!(
        chain.get(contract, "stake_of", &whose),
        chain.get(contract, "slash_of", &whose)
    )?;
    let stake = read_stake(&stake, read_slash(&slash)?);
    stake.ok_or_else(|| ChainError::damaged("the contract's answer to `stake_of`"))
}

fn read_stake(stack: &[Value], slash: Option<Slash>) -> Option<Option<Stake>> {
    if !flag(stack, 0)? {
        return Some(None);
    }
    Some(Some(Stake {
        staked: nano(stack, 2)?,
        leaving: nano(stack, 3)?,
        leaves_at: stack.get(4)?.number()?,
        slash,
    }))
}

fn read_slash(stack: &[Value]) -> Result<Option<Slash>, ChainError> {
    let read = || {
        if !flag(stack, 0)? {
            return Some(None);
        }
        Some(Some(Slash {
            amount: nano(stack, 1)?,
            reason: stack.get(2)?.hash()?,
            deadline: stack.get(3)?.number()?,
            disputed: flag(stack, 4)?,
        }))
    };
    read().ok_or_else(|| ChainError::damaged("the contract's answer to `slash_of`"))
}

fn flag(stack: &[Value], place: usize) -> Option<bool> {
    Some(stack.get(place)?.number::<i8>()? != 0)
}

fn nano(stack: &[Value], place: usize) -> Option<Nano> {
    Nano::new(stack.get(place)?.number()?).ok()
}
