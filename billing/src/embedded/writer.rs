//! The one thread that writes: takes what has gathered, puts it on disk in one transaction, then into memory, then
//! answers. What a row contains is `tables`' business, what a step does to balances is `state`'s.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::EmbeddedSettings;
use super::answer::{self, Answer, Asker, Batch};
use super::entry::Entry;
use super::state::State;
use super::store::Store;
use crate::id::{AccountId, CallId};
use crate::ledger::LedgerError;
use crate::record::UsageRecord;

/// Entries in a batch from which on the writer gathers for as long as it may.
const MANY: u32 = 16;
/// Entries put into memory under one lock, so that a reserve waits for some tens of microseconds at most.
const APPLIED_AT_ONCE: usize = 32;

struct Job {
    entry: Entry,
    asker: Asker,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    closed: bool,
}

/// What the ledger and its writer share.
pub(super) struct Shared {
    settings: EmbeddedSettings,
    store: Store,
    state: Mutex<State>,
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Why nothing can be written any more. Once set, nothing is reserved either.
    failure: OnceLock<String>,
}

impl Shared {
    pub(super) fn open(dir: &Path, settings: EmbeddedSettings) -> Result<Self, LedgerError> {
        let store = Store::open(dir)?;
        let state = State::new(store.load()?)?;
        let (queue, filled, failure) = (Mutex::default(), Condvar::new(), OnceLock::new());
        Ok(Self {
            settings,
            store,
            state: Mutex::new(state),
            queue,
            filled,
            failure,
        })
    }

    /// The balances, locked: for microseconds, never across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Whether writing still works.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        self.failure
            .get()
            .map_or(Ok(()), |why| Err(LedgerError::Unavailable(why.clone())))
    }

    pub(super) fn record(&self, account: &AccountId, call: &CallId) -> Result<Option<UsageRecord>, LedgerError> {
        self.store.record(account, call)
    }

    /// Hands an entry to the writer.
    pub(super) fn enqueue(&self, entry: Entry) -> Result<Answer, LedgerError> {
        self.check()?;
        let (asker, answer) = answer::pair();
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(LedgerError::Unavailable("the ledger is closed".into()));
        }
        if queue.jobs.len() >= self.settings.waiting_max {
            return Err(LedgerError::Unavailable("too many writes wait for the disk".into()));
        }
        queue.jobs.push(Job { entry, asker });
        let first = queue.jobs.len() == 1;
        drop(queue);
        // Later ones find the writer awake and gathering.
        if first {
            self.filled.notify_one();
        }
        Ok(answer)
    }

    /// Lets the writer finish what waits, and stop.
    pub(super) fn close(&self) {
        self.queue.lock().closed = true;
        self.filled.notify_one();
    }

    /// The writer's life.
    pub(super) fn write_until_closed(&self) {
        let _stopped = Stopped(self);
        let mut count_before = 0;
        while let Some(jobs) = self.gather(self.pause(count_before)) {
            count_before = jobs.len();
            self.write(jobs);
        }
    }

    /// How long to gather after a batch of `count`: the more there were, the longer, up to the maximum.
    fn pause(&self, count: usize) -> Duration {
        let EmbeddedSettings {
            gather_min, gather_max, ..
        } = self.settings;
        let share = u32::try_from(count).unwrap_or(MANY).min(MANY);
        let more = gather_max
            .saturating_sub(gather_min)
            .saturating_mul(share)
            .checked_div(MANY);
        gather_min.saturating_add(more.unwrap_or_default())
    }

    /// Waits for a first entry, lets others join it for `pause`, and takes them all. `None` when closed and empty.
    fn gather(&self, pause: Duration) -> Option<Vec<Job>> {
        let mut queue = self.queue.lock();
        while queue.jobs.is_empty() {
            if queue.closed {
                return None;
            }
            self.filled.wait(&mut queue);
        }
        if !queue.closed && !pause.is_zero() {
            drop(queue);
            std::thread::sleep(pause);
            queue = self.queue.lock();
        }
        Some(std::mem::take(&mut queue.jobs))
    }

    fn write(&self, jobs: Vec<Job>) {
        let totals = self.state().totals();
        let written = match self.check() {
            Ok(()) => self.store.write(&totals, |tables| {
                jobs.iter()
                    .map(|job| job.entry.write(tables))
                    .collect::<Result<Vec<_>, _>>()
            }),
            Err(_) => Ok(vec![]),
        };
        let outcomes = match written {
            Ok(outcomes) => outcomes,
            Err(error) => {
                let why = LedgerError::from(error).to_string();
                tracing::error!(
                    why,
                    "the ledger cannot be written; nothing is reserved until it is opened again"
                );
                let _ = self.failure.set(why);
                vec![]
            }
        };
        let failure = || {
            Err(LedgerError::Unavailable(
                self.failure.get().cloned().unwrap_or_default(),
            ))
        };
        let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(failure));
        let mut answers = Batch::default();
        let mut jobs = jobs.into_iter().zip(outcomes).peekable();
        while jobs.peek().is_some() {
            let mut state = self.state();
            for (Job { entry, asker }, outcome) in jobs.by_ref().take(APPLIED_AT_ONCE) {
                if outcome.is_err() {
                    entry.abandon(&mut state);
                }
                answers.push(asker, outcome.map(|outcome| entry.apply(&mut state, outcome)));
            }
        }
        answers.pass_on();
    }
}

/// Marks the ledger unusable when the writer ends, also by a panic: nobody waits for a thread that is gone.
struct Stopped<'s>(&'s Shared);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let _ = self.0.failure.set("the ledger's writer stopped".into());
        let mut queue = self.0.queue.lock();
        queue.closed = true;
        queue.jobs.clear();
    }
}
