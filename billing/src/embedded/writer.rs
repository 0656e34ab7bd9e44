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
use crate::ledger::LedgerError;

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
        Self::with(Store::open(dir)?, settings)
    }

    fn with(store: Store, settings: EmbeddedSettings) -> Result<Self, LedgerError> {
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

    /// What is on disk.
    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    pub(super) const fn settings(&self) -> &EmbeddedSettings {
        &self.settings
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::backends::InMemoryBackend;
    use redb::{Database, StorageBackend};

    use super::*;
    use crate::embedded::EmbeddedLedger;
    use crate::id::{CallId, KeyId};
    use crate::key::{KeyHash, KeyRecord};
    use crate::ledger::{Deposit, Ledger, Reserve, ReserveError};
    use crate::limits::KeyLimits;
    use crate::money::Nano;
    use crate::record::tests::example;

    /// A disk that can be broken.
    #[derive(Debug, Default)]
    struct Disk {
        inner: InMemoryBackend,
        broken: Arc<AtomicBool>,
    }

    impl Disk {
        fn check(&self) -> std::io::Result<()> {
            let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
            if self.broken.load(Ordering::SeqCst) {
                Err(full())
            } else {
                Ok(())
            }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> std::io::Result<u64> {
            self.inner.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
            self.inner.read(offset, out)
        }

        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.check()?;
            self.inner.set_len(len)
        }

        fn sync_data(&self) -> std::io::Result<()> {
            self.check()?;
            self.inner.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
            self.check()?;
            self.inner.write(offset, data)
        }
    }

    /// A ledger on a disk that can be broken, with the account and key of the example record and 1,000 nano.
    async fn ledger(settings: EmbeddedSettings) -> (EmbeddedLedger, Arc<AtomicBool>) {
        let disk = Disk::default();
        let broken = Arc::clone(&disk.broken);
        let db = Database::builder().create_with_backend(disk).expect("a database");
        let shared = Shared::with(Store::new(db).expect("tables"), settings).expect("an empty ledger");
        let ledger = EmbeddedLedger::start(Arc::new(shared)).expect("a writer");
        let (account, id) = (example().account, example().key);
        ledger
            .create_account(&account, "somebody", 1)
            .await
            .expect("an account");
        let (name, hint) = (String::new(), String::new());
        let key = KeyRecord {
            id,
            account,
            name,
            hint,
            created_ms: 1,
            expires_ms: None,
            revoked_ms: None,
            limits: KeyLimits::default(),
        };
        ledger.create_key(&key, &KeyHash::of("secret")).await.expect("a key");
        ledger.deposit(&deposit("first")).await.expect("a deposit");
        (ledger, broken)
    }

    fn deposit(id: &str) -> Deposit {
        let amount = Nano::new(1_000).expect("small");
        Deposit {
            id: id.into(),
            account: example().account,
            amount,
            note: String::new(),
            now_ms: 1,
        }
    }

    fn ask() -> Reserve {
        let (record, quote) = (example(), example().quote);
        let (account, key) = (record.account, record.key);
        Reserve {
            call: record.call,
            account,
            key,
            quote,
            quote_min: quote,
            tokens: 10,
            now_ms: 1,
            expires_ms: 2,
        }
    }

    #[tokio::test]
    async fn a_broken_disk_moves_no_money_and_stops_new_calls() {
        let (ledger, broken) = ledger(EmbeddedSettings::default()).await;
        ledger.reserve(&ask()).await.expect("reserved");
        let before = ledger.totals().await.expect("totals");

        broken.store(true, Ordering::SeqCst);
        for _ in 0..2 {
            let refused = ledger.post(&example(), 1).await;
            assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
        }
        assert!(ledger.deposit(&deposit("second")).await.is_err());
        assert!(
            ledger
                .revoke_key(&KeyId::parse("key_example").expect("an id"), 1)
                .await
                .is_err()
        );
        assert!(ledger.ping().await.is_err());
        assert_eq!(ledger.totals().await, Ok(before), "memory never leads the disk");
        let mut another = ask();
        another.call = CallId::generate(7, &mut rand::rng());
        assert!(matches!(
            ledger.reserve(&another).await,
            Err(ReserveError::Unavailable(_))
        ));
        // The hold of the failed post is as any other.
        assert_eq!(ledger.sweep(2).await.expect("swept").holds, 1);
    }

    #[tokio::test]
    async fn too_many_waiting_writes_are_refused() {
        let gather = Duration::from_millis(300);
        let settings = EmbeddedSettings {
            gather_min: gather,
            gather_max: gather,
            waiting_max: 2,
            ..EmbeddedSettings::default()
        };
        let (ledger, _disk) = ledger(settings).await;
        let (one, two, three) = (deposit("a"), deposit("b"), deposit("c"));
        let results = tokio::join!(ledger.deposit(&one), ledger.deposit(&two), ledger.deposit(&three));
        assert!(results.0.is_ok() && results.1.is_ok());
        assert!(matches!(results.2, Err(LedgerError::Unavailable(_))));
        assert_eq!(ledger.totals().await.expect("totals").deposited.get(), 3_000);
    }

    #[tokio::test]
    async fn whoever_stops_waiting_is_served_all_the_same_and_so_are_the_others() {
        let gather = Duration::from_millis(50);
        let settings = EmbeddedSettings {
            gather_min: gather,
            gather_max: gather,
            waiting_max: 9,
            ..EmbeddedSettings::default()
        };
        let (ledger, _disk) = ledger(settings).await;
        let deposits = ["a", "b", "c", "d"].map(deposit);
        let gone = async {
            let (a, d) = (ledger.deposit(&deposits[0]), ledger.deposit(&deposits[3]));
            tokio::time::timeout(Duration::from_millis(1), async { tokio::join!(a, d) }).await
        };
        let (gone, b, c) = tokio::join!(gone, ledger.deposit(&deposits[1]), ledger.deposit(&deposits[2]));
        assert!(gone.is_err());
        assert!(b.expect("a deposit").fresh && c.expect("a deposit").fresh);
        assert_eq!(ledger.totals().await.expect("totals").deposited.get(), 5_000);
    }

    #[tokio::test]
    async fn a_hold_on_its_way_to_disk_is_neither_voided_nor_swept() {
        let gather = Duration::from_millis(200);
        let settings = EmbeddedSettings {
            gather_min: gather,
            gather_max: gather,
            waiting_max: 9,
            ..EmbeddedSettings::default()
        };
        let (ledger, _disk) = ledger(settings).await;
        ledger.reserve(&ask()).await.expect("reserved");
        let record = example();
        let meddle = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let voided = ledger.void(&record.account, &record.call).await.expect("an answer");
            let swept = ledger.sweep(1 << 50).await.expect("an answer");
            (voided, swept.holds, ledger.totals().await.expect("totals").held)
        };
        let (posted, (voided, swept, held)) = tokio::join!(ledger.post(&record, 1), meddle);
        assert_eq!((voided, swept, held), (Nano::ZERO, 0, record.quote));
        assert_eq!(posted.expect("posted").released.get(), 200 - 123);
        assert!(ledger.totals().await.expect("totals").held.is_zero());
    }
}
