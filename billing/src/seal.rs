//! The sealer: takes records from the ledger, closes epochs, stores them, and only then lets the ledger forget.
//!
//! Its memory is the store of epochs: a sealer that was killed, or overtaken by another, reads the last epoch and goes
//! on from there. A lease keeps a second sealer from working in vain; what keeps it from doing harm is that
//! objects are only created. How often to step, and when to ask for the lease, is the gateway's business.

mod guard;
mod state;

use std::sync::Arc;

use self::state::{State, calls};
use crate::epoch::{Cursors, Epoch, EpochError, Tip};
use crate::id::CallId;
use crate::ledger::{Cursor, Ledger, LedgerError, LedgerShard};
use crate::money::Nano;
use crate::objects::{Created, EpochStore, StoreError};
use crate::receipt::ReceiptKey;
use crate::verify::{Fault, TrustedKeys, verify_epoch};

/// Records asked of the ledger at once.
const RECORDS_PER_READ: usize = 1_024;
/// Epochs searched for a record that should be sealed and is not in the last one.
const EPOCHS_SEARCHED_BACK: u64 = 16;

/// When an epoch is closed: at the first of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealSettings {
    /// So long after the epoch before, in milliseconds, if there is anything to seal.
    pub age_ms: u64,
    /// With so many receipts; an epoch has no more. About 1,200 bytes each, in memory and in the object.
    pub receipts_max: usize,
}

impl Default for SealSettings {
    /// Ten minutes, 16,384 receipts.
    fn default() -> Self {
        Self {
            age_ms: 600_000,
            receipts_max: 16_384,
        }
    }
}

/// Seals the records of one ledger into one store.
pub struct Sealer {
    ledger: Arc<dyn Ledger>,
    store: EpochStore,
    key: Arc<ReceiptKey>,
    /// The gateway's keys, today's and those before.
    keys: TrustedKeys,
    settings: SealSettings,
    /// `None` until the last epoch was read, and again when somebody else may have added one.
    state: Option<State>,
}

/// What a step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealed {
    /// Nothing: so many records wait for the next epoch.
    Waiting(usize),
    /// An epoch is closed, stored and gone from the ledger's stream.
    Epoch {
        /// Its number.
        number: u64,
        /// How many receipts it holds.
        receipts: usize,
    },
    /// Another sealer stored this epoch first. The next step goes on behind it.
    Overtaken(u64),
}

/// What waits to be sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// How many records; of a full epoch's worth at most.
    pub records: usize,
    /// When the call of the oldest ended, in Unix milliseconds.
    pub oldest_ms: Option<u64>,
}

