//! What is kept of a transaction: enough to read it, to undo it for a lagging answer, and to run it again elsewhere.

use serde::Serialize;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::{AccountState, Message, MsgInfo, ShardAccount, Transaction as Raw};

use crate::chain::CellError;
use crate::chain::Transaction;
use crate::chain::address::Address;
use crate::chain::amount::Coins;
use crate::chain::cell::{cell_hash, read_cell, write_base64, write_cell};
use crate::chain::message::Body;
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
    /// The chain's configuration: for this transaction and those after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_boc: Option<String>,
    /// Whether nothing but fees and the incoming value changed.
    pub aborted: bool,
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
    /// What was sent, in order.
    pub out_messages: Vec<Sent>,
}

/// A message that a transaction sent, as far as executors must agree on it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Sent {
    /// To whom; `None` for a log.
    pub to: Option<Address>,
    /// What it carries, in nanoTON.
    pub value: String,
    /// Whether it may come back.
    pub bounce: bool,
    /// Whether it is one that comes back.
    pub bounced: bool,
    /// What is left for forwarding it, in nanoTON.
    pub forward_fee: String,
    /// The hash of what it says.
    pub body_hash: Hash,
}

impl Sent {
    fn of(message: &Message<'_>) -> Result<Self, CellError> {
        let body_hash = cell_hash(Body::of(message)?.cell().as_ref());
        let MsgInfo::Int(info) = &message.info else {
            return Ok(Self {
                to: None,
                value: "0".to_owned(),
                bounce: false,
                bounced: false,
                forward_fee: "0".to_owned(),
                body_hash,
            });
        };
        Ok(Self {
            to: Address::of_int(&info.dst),
            value: info.value.tokens.to_string(),
            bounce: info.bounce,
            bounced: info.bounced,
            forward_fee: info.fwd_fee.to_string(),
            body_hash,
        })
    }
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

    pub(super) fn replay(&self) -> Result<Replay, CellError> {
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
            config_boc: None,
            aborted: outcome.aborted,
            total_fees: raw.total_fees.tokens.to_string(),
            balance_after: balance.to_string(),
            data_hash_after: data.map(|data| cell_hash(data.as_ref())),
            exit_code: outcome.exit_code,
            gas: outcome.gas,
            out_messages: raw
                .iter_out_msgs()
                .map(|message| Sent::of(&message?))
                .collect::<Result<_, _>>()?,
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
