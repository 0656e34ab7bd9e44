//! The devnet as others see it, faults and all: what a node and an index would answer.

use std::sync::Arc;

use tycho_types::cell::Cell;

use super::execute::not_accepted;
use super::record::Record;
use super::state::{State, Waiting, damaged};
use super::{Devnet, DevnetTime, Faults, Inner};
use crate::chain::address::Address;
use crate::chain::message::External;
use crate::chain::transaction::check_page;
use crate::chain::{AccountState, Chain, ChainError, Head, PAGE_MAX, Position, Transaction, Value};
use crate::hash::Hash;

/// Seconds between blocks in which nothing happens, by the machine's clock.
pub(super) const BLOCK_SECONDS: u32 = 5;

impl Devnet {
    /// What a reader may see, and as of when.
    fn reading<T>(&self, read: impl FnOnce(&State, Head) -> Result<T, ChainError>) -> Result<T, ChainError> {
        let faults = self.reachable()?;
        let live = self.inner.live.lock();
        live.whole()?;
        read(&live.state, live.state.head_before(faults.lag_blocks))
    }

    /// The faults that are on, unless they let nobody through.
    fn reachable(&self) -> Result<Faults, ChainError> {
        let faults = *self.faults.lock();
        if faults.down {
            return Err(ChainError::Unavailable("the devnet is down".into()));
        }
        Ok(faults)
    }

    /// The head. By the machine's clock blocks are made whether anything happens or not; here, when somebody looks.
    pub(super) fn read_head(&self) -> Result<Head, ChainError> {
        let Inner { settings, live, .. } = &*self.inner;
        if settings.time == DevnetTime::Wall && !settings.on_demand {
            let mut live = live.lock();
            let age = self.time(&live).saturating_sub(live.state.head().time);
            if age >= BLOCK_SECONDS {
                self.make_block(&mut live)?;
            }
        }
        self.reading(|_, head| Ok(head))
    }

    pub(super) fn read_account(&self, address: Address) -> Result<AccountState, ChainError> {
        self.reading(|state, head| state.account(address, head.seqno))
    }

    /// A contract's code, which [`AccountState`] leaves out.
    pub(super) fn read_code(&self, address: Address) -> Result<Option<Cell>, ChainError> {
        let shard = self.reading(|state, head| state.shard(address, head.seqno))?;
        Ok(
            match shard.load_account().map_err(damaged)?.map(|account| account.state) {
                Some(tycho_types::models::AccountState::Active(init)) => init.code,
                _ => None,
            },
        )
    }

    pub(super) fn read_records(
        &self,
        address: Address,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, ChainError> {
        let lie = self.faults.lock().lie;
        let mut page = self.reading(|state, head| Ok(state.after(address, after, head.seqno, limit)))?;
        if let Some(lie) = lie {
            lie.tell(&mut page);
        }
        Ok(page)
    }

    pub(super) fn run_get(&self, address: Address, method: &str, stack: &[Value]) -> Result<Vec<Value>, ChainError> {
        self.reading(|state, head| state.get(head, address, method, stack))
    }

    /// Takes an external message as a node does: tries it, and passes it on to the next block.
    pub(super) fn take(&self, message: &[u8]) -> Result<Hash, ChainError> {
        let faults = self.reachable()?;
        let mut live = self.inner.live.lock();
        live.whole()?;
        let message = External::read(message)?;
        let now = self.time(&live);
        if let Err(error) = live.state.check(&message, now) {
            live.refused(&message, now, &error)?;
            return Err(error);
        }
        if let Some(exit_code) = faults.refuse_messages {
            return Err(not_accepted(Some(exit_code)));
        }
        if faults.lose_messages {
            return Ok(message.hash);
        }
        let next = live.state.head().seqno.saturating_add(1);
        let waiting = Waiting {
            due: next.saturating_add(faults.delay_blocks),
            message: message.cell,
        };
        if faults.double_messages {
            live.state.waiting.push(waiting.clone());
        }
        live.state.waiting.push(waiting);
        if !self.inner.settings.on_demand {
            self.make_block(&mut live)?;
        }
        if faults.lose_answers {
            return Err(ChainError::Unavailable("the answer was lost".into()));
        }
        Ok(message.hash)
    }
}

#[async_trait::async_trait]
impl Chain for Devnet {
    async fn head(&self) -> Result<Head, ChainError> {
        self.read_head()
    }

    async fn send(&self, message: &[u8]) -> Result<Hash, ChainError> {
        // A batch takes a while to execute and to write.
        let (devnet, message) = (self.clone(), message.to_vec());
        let taken = tokio::task::spawn_blocking(move || devnet.take(&message));
        taken
            .await
            .map_err(|error| ChainError::Unavailable(error.to_string()))?
    }

    async fn account(&self, address: Address) -> Result<AccountState, ChainError> {
        self.read_account(address)
    }

    async fn transactions(
        &self,
        address: Address,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Transaction>, ChainError> {
        let records = self.read_records(address, after, limit.min(PAGE_MAX))?;
        let read = records.iter().map(|record| record.transaction());
        let page = read.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
        check_page(address, after, &page)?;
        Ok(page)
    }

    async fn get(&self, address: Address, method: &str, stack: &[Value]) -> Result<Vec<Value>, ChainError> {
        self.run_get(address, method, stack)
    }
}