/// Why a step failed. Whatever it was, the next step may be tried with the same sealer.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The ledger could not be read or trimmed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store could not be read or written. The epoch may be stored all the same; the next step finds out.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The last epoch in the store is not one to go on from.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The epoch cannot be closed.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The last epoch says that the ledger's stream is sealed beyond a record that is in no epoch: ledger and store do
    /// not belong together, or the ledger was restored from an older copy. Nothing is trimmed.
    #[error("epoch {number} claims a place in the ledger's stream behind {call}, which is in no epoch")]
    NotSealed {
        /// The last epoch.
        number: u64,
        /// The call whose record it lacks.
        call: CallId,
    },
    /// The ledger charged for calls that stand neither in an epoch of this store nor in its stream any more: the store is
    /// not the one that was sealed into so far. Nothing is sealed.
    #[error(
        "the ledger has charged {missing} TON for calls that are neither in this store of epochs nor in the ledger any more: \
         they were sealed into another store, which is the one to go on with"
    )]
    Missing {
        /// What those calls cost.
        missing: Nano,
    },
    /// The last epoch names a place in the ledger's stream that is none.
    #[error("epoch {number} names a place in the ledger's stream that is none: {cursor}")]
    Cursor {
        /// The last epoch.
        number: u64,
        /// What it names.
        cursor: String,
    },
    /// Sealing was cut short by a panic.
    #[error("the epoch could not be closed: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl Sealer {
    /// A sealer that signs with `key`. The store may hold epochs of this key and of `keys`, those the gateway had before.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        store: EpochStore,
        key: Arc<ReceiptKey>,
        keys: TrustedKeys,
        settings: SealSettings,
    ) -> Self {
        Self {
            ledger,
            store,
            keys: keys.and(key.public_hex()),
            key,
            settings,
            state: None,
        }
    }

    /// Goes on from where the store stands: trims what is sealed, reads what is not, and closes an epoch if one is due.
    ///
    /// The epoch is durable before the ledger forgets its records. A step that fails or is dropped at any await
    /// leaves nothing that the next one, of this sealer or another, would not go on from.
    ///
    /// # Errors
    /// [`SealError`].
    pub async fn step(&mut self, now_ms: u64) -> Result<Sealed, SealError> {
        // Taken out: if this step ends early, the next one reads the store again.
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.resume().await?,
        };
        if !state.guarded {
            if !state.trimmed {
                self.trim(&mut state, now_ms).await?;
            }
            if let Some(overtaken) = self.guard(&state).await? {
                return Ok(overtaken);
            }
            state.guarded = true;
        }
        let caught_up = self.catch_up(&mut state, now_ms).await;
        if caught_up.is_err() || !self.is_due(&state, now_ms) {
            let waiting = state.pending.len();
            self.state = Some(state);
            return caught_up.map(|()| Sealed::Waiting(waiting));
        }
        let epoch = self.close(&mut state, now_ms).await?;
        let (number, receipts) = (epoch.seal.header.number, epoch.records.len());
        if self.store.create(number, epoch.to_bytes()?).await? == Created::Before {
            return Ok(Sealed::Overtaken(number));
        }
        state.enter(&epoch)?;
        let trimmed = self.trim_to(state.tip.as_ref(), now_ms).await;
        state.trimmed = trimmed.is_ok();
        self.state = Some(state);
        trimmed.map(|()| Sealed::Epoch { number, receipts })
    }

    /// What waits for the next epoch, as far as the last step has seen.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let pending = self.state.as_ref().map_or(&[][..], |state| &state.pending);
        Waiting {
            records: pending.len(),
            oldest_ms: pending.iter().map(|record| record.ended_ms).min(),
        }
    }

    /// Forgets where it stood: for a sealer whose turn is over. Its next step reads the store again.
    pub fn rest(&mut self) {
        self.state = None;
    }

    /// Trims what the last epoch holds, if that was not done, and reads what was posted since.
    async fn catch_up(&self, state: &mut State, now_ms: u64) -> Result<(), SealError> {
        if !state.trimmed {
            self.trim(state, now_ms).await?;
        }
        self.gather(state).await
    }

    /// Reads the last epoch, written by this sealer or another.
    async fn resume(&self) -> Result<State, SealError> {
        let mut state = State::default();
        let Some(last) = self.store.last().await? else {
            state.trimmed = true;
            return Ok(state);
        };
        let epoch = self.epoch(last).await?;
        self.store.persist(last).await?;
        state.enter(&epoch)?;
        Ok(state)
    }

    async fn epoch(&self, number: u64) -> Result<Epoch, SealError> {
        let (object, keys) = (self.store.object(number).await?, self.keys.clone());
        Ok(tokio::task::spawn_blocking(move || verify_epoch(&object, &keys)).await??)
    }

    /// Trims what the last epoch holds, after a look at what that is: only what is sealed may go.
    async fn trim(&self, state: &mut State, now_ms: u64) -> Result<(), SealError> {
        let Some(tip) = state.tip.as_ref() else {
            return Ok(());
        };
        let mut older = tip.seal.header.number;
        let oldest = older.saturating_sub(EPOCHS_SEARCHED_BACK);
        for (shard, up_to) in self.cursors(tip)? {
            let mut after = None;
            'shard: loop {
                let records = self.ledger.unsealed(shard, after, RECORDS_PER_READ).await?;
                let Some((last, _)) = records.last() else { break };
                after = Some(*last);
                for (cursor, record) in records {
                    if cursor > up_to {
                        break 'shard;
                    }
                    // A trim that was undone, by a Redis that lost its last second, brings back older ones.
                    while !state.known.contains(&record.call) && older > oldest {
                        older = older.saturating_sub(1);
                        let epoch = self.epoch(older).await?;
                        state.known.extend(calls(&epoch));
                    }
                    if !state.known.contains(&record.call) {
                        let (number, call) = (tip.seal.header.number, record.call);
                        return Err(SealError::NotSealed { number, call });
                    }
                }
            }
        }
        self.trim_to(state.tip.as_ref(), now_ms).await?;
        state.trimmed = true;
        Ok(())
    }

    async fn trim_to(&self, tip: Option<&Tip>, now_ms: u64) -> Result<(), SealError> {
        for (shard, up_to) in tip.map_or(Ok(Vec::new()), |tip| self.cursors(tip))? {
            self.ledger.trim(shard, up_to, now_ms).await?;
        }
        Ok(())
    }

    /// The places in the ledger's stream up to which an epoch seals it.
    fn cursors(&self, tip: &Tip) -> Result<Vec<(LedgerShard, Cursor)>, SealError> {
        let header = &tip.seal.header;
        let mut cursors = Vec::new();
        for shard in self.ledger.shards() {
            let Some(cursor) = header.cursors.get(&shard.number().to_string()) else {
                continue;
            };
            let place = cursor.parse().map_err(|_| SealError::Cursor {
                number: header.number,
                cursor: cursor.clone(),
            })?;
            cursors.push((shard, place));
        }
        Ok(cursors)
    }

    /// Reads what was posted since, up to a full epoch.
    async fn gather(&self, state: &mut State) -> Result<(), SealError> {
        if state.read.is_empty()
            && let Some(tip) = &state.tip
        {
            state.read = self.cursors(tip)?;
        }
        let mut shards = self.ledger.shards();
        // Every epoch begins with another shard, so that a busy one cannot keep the others waiting.
        let epochs = state.tip.as_ref().map_or(0, |tip| tip.seal.header.number);
        let first = usize::try_from(epochs).unwrap_or(0).checked_rem(shards.len());
        shards.rotate_left(first.unwrap_or(0));
        for shard in shards {
            loop {
                let room = self.settings.receipts_max.saturating_sub(state.pending.len());
                let after = state.read.iter().find(|(read, _)| *read == shard).map(|(_, at)| *at);
                let max = room.min(RECORDS_PER_READ);
                let records = if max == 0 {
                    Vec::new()
                } else {
                    self.ledger.unsealed(shard, after, max).await?
                };
                let Some((last, _)) = records.last() else { break };
                state.read.retain(|(read, _)| *read != shard);
                state.read.push((shard, *last));
                state.add(records);
            }
        }
        Ok(())
    }

    /// Whether it is time to close an epoch.
    fn is_due(&self, state: &State, now_ms: u64) -> bool {
        let first_ms = || state.pending.iter().map(|record| record.ended_ms).min();
        let since = state.tip.as_ref().map(|tip| tip.seal.header.to_ms).or_else(first_ms);
        let due_ms = since.unwrap_or(now_ms).saturating_add(self.settings.age_ms);
        !state.pending.is_empty() && (now_ms >= due_ms || state.pending.len() >= self.settings.receipts_max)
    }

    /// Writes, hashes and signs, on a thread of its own: thousands of records take a while.
    async fn close(&self, state: &mut State, now_ms: u64) -> Result<Epoch, SealError> {
        let (tip, key) = (state.tip.clone(), Arc::clone(&self.key));
        let records = std::mem::take(&mut state.pending);
        // A shard that had nothing keeps its place.
        let mut cursors = tip
            .as_ref()
            .map_or(Cursors::new(), |tip| tip.seal.header.cursors.clone());
        let read = state.read.iter();
        cursors.extend(read.map(|(shard, at)| (shard.number().to_string(), at.to_string())));
        let closed = tokio::task::spawn_blocking(move || Epoch::close(tip.as_ref(), records, cursors, now_ms, &key));
        Ok(closed.await??)
    }
}
