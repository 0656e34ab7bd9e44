//! The devnet's state: accounts, history, blocks, and the messages under way. Makes blocks; does not know of files,
//! faults or time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tycho_types::cell::Cell;
use tycho_types::models::ShardAccount;

use super::execute::{Place, execute, get, nobody, receiver};
use super::record::Record;
use super::rules::Rules;
use crate::chain::address::Address;
use crate::chain::message::External;
use crate::chain::{AccountState, CellError, ChainError, Head, Position, Value};

/// Most transactions in one block; what is left comes in the next.
const BLOCK_TRANSACTIONS_MAX: usize = 10_000;
/// Logical time between blocks, at least. The real chain's is a million.
const BLOCK_LT: u64 = 1_000_000;

/// An external message that waits for its block.
#[derive(Clone)]
pub(super) struct Waiting {
    /// The first block that takes it.
    pub(super) due: u32,
    pub(super) message: Cell,
}

pub(super) struct State {
    pub(super) rules: Rules,
    /// Where each account's transactions are in `history`, oldest first.
    accounts: HashMap<Address, Vec<usize>>,
    pub(super) history: Vec<Arc<Record>>,
    /// When each block was made: block 1 is first.
    pub(super) blocks: Vec<u32>,
    pub(super) lt: u64,
    /// Messages between accounts that are not delivered yet.
    pub(super) queue: VecDeque<Cell>,
    pub(super) waiting: Vec<Waiting>,
}

impl State {
    /// A chain with its first block, made at `now`.
    pub(super) fn new(rules: Rules, now: u32) -> Self {
        Self {
            rules,
            accounts: HashMap::new(),
            history: Vec::new(),
            blocks: vec![now],
            lt: BLOCK_LT,
            queue: VecDeque::new(),
            waiting: Vec::new(),
        }
    }

    pub(super) fn head(&self) -> Head {
        Head {
            seqno: u32::try_from(self.blocks.len()).unwrap_or(u32::MAX),
            time: self.blocks.last().copied().unwrap_or_default(),
        }
    }

    /// The head as it was `blocks` ago.
    pub(super) fn head_before(&self, blocks: u32) -> Head {
        let seqno = self.head().seqno.saturating_sub(blocks).max(1);
        let place = usize::try_from(seqno).unwrap_or(usize::MAX).saturating_sub(1);
        Head {
            seqno,
            time: self.blocks.get(place).copied().unwrap_or_default(),
        }
    }

    pub(super) fn append(&mut self, record: Record) {
        self.accounts
            .entry(record.address)
            .or_default()
            .push(self.history.len());
        self.history.push(Arc::new(record));
    }

    /// At most `limit` transactions of `address` after `after` and up to block `seqno`, oldest first.
    pub(super) fn after(&self, address: Address, after: Position, seqno: u32, limit: usize) -> Vec<Arc<Record>> {
        let places = self.places(address);
        let start = places.partition_point(|place| self.history.get(*place).is_some_and(|one| one.lt <= after.lt));
        let later = places.iter().skip(start).filter_map(|place| self.history.get(*place));
        later
            .take_while(|record| record.seqno <= seqno)
            .take(limit)
            .cloned()
            .collect()
    }

    /// The last transaction of `address` up to block `seqno`.
    fn last(&self, address: Address, seqno: u32) -> Option<&Arc<Record>> {
        let records = self
            .places(address)
            .iter()
            .rev()
            .filter_map(|place| self.history.get(*place));
        records.into_iter().find(|record| record.seqno <= seqno)
    }

    fn places(&self, address: Address) -> &[usize] {
        self.accounts.get(&address).map_or(&[], Vec::as_slice)
    }

    pub(super) fn shard(&self, address: Address, seqno: u32) -> Result<ShardAccount, ChainError> {
        self.read_shard(address, seqno).map_err(damaged)
    }

    fn read_shard(&self, address: Address, seqno: u32) -> Result<ShardAccount, CellError> {
        let Some(record) = self.last(address, seqno) else {
            return nobody();
        };
        let after = record.after()?;
        // The chain does not keep, beyond the block, where an account ended that is no more.
        let gone = record.seqno < self.head().seqno && after.load_account()?.is_none();
        if gone { nobody() } else { Ok(after) }
    }

    pub(super) fn account(&self, address: Address, seqno: u32) -> Result<AccountState, ChainError> {
        AccountState::of(address, &self.shard(address, seqno)?).map_err(damaged)
    }

    pub(super) fn get(
        &self,
        head: Head,
        address: Address,
        method: &str,
        stack: &[Value],
    ) -> Result<Vec<Value>, ChainError> {
        let account = self.shard(address, head.seqno)?.load_account().map_err(damaged)?;
        let block = self.rules.block(head.time, self.lt);
        let place = Place {
            rules: &self.rules,
            block: &block,
            lt: self.lt,
            seqno: head.seqno,
        };
        get(&place, address, account, method, stack)
    }

    /// Whether the account would take this message now, as a node asks before it passes one on.
    pub(super) fn check(&self, message: &External, now: u32) -> Result<(), ChainError> {
        let block = self.rules.block(now, self.lt);
        let place = Place {
            rules: &self.rules,
            block: &block,
            lt: self.lt,
            seqno: self.head().seqno,
        };
        let before = self.shard(message.to, u32::MAX)?;
        execute(&place, message.to, true, &message.cell, &before).map(|_| ())
    }

    /// Makes the next block at `now`: first what came from outside and is due, then what accounts sent each other.
    /// Where `slow`, a message goes one step in each block; else it goes all its way.
    pub(super) fn block(&mut self, now: u32, slow: bool) -> Result<(), ChainError> {
        let now = now.max(self.head().time);
        self.blocks.push(now);
        self.lt = self.lt.saturating_add(BLOCK_LT);
        let seqno = self.head().seqno;
        let mut steps = if slow { self.queue.len() } else { BLOCK_TRANSACTIONS_MAX };
        let due = |waiting: &mut Waiting| waiting.due <= seqno;
        for waiting in self.waiting.extract_if(.., due).collect::<Vec<_>>() {
            match self.deliver(now, true, waiting.message) {
                // What was fine when it was sent need not be so now: a node drops it without a word.
                Ok(()) | Err(ChainError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        while let Some(next) = steps.checked_sub(1) {
            let Some(message) = self.queue.pop_front() else { break };
            self.deliver(now, false, message)?;
            steps = next;
        }
        Ok(())
    }

    fn deliver(&mut self, now: u32, external: bool, message: Cell) -> Result<(), ChainError> {
        let to = if external {
            super::super::message::external(&message).map(|(to, _)| to)
        } else {
            receiver(&message)
        };
        let Some(to) = to else { return Ok(()) };
        let before = self.shard(to, u32::MAX)?;
        let block = self.rules.block(now, self.lt);
        let place = Place {
            rules: &self.rules,
            block: &block,
            lt: self.lt,
            seqno: self.head().seqno,
        };
        let executed = execute(&place, to, external, &message, &before)?;
        self.lt = self.lt.max(executed.next_lt).saturating_add(1);
        self.queue.extend(executed.outgoing);
        self.append(executed.record);
        Ok(())
    }
}

pub(super) fn damaged(error: CellError) -> ChainError {
    ChainError::Damaged(format!("the devnet's state: {error}"))
}
