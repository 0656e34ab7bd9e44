//! The devnet: a chain in this process, for trying and for testing.
//!
//! Real are the virtual machine, the fee rules and configuration, the contracts' code, logical time, the cascade of
//! messages and the refusals. Left out are validators, shards, proofs and public libraries: blocks are made on demand by
//! whoever holds the [`Devnet`]. All history is kept in memory, and in a file where a folder is given. Where the variable
//! `FILATURE_REPLAYS` names a folder, whatever is executed is also written there, for another executor to run again.

mod answers;
mod execute;
mod face;
mod faults;
mod record;
mod replays;
mod rules;
mod serve;
mod settings;
mod state;
mod store;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::{CurrencyCollection, IntMsgInfo, MsgInfo, OwnedMessage};

pub use self::faults::{Faults, Lie};
pub use self::record::{Replay, Sent};
use self::replays::Replays;
use self::rules::Rules;
pub use self::serve::serve_devnet;
pub use self::settings::{DevnetError, DevnetSettings, DevnetTime};
use self::state::{State, damaged};
use self::store::Store;
use super::address::Address;
use super::amount::Coins;
use super::message::{Body, External};
use super::{AccountState, CellError, ChainError, Head};

/// Most coins given at once: twice what there is of them on the mainnet, in nano.
const GIFT_MAX: u128 = 10_000_000_000 * 1_000_000_000;
/// Where the clock of a new devnet with steered time stands, in Unix seconds: 2026-11-01.
const GENESIS: u32 = 1_793_491_200;

/// A chain in this process. Clones are the same chain, seen through the same faults.
#[derive(Clone)]
pub struct Devnet {
    inner: Arc<Inner>,
    faults: Arc<Mutex<Faults>>,
}

struct Inner {
    settings: DevnetSettings,
    store: Option<Store>,
    live: Mutex<Live>,
}

struct Live {
    state: State,
    /// The steered clock, in Unix seconds.
    now: u32,
    /// Why blocks can no longer be kept. Memory is ahead of the file then, and nothing more is said or done.
    broken: Option<DevnetError>,
    /// Where what is executed is written down.
    replays: Option<Replays>,
}

impl std::fmt::Debug for Devnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devnet")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

impl Devnet {
    /// Opens the devnet in the folder of `settings` where it stood, or starts a new one.
    ///
    /// # Errors
    /// [`DevnetError`]
    pub fn open(settings: DevnetSettings) -> Result<Self, DevnetError> {
        let now = match settings.time {
            DevnetTime::Steered => GENESIS,
            DevnetTime::Wall => wall(),
        };
        let mut state = State::new(Rules::new(now)?, now);
        let store = settings.folder.as_deref().map(Store::open).transpose()?;
        if let Some(store) = &store
            && !store.load(&mut state)?
        {
            store.save(&state)?;
        }
        let live = Live {
            now: now.max(state.head().time),
            broken: None,
            replays: Replays::wanted(|| state.rules.text())?,
            state,
        };
        let inner = Inner {
            settings,
            store,
            live: Mutex::new(live),
        };
        Ok(Self {
            inner: Arc::new(inner),
            faults: Arc::default(),
        })
    }

