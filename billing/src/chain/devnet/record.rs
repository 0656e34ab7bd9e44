//! What is kept of a transaction: enough to read it, to undo it for a lagging answer, and to run it again elsewhere.

use serde::Serialize;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::{AccountState, ShardAccount, Transaction as Raw};

use crate::chain::CellError;
use crate::chain::Transaction;
use crate::chain::address::Address;
use crate::chain::amount::Coins;
use crate::chain::cell::{cell_hash, read_cell, write_base64, write_cell};
use crate::chain::transaction::Outcome;
use crate::hash::Hash;

/// One transaction, with its account before and after it.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) address: Address,
    /// The block it is in.
    pub(super) seqno: u32,
    /// The transaction's logical time.
    pub(super) lt: u64,
    /// The shard's entry of the account.
    pub(super) before: Cell,
    pub(super) message: Cell,
    pub(super) transaction: Cell,
    pub(super) after: Cell,
}

/// A transaction as another executor can run it: the same message on the same account at the same time under the same
/// rules, and what came of it here. Cells are bags in base64, amounts decimal digits, hashes lowercase hex.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Replay {
    /// The account's entry in its shard (`ShardAccount`) before.
    pub shard_account_before: String,
    /// The message that came in.
    pub message: String,
    /// When, in Unix seconds.
    pub now: u32,
    /// The transaction's logical time.
    pub lt: String,
    /// The chain's configuration.
    pub config: String,
    /// Fees, in nanoTON.
    pub total_fees: String,
    /// The account's balance after, in nanoTON.
    pub balance_after: String,
    /// The hash of the contract's data after; `None` without a contract.
    pub data_hash_after: Option<Hash>,
    /// The contract's exit code; `None` where none ran.
    pub exit_code: Option<i32>,
    /// Units of gas.
    pub gas: u64,
}

impl Record {
    pub(super) fn transaction(&self) -> Result<Transaction, CellError> {
        Transaction::read(&self.transaction, self.address.workchain(), self.seqno)
    }

    pub(super) fn after(&self) -> Result<ShardAccount, CellError> {
        self.after.parse()
    }

    pub(super) fn raw(&self) -> Result<Raw, CellError> {
        self.transaction.parse()
    }

    pub(super) fn replay(&self, config: &str) -> Result<Replay, CellError> {
        let raw = self.raw()?;
        let outcome = Outcome::of(&raw.load_info()?);
        let after = self.after()?.load_account()?;
        let data = after.as_ref().and_then(|account| match &account.state {
            AccountState::Active(init) => init.data.as_ref(),
            _ => None,
        });
        let balance = after
            .as_ref()
            .map_or(Coins::ZERO, |account| account.balance.tokens.into());
        Ok(Replay {
            shard_account_before: write_base64(self.before.as_ref()),
            message: write_base64(self.message.as_ref()),
            now: raw.now,
            lt: raw.lt.to_string(),
            config: config.to_owned(),
            total_fees: raw.total_fees.tokens.to_string(),
            balance_after: balance.to_string(),
            data_hash_after: data.map(|data| cell_hash(data.as_ref())),
            exit_code: outcome.exit_code,
            gas: outcome.gas,
        })
    }

    /// The record in one bag of cells: whose it is and in which block, and the four trees.
    pub(super) fn write(&self) -> Result<Vec<u8>, CellError> {
        let mut root = CellBuilder::new();
        root.store_u8(self.address.workchain().cast_unsigned())?;
        root.store_raw(self.address.id(), 256)?;
        root.store_u32(self.seqno)?;
        for tree in [&self.before, &self.message, &self.transaction, &self.after] {
            root.store_reference(tree.clone())?;
        }
        Ok(write_cell(root.build()?.as_ref()))
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let root = read_cell(bytes).ok()?;
        let mut slice = root.as_slice().ok()?;
        let workchain = slice.load_u8().ok()?.cast_signed();
        let id = slice.load_u256().ok()?;
        let seqno = slice.load_u32().ok()?;
        let mut tree = || slice.load_reference_cloned().ok();
        let (before, message, transaction, after) = (tree()?, tree()?, tree()?, tree()?);
        Some(Self {
            address: Address::of(&tycho_types::models::StdAddr::new(workchain, id)),
            seqno,
            lt: transaction.parse::<Raw>().ok()?.lt,
            before,
            message,
            transaction,
            after,
        })
    }
}
