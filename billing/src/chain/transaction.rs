//! Transactions of one account, and the proof that a page of them leaves none out.

use tycho_types::cell::Cell;
use tycho_types::models::{
    AccountStatus, BouncePhase, ComputePhase, Message, MsgInfo, OrdinaryTxInfo, Transaction as Raw, TxInfo,
};

use super::address::Address;
use super::amount::Coins;
use super::cell::cell_hash;
use super::message::{Body, Transfer, external_hash};
use super::{CellError, ChainError, Position};
use crate::hash::Hash;

/// One transaction: a message came in, the contract (if there is one) ran, messages went out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// Whose it is.
    pub account: Address,
    /// Its logical time and hash: with the account, its name.
    pub at: Position,
    /// The account's transaction before it; [`Position::START`] if there was none since the account came to be.
    pub previous: Position,
    /// Whether the account was not there before. One that was destroyed can come to be again.
    pub begins: bool,
    /// When, in Unix seconds.
    pub time: u32,
    /// The masterchain block that made it final.
    pub seqno: u32,
    /// What the account paid for it, without what forwarding its messages cost.
    pub fees: Coins,
    /// What came in.
    pub incoming: Incoming,
    /// Messages to other accounts, in order. Logs are left out.
    pub outgoing: Vec<Transfer>,
    /// Whether nothing but fees and the incoming value changed. That is so too for a transfer to an account without a
    /// contract, which keeps it all the same.
    pub aborted: bool,
    /// Whether the incoming value went back to its sender.
    pub returned: bool,
    /// The contract's exit code; `None` where none ran.
    pub exit_code: Option<i32>,
    /// What became of the contract's actions: 0 is success; `None` where there were none to take.
    pub action_code: Option<i32>,
}

/// What set a transaction off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// A message from outside, by its normalised hash.
    External(Hash),
    /// A message from another account.
    Transfer(Transfer),
    /// The chain's own clock: special contracts only.
    None,
}

impl Transaction {
    /// What the transaction credited to its account: the value of a transfer that neither is a bounce nor was sent back.
    #[must_use]
    pub fn credited(&self) -> Option<&Transfer> {
        match &self.incoming {
            Incoming::Transfer(transfer) if !transfer.bounced && !self.returned => Some(transfer),
            _ => None,
        }
    }

    /// Whether it comes right after what is known of its account. The chain forgets of an account that was destroyed where it
    /// ended, so of the transaction with which it comes to be again only the time tells.
    #[must_use]
    pub fn follows(&self, known: Position) -> bool {
        let linked = self.previous == known || (self.begins && self.previous == Position::START);
        linked && self.at.lt > known.lt
    }

    /// Whether the contract ran and did all it wanted.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        !self.aborted && matches!(self.exit_code, Some(0 | 1)) && matches!(self.action_code, None | Some(0))
    }

    /// Reads a transaction's cell.
    pub(super) fn read(cell: &Cell, workchain: i8, seqno: u32) -> Result<Self, CellError> {
        let raw = cell.parse::<Raw>()?;
        let account = Address::of(&tycho_types::models::StdAddr::new(workchain, raw.account));
        let outcome = Outcome::of(&raw.load_info()?);
        let mut outgoing = Vec::new();
        for message in raw.iter_out_msgs() {
            outgoing.extend(transfer(&message?)?);
        }
        Ok(Self {
            account,
            at: Position {
                lt: raw.lt,
                hash: cell_hash(cell.as_ref()),
            },
            previous: Position {
                lt: raw.prev_trans_lt,
                hash: Hash::from_bytes(raw.prev_trans_hash.0),
            },
            begins: raw.orig_status == AccountStatus::NotExists,
            time: raw.now,
            seqno,
            fees: raw.total_fees.tokens.into(),
            incoming: match raw.load_in_msg()? {
                Some(message) => incoming(account, &message)?,
                None => Incoming::None,
            },
            outgoing,
            aborted: outcome.aborted,
            returned: outcome.returned,
            exit_code: outcome.exit_code,
            action_code: outcome.action_code,
        })
    }
}

/// How a transaction's phases went.
pub(super) struct Outcome {
    pub(super) aborted: bool,
    pub(super) returned: bool,
    pub(super) exit_code: Option<i32>,
    pub(super) action_code: Option<i32>,
    /// Units of gas.
    pub(super) gas: u64,
}

impl Outcome {
    pub(super) fn of(info: &TxInfo) -> Self {
        match info {
            TxInfo::Ordinary(info) => Self::of_ordinary(info),
            TxInfo::TickTock(info) => Self {
                aborted: info.aborted,
                returned: false,
                exit_code: None,
                action_code: None,
                gas: 0,
            },
        }
    }

    fn of_ordinary(info: &OrdinaryTxInfo) -> Self {
        let (exit_code, gas) = match &info.compute_phase {
            ComputePhase::Executed(phase) => (Some(phase.exit_code), phase.gas_used.into_inner()),
            ComputePhase::Skipped(_) => (None, 0),
        };
        Self {
            aborted: info.aborted,
            returned: matches!(info.bounce_phase, Some(BouncePhase::Executed(_))),
            exit_code,
            action_code: info.action_phase.as_ref().map(|phase| phase.result_code),
            gas,
        }
    }
}

fn incoming(account: Address, message: &Message<'_>) -> Result<Incoming, CellError> {
    Ok(match transfer(message)? {
        Some(transfer) => Incoming::Transfer(transfer),
        None => Incoming::External(external_hash(account, &Body::of(message)?)?),
    })
}

/// The message, if it goes between accounts.
pub(super) fn transfer(message: &Message<'_>) -> Result<Option<Transfer>, CellError> {
    let MsgInfo::Int(info) = &message.info else {
        return Ok(None);
    };
    let plain = |address| Address::of_int(address).ok_or(CellError::InvalidData);
    Ok(Some(Transfer {
        from: plain(&info.src)?,
        to: plain(&info.dst)?,
        value: info.value.tokens.into(),
        bounce: info.bounce,
        bounced: info.bounced,
        created_lt: info.created_lt,
        body: Body::of(message)?,
    }))
}

/// Checks that `page` is the account's history right after `after`, without a gap, a repetition or a stranger.
pub(super) fn check_page(address: Address, after: Position, page: &[Transaction]) -> Result<(), ChainError> {
    let mut known = after;
    for transaction in page {
        if transaction.account != address {
            return Err(ChainError::damaged("a transaction of another account"));
        }
        if transaction.at.lt <= known.lt {
            return Err(ChainError::damaged("transactions are repeated or out of order"));
        }
        if !transaction.follows(known) {
            let (lt, previous) = (transaction.at.lt, transaction.previous.lt);
            return Err(ChainError::Damaged(format!(
                "transactions are missing: {lt} follows {previous}, and only those up to {} are known",
                known.lt
            )));
        }
        known = transaction.at;
    }
    Ok(())
}