    /// The same chain through faults of its own, as another endpoint would show it. None are on yet.
    #[must_use]
    pub fn view(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            faults: Arc::default(),
        }
    }

    /// Turns faults on and off.
    pub fn set_faults(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    /// Moves the steered clock forward.
    pub fn advance(&self, seconds: u32) {
        let mut live = self.inner.live.lock();
        live.now = live.now.saturating_add(seconds);
    }

    /// The time now, in Unix seconds: what the next block will say.
    #[must_use]
    pub fn now(&self) -> u32 {
        self.time(&self.inner.live.lock())
    }

    /// Makes a block.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`] if it cannot be kept: the devnet is of no use from then on.
    pub fn block(&self) -> Result<Head, ChainError> {
        self.make_block(&mut self.inner.live.lock())
    }

    /// Gives `to` new coins by a transfer that stays, and makes a block.
    ///
    /// # Errors
    /// [`ChainError::Refused`] above ten billion coins; else as [`Devnet::block`].
    pub fn give(&self, to: Address, amount: Coins, body: &Body) -> Result<(), ChainError> {
        if amount.get() > GIFT_MAX {
            let reason = "so many coins there are not".into();
            return Err(ChainError::Refused {
                exit_code: None,
                reason,
            });
        }
        let mut live = self.inner.live.lock();
        let now = self.time(&live);
        let message = gift(to, amount, body, live.state.lt, now).map_err(damaged)?;
        live.state.queue.push_back(message);
        self.make_block(&mut live).map(|_| ())
    }

    /// How an account really stands, whatever the faults.
    ///
    /// # Errors
    /// [`ChainError::Damaged`], which would be a fault of the devnet.
    pub fn truth(&self, address: Address) -> Result<AccountState, ChainError> {
        self.inner.live.lock().state.account(address, u32::MAX)
    }

    /// Every transaction there was, as another executor can run it, oldest first; those before number `from` are left out.
    /// The first says under which configuration.
    ///
    /// # Errors
    /// [`ChainError::Damaged`], which would be a fault of the devnet.
    pub fn replays(&self, from: usize) -> Result<Vec<Replay>, ChainError> {
        let (config, history) = {
            let live = self.inner.live.lock();
            let history: Vec<_> = live.state.history.iter().skip(from).cloned().collect();
            (live.state.rules.text(), history)
        };
        let replays = history.iter().map(|record| record.replay());
        let mut replays = replays.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
        if let Some(first) = replays.first_mut() {
            first.config_boc = Some(config);
        }
        Ok(replays)
    }

    fn time(&self, live: &Live) -> u32 {
        match self.inner.settings.time {
            DevnetTime::Steered => live.now,
            DevnetTime::Wall => wall().max(live.state.head().time),
        }
    }

    fn make_block(&self, live: &mut Live) -> Result<Head, ChainError> {
        live.whole()?;
        // Should the executor panic half-way, what is in memory is no chain any more.
        live.broken = Some(DevnetError::Damaged("a block was broken off".into()));
        let before = live.state.history.len();
        let made = live.state.block(self.time(live), self.inner.settings.slow);
        let kept = made.and_then(|()| match &self.inner.store {
            Some(store) => Ok(store.save(&live.state)?),
            None => Ok(()),
        });
        let kept = kept.and_then(|()| match &mut live.replays {
            Some(replays) => replays.write(live.state.history.get(before..).unwrap_or_default()),
            None => Ok(()),
        });
        if let Err(error) = kept {
            live.broken = Some(DevnetError::Folder(error.to_string()));
            return Err(error);
        }
        live.broken = None;
        Ok(live.state.head())
    }
}

impl Live {
    fn whole(&self) -> Result<(), ChainError> {
        self.broken.clone().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Writes down that a message was refused, where that is wanted.
    fn refused(&mut self, message: &External, now: u32, error: &ChainError) -> Result<(), ChainError> {
        match (&mut self.replays, error) {
            (Some(replays), ChainError::Refused { exit_code, .. }) => {
                replays.write_refused(&self.state, message, now, *exit_code)
            }
            _ => Ok(()),
        }
    }
}

fn wall() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// The message by which new coins come into the world: from the masterchain's zero address, as on the real chain.
fn gift(to: Address, amount: Coins, body: &Body, lt: u64, now: u32) -> Result<Cell, CellError> {
    let message = OwnedMessage {
        info: MsgInfo::Int(IntMsgInfo {
            src: Address::MINT.std().into(),
            dst: to.std().into(),
            value: CurrencyCollection::from(amount.tokens()),
            created_lt: lt,
            created_at: now,
            ..IntMsgInfo::default()
        }),
        init: None,
        body: body.cell().clone().into(),
        layout: None,
    };
    CellBuilder::build_from(&message)
}
