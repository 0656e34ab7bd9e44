//! How an account stands.

use tycho_types::models::{Account, AccountState as State, ShardAccount};

use super::address::Address;
use super::amount::Coins;
use super::cell::cell_hash;
use super::{Cell, CellError, Position};
use crate::hash::Hash;

/// Whether there is a contract at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountStatus {
    /// Nothing was ever sent there, or nothing is left.
    Nonexistent,
    /// It holds coins, but no contract was deployed: pay it only with messages that do not bounce.
    Uninitialised,
    /// A contract lives there.
    Active,
    /// The contract's rent was not paid.
    Frozen,
}

/// How an account stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountState {
    /// Which account.
    pub address: Address,
    /// What it holds.
    pub balance: Coins,
    /// Whether a contract lives there.
    pub status: AccountStatus,
    /// The hash of the contract's code.
    pub code_hash: Option<Hash>,
    /// The contract's data.
    pub data: Option<Cell>,
    /// Its last transaction; [`Position::START`] if there is none.
    pub last: Position,
}

impl AccountState {
    /// An account nobody knows.
    pub(super) const fn nonexistent(address: Address) -> Self {
        Self {
            address,
            balance: Coins::ZERO,
            status: AccountStatus::Nonexistent,
            code_hash: None,
            data: None,
            last: Position::START,
        }
    }

    pub(super) fn of(address: Address, shard: &ShardAccount) -> Result<Self, CellError> {
        let mut state = Self::nonexistent(address);
        state.last = Position {
            lt: shard.last_trans_lt,
            hash: Hash::from_bytes(shard.last_trans_hash.0),
        };
        if let Some(account) = shard.load_account()? {
            state.fill(account);
        }
        Ok(state)
    }

    fn fill(&mut self, account: Account) {
        self.balance = account.balance.tokens.into();
        self.status = match account.state {
            State::Uninit => AccountStatus::Uninitialised,
            State::Frozen(_) => AccountStatus::Frozen,
            State::Active(init) => {
                self.code_hash = init.code.as_ref().map(|code| cell_hash(code.as_ref()));
                self.data = init.data;
                AccountStatus::Active
            }
        };
    }
}
